//! The operator among 100, 1,000 and 10,000 LiveStreams, on a real API server with nodes and transcoders that only say that they run: what
//! an object and a pod cost in memory, what idling, one change, a life and a restart cost in requests and time, beside `kubectl` and beside a
//! controller that looks at everything again and again.

mod audit;
mod control_plane;
mod node;
mod operators;
mod polling;
mod streams;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use self::audit::{Asked, AuditLog};
use self::control_plane::{BENCH, ControlPlane, PEER};
use self::node::Node;
use self::operators::{Operators, Release};
use self::streams::Streams;
use crate::figure::{Figure, median, table};
use crate::machine::raise_limit;
use crate::redis_server::Redis;

/// Of every figure here.
const NAME: &str = "scale";
/// Namespaces, each with an operator: no namespace should have more than 3,000 pods.
const NAMESPACES: usize = 4;
/// How many objects there are for the first figures.
const FEWEST: usize = 100;
/// Goals are for so many; with fewer the figures are only told.
const ALL: usize = 10_000;
/// How often the restart is measured.
const RESTARTS: usize = 3;
/// How many changes are measured.
const CHANGES: usize = 30;
/// How many lives are counted.
const LIVES: usize = 20;
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// How long streams are started one after the other: four looks of the peer.
const STARTS: Duration = Duration::from_secs(40);
/// Between two of those starts.
const START_EVERY: Duration = Duration::from_secs(1);
/// The longest that anything may take: ten thousand starts on two processors that API server and nodes share.
const LIMIT: Duration = Duration::from_secs(900);

/// Everything that a measurement needs.
struct Bench<'a> {
    release: Release<'a>,
    streams: Streams,
    log: AuditLog,
    /// Bytes of operators that have nothing to do.
    empty: f64,
}

/// What one change costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    requests: f64,
    seconds: f64,
}

/// Measures with so many objects at the most.
pub(crate) async fn measure(program: &Path, objects: usize) -> Result<Vec<Figure>> {
    ensure!(objects >= FEWEST, "there must be {FEWEST} objects at least");
    // Every running pod is a connection of its operator, and one of the transcoder.
    raise_limit()?;
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let directory = directory.path();
    let namespaces: Vec<String> = (1..=NAMESPACES).map(|n| format!("tv-{n}")).collect();
    let redis = Redis::start(directory).await?;
    let plane = ControlPlane::start(directory, &namespaces).await?;
    let client = plane.client(BENCH).await?;
    let streams = Streams::prepare(&client, &namespaces).await?;
    let _node = Node::start(&client, &namespaces).await?;
    let release = Release {
        program,
        directory,
        plane: &plane,
        redis: &redis,
        namespaces: &namespaces,
    };
    let mut bench = Bench {
        log: AuditLog::new(plane.audit_log()),
        release,
        streams,
        empty: 0.0,
    };
    bench.empty = bench.weigh_empty().await?;
    let mut figures = Vec::new();
    let mut few = None;
    for objects in sizes(objects) {
        let cost = bench.at(objects, &mut figures).await?;
        let few = *few.get_or_insert(cost);
        figures.extend(change_figures(objects, cost, few));
        // What comes last takes long.
        eprint!("{}", table(&figures));
    }
    figures.push(bench.lives().await?);
    figures.push(bench.starts(objects).await?);
    figures.extend(bench.running(objects).await?);
    Ok(figures)
}

/// 100, 1,000 and so on, up to the number that was asked for.
fn sizes(objects: usize) -> Vec<usize> {
    let powers = std::iter::successors(Some(FEWEST), |size| Some(size * 10));
    let smaller = powers.take_while(|size| *size < objects);
    smaller.chain([objects]).collect()
}

/// A goal that is for the full size.
fn goal(objects: usize, goal: f64) -> Option<f64> {
    (objects >= ALL).then_some(goal)
}

