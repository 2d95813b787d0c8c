//! `headend-bench`: measures the product beside its peers, in the same run, and says which goals hold. Only reads arguments and prints.

mod cold;
mod cost;
mod course;
mod figure;
mod latency;
mod machine;
mod peer;
mod standalone;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// The product in one process; needed unless only `cluster` is measured
    #[arg(long, value_name = "PROGRAM")]
    standalone: Option<PathBuf>,
    /// Measures only this part; may be given again
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// How often each start is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
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

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Time to the first segment, in one process
    Standalone,
    /// Processor and memory of running streams, in one process
    Cost,
    /// Time to the first segment on a cluster, through the chart, from nothing
    Cluster,
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
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let standalone = || {
        let program = arguments.standalone.as_deref();
        program.context("say where the product in one process is: --standalone PROGRAM")
    };
    let rounds = usize::from(arguments.rounds);
    let mut figures = Vec::new();
    if wanted(Part::Standalone) {
        figures.extend(latency::measure(standalone()?, rounds).await?);
    }
    if wanted(Part::Cost) {
        let window = Duration::from_secs(arguments.window);
        figures.extend(cost::measure(standalone()?, arguments.streams, window).await?);
    }
    if wanted(Part::Cluster) {
        figures.extend(cold::measure(rounds).await?);
    }
    if arguments.json {
        for figure in &figures {
            println!("{}", serde_json::to_string(figure)?);
        }
    } else {
        print!("{}", figure::table(&figures));
    }
    Ok(figures)
}
