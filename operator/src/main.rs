//! `headend-operator`: turns LiveStreams into pods (`run`), cleans the output volume (`sweep`), prepares an uninstall (`uninstall`).

use std::process::ExitCode;

use operator::settings::Settings;
use runtime::exit::{ProcessError, report};

#[tokio::main]
async fn main() -> ExitCode {
    report("headend-operator", start().await)
}

async fn start() -> Result<(), ProcessError> {
    let settings = Settings::read();
    runtime::telemetry::start(settings.log())?;
    let shutdown = runtime::shutdown::signals()?;
    operator::start(settings, shutdown).await
}
