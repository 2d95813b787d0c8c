//! The promises of the port of places, one test each, on every adapter.

use std::sync::atomic::{AtomicU64, Ordering};

use presence::StoreTime;
use presence::places::{Change, Claimed, Held, Limit, OverLimit, Place};

use crate::world::{World, each};

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;

const ONE: Limit = Limit {
    places: Some(1),
    over: OverLimit::Refuse,
};
const TWO: Limit = Limit {
    places: Some(2),
    over: OverLimit::Refuse,
};
const NEWEST: Limit = Limit {
    places: Some(2),
    over: OverLimit::NewestWins,
};
const NONE: Limit = Limit {
    places: None,
    over: OverLimit::Refuse,
};

const TAKEN: Claimed = Claimed::Taken { ended: None };

/// A session of alice's at a channel; each begins later than the ones before.
fn session(client: u8, channel: &str) -> Held {
    static CLOCK: AtomicU64 = AtomicU64::new(1_800_000_000);
    Held {
        place: Place {
            user: "alice|of the house".to_owned(),
            client: [client; 8],
            channel: channel.to_owned(),
        },
        issued_at: CLOCK.fetch_add(1, Ordering::SeqCst),
    }
}

fn took(ended: &Held) -> Claimed {
    Claimed::Taken {
        ended: Some(ended.clone()),
    }
}

async fn claim(world: &World, gateway: &str, session: &Held, limit: Limit) -> Claimed {
    let claimed = world.places.claim(gateway, session, limit).await.unwrap();
    // The store has a clock of milliseconds, and what comes later is told from what came before.
    world.pass(1).await;
    claimed
}

/// Settles; answers what was taken since.
async fn settle(world: &World, gateway: &str, since: u64, changes: &[Change]) -> (u64, Vec<Held>) {
    let since = StoreTime(since);
    let settled = world.places.settle(gateway, since, changes).await;
    let settled = settled.unwrap();
    (settled.now.0, settled.ended)
}

#[tokio::test]
async fn a_limit_counts_places_over_all_gateways() {
    each(async |world| {
        for gateway in ["gateway-0", "gateway-1"] {
            world.flush(gateway, &[]).await;
        }
        let (phone, tv, tablet) = (session(1, "one"), session(2, "one"), session(3, "two"));
        assert_eq!(claim(world, "gateway-0", &phone, TWO).await, TAKEN);
        assert_eq!(claim(world, "gateway-1", &tv, TWO).await, TAKEN);
        // The same places elsewhere, and again: nothing more.
        assert_eq!(claim(world, "gateway-1", &phone, TWO).await, TAKEN);
        assert_eq!(
            claim(world, "gateway-0", &session(2, "one"), TWO).await,
            TAKEN
        );
        for gateway in ["gateway-0", "gateway-1"] {
            let refused = claim(world, gateway, &tablet, TWO).await;
            assert_eq!(refused, Claimed::Refused { in_use: 2 });
        }
        assert_eq!(claim(world, "gateway-0", &tablet, NONE).await, TAKEN);
    })
    .await;
}

