//! A real HTTP cache between viewers and a gateway: segments are fetched once for everybody, nothing else is kept, and who is sent away is out.

mod nginx;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};
use reqwest::Client;
use serde_json::json;
use testkit::recorder::Recorder;
use testkit::source::LiveSource;
use tokio::task::JoinSet;

use self::nginx::Nginx;
use crate::admin::{Folder, ask, make, user};
use crate::standalone::Standalone;
use crate::{PATIENCE, source, until};

/// How many watch at once, and how many segments each.
const VIEWERS: usize = 20;
const SEGMENTS: usize = 4;

/// A channel, what notes the requests to its gateway, and the cache in front.
struct Stage {
    nginx: Nginx,
    recorder: Recorder,
    standalone: Standalone,
    _folder: Folder,
    _source: LiveSource,
}

impl Stage {
    async fn start() -> Self {
        let source = source(&["one"]).await;
        let folder = Folder::new();
        let standalone = folder.start().await;
        let channel = json!({ "name": "One", "sources": [{ "url": source.url("one") }] });
        make(&standalone, "/api/v1/channels", channel).await;
        let recorder = Recorder::start(&standalone.address).await.unwrap();
        Self {
            nginx: Nginx::start(&recorder.server()).await,
            recorder,
            standalone,
            _folder: folder,
            _source: source,
        }
    }

    /// How often each address that begins so came through to the gateway.
    fn fetched(&self, beginning: &str) -> BTreeMap<String, usize> {
        let mut fetched = BTreeMap::new();
        for asked in self.recorder.asked() {
            if asked.target.starts_with(beginning) {
                *fetched.entry(asked.target).or_default() += 1;
            }
        }
        fetched
    }

    async fn end(self) {
        self.nginx.end().await;
        assert!(self.standalone.end().await.success());
    }
}

/// Somebody who asks through the cache.
#[derive(Clone)]
struct Viewer {
    client: Client,
    cache: String,
    master: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn is_kept(&self) -> bool {
        self.header("x-cache-status") == "HIT"
    }

