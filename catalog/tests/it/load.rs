//! One reading of the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use api::stream_class::Preset;
use catalog::files::{LoadError, load};
use catalog::{Allowed, Channel, ChannelSource, User};
use tempfile::TempDir;

use crate::{key, one_channel, write};

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(directory.path(), name, text);
    }
    directory
}

/// The message, with the directory left out so that it can be compared.
fn refusal(directory: &Path) -> String {
    let error = load(&[directory.to_owned()]).map(|_| ()).unwrap_err();
    error
        .to_string()
        .replace(&format!("{}/", directory.display()), "")
}

fn source(url: &str) -> ChannelSource {
    ChannelSource {
        url: url.to_owned(),
        ..ChannelSource::default()
    }
}

#[test]
fn the_example_of_the_readme_is_a_catalog() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```yaml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let directory = directory(&[("example.yaml", example)]);
    let (snapshot, warnings) = load(&[directory.path().to_owned()]).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let slugs: Vec<_> = snapshot
        .channels()
        .iter()
        .map(|one| one.slug.as_str())
        .collect();
    assert_eq!(slugs, ["news-one", "radio-two"]);
    assert_eq!(snapshot.user_count(), 2);
}

#[test]
fn channels_in_yaml_are_read_in_full() {
    let channels = "channels:
  - slug: news-one
    name: News 1
    number: '7'
    group: News
    logo: http://logos.example/1.png
    guideId: news.one
    class: sport
    preset: high
    audioLanguage: eng
    sources:
      - url: http://source.example/1
        userAgent: Player/1.0
        headers: { Referer: 'http://portal.example/' }
      - url: https://other.example/1
  - name: Radio Two
    radio: true
    sources: [{ url: 'http://source.example/2' }]
";
    let directory = directory(&[("channels.yaml", channels)]);
    let (snapshot, warnings) = load(&[directory.path().to_owned()]).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let news = Channel {
        slug: "news-one".to_owned(),
        name: "News 1".to_owned(),
        number: text("7"),
        group: text("News"),
        logo: text("http://logos.example/1.png"),
        guide_id: text("news.one"),
        class: text("sport"),
        preset: Some(Preset::High),
        audio_language: text("eng"),
        sources: vec![
            ChannelSource {
                user_agent: text("Player/1.0"),
                headers: vec![("Referer".to_owned(), "http://portal.example/".to_owned())],
                ..source("http://source.example/1")
            },
            source("https://other.example/1"),
        ],
        radio: false,
    };
    let radio = Channel {
        slug: "radio-two".to_owned(),
        name: "Radio Two".to_owned(),
        sources: vec![source("http://source.example/2")],
        radio: true,
        ..Channel::default()
    };
    let read: Vec<_> = snapshot
        .channels()
        .iter()
        .map(|one| one.as_ref().clone())
        .collect();
    assert_eq!(read, [news, radio]);
}

#[test]
fn users_in_yaml_are_read_in_full() {
    let users = format!(
        "users:
  - {{ name: alice, tokenHash: '{}', channels: all }}
  - name: bob
    tokenHash: {}
    channels: [news-one]
    maxSessions: 2
    disabled: true
    expires: 2030-01-31T00:00:00Z
",
        key().hash(b"alice's token"),
        key().hash(b"bob's token"),
    );
    let directory = directory(&[
        ("users.yml", &users),
        ("channels.yaml", &one_channel("News One")),
        ("notes.txt", "?"),
        (".hidden.yaml", "?"),
    ]);
    let (snapshot, warnings) = load(&[directory.path().to_owned()]).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let alice = User {
        name: "alice".to_owned(),
        token_hash: key().hash(b"alice's token"),
        channels: Allowed::All,
        max_sessions: None,
        disabled: false,
        expires: None,
    };
    let bob = User {
        name: "bob".to_owned(),
        token_hash: key().hash(b"bob's token"),
        channels: Allowed::Only(BTreeSet::from(["news-one".to_owned()])),
        max_sessions: Some(2),
        disabled: true,
        expires: Some("2030-01-31T00:00:00Z".parse().unwrap()),
    };
    let found = |token: &str| {
        snapshot
            .authenticate(&key(), token)
            .unwrap()
            .as_ref()
            .clone()
    };
    assert_eq!((found("alice's token"), found("bob's token")), (alice, bob));
}

#[test]
fn a_playlist_becomes_channels_and_its_bad_rows_are_left_out_by_line() {
    let list = "#EXTM3U
#EXTINF:-1 tvg-id=\"news.one\" tvg-chno=\"7\" tvg-logo=\"http://logos.example/1.png\" group-title=\"News;HD\",News One
#EXTVLCOPT:http-user-agent=Player/1.0
http://source.example/1|Referer=http%3A%2F%2Fportal.example%2F
#EXTINF:-1,Multicast
udp://@239.0.0.1:1234
#EXTINF:-1,Nowhere
#EXTINF:-1 headend-slug=\"two\" headend-class=\"sport\" radio=\"true\",Sport Zwei
https://source.example/2
#EXTINF:-1,Camera
mms://source.example/3
";
    let directory = directory(&[("list.m3u", list)]);
    let file = directory.path().join("list.m3u");
    let (snapshot, warnings) = load(std::slice::from_ref(&file)).unwrap();
    let news = Channel {
        slug: "news-one".to_owned(),
        name: "News One".to_owned(),
        number: text("7"),
        group: text("News"),
        logo: text("http://logos.example/1.png"),
        guide_id: text("news.one"),
        sources: vec![ChannelSource {
            url: "http://source.example/1".to_owned(),
            user_agent: text("Player/1.0"),
            headers: vec![("Referer".to_owned(), "http://portal.example/".to_owned())],
        }],
        ..Channel::default()
    };
    assert_eq!(snapshot.channels().len(), 3);
    assert_eq!(snapshot.channels()[0].as_ref(), &news);
    let multicast = snapshot.channel("multicast").unwrap();
    assert_eq!(multicast.sources[0].url, "udp://@239.0.0.1:1234");
    let two = snapshot.channel("two").unwrap();
    assert_eq!((two.class.as_deref(), two.radio), (Some("sport"), true));
    let file = file.display();
    assert_eq!(
        warnings.to_string(),
        format!(
            "{file}:7: the channel \"Nowhere\" has no address; {file}:10: the address of \"Camera\" begins with none of http, https, rtmp, rtmps, rtsp, rtsps, srt, udp, rtp"
        )
    );
}

#[test]
fn two_channels_with_one_slug_are_refused_naming_both_places() {
    let list = "#EXTM3U\n#EXTINF:-1,News One\nhttp://source.example/1\n#EXTINF:-1,NEWS ONE\nhttp://source.example/2\n";
    let directory = directory(&[("a.yaml", &one_channel("News-One")), ("b.m3u", list)]);
    assert_eq!(
        refusal(directory.path()),
        "failed to load the catalog: b.m3u:2: the slug \"news-one\" is that of a.yaml:2 already; \
         b.m3u:4: the slug \"news-one\" is that of a.yaml:2 already"
    );
}

#[test]
fn mistakes_in_yaml_are_named_by_file_and_line() {
    let cases = [
        ("channels:\n  - name: One\n    source: []\n", "bad.yaml:3: "),
        (
            "channels:\n  - name: One\n    sources: [{ url: 'ftp://x' }]\n",
            "bad.yaml:2: a source is an address of at most",
        ),
        (
            "channels:\n  - name: One\n    preset: huge\n    sources: []\n",
            "bad.yaml:3: ",
        ),
        ("channels: [\n", "bad.yaml:"),
        (
            "users:\n  - { name: alice, tokenHash: 'alice token', channels: all }\n",
            "bad.yaml:2: a token hash is hmac-sha256:",
        ),
        (
            "users:\n  - { name: alice, tokenHash: x, channels: some }\n",
            "bad.yaml:2: the channels of a user are `all` or a list of slugs",
        ),
        ("- a\n- b\n", "bad.yaml:1: "),
        ("<html>", "bad.yaml:1: "),
    ];
    for (text, expected) in cases {
        let directory = directory(&[("bad.yaml", text)]);
        let message = refusal(directory.path());
        let expected = format!("failed to load the catalog: {expected}");
        assert!(message.starts_with(&expected), "{text:?}: {message}");
        assert!(
            !message.contains('\n') && !message.contains("alice token"),
            "{message}"
        );
    }
}

#[test]
fn what_is_no_playlist_is_refused_by_name() {
    let directory = directory(&[("list.m3u", "<html>Login</html>")]);
    assert_eq!(
        refusal(directory.path()),
        "failed to load the catalog: list.m3u:1: failed to find #EXTM3U on line 1: this is no M3U channel list"
    );
}

#[test]
fn an_empty_catalog_is_one_and_a_missing_or_strange_file_is_named() {
    let directory = directory(&[
        ("channels.yaml", "channels: []\n"),
        ("users.yaml", "users:\n"),
        ("empty.yaml", ""),
        ("strange.json", "{}"),
    ]);
    let (snapshot, warnings) = load(&[directory.path().to_owned()]).unwrap();
    assert_eq!(
        (
            snapshot.channels().len(),
            snapshot.user_count(),
            warnings.is_empty()
        ),
        (0, 0, true)
    );
    for name in ["missing.yaml", "strange.json"] {
        let error = load(&[directory.path().join(name)])
            .map(|_| ())
            .unwrap_err();
        assert!(
            matches!(&error, LoadError::Read { path, .. } if path.ends_with(name)),
            "{error}"
        );
    }
    assert!(matches!(
        load(&Vec::<PathBuf>::new()),
        Err(LoadError::NoPath)
    ));
}