#[tokio::test]
async fn a_place_is_free_once_every_gateway_has_left_it() {
    each(async |world| {
        for gateway in ["gateway-0", "gateway-1"] {
            world.flush(gateway, &[]).await;
            claim(world, gateway, &session(1, "one"), ONE).await;
        }
        let other = session(2, "one");
        let left = [Change::Left(session(1, "one").place)];
        settle(world, "gateway-0", 0, &left).await;
        let refused = Claimed::Refused { in_use: 1 };
        assert_eq!(claim(world, "gateway-0", &other, ONE).await, refused);
        // Repeated, as after an answer that was lost.
        settle(world, "gateway-1", 0, &left).await;
        settle(world, "gateway-1", 0, &left).await;
        assert_eq!(claim(world, "gateway-0", &other, ONE).await, TAKEN);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_zaps_takes_over_its_own_place_where_none_is_free() {
    each(async |world| {
        let (old, tv) = (session(1, "one"), session(2, "one"));
        assert_eq!(claim(world, "gateway-0", &tv, TWO).await, TAKEN);
        assert_eq!(claim(world, "gateway-0", &old, TWO).await, TAKEN);
        let new = session(1, "two");
        assert_eq!(claim(world, "gateway-0", &new, TWO).await, took(&old));
        assert_eq!(claim(world, "gateway-0", &new, TWO).await, TAKEN);
        // What is over stays over, wherever it asks; what begins there later is another session.
        for gateway in ["gateway-0", "gateway-1"] {
            assert_eq!(claim(world, gateway, &old, TWO).await, Claimed::Ended);
        }
        let back = session(1, "one");
        assert_eq!(claim(world, "gateway-0", &back, TWO).await, took(&new));
        let refused = Claimed::Refused { in_use: 2 };
        assert_eq!(
            claim(world, "gateway-0", &session(3, "one"), TWO).await,
            refused
        );
    })
    .await;
}

#[tokio::test]
async fn where_one_is_free_a_client_at_another_channel_is_another_viewer() {
    each(async |world| {
        let (one, two) = (session(1, "one"), session(1, "two"));
        assert_eq!(claim(world, "gateway-0", &one, TWO).await, TAKEN);
        assert_eq!(claim(world, "gateway-0", &two, TWO).await, TAKEN);
        assert_eq!(claim(world, "gateway-0", &one, TWO).await, TAKEN);
    })
    .await;
}

#[tokio::test]
async fn the_newest_wins_where_the_user_wants_it_so() {
    each(async |world| {
        let sessions = [1, 2, 3, 4].map(|client| session(client, "one"));
        assert_eq!(claim(world, "gateway-0", &sessions[0], NEWEST).await, TAKEN);
        assert_eq!(claim(world, "gateway-0", &sessions[1], NEWEST).await, TAKEN);
        for index in [2, 3] {
            let taken = claim(world, "gateway-0", &sessions[index], NEWEST).await;
            assert_eq!(taken, took(&sessions[index - 2]));
        }
        assert_eq!(
            claim(world, "gateway-0", &sessions[0], NEWEST).await,
            Claimed::Ended
        );
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_says_nothing_more_has_no_places() {
    each(async |world| {
        world.flush("gateway-0", &[]).await;
        claim(world, "gateway-0", &session(1, "one"), ONE).await;
        let other = session(2, "one");
        let refused = Claimed::Refused { in_use: 1 };
        assert_eq!(claim(world, "gateway-1", &other, ONE).await, refused);
        world.pass(16 * SECOND).await;
        assert_eq!(claim(world, "gateway-1", &other, ONE).await, TAKEN);
        // It was only late.
        for gateway in ["gateway-0", "gateway-1"] {
            world.flush(gateway, &[]).await;
        }
        let third = claim(world, "gateway-0", &session(3, "one"), TWO).await;
        assert_eq!(third, Claimed::Refused { in_use: 2 });
    })
    .await;
}

#[tokio::test]
async fn every_gateway_hears_which_places_were_taken_since_it_asked() {
    each(async |world| {
        // Where time passes by making older what is remembered, that is older than it was.
        let before = settle(world, "gateway-1", 0, &[]).await.0 - 100;
        let old = session(1, "one");
        claim(world, "gateway-0", &old, ONE).await;
        claim(world, "gateway-0", &session(1, "two"), ONE).await;
        for _ in 0..2 {
            let (_, ended) = settle(world, "gateway-1", before, &[]).await;
            assert_eq!(ended, std::slice::from_ref(&old));
        }
        world.pass(SECOND).await;
        let (now, _) = settle(world, "gateway-1", before, &[]).await;
        let (_, ended) = settle(world, "gateway-1", now, &[]).await;
        assert_eq!(ended, []);
        world.pass(HOUR).await;
        let (_, ended) = settle(world, "gateway-1", before, &[]).await;
        assert_eq!(ended, [], "for ten minutes it is told");
        assert_eq!(claim(world, "gateway-1", &old, ONE).await, Claimed::Ended);
    })
    .await;
}

#[tokio::test]
async fn what_a_store_lost_is_told_again_and_nobody_is_sent_away_for_it() {
    each(async |world| {
        let sessions = [1, 2].map(|client| session(client, "one"));
        for session in &sessions {
            claim(world, "gateway-0", session, TWO).await;
        }
        world.empty().await;
        let kept = sessions.clone().map(Change::Kept);
        settle(world, "gateway-0", 0, &kept).await;
        let refused = Claimed::Refused { in_use: 2 };
        assert_eq!(
            claim(world, "gateway-0", &session(3, "one"), ONE).await,
            refused
        );
        assert_eq!(claim(world, "gateway-0", &sessions[0], ONE).await, TAKEN);
    })
    .await;
}

#[tokio::test]
async fn a_place_that_was_taken_is_not_had_again_by_saying_so() {
    each(async |world| {
        let old = session(1, "one");
        claim(world, "gateway-0", &old, ONE).await;
        claim(world, "gateway-0", &session(1, "two"), ONE).await;
        world.pass(HOUR).await;
        let kept = [Change::Kept(old.clone())];
        let (_, ended) = settle(world, "gateway-0", 0, &kept).await;
        assert_eq!(ended, [old], "long after everybody was told");
        let refused = Claimed::Refused { in_use: 1 };
        assert_eq!(
            claim(world, "gateway-0", &session(2, "one"), ONE).await,
            refused
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_counts_for_longer_than_a_session_lives() {
    each(async |world| {
        let old = session(1, "one");
        claim(world, "gateway-0", &old, ONE).await;
        world.pass(13 * HOUR).await;
        // A later session in the same place keeps it.
        let later = session(1, "one");
        assert_eq!(claim(world, "gateway-0", &later, ONE).await, TAKEN);
        world.pass(13 * HOUR).await;
        let other = session(2, "one");
        let refused = Claimed::Refused { in_use: 1 };
        assert_eq!(claim(world, "gateway-0", &other, ONE).await, refused);
        world.pass(13 * HOUR).await;
        assert_eq!(claim(world, "gateway-0", &other, ONE).await, TAKEN);
    })
    .await;
}
