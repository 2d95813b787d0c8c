//! The gateway under test and what a viewer does with it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use catalog::files::FilesCatalog;
use catalog::store::StoreCatalog;
use catalog::{Catalog, TokenKey};
use gateway::administrators::Administrators;
use gateway::client::Proxies;
use gateway::directory::kubernetes::KubernetesDirectory;
use gateway::directory::{StreamDirectory, StreamPhase};
use gateway::edge::rate::RateLimits;
use gateway::http::origins::Origins;
use gateway::keys::Keys;
use gateway::origin::remote::RemoteOrigin;
use gateway::presence_flush::keep_flushing;
use gateway::streams::HoldLimits;
use gateway::{Gateway, Options, Ports};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use presence::memory::MemoryPresence;
use presence::places::Places;
use prometheus_client::registry::Registry;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::api_server::ApiServer;
use super::segment_bytes;
use super::transcoder::Pod;

const CHANNELS: &str = "
channels:
  - { slug: news-one, name: News One, number: '1', group: News, sources: [{ url: 'http://source.example/one.ts' }] }
  - { slug: sport-two, name: Sport Two, sources: [{ url: 'http://source.example/two.ts' }] }
  - { slug: closed-three, name: Closed Three, group: News, disabled: true, sources: [{ url: 'http://source.example/three.ts' }] }
";

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The addresses in a playlist.
    pub(crate) fn uris(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.body);
        let lines = self.body.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }
}

pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) app: Router,
    pub(crate) presence: Arc<MemoryPresence>,
    pub(crate) registry: Registry,
    ports: Ports,
    options: Options,
    catalog: Arc<FilesCatalog>,
    directory: Arc<KubernetesDirectory>,
    folder: TempDir,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Another gateway of the same release.
pub(crate) struct Replica {
    pub(crate) gateway: Arc<Gateway>,
    app: Router,
    registry: Registry,
}

impl Replica {
    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.get_with(uri, &[]).await
    }

    pub(crate) async fn get_with(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&self.app, Request::get(uri), headers).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.app, request).await
    }

    /// An answer whose body may have no end.
    pub(crate) async fn open(&self, request: Request<Body>) -> http::Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        scrape(&self.registry)
    }

    /// Tells the presence store what it saw: the last word before a process ends.
    pub(crate) async fn flush(&self) {
        flush(&self.gateway).await;
    }
}

