//! Several operators of which one leads: it alone writes, and whoever comes next goes on where it was, without writing anything again.

use serde_json::json;

use crate::crash::never_two;
use crate::world::{LEASE, Operator, World, pods, status, wanted};

/// A release with a Lease that nobody holds.
fn release() -> World {
    let world = World::new();
    let lease = json!({"metadata": {"name": LEASE}});
    world.api.with(|objects| objects.put("leases", lease));
    world
}

async fn two(world: &World) -> (Operator, Operator) {
    let first = world.candidate("first");
    world.until_leads("first").await;
    let second = world.candidate("second");
    world.create("news-one", &wanted());
    world.until_attempt(1).await;
    (first, second)
}

fn fail_the_pod(world: &World) {
    world.api.with(|objects| {
        let name = pods(objects).remove(0);
        objects.change("pods", &name, &json!({"status": {"phase": "Failed"}}));
    });
}

#[tokio::test]
async fn the_next_leader_goes_on_at_once_and_writes_nothing_again() {
    let world = release();
    let (first, second) = two(&world).await;
    let writes = world.api.writes();
    let created = writes.iter().filter(|write| *write == "POST pods");
    assert_eq!(created.count(), 1);
    first.stop().await.unwrap();
    let stream = || {
        world
            .api
            .with(|objects| objects.get("livestreams", "news-one").cloned())
    };
    let before = stream();
    world.until_leads("second").await;
    // It looks at every stream when it begins, so before one that comes later has its pod.
    world.create("news-two", &wanted());
    world
        .until("the second stream runs", |objects| {
            status(objects, "news-two", "/pod/endpoint").is_string()
        })
        .await;
    assert_eq!(stream(), before);
    let since = world.api.writes().split_off(writes.len());
    let pods_written: Vec<_> = since
        .iter()
        .filter(|write| write.ends_with(" pods"))
        .collect();
    assert_eq!(pods_written, ["POST pods"], "that of the second stream");
    fail_the_pod(&world);
    world
        .until("the next attempt", |objects| {
            status(objects, "news-one", "/pod/attempt") == 2
        })
        .await;
    never_two(&world);
    second.stop().await.unwrap();
    world.until_leads("").await;
}

#[tokio::test]
async fn what_happened_while_nobody_led_is_done_by_the_next_leader() {
    let world = release();
    let (first, second) = two(&world).await;
    first.kill().await;
    fail_the_pod(&world);
    world.create("news-two", &wanted());
    world.until_leads("second").await;
    let met = |objects: &_| pods(objects).len() == 2;
    world.until("both streams have a pod", met).await;
    world
        .until("the next attempt", |objects| {
            pods(objects).iter().any(|pod| pod.ends_with("-2"))
        })
        .await;
    never_two(&world);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_went_while_nobody_led_leaves_no_pod() {
    let world = release();
    let (first, second) = two(&world).await;
    first.kill().await;
    // The API server here collects no garbage: what has no owner any more is left to the operator.
    world
        .api
        .with(|objects| objects.remove("livestreams", "news-one"));
    world
        .until("the pod is gone", |objects| pods(objects).is_empty())
        .await;
    second.stop().await.unwrap();
}
