//! `headend-bench`: measures the product beside its peers, in the same run, and says which goals hold. Only reads arguments and prints.

mod browser;
mod client;
mod cold;
mod cost;
mod course;
mod failover;
mod figure;
mod ladder;
mod latency;
mod machine;
mod peer;
mod redis_server;
mod scale;
mod serve;
mod soak;
mod standalone;
mod viewing;
mod watching;

use std::path::{Path, PathBuf};
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
    /// Start of a stream: first complete segment and what a viewer sees, in one process and on a cluster
    Start(StartArguments),
    /// What running streams cost: copies, and ladders of three rungs
    Cost(CostArguments),
    /// How long a stream stands still when its source dies
    Failover(FailoverArguments),
    /// What a stream that runs for long leaves on disk and in its playlist
    Soak(SoakArguments),
    /// What LiveStreams cost the operator and the API server, however many there are
    Scale(ScaleArguments),
    /// What viewers cost Redis
    Presence(PresenceArguments),
    /// What serving viewers costs, on one processor
    Serve(ServeArguments),
    /// The authentication service of a peer
    #[command(hide = true)]
    AuthService(serve::AuthArguments),
    /// A peer that axum serves
    #[command(hide = true)]
    AxumPeer(serve::AxumArguments),
}

/// Arguments of `start`.
#[derive(Args)]
struct StartArguments {
    #[command(flatten)]
    common: Common,
    /// Measures only this part; may be given again
    #[arg(long, value_enum)]
    only: Vec<StartPart>,
    /// How often each start is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// The file that is hls.js; needed for `viewer`
    #[arg(long, value_name = "FILE")]
    hls_js: Option<PathBuf>,
}

/// Arguments of `cost`.
#[derive(Args)]
struct CostArguments {
    #[command(flatten)]
    common: Common,
    /// Measures only this part; may be given again
    #[arg(long, value_enum)]
    only: Vec<CostPart>,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Streams that run at once when copies are measured
    #[arg(long, default_value_t = 20)]
    streams: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
}

/// Arguments of `failover`.
#[derive(Args)]
struct FailoverArguments {
    #[command(flatten)]
    common: Common,
    /// How often each source dies
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

/// Arguments of `soak`.
#[derive(Args)]
struct SoakArguments {
    #[command(flatten)]
    common: Common,
    /// Minutes from the early look, when windows are full, to the late one
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// Arguments of `scale`. It wants etcd, kube-apiserver, kubectl, openssl and redis-server where programs are looked for.
#[derive(Args)]
struct ScaleArguments {
    #[command(flatten)]
    common: Common,
    /// The operator
    #[arg(long, value_name = "PROGRAM")]
    operator: PathBuf,
    /// LiveStreams at the most; goals are for 10000
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
}

/// Arguments of `presence`. It wants redis-server where programs are looked for.
#[derive(Args)]
struct PresenceArguments {
    #[command(flatten)]
    common: Common,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
}

/// Arguments of `serve`. It wants nginx, wrk and redis-server where programs are looked for.
#[derive(Args)]
struct ServeArguments {
    #[command(flatten)]
    common: Common,
    /// Measures only this part; may be given again
    #[arg(long, value_enum)]
    only: Vec<ServePart>,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// The gateway's program that measures a check alone; needed for `check`
    #[arg(long, value_name = "PROGRAM")]
    checks: Option<PathBuf>,
}

/// Arguments of every bench.
#[derive(Args)]
struct Common {
    /// The product in one process; needed by what is measured in one
    #[arg(long, value_name = "PROGRAM")]
    standalone: Option<PathBuf>,
    /// One JSON object per figure instead of a table
    #[arg(long)]
    json: bool,
}

impl Common {
    fn standalone(&self) -> anyhow::Result<&Path> {
        let program = self.standalone.as_deref();
        program.context("say where the product in one process is: --standalone PROGRAM")
    }
}

/// What `start` can measure by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StartPart {
    /// Time to the first complete segment, copied and encoded, in one process
    FirstSegment,
    /// First picture and standstill as FFmpeg and hls.js in Chromium see them, in one process
    Viewer,
    /// Time to the first segment on a cluster, through the chart, from nothing
    Cluster,
}

/// What `cost` can measure by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CostPart {
    /// Processor and memory of many streams that are passed through
    Copy,
    /// Processor time of a ladder of three rungs
    Ladder,
}

