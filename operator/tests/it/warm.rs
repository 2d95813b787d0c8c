//! Pods that wait for a stream: taken, made again, drained, lost to somebody else; and the operator lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::api_server::Objects;
use crate::crash::{ends_without_loss, never_two};
use crate::players::Ledger;
use crate::world::{Operator, World, status};

const POOL: &str = "headend.dev/warm-pool";

fn label<'a>(pod: &'a Value, name: &str) -> &'a str {
    pod["metadata"]["labels"][name].as_str().unwrap_or_default()
}

/// The pods that wait and are not going.
pub(crate) fn waiting(objects: &Objects) -> Vec<&Value> {
    let pods = objects
        .all("pods")
        .filter(|pod| !label(pod, POOL).is_empty());
    pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .collect()
}

/// Whether so many wait and could take a job.
pub(crate) fn wait(objects: &Objects, count: usize) -> bool {
    let waiting = waiting(objects);
    waiting.len() == count
        && waiting
            .iter()
            .all(|pod| pod["status"]["phase"] == "Running")
}

pub(crate) fn class(world: &World, spec: &Value) {
    let class = json!({"metadata": {"name": "sport"}, "spec": spec});
    world
        .api
        .with(|objects| objects.put("streamclasses", class));
}

pub(crate) fn stream(world: &World, name: &str) {
    world.create(name, &json!({"replicas": 1, "className": "sport"}));
}

pub(crate) fn plays(objects: &Objects, name: &str) -> bool {
    status(objects, name, "/phase") == "Live"
}

/// A release whose class has so many pods waiting.
pub(crate) async fn pool(count: usize) -> (World, Ledger, Operator) {
    let (world, ledger) = World::with_players();
    class(&world, &json!({"warmPods": {"count": count}}));
    let operator = world.operator();
    world
        .until("they wait", |objects| wait(objects, count))
        .await;
    (world, ledger, operator)
}

pub(crate) fn pod_of(world: &World, stream: &str) -> String {
    let name = |objects: &mut Objects| status(objects, stream, "/pod/name").clone();
    world.api.with(name).as_str().unwrap().to_owned()
}

/// Whether the stream has ever said so of what it starts with.
pub(crate) fn has_said(world: &World, name: &str, reason: &str) -> bool {
    let told = world.api.history("livestreams");
    let told = told.iter().filter(|(of, _)| of == name);
    told.flat_map(|(_, stream)| stream.iter()).any(|stream| {
        let conditions = stream["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| {
            let message = condition["message"].as_str().unwrap();
            condition["type"] == "Provisioned" && message.contains(reason)
        })
    })
}

pub(crate) fn is_warm(pod: &str) -> bool {
    api::names::is_warm_pod_name(pod)
}

/// What must have held at every moment: no pod was ever of two streams, and never did more wait than `most`.
pub(crate) fn nothing_twice(world: &World, ledger: &Ledger, most: usize) {
    never_two(world);
    let mut streams: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut there: BTreeSet<String> = BTreeSet::new();
    for (name, pod) in world.api.history("pods") {
        let waits = pod.as_ref().is_some_and(|pod| {
            !label(pod, POOL).is_empty() && pod["metadata"]["deletionTimestamp"].is_null()
        });
        match waits {
            true => there.insert(name.clone()),
            false => there.remove(&name),
        };
        assert!(there.len() <= most, "{there:?}");
        let uid = pod.map(|pod| label(&pod, "headend.dev/stream-uid").to_owned());
        if let Some(uid) = uid.filter(|uid| !uid.is_empty()) {
            streams.entry(name).or_default().insert(uid);
        }
    }
    assert!(streams.values().all(|of| of.len() == 1), "{streams:?}");
    let given = ledger.with(|told| told.given.clone());
    let pods: BTreeSet<_> = given.iter().map(|(pod, ..)| pod).collect();
    assert_eq!(pods.len(), given.len(), "{given:?}");
}

