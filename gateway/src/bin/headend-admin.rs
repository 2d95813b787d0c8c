//! `headend-admin`: small tasks around a gateway, by hand.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use gateway::admin::{self, Command};

fn main() -> ExitCode {
    let command = Command::parse();
    let outcome = admin::run(&command, &mut io::stdin().lock(), &mut io::stdout().lock());
    runtime::exit::report("headend-admin", outcome)
}