impl Bench<'_> {
    async fn weigh_empty(&self) -> Result<f64> {
        let operators = Operators::start(&self.release)?;
        operators
            .reaches("headend_leader", NAMESPACES as f64, LIMIT)
            .await?;
        tokio::time::sleep(IDLE / 4).await;
        let private = operators.private()?;
        operators.end().await?;
        Ok(private)
    }

    /// Everything that is measured of so many objects, none of which runs; answers what a change costs.
    async fn at(&mut self, objects: usize, figures: &mut Vec<Figure>) -> Result<Cost> {
        eprintln!("{objects} objects");
        self.streams.grow(objects).await?;
        // Each is told once that it is idle.
        let operators = Operators::start(&self.release)?;
        self.streams.until_told(LIMIT).await?;
        operators.end().await?;
        let (mut restarts, mut lists) = (Vec::new(), Vec::new());
        let mut running = None;
        for _ in 0..RESTARTS {
            if let Some(operators) = running.take() {
                Operators::end(operators).await?;
            }
            lists.push(self.list().await?.as_secs_f64());
            let operators = Operators::start(&self.release)?;
            let steady = operators.steady(objects, LIMIT).await?;
            restarts.push(steady.as_secs_f64());
            running = Some(operators);
        }
        let operators = running.context("nothing runs")?;
        figures.push(Figure::relative(
            NAME,
            format!("{objects} objects: restart to steady, s, beside a list by kubectl"),
            median(&restarts),
            median(&lists),
            goal(objects, 5.0),
        ));
        let (idle, asked) = self.idle(&operators).await?;
        figures.extend(quiet(&format!("{objects} objects idle"), &asked));
        let each = (operators.private()? - self.empty) / objects as f64;
        let case = format!("{objects} objects: private bytes each");
        figures.push(within(case, each, goal(objects, 4096.0)));
        let cost = self.changes(&operators, idle).await?;
        operators.end().await?;
        Ok(cost)
    }

    /// How long kubectl takes to list the same objects.
    async fn list(&self) -> Result<Duration> {
        let started = Instant::now();
        let status = Command::new("kubectl")
            .args(["get", "livestreams", "--all-namespaces", "--output", "json"])
            .env("KUBECONFIG", self.release.plane.kubeconfig(PEER)?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .context("failed to start kubectl; `cargo xtask bench` builds it")?;
        ensure!(status.success(), "kubectl ended with {status}");
        Ok(started.elapsed())
    }

    /// Lets time pass: the share of a processor that operators use, and what they ask for.
    async fn idle(&mut self, operators: &Operators) -> Result<(f64, Vec<Asked>)> {
        self.log.of_operators()?;
        let before = operators.on_processor()?;
        tokio::time::sleep(IDLE).await;
        let used = operators.on_processor()? - before;
        Ok((
            used.as_secs_f64() / IDLE.as_secs_f64(),
            self.log.of_operators()?,
        ))
    }

    /// Streams that are started and stopped, one at a time; what that costs besides idling.
    async fn changes(&mut self, operators: &Operators, idle: f64) -> Result<Cost> {
        let (mut requests, mut seconds) = (Vec::new(), Vec::new());
        for number in 0..CHANGES {
            self.log.of_operators()?;
            let (started, before) = (Instant::now(), operators.on_processor()?);
            self.streams.scale(number, 1).await?;
            self.streams.until_phase(number, "Live", LIMIT).await?;
            self.streams.scale(number, 0).await?;
            self.streams.until_phase(number, "Idle", LIMIT).await?;
            let used = (operators.on_processor()? - before).as_secs_f64();
            seconds.push(used - idle * started.elapsed().as_secs_f64());
            requests.push(self.log.of_operators()?.len() as f64);
        }
        Ok(Cost {
            requests: median(&requests),
            seconds: median(&seconds),
        })
    }

    /// Streams from their creation until nobody has watched them for long enough.
    async fn lives(&mut self) -> Result<Figure> {
        let operators = Operators::start(&self.release)?;
        operators.steady(self.streams.len(), LIMIT).await?;
        self.log.of_operators()?;
        self.streams.live_and_go(LIVES, LIMIT).await?;
        let asked = self.log.of_operators()?;
        operators.end().await?;
        eprintln!("of {LIVES} lives: {:?}", kinds(&asked));
        let writes = asked.iter().filter(|asked| asked.is_write()).count();
        // And the one with which a gateway creates it.
        let each = writes as f64 / LIVES as f64 + 1.0;
        let case = "API writes in a stream's life, operator and gateway".to_owned();
        Ok(Figure::absolute(NAME, case, each, 8.0))
    }

    /// One start a second among all objects: what operators ask for, and what the peer does.
    async fn starts(&mut self, objects: usize) -> Result<Figure> {
        let operators = Operators::start(&self.release)?;
        operators.steady(objects, LIMIT).await?;
        self.log.news()?;
        let started = self.start_some().await?;
        self.streams.until_live(LIMIT).await?;
        let ours = self.log.of_operators()?.len() as f64 / started;
        for number in self.streams.sleep_all().await? {
            self.streams.until_phase(number, "Idle", LIMIT).await?;
        }
        operators.end().await?;
        let peer = polling::start(self.release.plane.client(PEER).await?);
        tokio::time::sleep(polling::REQUEUE).await;
        self.log.news()?;
        let started = self.start_some().await?;
        self.streams.until_pods(started as usize, LIMIT).await?;
        let theirs = self.log.news()?;
        let theirs = theirs.iter().filter(|asked| asked.user == PEER).count() as f64 / started;
        drop(peer);
        self.streams.sleep_all().await?;
        polling::clear(&self.streams.client, self.release.namespaces).await?;
        let case = format!("{objects} objects, one start a second: API requests of a start");
        let goal = goal(objects, 0.1);
        Ok(Figure::relative(NAME, case, ours, theirs, goal))
    }

    /// Starts one after the other; answers how many.
    async fn start_some(&mut self) -> Result<f64> {
        let mut each = tokio::time::interval(START_EVERY);
        let starts = usize::try_from(STARTS.as_secs() / START_EVERY.as_secs())?;
        for number in 0..starts {
            each.tick().await;
            self.streams.scale(number, 1).await?;
        }
        each.tick().await;
        Ok(starts as f64)
    }

    /// All of them run.
    async fn running(&mut self, objects: usize) -> Result<Vec<Figure>> {
        let operators = Operators::start(&self.release)?;
        operators.steady(objects, LIMIT).await?;
        tokio::time::sleep(IDLE / 4).await;
        let before = operators.private()?;
        let started = Instant::now();
        self.streams.wake_all(objects).await?;
        let live = "headend_streams{phase=\"Live\"}";
        operators.reaches(live, objects as f64, LIMIT).await?;
        let took = started.elapsed().as_secs_f64();
        let case = format!("{objects} streams started at once: starts per second");
        let mut figures = vec![Figure::told(NAME, case, objects as f64 / took)];
        // What was told last is written by then.
        tokio::time::sleep(IDLE / 2).await;
        let (_, asked) = self.idle(&operators).await?;
        figures.extend(quiet(&format!("{objects} streams running"), &asked));
        let each = (operators.private()? - before) / objects as f64;
        let case = format!("{objects} streams running: private bytes of each polled pod");
        figures.push(within(case, each, goal(objects, 24.0 * 1024.0)));
        operators.end().await?;
        Ok(figures)
    }
}