/// One flush of a gateway.
pub(crate) async fn flush(gateway: &Arc<Gateway>) {
    let ended = CancellationToken::new();
    ended.cancel();
    let flushing = keep_flushing(gateway.clone(), ended);
    let flushed = tokio::time::timeout(Duration::from_secs(10), flushing);
    flushed.await.unwrap();
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl World {
    /// alice may watch everything, bob only sport-two, carol nothing any more, dave everything in one place, dora the news and erik everything,
    /// but not as HLS; fred like dave, and his newest session wins. The token of each is `<name>-token`.
    pub(crate) async fn start() -> Self {
        Self::holding(Duration::from_secs(8)).await
    }

    pub(crate) async fn holding(hold: Duration) -> Self {
        Self::changed(|options| options.hold.time = hold).await
    }

    /// With other options than most tests have.
    pub(crate) async fn changed(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token_key = TokenKey::new(&[3; 32]).unwrap();
        std::fs::create_dir_all(folder.path().join("volume/pods")).unwrap();
        std::fs::create_dir(folder.path().join("web")).unwrap();
        std::fs::write(folder.path().join("web/index.html"), "<!doctype html>start").unwrap();
        std::fs::write(folder.path().join("web/app.js"), "start()").unwrap();
        let catalog = catalog(folder.path(), &token_key);
        let server = ApiServer::new();
        let (directory, watch) = KubernetesDirectory::new(&server.client(), "tv", "tv-one");
        let mut synced = directory.synced();
        let directory = Arc::new(directory);
        let volume = folder.path().join("volume");
        let presence = Arc::new(MemoryPresence::new());
        let ports = Ports {
            catalog: catalog.clone(),
            store: None,
            presence: presence.clone(),
            places: presence.clone(),
            notes: presence.clone(),
            reports: presence.clone(),
            directory: directory.clone(),
            origin: Arc::new(RemoteOrigin::new(directory.clone(), volume, "gateway-0").unwrap()),
        };
        let mut options = Options {
            name: "gateway-0".to_owned(),
            keys: Keys::generate().unwrap(),
            token_key,
            administrators: None,
            hold: HoldLimits {
                time: Duration::from_secs(8),
                count: 100,
            },
            cache_bytes: 64 * 1024 * 1024,
            proxies: Proxies::default(),
            rates: RateLimits::OFF,
            origins: Origins::Any,
            web_directory: folder.path().join("web"),
            is_tls: false,
            access_log: None,
        };
        change(&mut options);
        let mut registry = Registry::default();
        let gateway = Gateway::new(ports.clone(), options.clone(), &mut registry);
        let tasks = vec![tokio::spawn(watch.run())];
        synced.wait_for(|synced| *synced).await.unwrap();
        Self {
            app: gateway::app(gateway.clone()),
            server,
            gateway,
            presence,
            registry,
            ports,
            options,
            catalog,
            directory,
            folder,
            tasks,
        }
    }

    /// Another gateway on the same ports.
    pub(crate) fn replica(&self, name: &str) -> Replica {
        self.replica_changed(|_, options| options.name = name.to_owned())
    }

    /// The same with a catalog that can be changed, and those who may change it.
    pub(crate) fn replica_on(
        &self,
        store: Arc<StoreCatalog>,
        administrators: Administrators,
    ) -> Replica {
        self.replica_changed(|ports, options| {
            ports.catalog = store.clone();
            ports.store = Some(store);
            options.administrators = Some(Arc::new(administrators));
        })
    }

    /// The same with another store for places.
    pub(crate) fn replica_with(&self, name: &str, places: Arc<dyn Places>) -> Replica {
        self.replica_changed(|ports, options| {
            ports.places = places;
            options.name = name.to_owned();
        })
    }

    /// The same with something else.
    pub(crate) fn replica_changed(&self, change: impl FnOnce(&mut Ports, &mut Options)) -> Replica {
        let (mut ports, mut options) = (self.ports.clone(), self.options.clone());
        change(&mut ports, &mut options);
        let mut registry = Registry::default();
        let gateway = Gateway::new(ports, options, &mut registry);
        Replica {
            app: gateway::app(gateway.clone()),
            gateway,
            registry,
        }
    }

    pub(crate) async fn get_with(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Request::get(uri), headers).await
    }

    /// A request from an address.
    pub(crate) async fn get_from(&self, peer: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        let request = Request::get(uri).extension(ConnectInfo(peer));
        self.ask(request, headers).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.app, request).await
    }

    pub(crate) async fn ask(
        &self,
        request: http::request::Builder,
        headers: &[(&str, &str)],
    ) -> Answer {
        ask(&self.app, request, headers).await
    }

    /// The metrics as they are scraped.
    pub(crate) fn metrics(&self) -> String {
        scrape(&self.registry)
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.get_with(uri, &[]).await
    }

    pub(crate) async fn master(&self, slug: &str) -> Answer {
        self.get(&format!("/live/{slug}/master.m3u8?token=alice-token"))
            .await
    }

    /// A stream that runs in that pod, as gateway and operator would have made it; returns its uid.
    pub(crate) fn running(&self, slug: &str, attempt: i32, pod: &Pod) -> String {
        let snapshot = self.catalog.snapshot();
        let entry = gateway::entry::of(snapshot.channel(slug).unwrap());
        self.server.put(slug, |object| {
            let metadata = &mut object["metadata"];
            metadata["labels"] = json!({ "headend.dev/origin": "gateway" });
            metadata["annotations"] = json!({ "headend.dev/channel-revision": entry.revision });
            object["spec"] = serde_json::to_value(&entry.spec).unwrap();
        });
        self.moved(slug, attempt, pod)
    }

    /// Changes the file of users, and awaits that the catalog has it.
    pub(crate) async fn change_users(&self, change: impl FnOnce(String) -> String) {
        let mut versions = self.catalog.versions();
        let following = tokio::spawn(self.catalog.clone().follow(std::future::pending()));
        let path = self.folder.path().join("users.yaml");
        let users = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(users)).unwrap();
        let changed = tokio::time::timeout(Duration::from_secs(10), versions.changed());
        changed.await.unwrap().unwrap();
        following.abort();
    }

    /// A stream that somebody made by hand, once the gateway knows it.
    pub(crate) async fn by_hand(&self, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
        self.server.put(name, change);
        let mut view = self.directory.follow(name);
        let known = view.wait_for(|view| view.phase != StreamPhase::Absent);
        tokio::time::timeout(Duration::from_secs(10), known)
            .await
            .unwrap()
            .unwrap();
    }

    /// The operator names another pod; returns the stream's uid.
    pub(crate) fn moved(&self, slug: &str, attempt: i32, pod: &Pod) -> String {
        let endpoint = pod.address.to_string();
        self.server.put(slug, |object| {
            object["status"]["pod"] =
                json!({ "name": "any", "attempt": attempt, "endpoint": endpoint });
        });
        self.uid(slug)
    }

    pub(crate) fn uid(&self, slug: &str) -> String {
        let object = self.server.object(slug).unwrap();
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// Puts a segment into the volume, as the pod would have written it.
    pub(crate) fn write_segment(&self, slug: &str, attempt: i32, rendition: &str, number: u64) {
        let uid = self.uid(slug);
        let name = api::names::segment_name(attempt, number);
        self.write(
            slug,
            attempt,
            &format!("{rendition}/{name}"),
            &segment_bytes(&uid, rendition, &name),
        );
    }

    /// Puts a file into the directory of a stream's pod.
    pub(crate) fn write(&self, slug: &str, attempt: i32, path: &str, bytes: &[u8]) {
        let pod = api::names::pod_name(slug, &self.uid(slug), attempt);
        self.write_in(&pod, path, bytes);
    }

    /// Puts a file into the directory of a pod.
    pub(crate) fn write_in(&self, pod: &str, path: &str, bytes: &[u8]) {
        let path = self.folder.path().join("volume/pods").join(pod).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

async fn ask(
    app: &Router,
    mut request: http::request::Builder,
    headers: &[(&str, &str)],
) -> Answer {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(app, request.body(Body::empty()).unwrap()).await
}

async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn scrape(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text
}

fn catalog(folder: &Path, key: &TokenKey) -> Arc<FilesCatalog> {
    let hash = |name: &str| key.hash(format!("{name}-token").as_bytes());
    let users = format!(
        "users:\n  - {{ name: alice, tokenHash: '{}', channels: all }}\n  - {{ name: bob, tokenHash: '{}', channels: [sport-two] }}\n  - {{ name: carol, tokenHash: '{}', channels: all, disabled: true }}\n  - {{ name: dave, tokenHash: '{}', channels: all, maxSessions: 1 }}\n  - {{ name: dora, tokenHash: '{}', groups: [News] }}\n  - {{ name: erik, tokenHash: '{}', channels: all, formats: [ts] }}\n  - {{ name: fred, tokenHash: '{}', channels: all, maxSessions: 1, overLimit: newestWins }}\n",
        hash("alice"),
        hash("bob"),
        hash("carol"),
        hash("dave"),
        hash("dora"),
        hash("erik"),
        hash("fred"),
    );
    let files = [
        ("channels.yaml", CHANNELS.to_owned()),
        ("users.yaml", users),
    ];
    let paths = files.map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    Arc::new(FilesCatalog::open(paths.to_vec()).unwrap())
}
