//! How many viewers a processor serves who keep time: each asks for its playlist and a segment of 512 KB every two seconds, at a moment of
//! its own, and throws them away. The most of whom none is late is looked for, for the product and for nginx with and without a check of
//! the playlist's token (segments nginx checks in no case, which is in its favour).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::load::{Connection, on_a_thread, requests, scratch};
use super::subjects::{Subject, Subjects};
use super::{Bench, NAME, turns};
use crate::figure::{Figure, Goal, quantile};

/// How often a viewer asks.
const PERIOD: Duration = Duration::from_secs(2);

/// Fewest and most viewers that are tried: the product takes 10,000 connections.
const FEWEST: f64 = 500.0;
const MOST: usize = 9_500;

/// Times that a number is tried before it is too many: whatever else the machine did for a moment is not the server's.
const TRIES: usize = 2;

/// From one number of viewers that may be tried to the next.
const STEP: f64 = 1.1;

/// The slowest hundredth of segments may take so long.
const P99: f64 = 0.1;

/// Share of the segments that must have come at all.
const COMPLETE: f64 = 0.95;

/// Goals, as multiples of a peer's.
const CHECKED_MULTIPLE: f64 = 1.5;
const UNCHECKED_MULTIPLE: f64 = 1.0;

/// What viewers saw together.
#[derive(Debug, Default)]
struct Seen {
    is_counting: Cell<bool>,
    late: Cell<usize>,
    /// Seconds from the request for a segment to its end.
    segments: RefCell<Vec<f64>>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let subjects = Subjects::start(bench, MOST).await?;
    let (steps, window) = (steps(), bench.window.max(3 * PERIOD));
    let mut samples = Vec::new();
    for round in 0..bench.rounds {
        let mut of_round = [0.0; 3];
        for (whose, subject) in turns(round, subjects.all()) {
            let most = most(&steps, async |viewers| {
                for _ in 0..TRIES {
                    let subject = subject.clone();
                    if on_a_thread(move || try_here(subject, viewers, window)).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            });
            of_round[whose] = most.await? as f64;
        }
        eprintln!("round {round}: product, checked nginx, nginx: {of_round:?} viewers");
        samples.push(of_round);
    }
    subjects.end().await?;
    Ok(figures(&samples))
}

/// The numbers of viewers that may be tried.
fn steps() -> Vec<usize> {
    let steps = std::iter::successors(Some(FEWEST), |viewers| Some(viewers * STEP));
    let steps = steps.map(|viewers| viewers as usize);
    let mut steps: Vec<_> = steps.take_while(|viewers| *viewers < MOST).collect();
    steps.push(MOST);
    steps
}

/// The most of these that go well, by halves; 0 where not even the fewest do.
async fn most(
    steps: &[usize],
    mut goes_well: impl AsyncFnMut(usize) -> Result<bool>,
) -> Result<usize> {
    let (mut well, mut open) = (0, steps.len());
    while well < open {
        let middle = usize::midpoint(well, open);
        if goes_well(steps[middle]).await? {
            well = middle + 1;
        } else {
            open = middle;
        }
    }
    Ok(well.checked_sub(1).map_or(0, |last| steps[last]))
}

/// Whether so many viewers are served in time.
async fn try_here(subject: Subject, viewers: usize, window: Duration) -> Result<bool> {
    let (scratch, seen) = (scratch(), Rc::new(Seen::default()));
    let address = subject.server.address;
    let segments = Rc::new(requests(address, &subject.segments));
    let mut watching = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..viewers {
        connections.push(Connection::open(address, &scratch, None).await?);
    }
    let begin = Instant::now();
    let playlists = requests(address, &subject.playlists);
    for (number, (connection, playlist)) in connections.into_iter().zip(playlists).enumerate() {
        let viewer = Viewer {
            connection,
            playlist,
            segments: segments.clone(),
            number,
            begin: begin + PERIOD.mul_f64(number as f64 / viewers as f64),
        };
        watching.spawn_local(viewer.watch(seen.clone()));
    }
    let measured = async {
        sleep(PERIOD).await;
        seen.is_counting.set(true);
        sleep(window).await;
        seen.is_counting.set(false);
    };
    tokio::select! {
        Some(ended) = watching.join_next() => {
            ended??;
            bail!("a viewer came to its end")
        }
        () = measured => {}
    }
    let mut segments = seen.segments.take();
    let wanted = viewers as f64 * window.as_secs_f64() / PERIOD.as_secs_f64();
    let (late, came) = (seen.late.get(), segments.len() as f64 / wanted);
    let p99 = quantile(&mut segments, 0.99);
    eprintln!(
        "  {address}, {viewers} viewers: {late} late, p99 {:.1} ms, {came:.3} of all came",
        p99 * 1e3
    );
    Ok(late == 0 && p99 < P99 && came >= COMPLETE)
}

struct Viewer {
    connection: Connection,
    playlist: Vec<u8>,
    segments: Rc<Vec<Vec<u8>>>,
    number: usize,
    begin: Instant,
}

impl Viewer {
    /// Whoever was not served before the next turn is due is late.
    async fn watch(mut self, seen: Rc<Seen>) -> Result<()> {
        let mut due = self.begin;
        let own = self.number % self.segments.len().max(1);
        let segments = self.segments.clone();
        for segment in segments.iter().cycle().skip(own) {
            sleep_until(due).await;
            self.connection.fetch(&self.playlist, |_| {}).await?;
            let asked = Instant::now();
            self.connection.fetch(segment, |_| {}).await?;
            if seen.is_counting.get() {
                let took = asked.elapsed().as_secs_f64();
                seen.segments.borrow_mut().push(took);
                let is_late = due.elapsed() > PERIOD;
                seen.late.set(seen.late.get() + usize::from(is_late));
            }
            due += PERIOD;
        }
        bail!("there is nothing to watch")
    }
}

fn figures(samples: &[[f64; 3]]) -> Vec<Figure> {
    let figure = |whose: usize, peer: &str, goal| {
        let turns = samples.iter().map(|turn| (turn[0], turn[whose]));
        let case = format!(
            "paced: viewers of 512 KB every 2 s on one processor, none late, beside nginx {peer}"
        );
        let goal = Some(Goal::AtLeast(goal));
        Figure::paired(NAME, case, &turns.collect::<Vec<_>>(), goal)
    };
    vec![
        figure(1, "with auth_request and Redis", CHECKED_MULTIPLE),
        figure(2, "without a check", UNCHECKED_MULTIPLE),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_most_viewers_that_go_well_are_found() {
        let steps = steps();
        assert_eq!((steps[0], steps[steps.len() - 1]), (500, MOST));
        assert!(steps.is_sorted_by(|one, other| one < other));
        for (limit, expected) in [(100, 0), (500, 500), (640, 605), (100_000, MOST)] {
            let mut tries = 0;
            let found = most(&steps, async |viewers| {
                tries += 1;
                Ok(viewers <= limit)
            });
            assert_eq!(found.await.unwrap(), expected);
            assert!(tries <= 6, "{tries}");
        }
    }
}