    /// The addresses in a playlist.
    fn addresses(&self) -> Vec<String> {
        let text = std::str::from_utf8(&self.body).unwrap();
        assert_eq!(self.status, StatusCode::OK, "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }
}

impl Viewer {
    /// A player of its own, so that its sessions are.
    fn new(name: &str, cache: &str, master: &str) -> Self {
        testkit::tls::choose_provider();
        let client = Client::builder().no_proxy().user_agent(name).build();
        Self {
            client: client.unwrap(),
            cache: cache.to_owned(),
            master: master.to_owned(),
        }
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.get(format!("{}{path}", self.cache));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.timeout(PATIENCE).send().await.unwrap();
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: answer.bytes().await.unwrap().to_vec(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    /// The address of the media playlist: a session.
    async fn tune_in(&self) -> String {
        self.get(&self.master).await.addresses().remove(0)
    }

    /// The last segment of a playlist that is not among those.
    async fn newer(&self, playlist: &str, than: &[String]) -> String {
        let mut newest = String::new();
        until("another segment is listed", async || {
            newest = self.get(playlist).await.addresses().pop().unwrap();
            !than.contains(&newest)
        })
        .await;
        newest
    }

    /// Takes segments as they are listed: which, and whether the cache had them.
    async fn watch(&self) -> BTreeMap<String, bool> {
        let playlist = self.tune_in().await;
        let mut seen = BTreeMap::new();
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        while seen.len() < SEGMENTS {
            pace.tick().await;
            for segment in self.get(&playlist).await.addresses() {
                if seen.contains_key(&segment) {
                    continue;
                }
                let answer = self.get(&segment).await;
                assert_eq!(answer.status, StatusCode::OK, "{segment}");
                assert_eq!((answer.body[0], answer.body.len() % 188), (0x47, 0));
                seen.insert(segment, answer.is_kept());
            }
        }
        seen
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_sends_each_segment_once_however_many_watch_through_a_cache() {
    let stage = Stage::start().await;
    let master = user(&stage.standalone, "anna").await;
    let mut watching = JoinSet::new();
    for number in 0..VIEWERS {
        let name = format!("player {number}");
        let viewer = Viewer::new(&name, &stage.nginx.advised, &master);
        watching.spawn(async move { viewer.watch().await });
    }
    let seen = tokio::time::timeout(PATIENCE, watching.join_all()).await;
    let seen = seen.unwrap();
    let taken: usize = seen.iter().map(BTreeMap::len).sum();
    let different: BTreeSet<&String> = seen.iter().flat_map(BTreeMap::keys).collect();
    let hits = seen.iter().flat_map(BTreeMap::values);
    let hits = hits.filter(|is_kept| **is_kept).count();
    let fetched = stage.fetched("/seg/");
    eprintln!("{hits} of {taken} segments from the cache");
    assert!(fetched.values().all(|times| *times == 1), "{fetched:#?}");
    assert!(fetched.keys().eq(different), "{fetched:#?}");
    assert_eq!(hits, taken - fetched.len());
    assert!(taken >= VIEWERS * SEGMENTS && taken > 2 * fetched.len());

    // What is asked for otherwise is no other thing: part of it, with a query, by a player that takes gzip.
    let viewer = Viewer::new("late", &stage.nginx.advised, &master);
    let segment = seen[0].keys().next().unwrap();
    let whole = viewer.get(segment).await;
    let part = viewer.get_with(segment, &[("range", "bytes=0-187")]).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, whole.body[..188]);
    let query = viewer.get(&format!("{segment}?a=b")).await;
    let gzip = [("accept-encoding", "gzip")];
    let gzip = viewer.get_with(segment, &gzip).await;
    assert!(query.body == whole.body && gzip.body == whole.body);
    assert!(
        [&whole, &part, &query, &gzip]
            .iter()
            .all(|one| one.is_kept())
    );
    assert_eq!(stage.fetched("/seg/"), fetched);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_playlist_is_kept_by_a_cache_that_keeps_all_it_may() {
    let stage = Stage::start().await;
    let master = user(&stage.standalone, "anna").await;
    let viewers = ["one", "two"].map(|name| Viewer::new(name, &stage.nginx.greedy, &master));
    let mut sessions = BTreeSet::new();
    let mut asked = 0;
    for viewer in viewers.iter().chain(&viewers) {
        let masters = viewer.get(&master).await;
        assert!(masters.header("cache-control").contains("private"));
        let playlist = masters.addresses().remove(0);
        let plain = viewer.get(&playlist).await;
        let gzip = [("accept-encoding", "gzip")];
        let gzip = viewer.get_with(&playlist, &gzip).await;
        for answer in [&plain, &gzip] {
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.header("cache-control").contains("private"));
            assert!(answer.header("vary").contains("accept-encoding"));
            assert!(!answer.is_kept());
        }
        assert!(!masters.is_kept() && plain.body.starts_with(b"#EXTM3U"));
        assert!(gzip.body.starts_with(&[0x1f, 0x8b]));
        asked += 2;
        sessions.insert(playlist);
        // The same cache keeps what it may.
        let segment = &plain.addresses()[0];
        viewer.get(segment).await;
        assert!(viewer.get(segment).await.is_kept());
    }
    assert_eq!(stage.fetched("/live/").values().sum::<usize>(), 4);
    assert_eq!(stage.fetched("/hls/").values().sum::<usize>(), asked);
    assert!(stage.fetched("/hls/").keys().eq(&sessions) && sessions.len() > 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_is_told_through_a_cache_that_its_playlist_is_the_newest() {
    let stage = Stage::start().await;
    let master = user(&stage.standalone, "anna").await;
    let viewer = Viewer::new("one", &stage.nginx.advised, &master);
    let playlist = viewer.tune_in().await;
    // A moment later there may be another one.
    until("a playlist is still the newest", async || {
        let first = viewer.get(&playlist).await;
        let known = [("if-none-match", first.header("etag"))];
        let again = viewer.get_with(&playlist, &known).await;
        match again.status {
            StatusCode::NOT_MODIFIED => again.body.is_empty(),
            _ => {
                assert_ne!(again.addresses(), first.addresses());
                false
            }
        }
    })
    .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_sent_away_gets_nothing_through_a_cache_that_comes_later() {
    let stage = Stage::start().await;
    let [anna, bert] = ["anna", "bert"].map(async |name| {
        let master = user(&stage.standalone, name).await;
        Viewer::new(name, &stage.nginx.greedy, &master)
    });
    let (anna, bert) = (anna.await, bert.await);
    let (hers, his) = (anna.tune_in().await, bert.tune_in().await);
    let seen = anna.get(&hers).await.addresses();
    let last = seen.last().unwrap();
    assert_eq!(anna.get(last).await.status, StatusCode::OK);

    let token = "/api/v1/users/anna/tokens/tv";
    let (status, _) = ask(&stage.standalone, Method::DELETE, token, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for path in [&hers, &anna.master] {
        let refused = anna.get(path).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(refused.header("cache-control"), "no-store");
    }
    // What she was given the address of is hers while it is kept; the next one has another key.
    assert!(anna.get(last).await.is_kept());
    let next = bert.newer(&his, &seen).await;
    let key = |segment: &str| segment.split('/').nth(3).unwrap().to_owned();
    let guessed = next.replace(&key(&next), &key(last));
    for _ in 0..2 {
        let refused = anna.get(&guessed).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(!refused.is_kept());
    }
    assert_eq!(bert.get(&next).await.status, StatusCode::OK);
    for target in stage.fetched("/seg/").keys().chain([&hers]) {
        assert!(
            !target.contains("token") && !target.contains('?'),
            "{target}"
        );
    }

    let (status, _) = ask(
        &stage.standalone,
        Method::POST,
        "/api/v1/users/bert/kick",
        None,
    )
    .await;
    assert!(status.is_success());
    let refused = bert.get(&his).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(bert.tune_in().await != his);
    stage.end().await;
}