/// What `serve` can measure by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ServePart {
    /// Processor time of segments, beside nginx
    Segments,
    /// Playlists whose session is checked, beside nginx with and without a check
    Playlists,
    /// Viewers who keep time, beside nginx with and without a check
    Paced,
    /// Memory of connections, beside nginx and axum
    Idle,
    /// The check of a session and of a segment's key, beside an HMAC
    Check,
}

#[tokio::main]
async fn main() -> ExitCode {
    let bench = Arguments::parse().bench;
    match measure(&bench).await {
        Ok(figures) if figures.iter().all(Figure::is_acceptable) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (common, figures) = match bench {
        Bench::Start(arguments) => (&arguments.common, start(arguments).await?),
        Bench::Cost(arguments) => (&arguments.common, cost(arguments).await?),
        Bench::Failover(arguments) => {
            let program = arguments.common.standalone()?;
            let figures = failover::measure(program, usize::from(arguments.rounds)).await?;
            (&arguments.common, figures)
        }
        Bench::Soak(arguments) => {
            let program = arguments.common.standalone()?;
            let time = Duration::from_secs(60 * arguments.minutes);
            (&arguments.common, soak::measure(program, time).await?)
        }
        Bench::Scale(arguments) => {
            let figures = scale::measure(&arguments.operator, arguments.objects).await?;
            (&arguments.common, figures)
        }
        Bench::Presence(arguments) => {
            let figures = watching::measure(usize::from(arguments.rounds)).await?;
            (&arguments.common, figures)
        }
        Bench::Serve(arguments) => (&arguments.common, serve(arguments).await?),
        Bench::AuthService(arguments) => {
            return serve::serve_auth(arguments).await.map(|()| Vec::new());
        }
        Bench::AxumPeer(arguments) => {
            return serve::serve_axum(arguments).await.map(|()| Vec::new());
        }
    };
    if common.json {
        for figure in &figures {
            println!("{}", serde_json::to_string(figure)?);
        }
    } else {
        print!("{}", figure::table(&figures));
    }
    Ok(figures)
}

async fn start(arguments: &StartArguments) -> anyhow::Result<Vec<Figure>> {
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let rounds = usize::from(arguments.rounds);
    let mut figures = Vec::new();
    if wanted(StartPart::FirstSegment) {
        figures.extend(latency::measure(arguments.common.standalone()?, rounds).await?);
    }
    if wanted(StartPart::Viewer) {
        let hls_js = arguments.hls_js.as_deref();
        let hls_js = hls_js.context("say where hls.js is: --hls-js FILE")?;
        figures.extend(viewing::measure(arguments.common.standalone()?, hls_js, rounds).await?);
    }
    if wanted(StartPart::Cluster) {
        figures.extend(cold::measure(rounds).await?);
    }
    Ok(figures)
}

async fn cost(arguments: &CostArguments) -> anyhow::Result<Vec<Figure>> {
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let program = arguments.common.standalone()?;
    let (rounds, window) = (
        usize::from(arguments.rounds),
        Duration::from_secs(arguments.window),
    );
    let mut figures = Vec::new();
    if wanted(CostPart::Copy) {
        figures.extend(cost::measure(program, arguments.streams, rounds, window).await?);
    }
    if wanted(CostPart::Ladder) {
        figures.extend(ladder::measure(program, rounds, window).await?);
    }
    Ok(figures)
}

async fn serve(arguments: &ServeArguments) -> anyhow::Result<Vec<Figure>> {
    let parts = match arguments.only.as_slice() {
        [] => ServePart::value_variants(),
        only => only,
    };
    serve::measure(&serve::Settings {
        program: arguments.common.standalone()?,
        checks: arguments.checks.as_deref(),
        parts,
        rounds: usize::from(arguments.rounds),
        window: Duration::from_secs(arguments.window),
    })
    .await
}
