//! Lists and backups, in and out.

use catalog::embedded::EmbeddedStore;
use catalog::model::Status;
use catalog::store::CatalogStore;
use catalog::transfer::{
    Import, additions, apply_all, read_backup, read_m3u, read_pipe, replacement, write_backup,
    write_m3u, write_pipe,
};
use catalog::{Allowed, Catalog, Channel, ChannelSource, Group, Row, Snapshot, User, UserToken};

use crate::key;

const PIPE: &str = "id|name|url|logo|category|quality|order|category_order
101|News One|http://a.example/sd|http://logos.example/1.png|News|SD|2|7
102|Sport|http://a.example/sport||Sport||1|3
101|News One|http://a.example/fhd||News|FHD|2|7
103|Broken
101|News One|http://b.example/hd||News|720p|2|7
104|Camera|mms://a.example/1|||||
Film 1|Film|http://a.example/film|||||
";

fn snapshot(import: &Import) -> Snapshot {
    import.rows.iter().cloned().collect()
}

fn faults(import: &Import) -> Vec<String> {
    let problems = import.problems.kept.iter();
    problems.map(ToString::to_string).collect()
}

fn source(url: &str, quality: Option<&str>) -> ChannelSource {
    ChannelSource {
        quality: quality.map(str::to_owned),
        ..ChannelSource::at(url)
    }
}

#[test]
fn rows_of_one_id_are_sources_of_one_channel_the_best_first() {
    let import = read_pipe("list.txt", PIPE.as_bytes());
    let snapshot = snapshot(&import);
    let news = Channel {
        slug: "101".to_owned(),
        name: "News One".to_owned(),
        group: Some("News".to_owned()),
        logo: Some("http://logos.example/1.png".to_owned()),
        order: 2,
        sources: vec![
            source("http://a.example/fhd", Some("FHD")),
            source("http://b.example/hd", Some("720p")),
            source("http://a.example/sd", Some("SD")),
        ],
        ..Channel::default()
    };
    assert_eq!(snapshot.channel("101").unwrap().as_ref(), &news);
    let slugs: Vec<_> = snapshot.channels().map(|one| one.slug.as_str()).collect();
    assert_eq!(slugs, ["102", "101", "film-1"]);
    let groups: Vec<_> = snapshot
        .groups()
        .map(|one| (one.id.as_str(), one.order))
        .collect();
    assert_eq!(groups, [("Sport", 3), ("News", 7)]);
    let faults = faults(&import);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("list.txt:5: the row has no id, name and address"));
    assert!(faults[1].starts_with("list.txt:7: a source is an address"));
}

#[test]
fn what_is_written_as_a_list_is_read_as_the_same_channels() {
    let before = snapshot(&read_pipe("list.txt", PIPE.as_bytes()));
    let mut text = String::new();
    write_pipe(&before, &mut text).unwrap();
    let after = read_pipe("again.txt", text.as_bytes());
    assert!(after.problems.is_empty(), "{}", after.problems);
    assert_eq!(additions(&before, after.rows), []);

    let list = "#EXTM3U\n#EXTINF:-1 tvg-id=\"one\" tvg-chno=\"7\" group-title=\"News\" headend-class=\"sport\",News\n#EXTVLCOPT:http-user-agent=Player/1.0\nhttp://a.example/1|Referer=http%3A%2F%2Fb.example%2F\n#EXTINF:-1,Nowhere\n#EXTINF:-1,NEWS\nhttp://a.example/2\n";
    let import = read_m3u("list.m3u", list.as_bytes());
    assert_eq!(
        faults(&import),
        [
            "list.m3u:5: the channel \"Nowhere\" has no address",
            "list.m3u:6: the slug \"news\" is that of list.m3u:2 already",
        ]
    );
    let before = snapshot(&import);
    let mut text = String::new();
    write_m3u(&before, &mut text).unwrap();
    let after = read_m3u("again.m3u", text.as_bytes());
    assert_eq!((after.rows, after.problems.is_empty()), (import.rows, true));
}

#[test]
fn what_is_no_list_is_a_problem_and_no_row() {
    for import in [
        read_m3u("x", b"<html>"),
        read_backup("x", b"{}"),
        read_backup("x", b""),
        read_pipe("x", b"<html>\n\xff\xfe"),
    ] {
        assert!(import.rows.is_empty() && !import.problems.is_empty());
    }
}

