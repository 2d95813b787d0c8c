//! `headend-gateway`: lets viewers in and serves them.

use std::process::ExitCode;

use clap::Parser;
use gateway::settings::Settings;
use runtime::exit::{ProcessError, report};

#[tokio::main]
async fn main() -> ExitCode {
    report("headend-gateway", start().await)
}

async fn start() -> Result<(), ProcessError> {
    let settings = Settings::parse();
    runtime::telemetry::start(&settings.log)?;
    runtime::trace::start(&settings.trace, "headend-gateway").map_err(ProcessError::input)?;
    let shutdown = runtime::shutdown::signals()?;
    gateway::process::start(settings, shutdown).await
}
