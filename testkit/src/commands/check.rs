//! `headend-testkit check`: follows a stream and prints what is wrong with it; exit code 1 when anything is.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use testkit::checker::{CheckSettings, Report, check};
use url::Url;

/// Arguments of `check`.
#[derive(Args)]
pub(crate) struct CheckArguments {
    /// Master or media playlist; several are gateways that must agree
    #[arg(required = true)]
    urls: Vec<Url>,
    /// How long to follow, from the first listed segment on
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long to wait for the first segment
    #[arg(long, default_value_t = 30)]
    start_timeout: u64,
    /// How many discontinuities there must be, or `any`
    #[arg(long, default_value = "0", value_parser = expected)]
    discontinuities: Expected,
    /// Longest time between two versions of a playlist, in seconds (default: 1.5 targets)
    #[arg(long)]
    stale: Option<f64>,
    /// Do not decode
    #[arg(long)]
    no_decode: bool,
    /// User-Agent of all requests
    #[arg(long)]
    user_agent: Option<String>,
    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy)]
struct Expected(Option<u64>);

fn expected(text: &str) -> Result<Expected, String> {
    match text {
        "any" => Ok(Expected(None)),
        number => number
            .parse()
            .map(|number| Expected(Some(number)))
            .map_err(|_| "neither a number nor any".to_owned()),
    }
}

pub(crate) async fn run(arguments: CheckArguments) -> anyhow::Result<ExitCode> {
    let settings = CheckSettings {
        urls: arguments.urls,
        duration: Duration::from_secs(arguments.seconds),
        start_timeout: Duration::from_secs(arguments.start_timeout),
        discontinuities: arguments.discontinuities.0,
        stale: arguments
            .stale
            .map(Duration::try_from_secs_f64)
            .transpose()?,
        decode: !arguments.no_decode,
        user_agent: arguments.user_agent,
    };
    let report = check(settings).await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(report: &Report) {
    let seconds =
        |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.3} s"));
    for start in &report.starts {
        println!(
            "base {}: master {}, playlist {}, first segment {}",
            start.base,
            seconds(start.master_seconds),
            seconds(start.playlist_seconds),
            seconds(start.segment_seconds),
        );
    }
    for rendition in &report.renditions {
        let (first, last) = rendition.numbers.unwrap_or_default();
        let offset = rendition.audio_offset_milliseconds;
        println!(
            "base {} rendition {}: {} segments ({first} to {last}), {} versions, {} discontinuities, peak {} kbit/s, mean {} kbit/s, sound {} ({} marks)",
            rendition.base,
            rendition.rendition,
            rendition.segments,
            rendition.versions,
            rendition.discontinuities,
            rendition.peak_bit_rate / 1000,
            rendition.average_bit_rate / 1000,
            offset.map_or("-".to_owned(), |offset| format!("{offset:+.1} ms")),
            rendition.sync_marks,
        );
    }
    for violation in &report.violations {
        println!("{violation}");
    }
    match report.violations.len() {
        0 => println!("clean"),
        count => println!("{count} violations"),
    }
}