fn everything() -> Snapshot {
    let mut user = User {
        id: "1".to_owned(),
        name: "alice".to_owned(),
        tokens: vec![UserToken::of_hash(key().hash(b"secret"))],
        status: Status::Banned,
        channels: Allowed::All,
        expires: Some("2030-01-31T00:00:00Z".parse().unwrap()),
        ..User::default()
    };
    user.password = Some(key().hash_password("1", b"hunter2"));
    let channel = Channel {
        slug: "news-one".to_owned(),
        name: "News\nOne".to_owned(),
        group: Some("News".to_owned()),
        sources: vec![ChannelSource {
            headers: vec![("Referer".to_owned(), "http://b.example/".to_owned())],
            ..source("http://a.example/1", Some("HD"))
        }],
        ..Channel::default()
    };
    let group = Group {
        id: "News".to_owned(),
        name: "Nachrichten".to_owned(),
        order: 3,
    };
    [Row::User(user), Row::Channel(channel), Row::Group(group)]
        .into_iter()
        .collect()
}

#[test]
fn a_backup_has_everything_but_secrets_and_a_bad_line_costs_its_row() {
    let before = everything();
    let mut backup = Vec::new();
    write_backup(&before, &mut backup).unwrap();
    let text = String::from_utf8(backup).unwrap();
    assert!(!text.contains("secret") && !text.contains("hunter2"));
    let import = read_backup("backup", text.as_bytes());
    assert!(import.problems.is_empty(), "{}", import.problems);
    assert!(snapshot(&import).rows().eq(before.rows()));

    let mut lines: Vec<&str> = text.lines().collect();
    let twice = lines[1];
    lines.insert(2, "{\"group\":{\"id\":\"hunter2");
    lines.push(twice);
    let import = read_backup("backup", lines.join("\n").as_bytes());
    assert_eq!(import.rows.len(), 3);
    let faults = faults(&import);
    assert!(
        faults[0].starts_with("backup:3: the row cannot be read") && !faults[0].contains("hunter2"),
        "{faults:?}"
    );
    assert_eq!(faults[1], "backup:6: the group \"News\" is there already");
}

#[tokio::test]
async fn a_backup_is_restored_in_as_many_batches_as_it_takes_and_only_what_differs_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&directory.path().join("catalog.redb")).unwrap();
    let catalog = store.catalog().await.unwrap();
    let group = |number: usize| {
        Row::Group(Group {
            id: number.to_string(),
            name: "x".repeat(200),
            order: 0,
        })
    };
    let rows: Vec<Row> = (0..2500).map(group).collect();
    let changes = additions(&catalog.snapshot(), rows.clone());
    assert_eq!(apply_all(&catalog, changes).await, Ok(2500));
    let mut backup = Vec::new();
    write_backup(&catalog.snapshot(), &mut backup).unwrap();
    let wanted = catalog.snapshot();

    let other = Row::Group(Group {
        id: "7".to_owned(),
        name: "changed".to_owned(),
        order: 9,
    });
    let more = everything().rows().chain([other]).collect();
    apply_all(&catalog, additions(&catalog.snapshot(), more))
        .await
        .unwrap();
    let import = read_backup("backup", &backup);
    let changes = replacement(&catalog.snapshot(), import.rows);
    assert_eq!(changes.len(), 4);
    apply_all(&catalog, changes).await.unwrap();
    assert!(catalog.snapshot().rows().eq(wanted.rows()));
    assert_eq!(catalog.apply(vec![]).await, Ok(6));
}

#[tokio::test]
async fn rows_that_are_too_long_together_are_applied_in_smaller_batches() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&directory.path().join("catalog.redb")).unwrap();
    let catalog = store.catalog().await.unwrap();
    let user = |number: usize| {
        let channels = (0..10_000).map(|channel| format!("channel-number-{number}-{channel}"));
        Row::User(User {
            id: number.to_string(),
            name: number.to_string(),
            channels: Allowed::Only {
                channels: channels.collect(),
                groups: [].into(),
            },
            ..User::default()
        })
    };
    let rows = (0..40).map(user).collect();
    let changes = additions(&catalog.snapshot(), rows);
    assert_eq!(apply_all(&catalog, changes).await, Ok(40));
    assert_eq!(catalog.snapshot().user_count(), 40);
}
