//! What gateways report for people to look at, on every adapter.

use std::collections::BTreeMap;

use presence::StoreTime;
use presence::reports::{
    Change, Heard, OVER_TIME_TO_LIVE, PERIODS_MAXIMUM, Report, Reported, SessionId, TEXT_MAXIMUM,
};

use crate::world::{World, each};

/// Longer than a gateway that says nothing counts.
const STALE: i64 = 16_000;

fn began(id: u128, text: &str) -> Change {
    Change::Began(SessionId(id), text.to_owned())
}

fn left(id: u128) -> Change {
    Change::Left(SessionId(id))
}

/// The gateway flushes, as it does before each report.
async fn report(world: &World, gateway: &str, changes: &[Change]) -> Heard {
    report_with(world, gateway, false, changes).await
}

async fn report_with(world: &World, gateway: &str, anew: bool, changes: &[Change]) -> Heard {
    world.flush(gateway, &[]).await;
    let report = Report {
        anew,
        status: "well",
        changes,
        since: StoreTime(0),
    };
    world.reports.report(gateway, report).await.unwrap()
}

/// Id, gateways and text of each.
async fn sessions(world: &World, after: Option<u128>, most: usize) -> Vec<(u128, String, String)> {
    let found = world.reports.sessions(after.map(SessionId), most).await;
    let shown = |one: Reported| (one.id.0, one.gateways.join(" "), one.text);
    found.unwrap().into_iter().map(shown).collect()
}

fn row(id: u128, gateways: &str, text: &str) -> (u128, String, String) {
    (id, gateways.to_owned(), text.to_owned())
}

#[tokio::test]
async fn sessions_of_all_gateways_are_read_page_by_page() {
    each(async |world| {
        let max = u128::MAX;
        let here = [began(7, "seven \u{e4}!"), began(max, "last"), began(1, "1")];
        assert_eq!(report(world, "a", &here).await.sessions, 3);
        let there = [began(0x10, "{\"x\": 16}"), began(7, "seven, too")];
        assert_eq!(report(world, "b", &there).await.sessions, 2);
        let first = sessions(world, None, 2).await;
        assert_eq!(first, [row(1, "a", "1"), row(7, "a b", "seven \u{e4}!")]);
        let second = sessions(world, Some(7), 2).await;
        let expected = [row(0x10, "b", "{\"x\": 16}"), row(max, "a", "last")];
        assert_eq!(second, expected);
        assert_eq!(sessions(world, Some(max), 2).await, []);
        let one = world.reports.session(SessionId(7)).await.unwrap().unwrap();
        assert_eq!(one.gateways, ["a", "b"]);
        assert_eq!(world.reports.session(SessionId(8)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn only_changes_are_told_and_may_be_told_twice() {
    each(async |world| {
        report(world, "a", &[began(1, "one"), began(2, "two")]).await;
        for _ in 0..2 {
            let changes = [left(1), began(2, "second"), began(3, "three"), left(9)];
            assert_eq!(report(world, "a", &changes).await.sessions, 2);
        }
        let expected = [row(2, "a", "second"), row(3, "a", "three")];
        assert_eq!(sessions(world, None, 9).await, expected);
        let anew = report_with(world, "a", true, &[began(4, "four")]).await;
        assert_eq!(anew.sessions, 1);
        assert_eq!(sessions(world, None, 9).await, [row(4, "a", "four")]);
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_says_nothing_and_a_text_that_is_too_long_are_not_there() {
    each(async |world| {
        let long = "x".repeat(TEXT_MAXIMUM + 1);
        report(world, "a", &[began(1, "one")]).await;
        let heard = report(world, "b", &[began(1, &long), began(2, ""), began(3, "3")]).await;
        assert_eq!(heard.sessions, 1);
        world.pass(STALE).await;
        // One that comes back has to say everything again, and is told that nothing is left of it.
        assert_eq!(report(world, "a", &[]).await.sessions, 0);
        assert_eq!(sessions(world, None, 9).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_session_that_somebody_ends_is_told_to_every_gateway_for_a_day() {
    each(async |world| {
        let before = report(world, "a", &[began(1, "one")]).await;
        assert_eq!(before.over, []);
        world.pass(10).await;
        world.reports.end(SessionId(1)).await.unwrap();
        for gateway in ["a", "b"] {
            assert_eq!(report(world, gateway, &[]).await.over, [SessionId(1)]);
        }
        let day = i64::try_from(OVER_TIME_TO_LIVE.as_millis()).unwrap();
        world.pass(day - 60_000).await;
        assert_eq!(report(world, "b", &[]).await.over, [SessionId(1)]);
        world.pass(120_000).await;
        assert_eq!(report(world, "b", &[]).await.over, []);
    })
    .await;
}

#[tokio::test]
async fn who_has_heard_of_an_end_is_not_told_of_it_again() {
    each(async |world| {
        world.reports.end(SessionId(1)).await.unwrap();
        let now = report(world, "a", &[]).await.now;
        let later = Report {
            anew: false,
            status: "",
            changes: &[],
            since: StoreTime(now.0 + 1),
        };
        assert_eq!(world.reports.report("a", later).await.unwrap().over, []);
    })
    .await;
}

#[tokio::test]
async fn gateways_say_how_they_are_as_long_as_they_are_there() {
    each(async |world| {
        report(world, "a", &[]).await;
        report(world, "b", &[]).await;
        let silent = Report {
            anew: false,
            status: "",
            changes: &[],
            since: StoreTime(0),
        };
        world.flush("c", &[]).await;
        world.reports.report("c", silent).await.unwrap();
        let statuses = world.reports.statuses().await.unwrap();
        let well = |name: &str| (name.to_owned(), "well".to_owned());
        assert_eq!(statuses, BTreeMap::from([well("a"), well("b")]));
        world.pass(STALE).await;
        report(world, "b", &[]).await;
        let statuses = world.reports.statuses().await.unwrap();
        assert_eq!(statuses, BTreeMap::from([well("b")]));
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_is_added_up_for_a_bounded_number_of_days_and_months() {
    each(async |world| {
        let add = async |period: &str, bytes| {
            let periods = [period.to_owned(), period[..7].to_owned()];
            world.reports.add_traffic(&periods, bytes).await.unwrap();
        };
        let sent = async |period: &str| {
            let traffic = world.reports.traffic().await.unwrap();
            traffic.get(period).copied()
        };
        assert!(world.reports.traffic().await.unwrap().is_empty());
        add("2026-10-31", 5).await;
        add("2026-11-01", 1 << 40).await;
        add("2026-11-01", 7).await;
        assert_eq!(sent("2026-10-31").await, Some(5));
        assert_eq!(sent("2026-11-01").await, Some((1 << 40) + 7));
        assert_eq!(sent("2026-11").await, Some((1 << 40) + 7));
        for day in 1..=PERIODS_MAXIMUM {
            add(&format!("2027-{:02}-{:02}", day / 28 + 1, day % 28 + 1), 1).await;
        }
        assert_eq!(sent("2026-10-31").await, None);
        assert_eq!(sent("2026-10").await, Some(5));
        let kept = world.reports.traffic().await.unwrap();
        let days = kept.keys().filter(|period| period.len() == 10).count();
        assert_eq!(days, PERIODS_MAXIMUM);
    })
    .await;
}
