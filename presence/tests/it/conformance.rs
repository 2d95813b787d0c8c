//! The promises of the port, one test each, on every adapter.

use std::collections::BTreeMap;
use std::time::Duration;

use presence::{CloseStart, Fence, StoreTime, Touch};

use crate::world::{World, each};

const TIMEOUT: Duration = Duration::from_mins(5);
const MINUTE: i64 = 60_000;

fn idle(start: CloseStart) -> StoreTime {
    match start {
        CloseStart::Closing { since } => since,
        other => panic!("expected a closing fence, got {other:?}"),
    }
}

async fn fence(world: &World) -> Fence {
    world.presence.stream("uid").await.unwrap().fence
}

async fn begin(world: &World) -> CloseStart {
    world.presence.begin_close("uid", TIMEOUT).await.unwrap()
}

/// A stream touched once and idle ever since, with a `closing` fence.
async fn closing(world: &World) -> StoreTime {
    world.touch("gateway-0", "uid", 0).await;
    world.pass(6 * MINUTE).await;
    idle(begin(world).await)
}

#[tokio::test]
async fn a_stream_nobody_touched_counts_as_touched_when_first_asked_about() {
    each(async |world| {
        let unknown = world.presence.stream("uid").await.unwrap();
        assert_eq!(
            (unknown.last, unknown.fence, unknown.viewers),
            (None, Fence::Open, 0)
        );
        assert_eq!(begin(world).await, CloseStart::Adopted);
        assert!(world.presence.stream("uid").await.unwrap().last.is_some());
        world.pass(6 * MINUTE).await;
        idle(begin(world).await);
    })
    .await;
}

#[tokio::test]
async fn the_age_of_a_touch_counts_and_a_later_touch_is_never_taken_back() {
    each(async |world| {
        world.touch("gateway-0", "uid", 20_000).await;
        let first = world.presence.stream("uid").await.unwrap();
        let last = first.last.unwrap();
        assert!(last.0 + 20_000 <= first.now.0, "{first:?}");
        world.touch("gateway-1", "uid", 200_000).await;
        assert_eq!(world.presence.stream("uid").await.unwrap().last, Some(last));
        world.touch("gateway-1", "uid", 1000).await;
        assert!(world.presence.stream("uid").await.unwrap().last > Some(last));
    })
    .await;
}

#[tokio::test]
async fn a_stream_in_use_says_when_to_ask_again() {
    each(async |world| {
        world.touch("gateway-0", "uid", 60_000).await;
        let CloseStart::InUse { remaining } = begin(world).await else {
            panic!("touched a minute ago");
        };
        assert!(remaining <= Duration::from_mins(4), "{remaining:?}");
        assert_eq!(fence(world).await, Fence::Open);
        world
            .pass(i64::try_from(remaining.as_millis()).unwrap())
            .await;
        let since = idle(begin(world).await);
        assert_eq!(fence(world).await, Fence::Closing { since });
    })
    .await;
}

#[tokio::test]
async fn an_idle_stream_goes_from_closing_to_closed() {
    each(async |world| {
        closing(world).await;
        assert!(world.seal("uid").await);
        assert!(matches!(fence(world).await, Fence::Closed { .. }));
    })
    .await;
}

#[tokio::test]
async fn an_open_stream_cannot_be_sealed() {
    each(async |world| {
        assert!(!world.seal("uid").await);
        world.touch("gateway-0", "uid", 0).await;
        assert!(!world.seal("uid").await);
        assert_eq!(fence(world).await, Fence::Open);
    })
    .await;
}

#[tokio::test]
async fn a_touch_between_begin_close_and_seal_reopens_the_fence() {
    each(async |world| {
        closing(world).await;
        // However old the touch is: a gateway that was cut off reports late.
        assert_eq!(
            world.touch("gateway-0", "uid", 400_000).await,
            Vec::<String>::new()
        );
        assert_eq!(fence(world).await, Fence::Open);
        assert!(!world.seal("uid").await);
    })
    .await;
}

#[tokio::test]
async fn a_touch_of_a_closed_stream_is_told_so_until_it_is_opened() {
    each(async |world| {
        closing(world).await;
        assert!(world.seal("uid").await);
        assert_eq!(world.touch("gateway-0", "uid", 0).await, ["uid"]);
        assert_eq!(world.touch("gateway-1", "uid", 0).await, ["uid"]);
        assert!(matches!(fence(world).await, Fence::Closed { .. }));
        world.open("uid").await;
        assert_eq!(fence(world).await, Fence::Open);
        assert_eq!(
            world.touch("gateway-0", "uid", 0).await,
            Vec::<String>::new()
        );
    })
    .await;
}

