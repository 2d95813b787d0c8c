//! What the port promises.

use catalog::store::{BATCH_MAXIMUM, CatalogStore, Change, Claim, Edit, Expected, StoreError};
use catalog::{Catalog, Row, RowKey, Snapshot, User};
use jiff::Timestamp;

use super::world::each;
use super::{Followed, channel, group, group_key, put_channel, put_group, put_user, user};
use crate::key;

fn orders(snapshot: &Snapshot) -> Vec<(String, u32)> {
    let groups = snapshot.groups();
    groups.map(|one| (one.id.clone(), one.order)).collect()
}

fn whose(snapshot: &Snapshot, token: &str) -> Option<String> {
    let found = snapshot.authenticate(&key(), token, Timestamp::now());
    found.map(|(user, _)| user.id.clone())
}

#[tokio::test]
async fn what_is_written_is_there_at_once_and_after_a_restart() {
    each(async |world| {
        let catalog = world.catalog().await;
        let rows = vec![
            put_channel("news-one"),
            put_group("News", 1),
            put_user("1", "alice"),
        ];
        assert_eq!(catalog.apply(rows).await.unwrap(), 1);
        let mut changed = channel("news-one");
        changed.name = "News 1, 新聞 \"one\"\n".to_owned();
        let change = Change::put(Row::Channel(changed.clone()));
        assert_eq!(catalog.apply(vec![change]).await.unwrap(), 2);
        drop(catalog);
        for _ in 0..2 {
            let snapshot = world.catalog().await.snapshot();
            assert_eq!(snapshot.channel("news-one").unwrap().as_ref(), &changed);
            assert_eq!(snapshot.group("News").unwrap().as_ref(), &group("News", 1));
            assert_eq!(snapshot.user("1").unwrap().as_ref(), &user("1", "alice"));
            assert_eq!(whose(&snapshot, "1-token").as_deref(), Some("1"));
            let revision = |key| snapshot.revision(&key);
            assert_eq!(revision(RowKey::Channel("news-one".to_owned())), Some(2));
            assert_eq!(revision(group_key("News")), Some(1));
            world.restart().await;
        }
    })
    .await;
}

