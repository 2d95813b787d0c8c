//! What a playlist costs whose session is checked on every request: asked for as fast as it goes, by viewers with a session each. Beside
//! nginx with an authentication service, all its processes counted, and beside nginx that checks nothing.

use anyhow::Result;

use super::subjects::{Subject, Subjects};
use super::{Bench, NAME, turns, wrk};
use crate::figure::{Figure, Goal};
use crate::machine::processor;

/// Viewers, each with a connection.
const VIEWERS: usize = 1000;

/// Goals, as shares of a peer's.
const REQUESTS_SHARE: f64 = 3.5;
const PROCESSOR_SHARE: f64 = 0.30;
const UNCHECKED_SHARE: f64 = 0.85;

/// What one server showed.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    /// Requests a second.
    rate: f64,
    /// Microseconds of all processes for a request.
    cost: f64,
    /// Milliseconds.
    p99: f64,
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let subjects = Subjects::start(bench, VIEWERS).await?;
    let mut samples = Vec::new();
    for round in 0..bench.rounds {
        let mut of_round = [Sample::default(); 3];
        for (whose, subject) in turns(round, subjects.all()) {
            of_round[whose] = sample(bench, subject, directory.path()).await?;
        }
        eprintln!("round {round}: product, checked nginx, nginx: {of_round:.1?}");
        samples.push(of_round);
    }
    subjects.end().await?;
    Ok(figures(&samples))
}

async fn sample(
    bench: &Bench<'_>,
    subject: &Subject,
    directory: &std::path::Path,
) -> Result<Sample> {
    let (server, playlists) = (&subject.server, &subject.playlists);
    let before = processor(&server.pids)?;
    let told = wrk::run(directory, server.address, playlists, VIEWERS, bench.window).await?;
    let used = processor(&server.pids)?.saturating_sub(before);
    Ok(Sample {
        rate: told.requests / told.seconds,
        cost: used.as_secs_f64() / told.requests * 1e6,
        p99: told.p99 * 1e3,
    })
}

fn figures(samples: &[[Sample; 3]]) -> Vec<Figure> {
    let figure = |what: &str, whose: usize, of: fn(&Sample) -> f64, goal| {
        let peer = ["", "nginx, auth_request and Redis", "nginx without a check"][whose];
        let turns = samples.iter();
        let turns = turns.map(|turn| (of(&turn[0]), of(&turn[whose])));
        let case = format!("playlists, {VIEWERS} connections: {what}, beside {peer}");
        Figure::paired(NAME, case, &turns.collect::<Vec<_>>(), goal)
    };
    let (rate, cost) = ("requests per second", "processor microseconds per request");
    let at_most = |goal| Some(Goal::AtMost(goal));
    vec![
        figure(rate, 1, |one| one.rate, Some(Goal::AtLeast(REQUESTS_SHARE))),
        figure(cost, 1, |one| one.cost, at_most(PROCESSOR_SHARE)),
        figure("p99 in ms", 1, |one| one.p99, None),
        figure(rate, 2, |one| one.rate, None),
        figure(cost, 2, |one| one.cost, at_most(UNCHECKED_SHARE)),
        figure("p99 in ms", 2, |one| one.p99, None),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_requests_and_less_processor_are_wanted() {
        let sample = |rate, cost| Sample {
            rate,
            cost,
            p99: 1.0,
        };
        let figures = figures(&[[sample(40.0, 20.0), sample(10.0, 70.0), sample(38.0, 22.0)]]);
        let holds = figures.iter().map(|figure| figure.holds);
        let expected = [Some(true), Some(true), None, None, Some(false), None];
        assert_eq!(holds.collect::<Vec<_>>(), expected);
    }
}