#[tokio::test]
async fn opening_counts_as_a_touch() {
    each(async |world| {
        closing(world).await;
        world.open("uid").await;
        assert!(matches!(begin(world).await, CloseStart::InUse { .. }));
    })
    .await;
}

#[tokio::test]
async fn only_touched_streams_are_told_that_they_are_closed() {
    each(async |world| {
        closing(world).await;
        assert!(world.seal("uid").await);
        assert_eq!(
            world.touch("gateway-0", "another", 0).await,
            Vec::<String>::new()
        );
        let empty = world.flush("gateway-0", &[]).await;
        assert_eq!(empty.closed, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_lost_an_answer_may_repeat_every_step() {
    each(async |world| {
        let since = closing(world).await;
        world.pass(1000).await;
        let again = idle(begin(world).await);
        assert!(
            again <= since,
            "the wait for the gateways does not start anew"
        );
        assert!(world.seal("uid").await);
        assert!(world.seal("uid").await);
        idle(begin(world).await);
        assert!(matches!(fence(world).await, Fence::Closed { .. }));
        assert!(world.seal("uid").await);
    })
    .await;
}

#[tokio::test]
async fn a_seal_that_arrives_late_seals_no_fence_but_the_one_it_means() {
    each(async |world| {
        let since = closing(world).await;
        let earlier = StoreTime(since.0 - 20_000);
        assert!(!world.presence.seal("uid", earlier).await.unwrap());
        assert_eq!(fence(world).await, Fence::Closing { since });
        assert!(world.presence.seal("uid", since).await.unwrap());
        assert!(!world.presence.seal("uid", earlier).await.unwrap());
        assert_eq!(fence(world).await, Fence::Closed { since });
    })
    .await;
}

#[tokio::test]
async fn opening_opens_the_fence_that_was_seen_and_no_other() {
    each(async |world| {
        let since = closing(world).await;
        let earlier = StoreTime(since.0 - 20_000);
        let (before, after) = (Fence::Closing { since }, Fence::Closed { since });
        let open = async |seen| world.presence.open("uid", seen).await.unwrap();
        for seen in [Fence::Open, Fence::Closing { since: earlier }, after] {
            open(seen).await;
            assert_eq!(fence(world).await, before, "{seen:?}");
        }
        assert!(world.seal("uid").await);
        for seen in [Fence::Open, before, Fence::Closed { since: earlier }] {
            open(seen).await;
            assert_eq!(fence(world).await, after, "{seen:?}");
        }
        open(after).await;
        assert_eq!(fence(world).await, Fence::Open);
    })
    .await;
}

#[tokio::test]
async fn a_flush_that_arrives_late_says_nothing_of_what_was_seen_since_it_was_gathered() {
    each(async |world| {
        let since = closing(world).await;
        let flushed = async |gathered| {
            let store = &world.presence;
            let flush = store.flush("gateway-0", &[], gathered);
            flush.await.unwrap();
            store.flushes().await.unwrap().1["gateway-0"]
        };
        let earlier = StoreTime(since.0 - 2000);
        assert_eq!(flushed(earlier).await, earlier);
        let fresh = flushed(StoreTime(u64::MAX)).await;
        assert!(fresh >= since, "a moment to come counts as now");
        assert_eq!(flushed(earlier).await, fresh, "it was overtaken");
        world.pass(-60 * MINUTE).await;
        let (now, _) = world.presence.flushes().await.unwrap();
        assert_eq!(flushed(now).await, now, "the clock went back");
    })
    .await;
}

#[tokio::test]
async fn a_closing_fence_has_a_time_to_live() {
    each(async |world| {
        closing(world).await;
        world.pass(10 * MINUTE - 5000).await;
        assert!(matches!(fence(world).await, Fence::Closing { .. }));
        world.pass(5001).await;
        assert_eq!(fence(world).await, Fence::Open);
        assert!(!world.seal("uid").await);
        idle(begin(world).await);
    })
    .await;
}

#[tokio::test]
async fn a_store_that_was_emptied_collects_nothing() {
    each(async |world| {
        closing(world).await;
        world.empty().await;
        assert!(!world.seal("uid").await);
        assert_eq!(begin(world).await, CloseStart::Adopted);
        assert!(matches!(begin(world).await, CloseStart::InUse { .. }));
        assert_eq!(world.presence.flushes().await.unwrap().1, BTreeMap::new());
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_stops_flushing_shows_by_its_last_flush() {
    each(async |world| {
        world.flush("cut-off", &[]).await;
        world.touch("healthy", "uid", 0).await;
        world.pass(6 * MINUTE).await;
        let since = idle(begin(world).await);
        world.pass(5000).await;
        world.flush("healthy", &[]).await;
        let (now, flushes) = world.presence.flushes().await.unwrap();
        assert!(flushes["healthy"] >= since, "{flushes:?}");
        assert!(flushes["cut-off"] < since, "{flushes:?}");
        assert!(flushes.values().all(|moment| *moment <= now));
    })
    .await;
}

#[tokio::test]
async fn viewers_are_the_sum_over_the_gateways_last_flushes() {
    each(async |world| {
        world.watch("gateway-0", "uid", 0, 3).await;
        world.watch("gateway-1", "uid", 0, 4).await;
        assert_eq!(world.presence.stream("uid").await.unwrap().viewers, 7);
        world.watch("gateway-0", "uid", 0, 2).await;
        assert_eq!(world.presence.stream("uid").await.unwrap().viewers, 6);
        world.flush("gateway-0", &[]).await;
        assert_eq!(world.presence.stream("uid").await.unwrap().viewers, 4);
        world.pass(15_001).await;
        assert_eq!(world.presence.stream("uid").await.unwrap().viewers, 0);
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_stream_leaves_nothing_behind() {
    each(async |world| {
        closing(world).await;
        assert!(world.seal("uid").await);
        world.watch("gateway-0", "uid", 0, 3).await;
        world.presence.forget("uid").await.unwrap();
        let stream = world.presence.stream("uid").await.unwrap();
        assert_eq!(
            (stream.last, stream.fence, stream.viewers),
            (None, Fence::Open, 0)
        );
        assert_eq!(begin(world).await, CloseStart::Adopted);
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_goes_back_delays_a_collection_by_one_timeout_at_most() {
    each(async |world| {
        world.touch("gateway-0", "uid", 0).await;
        world.pass(-60 * MINUTE).await;
        let CloseStart::InUse { remaining } = begin(world).await else {
            panic!("just touched");
        };
        assert_eq!(remaining, TIMEOUT);
        world.pass(6 * MINUTE).await;
        idle(begin(world).await);
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_cannot_collect_a_watched_stream() {
    each(async |world| {
        world.touch("gateway-0", "uid", 0).await;
        world.pass(24 * 60 * MINUTE).await;
        idle(begin(world).await);
        // The gateway flushes as ever before the collector may go on.
        world.touch("gateway-0", "uid", 2000).await;
        assert!(!world.seal("uid").await);
    })
    .await;
}

#[tokio::test]
async fn thousands_of_streams_fit_into_one_flush() {
    each(async |world| {
        let touch = |number: u32| Touch {
            stream_uid: format!("uid-{number}"),
            age: Duration::from_secs(1),
            viewers: number,
        };
        let touches: Vec<_> = (0..5000).map(touch).collect();
        world.flush("gateway-0", &touches).await;
        for number in [0, 999, 1000, 1001, 4999] {
            let stream = world
                .presence
                .stream(&format!("uid-{number}"))
                .await
                .unwrap();
            assert_eq!(stream.viewers, number);
            assert!(stream.last.is_some());
        }
    })
    .await;
}

#[tokio::test]
async fn a_touch_racing_with_a_seal_either_keeps_the_stream_or_learns_that_it_is_closed() {
    each(async |world| {
        for round in 0..100 {
            let uid = format!("uid-{round}");
            world.touch("gateway-0", &uid, 400_000).await;
            let since = idle(world.presence.begin_close(&uid, TIMEOUT).await.unwrap());
            let seal = world.presence.seal(&uid, since);
            let touch = world.touch("gateway-1", &uid, 0);
            let (sealed, told) = if round % 2 == 0 {
                tokio::join!(seal, touch)
            } else {
                let (told, sealed) = tokio::join!(touch, seal);
                (sealed, told)
            };
            assert_eq!(sealed.unwrap(), told == [uid], "round {round}");
        }
    })
    .await;
}