/// How many requests there were of each kind.
fn kinds(asked: &[Asked]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for Asked { verb, resource, .. } in asked {
        *kinds.entry(format!("{verb} {resource}")).or_default() += 1;
    }
    kinds
}

fn within(case: String, value: f64, goal: Option<f64>) -> Figure {
    match goal {
        Some(goal) => Figure::absolute(NAME, case, value, goal),
        None => Figure::told(NAME, case, value),
    }
}

/// Neither writes nor lists.
fn quiet(when: &str, asked: &[Asked]) -> [Figure; 2] {
    let count = |what: fn(&Asked) -> bool| asked.iter().filter(|one| what(one)).count() as f64;
    let seconds = IDLE.as_secs();
    [
        ("writes", count(Asked::is_write)),
        ("lists", count(Asked::is_list)),
    ]
    .map(|(what, count)| {
        Figure::absolute(NAME, format!("{when}: {what} in {seconds} s"), count, 0.0)
    })
}

/// A change among so many objects, beside the same among few.
fn change_figures(objects: usize, cost: Cost, few: Cost) -> Vec<Figure> {
    if objects == FEWEST {
        return Vec::new();
    }
    let goal = goal(objects, 1.2);
    let figure = |what: &str, value, peer| {
        let case =
            format!("{objects} objects: {what} of one start and stop, beside {FEWEST} objects");
        Figure::relative(NAME, case, value, peer, goal)
    };
    vec![
        figure("API requests", cost.requests, few.requests),
        figure("processor seconds", cost.seconds, few.seconds),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_to_what_was_asked_for() {
        assert_eq!(sizes(10_000), [100, 1000, 10_000]);
        assert_eq!(sizes(300), [100, 300]);
        assert_eq!(sizes(100), [100]);
    }

    #[test]
    fn a_change_among_many_is_seen_beside_one_among_few() {
        let cost = |seconds| Cost {
            requests: 6.0,
            seconds,
        };
        assert_eq!(change_figures(100, cost(1.0), cost(1.0)), []);
        let figures = change_figures(10_000, cost(1.3), cost(1.0));
        let holds: Vec<_> = figures.iter().map(|figure| figure.holds).collect();
        assert_eq!(holds, [Some(true), Some(false)]);
        let figures = change_figures(1000, cost(1.3), cost(1.0));
        assert!(figures.iter().all(|figure| figure.holds.is_none()));
    }

    #[test]
    fn reads_are_no_writes_and_lists_are_told_apart() {
        let asked = ["get", "list", "watch", "patch"].map(|verb| Asked {
            user: "operator-tv-1".to_owned(),
            verb: verb.to_owned(),
            resource: "pods".to_owned(),
        });
        let values = quiet("idle", &asked).map(|figure| (figure.value, figure.holds));
        assert_eq!(values, [(1.0, Some(false)), (1.0, Some(false))]);
    }
}
