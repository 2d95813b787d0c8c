//! The operator is lost after its n-th write, for every n of a way; another comes; the end is the same, and at no moment did a stream
//! have two pods that were not ending.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::api_server::Objects;
use crate::history::check;
use crate::slots::channel;
use crate::world::{SOON, World, pods, runs, status, wanted};

/// More writes than any of these ways has.
const MOST: usize = 12;

/// The operator is lost after so many writes, and another goes on to the end; whether the first came there by itself.
pub(crate) async fn ends_without_loss(
    world: &World,
    lost_after: usize,
    end: impl Fn(&Objects) -> bool + Copy,
) -> bool {
    world.api.lose_after(lost_after);
    let operator = world.operator();
    let ended = tokio::select! {
        () = world.api.lost.notified() => false,
        () = world.until("the end", end) => true,
    };
    operator.kill().await;
    world.api.revive();
    let operator = world.operator();
    let what = format!("the end, lost after {lost_after} writes");
    world.until(&what, end).await;
    operator.stop().await.unwrap();
    check(world);
    ended
}

/// Walks a way with the operator lost after each of its writes in turn.
pub(crate) async fn at_every_write(begin: impl Fn(&World), end: impl Fn(&Objects) -> bool + Copy) {
    for lost_after in 1..=MOST {
        let world = World::new();
        begin(&world);
        if ends_without_loss(&world, lost_after, end).await {
            assert!(lost_after > 2, "the way has more writes than that");
            return;
        }
    }
    panic!("the way has more than {MOST} writes");
}

/// What must have held after each change.
pub(crate) fn never_two(world: &World) {
    let mut pods: BTreeMap<String, Value> = BTreeMap::new();
    for (name, pod) in world.api.history("pods") {
        match pod {
            Some(pod) => pods.insert(name, pod),
            None => pods.remove(&name),
        };
        let mut by_stream: BTreeMap<&str, usize> = BTreeMap::new();
        for pod in pods.values() {
            let ending = !pod["metadata"]["deletionTimestamp"].is_null();
            // One that waits is nobody's.
            let Some(stream) = pod["metadata"]["labels"]["headend.dev/stream-uid"].as_str() else {
                continue;
            };
            *by_stream.entry(stream).or_default() += usize::from(!ending);
        }
        assert!(by_stream.values().all(|count| *count <= 1), "{pods:#?}");
    }
}

#[tokio::test]
async fn during_a_start() {
    let begin = |world: &World| world.create("news-one", &wanted());
    at_every_write(begin, |objects| runs(objects, "news-one")).await;
}

#[tokio::test]
async fn during_a_replacement() {
    let begin = |world: &World| {
        world.create("news-one", &wanted());
        // The first pod ends as soon as it runs.
        world.api.before(|objects, _, _| {
            let first = objects.all("pods").find(|pod| {
                pod["metadata"]["labels"]["headend.dev/attempt"] == "1"
                    && pod["status"]["phase"] == "Running"
            });
            let name = first.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned());
            if let Some(name) = name {
                objects.change("pods", &name, &json!({"status": {"phase": "Failed"}}));
            }
        });
    };
    let end = |objects: &Objects| {
        runs(objects, "news-one") && status(objects, "news-one", "/pod/attempt") == 2
    };
    at_every_write(begin, end).await;
}

#[tokio::test]
async fn during_a_collection_by_deletion() {
    let begin = |world: &World| {
        world.create(
            "news-one",
            &json!({"replicas": 1, "whenIdle": "Delete", "idleTimeoutSeconds": 0}),
        );
    };
    let end = |objects: &Objects| {
        objects.get("livestreams", "news-one").is_none() && objects.all("pods").next().is_none()
    };
    at_every_write(begin, end).await;
}

#[tokio::test]
async fn during_a_scale_to_zero() {
    let begin = |world: &World| {
        world.create("news-one", &json!({"replicas": 1, "idleTimeoutSeconds": 0}));
    };
    let end = |objects: &Objects| {
        status(objects, "news-one", "/phase") == "Idle" && pods(objects).is_empty()
    };
    at_every_write(begin, end).await;
}

