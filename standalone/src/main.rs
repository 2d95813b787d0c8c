//! `headend-standalone`: Headend in one process.

use std::process::ExitCode;

use clap::Parser;
use runtime::exit::{ProcessError, report};
use standalone::settings::Settings;

fn main() -> ExitCode {
    transcoder::sandbox::main(|| report("headend-standalone", start()))
}

#[tokio::main]
async fn start() -> Result<(), ProcessError> {
    let settings = Settings::parse();
    runtime::telemetry::start(&settings.log)?;
    runtime::trace::start(&settings.trace, "headend-standalone").map_err(ProcessError::input)?;
    let shutdown = runtime::shutdown::signals()?;
    standalone::process::start(settings, shutdown).await
}
