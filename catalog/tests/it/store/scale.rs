//! What a hundred times as many rows cost. Ratios of one run, each the best of several rounds: two halves of a noisy machine.

use std::time::{Duration, Instant};

use catalog::store::{CatalogStore, Change, StoreCatalog};
use catalog::{Allowed, Catalog, Group, Row, Snapshot, User};

use super::world::World;
use super::{Followed, channel, user};
use crate::key;

/// Rows of a kind. A thousand live in a processor's cache and are the measure for what must not grow at all; ten thousand do not.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Growth beyond proportion that noise and caches may add up to; what is quadratic would be ten.
const SLACK: f64 = 5.0;

#[derive(Debug)]
struct Cost {
    load: Duration,
    list: Duration,
    search: Duration,
    change: Duration,
}

fn rows(count: usize) -> impl Iterator<Item = Change> {
    let channels = (0..count).map(|number| {
        let mut channel = channel(&format!("c{number}"));
        channel.name = format!("Channel number {number}");
        channel.group = Some(format!("Group {}", number % 50));
        Row::Channel(channel)
    });
    let users = (0..count).map(|number| {
        let user = user(&format!("u{number}"), &format!("User {number}"));
        let channels = Allowed::All;
        Row::User(User { channels, ..user })
    });
    channels.chain(users).map(Change::put)
}

async fn fill(catalog: &StoreCatalog, count: usize) {
    let mut rows = rows(count).peekable();
    while rows.peek().is_some() {
        let batch = rows.by_ref().take(1_000).collect();
        catalog.apply(batch).await.unwrap();
    }
}

/// The best of some rounds.
fn best<T>(rounds: usize, mut step: impl FnMut() -> T) -> Duration {
    let times = (0..rounds).map(|_| {
        let start = Instant::now();
        std::hint::black_box(step());
        start.elapsed()
    });
    times.min().unwrap()
}

fn found(snapshot: &Snapshot, text: &str) -> usize {
    let channels = snapshot.channels();
    channels
        .filter(|channel| channel.name.contains(text))
        .count()
}

async fn cost(world: &World, count: usize) -> Cost {
    let writer = world.catalog().await;
    fill(&writer, count).await;
    let start = Instant::now();
    let reader = Followed::new(world.catalog().await);
    let load = start.elapsed();
    let snapshot = reader.catalog.snapshot();
    assert_eq!(
        (snapshot.channel_count(), snapshot.user_count()),
        (count, count)
    );
    let names = || {
        snapshot
            .channels()
            .map(|channel| channel.name.len())
            .sum::<usize>()
    };
    let list = best(5, names);
    let wanted = format!("number {}", count - 1);
    assert_eq!(found(&snapshot, &wanted), 1);
    let search = best(5, || found(&snapshot, &wanted));
    assert!(
        snapshot
            .authenticate(&key(), "u7-token", jiff::Timestamp::now())
            .is_some()
    );

    // A change goes through the store, to the writer and to another replica, which reads that one row.
    let mut change = Duration::MAX;
    for order in 1..=5 {
        let before = reader.catalog.rows_read();
        let start = Instant::now();
        let group = Group {
            id: "News".to_owned(),
            name: "News".to_owned(),
            order,
        };
        writer
            .apply(vec![Change::put(Row::Group(group))])
            .await
            .unwrap();
        reader
            .until(|snapshot| {
                snapshot
                    .group("News")
                    .is_some_and(|group| group.order == order)
            })
            .await;
        change = change.min(start.elapsed());
        assert_eq!(reader.catalog.rows_read() - before, 1);
    }
    reader.end().await;
    Cost {
        load,
        list,
        search,
        change,
    }
}

fn ratio(large: Duration, small: Duration) -> f64 {
    large.as_secs_f64() / small.as_secs_f64()
}

#[tokio::test]
async fn ten_times_as_many_rows_cost_ten_times_as_much_and_one_change_costs_the_same() {
    let mut costs = Vec::new();
    for size in SIZES {
        let cost = cost(&World::redis().await, size).await;
        eprintln!("{size} rows of a kind: {cost:?}");
        costs.push(cost);
    }
    let [least, small, large] = &costs[..] else {
        return;
    };
    for (what, large, small) in [
        ("load", large.load, small.load),
        ("list", large.list, small.list),
        ("search", large.search, small.search),
    ] {
        let growth = ratio(large, small);
        assert!(growth <= 10.0 * SLACK, "{what}: {growth:.0} times");
    }
    let growth = ratio(large.change, least.change);
    assert!(growth <= 30.0, "one change: {growth:.0} times");
}
