//! `headend-testkit`: the live source and the playlist checker as commands. Only reads arguments and prints.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "headend-testkit",
    about = "Live source and playlist checker for tests of Headend"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves synthetic live channels over HTTP
    Source(commands::source::SourceArguments),
    /// Follows a live stream and names every rule it breaks
    Check(commands::check::CheckArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let done = match Arguments::parse().command {
        Command::Source(arguments) => commands::source::run(arguments).await,
        Command::Check(arguments) => commands::check::run(arguments).await,
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
