//! One reading of the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use api::live_stream::ProviderChannel;
use api::stream_class::Preset;
use catalog::files::{LoadError, load};
use catalog::model::{Formats, OverLimit, Status};
use catalog::{Allowed, Channel, ChannelSource, SourceAddress, User, UserToken};
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

#[test]
fn the_example_of_the_readme_is_a_catalog() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```yaml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let directory = directory(&[("example.yaml", example)]);
    let (snapshot, warnings) = load(&[directory.path().to_owned()]).unwrap();
    assert!(warnings.is_empty(), "{warnings}");
    let slugs: Vec<_> = snapshot.channels().map(|one| one.slug.as_str()).collect();
    assert_eq!(slugs, ["news-one", "radio-two"]);
    assert_eq!(snapshot.user_count(), 2);
}

const CHANNELS: &str = "channels:
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
      - provider: { name: panel, channel: '1234' }
  - name: Radio Two
    radio: true
    disabled: true
    logo: ''
    sources: [{ url: 'http://source.example/2' }]
";

#[test]
fn channels_in_yaml_are_read_in_full() {
    let directory = directory(&[("channels.yaml", CHANNELS)]);
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
                ..ChannelSource::at("http://source.example/1")
            },
            ChannelSource {
                address: SourceAddress::Provider(ProviderChannel {
                    name: "panel".to_owned(),
                    channel: "1234".to_owned(),
                }),
                ..ChannelSource::at("")
            },
        ],
        ..Channel::default()
    };
    let radio = Channel {
        slug: "radio-two".to_owned(),
        name: "Radio Two".to_owned(),
        sources: vec![ChannelSource::at("http://source.example/2")],
        radio: true,
        disabled: true,
        order: 1,
        ..Channel::default()
    };
    let read: Vec<_> = snapshot
        .channels()
        .map(|one| one.as_ref().clone())
        .collect();
    assert_eq!(read, [news, radio]);
}

fn users_of_the_file() -> (User, User) {
    let alice = User {
        id: "alice".to_owned(),
        name: "alice".to_owned(),
        tokens: vec![UserToken::of_hash(key().hash(b"alice's token"))],
        channels: Allowed::All,
        ..User::default()
    };
    let phone = UserToken {
        name: "phone".to_owned(),
        hash: key().hash(b"bob's phone"),
        created: None,
        expires: Some("2029-01-31T00:00:00Z".parse().unwrap()),
    };
    let bob = User {
        id: "bob".to_owned(),
        name: "bob".to_owned(),
        tokens: vec![UserToken::of_hash(key().hash(b"bob's token")), phone],
        channels: Allowed::Only {
            channels: BTreeSet::from(["news-one".to_owned()]),
            groups: BTreeSet::from(["News".to_owned()]),
        },
        formats: Formats {
            hls: false,
            ts: true,
        },
        max_sessions: Some(2),
        over_limit: OverLimit::NewestWins,
        status: Status::Disabled,
        expires: Some("2030-01-31T00:00:00Z".parse().unwrap()),
        ..User::default()
    };
    (alice, bob)
}

#[test]
fn users_in_yaml_are_read_in_full() {
    let users = format!(
        "users:
  - {{ name: alice, tokenHash: '{}', channels: all }}
  - name: bob
    tokenHash: {}
    tokens: [{{ name: phone, hash: '{}', expires: 2029-01-31T00:00:00Z }}]
    channels: [news-one]
    groups: [News]
    formats: [ts]
    maxSessions: 2
    overLimit: newestWins
    disabled: true
    expires: 2030-01-31T00:00:00Z
",
        key().hash(b"alice's token"),
        key().hash(b"bob's token"),
        key().hash(b"bob's phone"),
    );
    let directory = directory(&[
        ("users.yml", &users),
        ("channels.yaml", &one_channel("News One")),
        ("notes.txt", "?"),
        (".hidden.yaml", "?"),
    ]);
    let (snapshot, warnings) = load(&[directory.path().to_owned()]).unwrap();
    assert_eq!(
        warnings.to_string().split(": ").last(),
        Some("there is no channel of a group \"News\"")
    );
    let (alice, bob) = users_of_the_file();
    let now = "2028-01-31T00:00:00Z".parse().unwrap();
    for (token, user) in [
        ("alice's token", &alice),
        ("bob's token", &bob),
        ("bob's phone", &bob),
    ] {
        let found = snapshot.authenticate(&key(), token, now).unwrap();
        assert_eq!(found.0.as_ref(), user);
    }
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
#EXTINF:-1,Share
file://server/share/4.ts
#EXTINF:-1,Barker
file:///loops/barker.ts
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
            user_agent: text("Player/1.0"),
            headers: vec![("Referer".to_owned(), "http://portal.example/".to_owned())],
            ..ChannelSource::at("http://source.example/1")
        }],
        ..Channel::default()
    };
    assert_eq!(snapshot.channel_count(), 4);
    assert_eq!(snapshot.channels().next().unwrap().as_ref(), &news);
    let barker = snapshot.channel("barker").unwrap();
    let address = ChannelSource::at("file:///loops/barker.ts");
    assert_eq!(barker.sources, [address]);
    let multicast = snapshot.channel("multicast").unwrap();
    let address = ChannelSource::at("udp://@239.0.0.1:1234");
    assert_eq!(multicast.sources, [address]);
    let two = snapshot.channel("two").unwrap();
    assert_eq!((two.class.as_deref(), two.radio), (Some("sport"), true));
    let file = file.display();
    assert_eq!(
        warnings.to_string(),
        format!(
            "{file}:7: the channel \"Nowhere\" has no address; {file}:10: the address of \"Camera\" begins with none of http, https, rtmp, rtmps, rtsp, rtsps, srt, udp, rtp, file; {file}:12: the address of \"Share\" is not file:/// and a path"
        )
    );
}

#[test]
fn what_a_list_has_too_much_of_is_left_out_and_the_channel_stays() {
    let picture = "x".repeat(3000);
    let list = format!(
        "#EXTM3U\n#EXTINF:-1 tvg-logo=\"data:image/png;base64,{picture}\" tvg-chno=\"7\",One\nhttp://source.example/1\n"
    );
    let directory = directory(&[("list.m3u", &list)]);
    let (snapshot, warnings) = load(&[directory.path().to_owned()]).unwrap();
    let one = snapshot.channel("one").unwrap();
    assert_eq!(
        (one.logo.as_deref(), one.number.as_deref()),
        (None, Some("7"))
    );
    let warnings = warnings.to_string();
    assert!(
        warnings.ends_with("list.m3u:2: the logo is left out: it has more than 2048 characters"),
        "{warnings}"
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
            "channels:\n  - name: One\n    sources: [{ userAgent: x }]\n",
            "bad.yaml:2: a source has either a url or a provider",
        ),
        (
            "users:\n  - { name: alice, channels: all }\n",
            "bad.yaml:2: a user has a tokenHash, or tokens",
        ),
        (
            "users:\n  - { name: alice, tokenHash: 'hmac-sha256:0000000000000000000000000000000000000000000000000000000000000001' }\n",
            "bad.yaml:2: a user has channels, or groups",
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
            snapshot.channel_count(),
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
