//! `headend-bench`: measures the product beside its peers, in the same run, and says which goals hold. Only reads arguments and prints.

mod cost;
mod figure;
mod latency;
mod machine;
mod peer;
mod standalone;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use figure::Figure;

#[derive(Parser)]
#[command(name = "headend-bench", about = "Measures Headend beside its peers")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Start of a stream, and what a running one costs
    Start(StartArguments),
}

/// Arguments of `start`.
#[derive(Args)]
struct StartArguments {
    /// The product in one process
    #[arg(long, value_name = "PROGRAM")]
    standalone: PathBuf,
    /// How often each start is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Streams that run at once when costs are measured
    #[arg(long, default_value_t = 20)]
    streams: usize,
    /// Seconds of each measurement of costs
    #[arg(long, default_value_t = 10)]
    window: u64,
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Bench::Start(arguments) = Arguments::parse().bench;
    match start(&arguments).await {
        Ok(figures) if figures.iter().all(Figure::is_acceptable) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn start(arguments: &StartArguments) -> anyhow::Result<Vec<Figure>> {
    let window = Duration::from_secs(arguments.window);
    let mut figures = latency::measure(&arguments.standalone, arguments.rounds).await?;
    figures.extend(cost::measure(&arguments.standalone, arguments.streams, window).await?);
    if arguments.json {
        for figure in &figures {
            println!("{}", serde_json::to_string(figure)?);
        }
    } else {
        print!("{}", figure::table(&figures));
    }
    Ok(figures)
}
