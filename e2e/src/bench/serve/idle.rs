//! What connections weigh: 10,000 that each asked for a playlist once and are silent since, and what one weighs more while it is sent a
//! segment that it does not take. Only what processes hold: the kernel's buffers are nobody's. Each server is a fresh one each round.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::axum_peer::{AxumPeer, PLAYLIST, SEGMENT};
use super::load::{Connection, Server, on_a_thread, requests, scratch};
use super::nginx::Nginx;
use super::product::{Product, Size};
use super::{Bench, NAME, turns};
use crate::figure::{Figure, median};
use crate::machine::usage;

/// Connections that are open: as many as the product takes.
const CONNECTIONS: usize = 10_000;

/// Those of them that are sent something.
const ACTIVE: usize = 1_000;

/// Viewers that the connections are of.
const VIEWERS: usize = 1_000;

/// The kernel's receive buffer of a client that takes nothing.
const RECEIVE_BUFFER: u32 = 4096;

/// The most that a connection may weigh, in KiB.
const GOAL: f64 = 12.0;

/// So large that no send buffer takes all of it at once.
const SIZE: Size = Size::One;

const KIBIBYTE: f64 = 1024.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Product,
    Nginx,
    Axum,
}

const ALL: [Whose; 3] = [Whose::Product, Whose::Nginx, Whose::Axum];

/// KiB of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Weight {
    idle: f64,
    active: f64,
}

/// Bytes that processes hold.
#[derive(Debug, Clone, Copy)]
struct Held {
    before: u64,
    idle: u64,
    active: u64,
}

impl Held {
    fn weight(self) -> Weight {
        let more = |from: u64, to: u64, connections: usize| {
            to.saturating_sub(from) as f64 / KIBIBYTE / connections as f64
        };
        let idle = more(self.before, self.idle, CONNECTIONS);
        Weight {
            idle,
            active: idle + more(self.idle, self.active, ACTIVE),
        }
    }
}

/// What connections ask for.
struct Targets {
    playlists: Vec<String>,
    segment: String,
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let mut samples = Vec::new();
    for round in 0..bench.rounds {
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let mut of_round = [Weight::default(); ALL.len()];
        // The product goes first: it makes what the others serve.
        let product = Product::start(bench.cores, bench.program, directory.path(), &[SIZE]).await?;
        of_round[0] = of_product(&product).await?;
        for (_, whose) in turns(round, &ALL[1..]) {
            let weight = of_peer(bench, *whose, &product, directory.path()).await?;
            of_round[ALL.iter().position(|one| one == whose).unwrap_or(0)] = weight;
        }
        product.end().await?;
        eprintln!("round {round}: product, nginx, axum, KiB: {of_round:.2?}");
        samples.push(of_round);
    }
    Ok(figures(&samples))
}

async fn of_product(product: &Product) -> Result<Weight> {
    let playlists = product.sessions(SIZE, VIEWERS).await?;
    let segments = product.media().iter().flat_map(|media| media.segments());
    let targets = Targets {
        playlists,
        segment: segments.last().context("there is no segment")?,
    };
    let server = Server {
        address: product.address(),
        pids: vec![product.pid()?],
    };
    on_a_thread(move || weigh(server, targets)).await
}

async fn of_peer(
    bench: &Bench<'_>,
    whose: Whose,
    product: &Product,
    directory: &Path,
) -> Result<Weight> {
    let files = directory.join("files");
    let media = product.media().first().context("nothing is played")?;
    media.write(&files)?;
    let (playlist, segments) = (media.playlist(), media.segments());
    let segment = segments.last().context("there is no segment")?.clone();
    let file = |path: &str| files.join(path.trim_start_matches('/'));
    if whose == Whose::Nginx {
        let nginx = Nginx::start(bench.cores, &files, directory, None).await?;
        let server = Server {
            address: nginx.address(),
            pids: vec![nginx.pid()?],
        };
        let targets = Targets {
            playlists: vec![playlist],
            segment,
        };
        let weight = on_a_thread(move || weigh(server, targets)).await?;
        nginx.end().await?;
        return Ok(weight);
    }
    let axum = AxumPeer::start(bench.cores, &file(&playlist), &file(&segment)).await?;
    let server = Server {
        address: axum.address(),
        pids: vec![axum.pid()?],
    };
    let targets = Targets {
        playlists: vec![PLAYLIST.to_owned()],
        segment: SEGMENT.to_owned(),
    };
    on_a_thread(move || weigh(server, targets)).await
}

async fn weigh(server: Server, targets: Targets) -> Result<Weight> {
    let scratch = scratch();
    let (address, playlists) = (server.address, requests(server.address, &targets.playlists));
    let held = || Ok::<_, anyhow::Error>(usage(&server.pids)?.private);
    // What the first request of all brings along is not a connection's.
    let mut first = Connection::open(address, &scratch, None).await?;
    let segment = requests(address, &[targets.segment]).concat();
    first.fetch(&playlists[0], |_| {}).await?;
    first.fetch(&segment, |_| {}).await?;
    drop(first);
    let before = held()?;
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        let open = Connection::open(address, &scratch, Some(RECEIVE_BUFFER));
        let mut connection = open.await?;
        let playlist = &playlists[number % playlists.len()];
        connection.fetch(playlist, |_| {}).await?;
        connections.push(connection);
    }
    let idle = held()?;
    let open = connections.iter().filter(|one| one.is_idle()).count();
    ensure!(
        open == CONNECTIONS,
        "only {open} connections are still open"
    );
    for connection in &mut connections[..ACTIVE] {
        connection.ask(&segment).await?;
    }
    for connection in &connections[..ACTIVE] {
        connection.is_answered().await?;
    }
    let active = held()?;
    let held = Held {
        before,
        idle,
        active,
    };
    Ok(held.weight())
}

fn figures(samples: &[[Weight; ALL.len()]]) -> Vec<Figure> {
    let middle = |whose: usize, of: fn(&Weight) -> f64| {
        let values = samples.iter().map(|sample| of(&sample[whose]));
        median(&values.collect::<Vec<_>>())
    };
    let mut figures = Vec::new();
    let mut figure = |what: &str, of: fn(&Weight) -> f64| {
        let case = format!("idle: KiB of {what} connection, {CONNECTIONS} open");
        let own = middle(0, of);
        figures.push(Figure::absolute(NAME, case.clone(), own, GOAL));
        for (whose, peer) in [(1, "nginx"), (2, "axum::serve")] {
            let case = format!("{case}, beside {peer}");
            figures.push(Figure::relative(NAME, case, own, middle(whose, of), None));
        }
    };
    figure("an idle", |weight| weight.idle);
    figure("an active", |weight| weight.active);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_before_is_no_connections_and_an_active_one_is_an_idle_one_first() {
        let kibibytes = |n: usize| n as u64 * 1024;
        let held = Held {
            before: kibibytes(500),
            idle: kibibytes(500 + 4 * CONNECTIONS),
            active: kibibytes(500 + 4 * CONNECTIONS + 3 * ACTIVE),
        };
        let expected = Weight {
            idle: 4.0,
            active: 7.0,
        };
        assert_eq!(held.weight(), expected);
        let heavy = Weight {
            idle: 13.0,
            active: 14.0,
        };
        let figures = figures(&[[heavy, expected, heavy]]);
        let holds = figures.iter().map(|figure| figure.holds);
        let expected = [Some(false), None, None, Some(false), None, None];
        assert_eq!(holds.collect::<Vec<_>>(), expected);
    }
}