#[tokio::test]
async fn a_start_takes_a_pod_that_waits_and_another_is_made() {
    let (world, ledger, operator) = pool(2).await;
    let before = world.api.writes().len();
    stream(&world, "news-one");
    world
        .until("it plays, and two wait again", |objects| {
            plays(objects, "news-one") && wait(objects, 2)
        })
        .await;
    let writes = world.api.writes().split_off(before);
    assert_eq!(
        writes[..2],
        ["PATCH livestreams/status", "PATCH pods"],
        "named, then taken: {writes:?}"
    );
    let mut named = world.api.bodies("PATCH livestreams/status");
    let name = pod_of(&world, "news-one");
    assert_eq!(named.remove(0)["status"]["pod"]["name"], name);
    assert!(is_warm(&name), "{name}");
    world.api.with(|objects| {
        let stream = objects.get("livestreams", "news-one").unwrap();
        let pod = objects.get("pods", &name).unwrap();
        let owners = pod["metadata"]["ownerReferences"].as_array().unwrap();
        assert_eq!(
            (owners.len(), &owners[0]["uid"]),
            (1, &stream["metadata"]["uid"])
        );
        assert_eq!(owners[0]["controller"], true);
        assert_eq!(label(pod, "headend.dev/attempt"), "1");
        let attempts = &stream["status"]["warmAttempts"];
        assert_eq!(*attempts, json!([{"attempt": 1, "pod": name}]));
        for pod in waiting(objects) {
            assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "StreamClass");
        }
    });
    let text = crate::world::metrics(operator.admin).await;
    let started = "headend_start_duration_seconds_count{phase=\"total\",path=\"warm\"} 1";
    assert!(text.contains(started), "{text}");
    operator.stop().await.unwrap();
    nothing_twice(&world, &ledger, 2);
}

#[tokio::test]
async fn what_no_pod_that_waits_is_made_for_starts_at_once_with_one_of_its_own_and_says_why() {
    let (world, ledger, operator) = pool(1).await;
    let secret = json!({"urlSecretRef": {"name": "headend-source-a", "key": "address"}});
    let cases = [
        (
            "secrets",
            json!({"sources": [secret]}),
            "Secrets of their own",
        ),
        ("preset", json!({"preset": "high"}), "own preset"),
    ];
    for (name, spec, _) in &cases {
        let mut spec = spec.clone();
        spec["replicas"] = json!(1);
        spec["className"] = json!("sport");
        world.create(name, &spec);
    }
    world
        .until("both play", |objects| {
            cases.iter().all(|(name, ..)| plays(objects, name))
        })
        .await;
    for (name, _, reason) in &cases {
        assert!(!is_warm(&pod_of(&world, name)));
        let said = has_said(&world, name, reason);
        assert!(said, "{name}");
    }
    operator.stop().await.unwrap();
    nothing_twice(&world, &ledger, 1);
}

#[tokio::test]
async fn more_streams_at_once_than_pods_that_wait_all_start() {
    let (world, ledger, operator) = pool(2).await;
    let names = ["a", "b", "c", "d", "e"].map(|letter| format!("news-{letter}"));
    names.iter().for_each(|name| stream(&world, name));
    world
        .until("all play, and two wait again", |objects| {
            names.iter().all(|name| plays(objects, name)) && wait(objects, 2)
        })
        .await;
    let warm = names.iter().filter(|name| is_warm(&pod_of(&world, name)));
    assert!(warm.count() >= 2);
    operator.stop().await.unwrap();
    nothing_twice(&world, &ledger, 2);
}

/// The pod that a stream names is lost to it by what happens to that pod a moment before it is taken.
async fn takes_the_next_one_after(happens: fn(&mut Objects, &str)) {
    let (world, ledger, operator) = pool(2).await;
    let mut is_first = true;
    world.api.before(move |objects, method, what| {
        if is_first && method == http::Method::PATCH && what == "pods" {
            is_first = false;
            let name = status(objects, "news-one", "/pod/name").clone();
            happens(objects, name.as_str().unwrap());
        }
    });
    stream(&world, "news-one");
    world
        .until("it plays", |objects| {
            plays(objects, "news-one") && wait(objects, 2)
        })
        .await;
    world.api.with(|objects| {
        assert_eq!(status(objects, "news-one", "/pod/attempt"), 2);
        let name = status(objects, "news-one", "/pod/name");
        let attempts = status(objects, "news-one", "/warmAttempts");
        assert_eq!(*attempts, json!([{"attempt": 2, "pod": name}]));
    });
    assert!(is_warm(&pod_of(&world, "news-one")));
    operator.stop().await.unwrap();
    nothing_twice(&world, &ledger, 2);
}

#[tokio::test]
async fn a_pod_that_is_gone_when_it_is_to_be_taken_costs_an_attempt_and_nothing_else() {
    takes_the_next_one_after(|objects, name| objects.remove("pods", name)).await;
}

