//! The API server goes wrong at the n-th write, for every n of a way and in every manner, and two operators go every way at once: the end
//! is what it is without, and at no moment was an invariant broken.

use serde_json::{Value, json};

use crate::api_server::{Fault, Objects};
use crate::grants;
use crate::history::{check, left};
use crate::players::Ledger;
use crate::world::{World, pods, runs, status, wanted};

const FAULTS: [Fault; 7] = [
    Fault::Conflict,
    Fault::Throttled,
    Fault::Broken,
    Fault::Unanswered,
    Fault::Dropped,
    Fault::Gone,
    Fault::Behind,
];
/// How often two operators go the same way at once.
const ROUNDS: usize = 8;

/// What happens to a stream, and how one knows that all of it has.
#[derive(Clone, Copy)]
struct Way {
    players: bool,
    begin: fn(&World),
    end: fn(&Objects) -> bool,
}

const START: Way = Way {
    players: false,
    begin: |world| world.create("news-one", &wanted()),
    end: |objects| runs(objects, "news-one"),
};

const FAILOVER: Way = Way {
    players: false,
    begin: |world| {
        world.create("news-one", &wanted());
        world.once(|objects| runs(objects, "news-one"), fail_the_pod);
    },
    end: |objects| runs(objects, "news-one") && status(objects, "news-one", "/pod/attempt") == 2,
};

const CLASS_CHANGE: Way = Way {
    players: true,
    begin: |world| {
        let class = json!({"metadata": {"name": "sport"}, "spec": {}});
        world
            .api
            .with(|objects| objects.put("streamclasses", class));
        world.create("news-one", &json!({"replicas": 1, "className": "sport"}));
        world.once(plays, |objects| {
            let low = json!({"spec": {"preset": "low"}});
            objects.change("streamclasses", "sport", &low);
        });
    },
    end: |objects| {
        plays(objects)
            && status(objects, "news-one", "/pod/attempt") == 2
            && status(objects, "news-one", "/successor").is_null()
            && objects.all("pods").count() == 1
    },
};

const DELETION: Way = Way {
    players: false,
    begin: |world| {
        let idle = json!({"replicas": 1, "whenIdle": "Delete", "idleTimeoutSeconds": 0});
        world.create("news-one", &idle);
        // Kubernetes collects what has no owner any more; the operator only is sooner, where it sees the deletion.
        world.once(is_gone, |objects| {
            for pod in pods(objects) {
                objects.remove("pods", &pod);
            }
        });
    },
    end: |objects| is_gone(objects) && objects.all("pods").next().is_none(),
};

const SCALE_TO_ZERO: Way = Way {
    players: false,
    begin: |world| world.create("news-one", &json!({"replicas": 1, "idleTimeoutSeconds": 0})),
    end: |objects| {
        status(objects, "news-one", "/phase") == "Idle"
            && status(objects, "news-one", "/pod").is_null()
            && objects.all("pods").next().is_none()
    },
};

const CONNECTION: Way = Way {
    players: false,
    begin: |world| {
        world.provider(1);
        let source = json!([{"provider": {"name": "panel", "channel": "101"}}]);
        world.create("news-one", &json!({"replicas": 1, "sources": source}));
        world.once(|objects| runs(objects, "news-one"), fail_the_pod);
    },
    end: |objects| {
        let panel = objects.get("providers", "panel").unwrap();
        let slots = panel["status"]["slots"].as_array();
        runs(objects, "news-one")
            && status(objects, "news-one", "/pod/attempt") == 2
            && slots.is_some_and(|slots| slots.len() == 1 && slots[0]["attempt"] == 2)
    },
};

const GRANT: Way = Way {
    players: true,
    begin: |world| {
        grants::of_two_accounts(world);
        world.once(grants::plays_from_panel, grants::panel_fails);
    },
    end: grants::plays_from_other,
};

fn fail_the_pod(objects: &mut Objects) {
    let name = pods(objects).remove(0);
    objects.change("pods", &name, &json!({"status": {"phase": "Failed"}}));
}

fn is_gone(objects: &Objects) -> bool {
    objects.get("livestreams", "news-one").is_none()
}

fn plays(objects: &Objects) -> bool {
    status(objects, "news-one", "/phase") == "Live"
}

/// Goes a way; answers what is left, and how many writes it took.
async fn go(
    way: Way,
    fault: Option<(usize, Fault)>,
    operators: usize,
    what: &str,
) -> (Value, usize) {
    let (world, ledger) = match way.players {
        true => World::with_players(),
        false => (World::new(), Ledger::default()),
    };
    if let Some((at, fault)) = fault {
        world.api.fail(at, fault);
    }
    (way.begin)(&world);
    let operators: Vec<_> = (0..operators).map(|_| world.operator()).collect();
    world.until(what, way.end).await;
    for operator in operators {
        operator.stop().await.unwrap();
    }
    check(&world);
    let most = ledger.with(|told| told.most);
    assert!(most <= 1, "{most} published at once: {what}");
    (
        world.api.with(|objects| left(objects)),
        world.api.writes().len(),
    )
}

async fn at_every_write(way: Way) {
    let (expected, writes) = go(way, None, 1, "the end, undisturbed").await;
    assert!(writes >= 3, "the way has {writes} writes");
    for fault in FAULTS {
        let ways = (1..=writes).map(|at| {
            let expected = expected.clone();
            async move {
                let what = format!("the end, after {fault:?} at write {at}");
                let (left, _) = Box::pin(go(way, Some((at, fault)), 1, &what)).await;
                assert_eq!(left, expected, "{what}");
            }
        });
        futures::future::join_all(ways).await;
    }
}

async fn by_two(way: Way) {
    let (expected, _) = go(way, None, 1, "the end, by one").await;
    let rounds = (0..ROUNDS).map(|_| Box::pin(go(way, None, 2, "the end, by two")));
    for (left, _) in futures::future::join_all(rounds).await {
        assert_eq!(left, expected);
    }
}

#[tokio::test]
async fn of_a_start() {
    at_every_write(START).await;
}

#[tokio::test]
async fn of_a_failover() {
    at_every_write(FAILOVER).await;
}

#[tokio::test]
async fn of_a_change_of_class() {
    at_every_write(CLASS_CHANGE).await;
}

#[tokio::test]
async fn of_a_deletion() {
    at_every_write(DELETION).await;
}

#[tokio::test]
async fn of_a_scale_to_zero() {
    at_every_write(SCALE_TO_ZERO).await;
}

#[tokio::test]
async fn of_a_failover_with_a_connection_of_a_provider() {
    at_every_write(CONNECTION).await;
}

#[tokio::test]
async fn of_a_grant_of_another_account() {
    at_every_write(GRANT).await;
}

#[tokio::test]
async fn two_operators_go_every_way_at_once() {
    for way in [
        START,
        FAILOVER,
        CLASS_CHANGE,
        DELETION,
        SCALE_TO_ZERO,
        CONNECTION,
        GRANT,
    ] {
        by_two(way).await;
    }
}