#[tokio::test]
async fn another_replica_reads_the_rows_that_changed_and_no_others() {
    each(async |world| {
        let one = world.catalog().await;
        let rows = (0..500).map(|number| put_channel(&format!("c{number}")));
        one.apply(rows.collect()).await.unwrap();
        let two = Followed::new(world.catalog().await);
        assert_eq!(two.catalog.snapshot().channel_count(), 500);
        let before = two.catalog.rows_read();
        one.apply(vec![
            put_user("1", "alice"),
            Change::remove(RowKey::Channel("c7".to_owned())),
        ])
        .await
        .unwrap();
        two.until(|snapshot| snapshot.user("1").is_some()).await;
        assert_eq!(two.catalog.snapshot().channel_count(), 499);
        assert_eq!(two.catalog.rows_read() - before, 2);
        two.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_change_of_what_somebody_else_changed_is_refused_with_what_is_there() {
    each(async |world| {
        let catalog = world.catalog().await;
        catalog.apply(vec![put_group("News", 1)]).await.unwrap();
        catalog.apply(vec![put_group("News", 2)]).await.unwrap();
        for (id, expected, found) in [
            ("News", Expected::Absent, Some(2)),
            ("News", Expected::Revision(1), Some(2)),
            ("Sport", Expected::Revision(2), None),
        ] {
            let edits = [put_group(id, 9), Change::remove(group_key(id))];
            for change in edits {
                let change = change.expecting(expected);
                let error = catalog.apply(vec![change]).await.unwrap_err();
                let row = group_key(id);
                assert_eq!(error, StoreError::Conflict { row, found });
            }
        }
        for (change, version) in [
            (put_group("News", 3).expecting(Expected::Revision(2)), 3),
            (put_group("Sport", 1).expecting(Expected::Absent), 4),
            (
                Change::remove(group_key("News")).expecting(Expected::Revision(3)),
                5,
            ),
            (put_group("News", 4).expecting(Expected::Absent), 6),
        ] {
            assert_eq!(catalog.apply(vec![change]).await.unwrap(), version);
        }
        assert_eq!(
            orders(&catalog.snapshot()),
            [("Sport".to_owned(), 1), ("News".to_owned(), 4)]
        );
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_applied_as_a_whole_or_not_at_all() {
    each(async |world| {
        let catalog = world.catalog().await;
        catalog.apply(vec![put_user("1", "alice")]).await.unwrap();
        let good = || {
            vec![
                put_group("News", 1),
                Change::remove(RowKey::User("1".to_owned())),
            ]
        };
        let mut bad_name = user("2", "bob");
        bad_name.name = String::new();
        for (bad, expected) in [
            (
                put_group("Sport", 1).expecting(Expected::Revision(7)),
                "failed to change the group \"Sport\": somebody else has changed it",
            ),
            (
                Change::put(Row::User(bad_name)),
                "failed to change the user \"2\": a user's name has 1 to 256 characters",
            ),
            (
                put_group("News", 2),
                "failed to change the group \"News\": a batch changes it twice",
            ),
        ] {
            for turned in [false, true] {
                let mut changes = good();
                changes.push(bad.clone());
                if turned {
                    changes.reverse();
                }
                let error = catalog.apply(changes).await.unwrap_err().to_string();
                assert!(error.starts_with(expected), "{error}");
            }
        }
        let many = (0..=BATCH_MAXIMUM).map(|number| put_group(&number.to_string(), 0));
        let error = catalog.apply(many.collect()).await.unwrap_err();
        assert_eq!(error, StoreError::BatchTooLarge);
        for snapshot in [catalog.snapshot(), world.catalog().await.snapshot()] {
            assert_eq!((orders(&snapshot), snapshot.user_count()), (vec![], 1));
        }
        assert_eq!(catalog.apply(good()).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_name_and_a_token_are_one_user_s_only() {
    each(async |world| {
        let catalog = world.catalog().await;
        let both = vec![put_user("1", "alice"), put_user("2", "bob")];
        catalog.apply(both).await.unwrap();
        let taken = |claim| StoreError::Taken {
            row: RowKey::User("3".to_owned()),
            claim,
            by: RowKey::User("1".to_owned()),
        };
        let same_token = User {
            tokens: user("1", "").tokens,
            ..user("3", "carol")
        };
        for (change, claim) in [
            (put_user("3", "alice"), Claim::Name),
            (Change::put(Row::User(same_token)), Claim::Token),
        ] {
            let error = catalog.apply(vec![change]).await.unwrap_err();
            assert_eq!(error, taken(claim));
        }
        let among_themselves = vec![put_user("3", "carol"), put_user("4", "carol")];
        let error = catalog.apply(among_themselves).await.unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Taken {
                    claim: Claim::Name,
                    ..
                }
            ),
            "{error:?}"
        );
        let untouched = world.catalog().await.snapshot();
        assert_eq!(untouched.user_count(), 2);
        let swapped = vec![put_user("1", "bob"), put_user("2", "alice")];
        catalog.apply(swapped).await.unwrap();
        let freed = vec![
            Change::remove(RowKey::User("1".to_owned())),
            put_user("3", "bob"),
        ];
        catalog.apply(freed).await.unwrap();
        catalog.apply(vec![put_user("2", "dora")]).await.unwrap();
        catalog.apply(vec![put_user("4", "alice")]).await.unwrap();
        let snapshot = catalog.snapshot();
        let names: Vec<_> = snapshot
            .users()
            .map(|one| (one.name.as_str(), one.id.as_str()))
            .collect();
        assert_eq!(names, [("alice", "4"), ("bob", "3"), ("dora", "2")]);
        assert_eq!(whose(&snapshot, "1-token"), None);
    })
    .await;
}

/// Counts up in a row as often as it takes.
async fn count_up(catalog: &impl CatalogStore, id: &str) {
    loop {
        let snapshot = catalog.snapshot();
        let (order, expected) = match snapshot.group(id) {
            Some(group) => {
                let revision = snapshot.revision(&group_key(id)).unwrap();
                (group.order, Expected::Revision(revision))
            }
            None => (0, Expected::Absent),
        };
        let change = put_group(id, order + 1).expecting(expected);
        match catalog.apply(vec![change]).await {
            Ok(_) => return,
            Err(StoreError::Conflict { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_between_two_who_write_at_once() {
    each(async |world| {
        let replicas = [
            Followed::new(world.catalog().await),
            Followed::new(world.catalog().await),
        ];
        let twenty = async |replica: &Followed| {
            for _ in 0..20 {
                count_up(replica.catalog.as_ref(), "News").await;
            }
        };
        tokio::join!(twenty(&replicas[0]), twenty(&replicas[1]));
        for replica in replicas {
            replica
                .until(|snapshot| orders(snapshot) == [("News".to_owned(), 40)])
                .await;
            replica.end().await;
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_missed_more_than_is_remembered_reads_all() {
    each(async |world| {
        let late = world.catalog().await;
        let writer = world.catalog().await;
        writer.apply(vec![put_group("gone", 0)]).await.unwrap();
        for thousand in 0..11 {
            let rows =
                (0..1000).map(|number| put_group(&format!("{}", thousand * 1000 + number), 0));
            writer.apply(rows.collect()).await.unwrap();
        }
        let gone = Change::remove(group_key("gone"));
        writer.apply(vec![gone]).await.unwrap();
        let late = Followed::new(late);
        late.until(|snapshot| snapshot.groups().count() == 11_000)
            .await;
        assert!(late.catalog.rows_read() >= 11_000);
        let before = late.catalog.rows_read();
        writer.apply(vec![put_group("10", 5)]).await.unwrap();
        late.until(|snapshot| snapshot.group("10").is_some_and(|one| one.order == 5))
            .await;
        assert_eq!(late.catalog.rows_read() - before, 1);
        late.end().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_away_that_is_not_there_is_no_error() {
    each(async |world| {
        let catalog = world.catalog().await;
        let change = Change {
            edit: Edit::Remove(group_key("News")),
            expected: Expected::Absent,
        };
        catalog.apply(vec![change]).await.unwrap();
        catalog
            .apply(vec![Change::remove(group_key("News"))])
            .await
            .unwrap();
        catalog.apply(vec![]).await.unwrap();
        assert!(orders(&catalog.snapshot()).is_empty());
    })
    .await;
}