#[tokio::test]
async fn a_pod_that_another_stream_has_taken_costs_an_attempt_and_nothing_else() {
    takes_the_next_one_after(|objects, name| {
        let labels = json!({POOL: null, "headend.dev/stream": "other", "headend.dev/stream-uid": "other", "headend.dev/attempt": "1"});
        let owner = json!([{"apiVersion": "headend.dev/v1alpha1", "kind": "LiveStream", "name": "other", "uid": "other"}]);
        let taken = json!({"metadata": {"labels": labels, "ownerReferences": owner}});
        objects.change("pods", name, &taken);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_was_taken_without_an_answer_is_gone_on_with() {
    let (world, ledger, operator) = pool(1).await;
    world.api.lose_answer_of("PATCH pods");
    stream(&world, "news-one");
    world
        .until("it plays", |objects| {
            plays(objects, "news-one") && wait(objects, 1)
        })
        .await;
    assert!(is_warm(&pod_of(&world, "news-one")));
    let attempt = |objects: &mut Objects| status(objects, "news-one", "/pod/attempt").clone();
    assert_eq!(world.api.with(attempt), 1);
    operator.stop().await.unwrap();
    nothing_twice(&world, &ledger, 1);
}

#[tokio::test]
async fn a_pod_that_does_not_take_its_job_is_replaced_by_one_that_is_made_for_it() {
    let (world, ledger, operator) = pool(1).await;
    ledger.with(|told| told.refuses = true);
    stream(&world, "news-one");
    world
        .until("it plays", |objects| plays(objects, "news-one"))
        .await;
    assert!(!is_warm(&pod_of(&world, "news-one")));
    assert_eq!(
        world
            .api
            .with(|objects| status(objects, "news-one", "/pod/attempt").clone()),
        2
    );
    operator.stop().await.unwrap();
    nothing_twice(&world, &ledger, 1);
}

#[tokio::test]
async fn two_operators_at_once_give_no_pod_to_two_streams() {
    let (world, ledger, operator) = pool(3).await;
    let second = world.operator();
    let names = ["a", "b", "c", "d"].map(|letter| format!("news-{letter}"));
    names.iter().for_each(|name| stream(&world, name));
    world
        .until("all play, and three wait again", |objects| {
            names.iter().all(|name| plays(objects, name)) && wait(objects, 3)
        })
        .await;
    operator.stop().await.unwrap();
    second.stop().await.unwrap();
    // Both make new ones at once, and remove what is over.
    nothing_twice(&world, &ledger, 6);
    let most = ledger.with(|told| told.publishing.len());
    assert_eq!(most, names.len());
}

/// The operator is lost after each of its writes in turn, while a stream of that source takes a pod that waits.
async fn lost_after_any_write(pool: Value, source: Value) {
    const MOST: usize = 18;
    let end = |objects: &Objects| {
        plays(objects, "news-one") && wait(objects, 2) && objects.all("pods").count() == 3
    };
    let lost = (1..=MOST).map(|lost_after| {
        let (pool, source) = (pool.clone(), source.clone());
        async move {
            let (world, ledger) = World::with_players();
            world.provider(1);
            class(&world, &json!({ "warmPods": pool }));
            let spec = json!({"className": "sport", "replicas": 1, "sources": [source]});
            let stream = json!({"metadata": {"name": "news-one", "generation": 1}, "spec": spec});
            world.once(
                |objects| wait(objects, 2),
                |objects| {
                    objects.put("livestreams", stream);
                },
            );
            let ended = ends_without_loss(&world, lost_after, end).await;
            nothing_twice(&world, &ledger, 2);
            let most = ledger.with(|told| told.most);
            assert_eq!(most, 1, "published at once, lost after {lost_after} writes");
            assert!(is_warm(&pod_of(&world, "news-one")));
            ended
        }
    });
    let ended = futures::future::join_all(lost).await;
    let writes = ended.iter().filter(|ended| !**ended).count();
    assert!((6..MOST).contains(&writes), "the way has {writes} writes");
}

#[tokio::test]
async fn the_operator_is_lost_after_any_write_of_a_start_that_takes_one() {
    let source = json!({"url": "http://source.example/one.ts"});
    lost_after_any_write(json!({"count": 2}), source).await;
}

#[tokio::test]
async fn the_operator_is_lost_after_any_write_of_a_start_that_takes_one_and_a_connection() {
    let source = json!({"provider": {"name": "panel", "channel": "101"}});
    lost_after_any_write(json!({"count": 2, "provider": "panel"}), source).await;
}
