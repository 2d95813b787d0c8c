//! What a gigabyte of segments costs, for a client that throws them away in the kernel and for wrk, which copies them. Both servers have
//! the same segments: the product those of a live channel, by their keys, nginx the same bytes in files under the same paths.

use anyhow::Result;

use super::load::{Load, Server, drain};
use super::nginx::Nginx;
use super::product::{Product, Size};
use super::{Bench, NAME, turns, wrk};
use crate::figure::{Figure, Goal, quantile};
use crate::machine::processor;

const SIZES: [Size; 2] = [Size::Half, Size::One];
const CONNECTIONS: [usize; 2] = [64, 1000];
const CLIENTS: [Client; 2] = [Client::Draining, Client::Copying];

const GIGABYTE: f64 = 1e9;

/// The most that the slowest hundredth may take, as a share of nginx's.
const P99_SHARE: f64 = 1.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Draining,
    Copying,
}

impl Client {
    fn name(self) -> &'static str {
        match self {
            Self::Draining => "drained",
            Self::Copying => "copied by wrk",
        }
    }

    /// The most that a gigabyte may cost, as a share of nginx's.
    fn goal(self) -> f64 {
        match self {
            Self::Draining => 1.05,
            Self::Copying => 1.8,
        }
    }
}

/// One way to ask.
#[derive(Debug, Clone, Copy)]
struct Case {
    size: Size,
    connections: usize,
    client: Client,
}

impl Case {
    fn all() -> Vec<Self> {
        let clients = |size, connections| {
            CLIENTS.map(|client| Self {
                size,
                connections,
                client,
            })
        };
        let sizes = |size| CONNECTIONS.into_iter().flat_map(move |n| clients(size, n));
        SIZES.into_iter().flat_map(sizes).collect()
    }

    fn name(self) -> String {
        let (size, client) = (self.size.name(), self.client.name());
        format!(
            "segments of {size}, {} connections, {client}",
            self.connections
        )
    }
}

/// What one server showed.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    /// Processor seconds for a gigabyte.
    cost: f64,
    /// Seconds.
    p99: f64,
}

/// Samples of the product and of nginx, round after round.
type Turns = Vec<[Sample; 2]>;

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let product = Product::start(bench.cores, bench.program, directory.path(), &SIZES).await?;
    let files = directory.path().join("files");
    for media in product.media() {
        media.write(&files)?;
    }
    let nginx = Nginx::start(bench.cores, &files, directory.path(), None).await?;
    let servers = [
        Server {
            address: product.address(),
            pids: vec![product.pid()?],
        },
        Server {
            address: nginx.address(),
            pids: vec![nginx.pid()?],
        },
    ];
    let cases = Case::all();
    let mut samples = vec![Turns::new(); cases.len()];
    for round in 0..bench.rounds {
        for (case, samples) in cases.iter().zip(&mut samples) {
            let media = product.media().iter().find(|one| one.size == case.size);
            let targets = media.map(|media| media.segments()).unwrap_or_default();
            let mut of_round = [Sample::default(); 2];
            for (whose, server) in turns(round, &servers) {
                of_round[whose] = match case.client {
                    Client::Draining => drained(bench, *case, server, &targets).await?,
                    Client::Copying => {
                        copied(bench, *case, server, &targets, directory.path()).await?
                    }
                };
            }
            let [ours, theirs] = of_round;
            eprintln!(
                "round {round}, {}: {:.3} s/GB, p99 {:.1} ms; nginx {:.3} s/GB, p99 {:.1} ms",
                case.name(),
                ours.cost,
                ours.p99 * 1e3,
                theirs.cost,
                theirs.p99 * 1e3
            );
            samples.push(of_round);
        }
    }
    nginx.end().await?;
    product.end().await?;
    Ok(figures(&cases, &samples))
}

async fn drained(
    bench: &Bench<'_>,
    case: Case,
    server: &Server,
    targets: &[String],
) -> Result<Sample> {
    let mut drained = drain(Load {
        server: server.clone(),
        targets: targets.to_vec(),
        connections: case.connections,
        window: bench.window,
    })
    .await?;
    Ok(Sample {
        cost: drained.processor.as_secs_f64() / drained.bytes * GIGABYTE,
        p99: quantile(&mut drained.latencies, 0.99),
    })
}

async fn copied(
    bench: &Bench<'_>,
    case: Case,
    server: &Server,
    targets: &[String],
    directory: &std::path::Path,
) -> Result<Sample> {
    let before = processor(&server.pids)?;
    let told = wrk::run(
        directory,
        server.address,
        targets,
        case.connections,
        bench.window,
    )
    .await?;
    let used = processor(&server.pids)?.saturating_sub(before);
    Ok(Sample {
        cost: used.as_secs_f64() / told.bytes * GIGABYTE,
        p99: told.p99,
    })
}

fn figures(cases: &[Case], samples: &[Turns]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (case, samples) in cases.iter().zip(samples) {
        let mut figure = |what: &str, of: fn(&Sample) -> f64, goal| {
            let pairs = samples.iter();
            let pairs = pairs.map(|[ours, theirs]| (of(ours), of(theirs)));
            let pairs = pairs.collect::<Vec<_>>();
            let case = format!("{}: {what}", case.name());
            figures.push(Figure::paired(NAME, case, &pairs, Some(Goal::AtMost(goal))));
        };
        let goal = case.client.goal();
        figure("processor seconds per GB", |sample| sample.cost, goal);
        figure("p99, ms", |sample| sample.p99 * 1e3, P99_SHARE);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_goal_and_none_may_be_slower() {
        let cases = Case::all();
        assert_eq!(cases.len(), 8);
        let sample = |cost, p99| Sample { cost, p99 };
        let samples = vec![vec![[sample(0.6, 0.5), sample(0.4, 0.5)]]; cases.len()];
        let figures = figures(&cases, &samples);
        let holds = figures[..4].iter().map(|figure| figure.holds);
        let expected = [Some(false), Some(true), Some(true), Some(true)];
        assert_eq!(holds.collect::<Vec<_>>(), expected);
        assert_eq!(figures.len(), 16);
    }
}