/// A stream that plays, to which something happens then; in the end another attempt plays, alone, and never did two.
async fn hands_over_after_any_write(begin: fn(&World), happens: fn(&mut Objects)) {
    const MOST: usize = 16;
    let plays = |objects: &Objects| status(objects, "news-one", "/phase") == "Live";
    let end = move |objects: &Objects| {
        plays(objects)
            && status(objects, "news-one", "/pod/attempt") == 2
            && status(objects, "news-one", "/successor").is_null()
            && objects.all("pods").count() == 1
    };
    let lost = (1..=MOST).map(|lost_after| async move {
        let (world, ledger) = World::with_players();
        begin(&world);
        world.once(plays, happens);
        let ended = ends_without_loss(&world, lost_after, end).await;
        let most = ledger.with(|told| told.most);
        assert_eq!(most, 1, "published at once, lost after {lost_after} writes");
        ended
    });
    let ended = futures::future::join_all(lost).await;
    let writes = ended.iter().filter(|ended| !**ended).count();
    assert!((6..MOST).contains(&writes), "the way has {writes} writes");
}

fn of_a_class(world: &World) {
    let class = json!({"metadata": {"name": "sport"}, "spec": {}});
    world
        .api
        .with(|objects| objects.put("streamclasses", class));
    world.create("news-one", &json!({"replicas": 1, "className": "sport"}));
}

/// The pod of the stream is deleted.
fn drain(objects: &mut Objects) {
    let pod = pods(objects).remove(0);
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-03-01T10:00:05Z"}});
    objects.change("pods", &pod, &deleted);
}

#[tokio::test]
async fn during_a_drain() {
    hands_over_after_any_write(of_a_class, drain).await;
}

#[tokio::test]
async fn a_pod_that_did_not_hear_that_it_is_to_finish_is_told_again_before_another_one_publishes() {
    let (world, ledger) = World::with_players();
    ledger.with(|told| told.is_deaf = true);
    let operator = world.operator();
    of_a_class(&world);
    let plays = |objects: &Objects| status(objects, "news-one", "/phase") == "Live";
    world.once(plays, drain);
    let end = |objects: &Objects| {
        plays(objects)
            && status(objects, "news-one", "/pod/attempt") == 2
            && objects.all("pods").count() == 1
    };
    world.until("another one plays", end).await;
    operator.stop().await.unwrap();
    assert!(ledger.with(|told| !told.is_deaf && told.most == 1));
}

#[tokio::test]
async fn during_a_drain_with_a_second_connection_of_the_provider() {
    let begin = |world: &World| {
        world.provider(2);
        world.create("news-one", &channel());
    };
    hands_over_after_any_write(begin, drain).await;
}

#[tokio::test]
async fn during_a_change_of_class() {
    hands_over_after_any_write(of_a_class, |objects| {
        objects.change(
            "streamclasses",
            "sport",
            &json!({"spec": {"preset": "low"}}),
        );
    })
    .await;
}

#[tokio::test]
async fn during_a_change_of_the_provider() {
    let begin = |world: &World| {
        world.provider(2);
        world.create("news-one", &channel());
    };
    hands_over_after_any_write(begin, |objects| {
        let elsewhere = json!({"spec": {"url": "http://other.example"}});
        objects.change("providers", "panel", &elsewhere);
    })
    .await;
}

#[tokio::test]
async fn two_operators_at_once_make_one_pod() {
    let world = World::new();
    let operators = [world.operator(), world.operator()];
    for round in 0..5 {
        world.create(&format!("news-{round}"), &wanted());
    }
    let all_run = |objects: &Objects| {
        let endpoints =
            (0..5).map(|round| status(objects, &format!("news-{round}"), "/pod/endpoint"));
        endpoints.into_iter().all(Value::is_string) && pods(objects).len() == 5
    };
    world.until("all run", all_run).await;
    for operator in operators {
        timeout(SOON, operator.stop()).await.unwrap().unwrap();
    }
    never_two(&world);
    let attempts = world.api.with(|objects| {
        let streams = objects
            .all("livestreams")
            .map(|stream| stream["status"]["lastAttempt"].clone());
        streams.collect::<Vec<_>>()
    });
    assert_eq!(attempts, vec![json!(1); 5]);
}
