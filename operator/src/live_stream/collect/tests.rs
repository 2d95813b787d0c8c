//! The decision in every state of the fence, then the whole protocol against the store's own statement of its rules.

mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use presence::memory::MemoryPresence;
use presence::{CloseStart, Presence, Touch};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(300);
const LONG: Duration = Duration::from_secs(9999);
const NOW: u64 = 1_000_000_000;
const CLOSED: Fence = Fence::Closed {
    since: StoreTime(NOW - 20_000),
};

fn seconds_ago(seconds: u64) -> StoreTime {
    StoreTime(NOW - seconds * 1000)
}

fn view(last: Option<u64>, fence: Fence, flushes: &[(&str, u64)]) -> PresenceView {
    let flushes = flushes
        .iter()
        .map(|(name, ago)| ((*name).to_owned(), seconds_ago(*ago)));
    PresenceView::Known(PresenceFacts {
        stream: StreamPresence {
            now: StoreTime(NOW),
            last: last.map(seconds_ago),
            fence,
            viewers: 0,
        },
        flushes: flushes.collect(),
    })
}

fn closing(ago: u64) -> Fence {
    Fence::Closing {
        since: seconds_ago(ago),
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_stream_that_is_spared_is_opened_again_where_its_collection_had_begun() {
    let spared = Collect::Spared(Spared::Held);
    for (presence, expected) in [
        (view(Some(400), Fence::Open, &[]), spared.clone()),
        (view(Some(400), closing(3), &[]), Collect::Open),
        (view(Some(400), CLOSED, &[]), Collect::Open),
        (PresenceView::Away("refused".to_owned()), spared.clone()),
        (PresenceView::NotAsked, spared),
    ] {
        assert_eq!(spare(&presence, Spared::Held), expected, "{presence:?}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_next_step_in_every_state_of_the_fence() {
    let left = |seconds| Collect::Wait(Duration::from_secs(seconds));
    let begin = Collect::Begin { timeout: TIMEOUT };
    let seal = |ago| Collect::Seal {
        since: seconds_ago(ago),
    };
    let paused = |gateways: &[&str]| Collect::Paused {
        gateways: names(gateways),
    };
    for (case, presence, run_age, gateways, expected) in [
        (
            "never touched",
            view(None, Fence::Open, &[]),
            LONG,
            &["g"][..],
            begin.clone(),
        ),
        (
            "touched lately",
            view(Some(40), Fence::Open, &[]),
            LONG,
            &["g"],
            left(260),
        ),
        (
            "touched long ago",
            view(Some(300), Fence::Open, &[]),
            LONG,
            &["g"],
            begin,
        ),
        (
            "touched long ago, started lately",
            view(Some(300), Fence::Open, &[]),
            Duration::from_secs(100),
            &["g"],
            left(200),
        ),
        (
            "nobody can watch",
            view(Some(300), closing(0), &[]),
            LONG,
            &[],
            seal(0),
        ),
        (
            "flushed before the fence",
            view(Some(300), closing(3), &[("g", 4)]),
            LONG,
            &["g"],
            Collect::Flushing,
        ),
        (
            "flushed at the fence",
            view(Some(300), closing(3), &[("g", 3)]),
            LONG,
            &["g"],
            Collect::Flushing,
        ),
        (
            "flushed after the fence",
            view(Some(300), closing(3), &[("g", 2)]),
            LONG,
            &["g"],
            seal(3),
        ),
        (
            "one of two flushed",
            view(Some(300), closing(3), &[("g", 2)]),
            LONG,
            &["g", "h"],
            Collect::Flushing,
        ),
        (
            "one of two silent for long",
            view(Some(300), closing(15), &[("g", 2)]),
            LONG,
            &["g", "h"],
            paused(&["h"]),
        ),
        (
            "one speaks that is not seen yet",
            view(Some(300), closing(3), &[("new", 4)]),
            LONG,
            &[],
            Collect::Flushing,
        ),
        (
            "one is gone for good",
            view(Some(300), closing(15), &[("old", 16)]),
            LONG,
            &[],
            seal(15),
        ),
        (
            "touched while closing",
            view(Some(2), closing(3), &[("g", 2)]),
            LONG,
            &["g"],
            Collect::Open,
        ),
        (
            "sealed, and not removed or woken since",
            view(Some(300), CLOSED, &[]),
            LONG,
            &["g"],
            Collect::Open,
        ),
        (
            "sealed and touched since",
            view(Some(2), CLOSED, &[]),
            LONG,
            &["g"],
            Collect::Open,
        ),
        (
            "sealed and started anew",
            view(Some(300), CLOSED, &[]),
            Duration::ZERO,
            &["g"],
            Collect::Open,
        ),
        (
            "sealed, then the store was emptied",
            view(None, CLOSED, &[]),
            LONG,
            &["g"],
            Collect::Open,
        ),
    ] {
        let gateways = names(gateways);
        let step = decide(&presence, TIMEOUT, run_age, &gateways);
        assert_eq!(step, expected, "{case}");
    }
}

#[test]
fn a_store_that_is_away_collects_nothing() {
    let away = PresenceView::Away("connection refused".to_owned());
    let step = decide(&away, TIMEOUT, LONG, &[]);
    let reason = "connection refused".to_owned();
    assert_eq!(step, Collect::Away { reason });
    assert_eq!(
        decide(&PresenceView::NotAsked, TIMEOUT, LONG, &[]),
        Collect::Nothing
    );
}

/// A release in miniature: a store on a clock of ours, one stream, gateways that flush when told.
struct Release {
    clock: Arc<AtomicU64>,
    store: MemoryPresence,
    gateways: Vec<String>,
}

impl Release {
    fn new(gateways: &[&str]) -> Self {
        let clock = Arc::new(AtomicU64::new(NOW));
        let read = clock.clone();
        Self {
            store: MemoryPresence::with_clock(move || StoreTime(read.load(Ordering::SeqCst))),
            clock,
            gateways: names(gateways),
        }
    }

    fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    async fn flush(&self, gateway: &str, viewers: u32) -> Vec<String> {
        let touch = Touch {
            stream_uid: "s".to_owned(),
            age: Duration::ZERO,
            viewers,
        };
        let touches = if viewers > 0 { vec![touch] } else { Vec::new() };
        let now = StoreTime(self.clock.load(Ordering::SeqCst));
        let flush = self.store.flush(gateway, &touches, now);
        flush.await.unwrap().closed
    }

    /// What the operator would do now; done, as far as the store is concerned.
    async fn step(&self) -> Collect {
        let stream = self.store.stream("s").await.unwrap();
        let flushes = self.store.flushes().await.unwrap().1;
        let seen = stream.fence;
        let facts = PresenceView::Known(PresenceFacts { stream, flushes });
        let step = decide(&facts, TIMEOUT, LONG, &self.gateways);
        match &step {
            Collect::Begin { timeout } => {
                self.store.begin_close("s", *timeout).await.unwrap();
            }
            Collect::Seal { since } => assert!(self.store.seal("s", *since).await.unwrap()),
            Collect::Open => self.store.open("s", seen).await.unwrap(),
            _ => {}
        }
        step
    }
}

#[tokio::test]
async fn an_idle_stream_is_sealed_after_every_gateway_has_spoken() {
    let release = Release::new(&["g", "h"]);
    release.flush("g", 1).await;
    release.pass(300);
    assert_eq!(release.step().await, Collect::Begin { timeout: TIMEOUT });
    release.pass(1);
    release.flush("g", 0).await;
    assert_eq!(release.step().await, Collect::Flushing);
    release.pass(1);
    release.flush("h", 0).await;
    assert!(matches!(release.step().await, Collect::Seal { .. }));
    assert_eq!(release.flush("g", 1).await, ["s"], "a late viewer is told");
    assert_eq!(release.step().await, Collect::Open);
    assert!(matches!(release.step().await, Collect::Wait(_)));
}

#[tokio::test]
async fn a_viewer_that_comes_back_before_the_seal_keeps_the_stream() {
    let release = Release::new(&["g"]);
    release.flush("g", 1).await;
    release.pass(300);
    release.step().await;
    release.pass(1);
    assert_eq!(release.flush("g", 1).await, Vec::<String>::new());
    assert_eq!(release.step().await, Collect::Wait(TIMEOUT));
}

#[tokio::test]
async fn a_gateway_that_is_cut_off_pauses_the_collection_until_it_speaks() {
    let release = Release::new(&["cut-off"]);
    release.flush("cut-off", 1).await;
    release.pass(300);
    release.step().await;
    release.pass(15);
    let gateways = names(&["cut-off"]);
    assert_eq!(release.step().await, Collect::Paused { gateways });
    release.flush("cut-off", 0).await;
    assert!(matches!(release.step().await, Collect::Seal { .. }));
}

#[tokio::test]
async fn a_store_that_was_emptied_starts_the_timeout_anew() {
    let release = Release::new(&["g"]);
    assert_eq!(release.step().await, Collect::Begin { timeout: TIMEOUT });
    assert_eq!(release.step().await, Collect::Wait(TIMEOUT));
    let in_use = release.store.begin_close("s", TIMEOUT).await.unwrap();
    assert_eq!(in_use, CloseStart::InUse { remaining: TIMEOUT });
}
