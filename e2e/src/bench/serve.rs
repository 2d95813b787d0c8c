//! What serving viewers costs: segments, playlists with a check of the session, viewers who keep time, memory of connections, the check
//! itself. Beside the product nginx does the same work in the same run, and both take turns: whatever serves has one processor, the load
//! another one. Judges nothing; figures do.

mod auth;
mod axum_peer;
mod checks;
mod cores;
mod idle;
mod load;
mod nginx;
mod paced;
mod playlists;
mod product;
mod segments;
mod subjects;
mod wrk;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::cores::Cores;
use crate::ServePart;
use crate::figure::Figure;
use crate::machine::{busy, processor, raise_limit};

pub(crate) use self::auth::Arguments as AuthArguments;
pub(crate) use self::auth::serve as serve_auth;
pub(crate) use self::axum_peer::Arguments as AxumArguments;
pub(crate) use self::axum_peer::serve as serve_axum;

/// Of every figure here.
const NAME: &str = "serve";

/// What every part is measured with.
struct Bench<'a> {
    program: &'a Path,
    rounds: usize,
    /// How long one server is measured at a time.
    window: Duration,
    cores: Cores,
}

/// What is measured, how often and how long.
pub(crate) struct Settings<'a> {
    pub(crate) program: &'a Path,
    /// The program that measures the check alone.
    pub(crate) checks: Option<&'a Path>,
    pub(crate) parts: &'a [ServePart],
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
}

/// Measures the parts, one after the other.
pub(crate) async fn measure(settings: &Settings<'_>) -> Result<Vec<Figure>> {
    // Ten thousand connections.
    raise_limit()?;
    let cores = Cores::choose()?;
    cores.move_load()?;
    let bench = Bench {
        program: settings.program,
        rounds: settings.rounds,
        window: settings.window,
        cores,
    };
    let mut figures = Vec::new();
    for part in settings.parts {
        let others = Others::now()?;
        figures.extend(match part {
            ServePart::Segments => segments::measure(&bench).await?,
            ServePart::Playlists => playlists::measure(&bench).await?,
            ServePart::Paced => paced::measure(&bench).await?,
            ServePart::Idle => idle::measure(&bench).await?,
            ServePart::Check => {
                let program = settings.checks;
                let program = program.context("say what measures a check: --checks PROGRAM")?;
                checks::measure(&bench, program).await?
            }
        });
        figures.push(others.figure(*part)?);
    }
    Ok(figures)
}

/// What the machine does besides: figures of a busy one say nothing.
struct Others {
    since: Instant,
    busy: Duration,
    own: Duration,
}

impl Others {
    fn now() -> Result<Self> {
        Ok(Self {
            since: Instant::now(),
            busy: busy()?,
            own: processor(&[std::process::id()])?,
        })
    }

    fn figure(&self, part: ServePart) -> Result<Figure> {
        let now = Self::now()?;
        let own = now.own.saturating_sub(self.own);
        let others = now.busy.saturating_sub(self.busy).saturating_sub(own);
        let cores = others.as_secs_f64() / self.since.elapsed().as_secs_f64();
        let case = format!("{part:?}: cores that others used meanwhile").to_lowercase();
        Ok(Figure::told(NAME, case, cores))
    }
}

/// All of them, another one first each round.
fn turns<T>(round: usize, all: &[T]) -> impl Iterator<Item = (usize, &T)> {
    let count = all.len();
    all.iter()
        .enumerate()
        .cycle()
        .skip(round % count.max(1))
        .take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_each_round_and_begins_in_one() {
        let of = |round| {
            turns(round, &['a', 'b', 'c'])
                .map(|(_, one)| *one)
                .collect::<String>()
        };
        assert_eq!([0, 1, 2, 3].map(of), ["abc", "bca", "cab", "abc"]);
    }
}
