//! A gateway without a cluster, for requests of anybody: one channel plays for ever, and what administrators change is forgotten. So every
//! request meets the same gateway, which has no reason to fail.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::job::{ResumeFloor, StreamIdentity};
use api::live_stream::Phase;
use api::names::segment_name;
use api::playlists::{Playlists, Rendition, Resolution, SegmentEntry};
use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use catalog::store::{CatalogStore, Change, StoreError};
use catalog::{
    Allowed, Catalog, Channel, ChannelSource, Group, Row, Snapshot, TokenKey, User, UserToken,
};
use gateway::administrators::Administrators;
use gateway::client::{Network, Proxies};
use gateway::directory::{
    self, EnsureError, OwnChannel, SteerError, Steering, StreamDirectory, StreamPhase,
    StreamSummary, StreamView, Urgency,
};
use gateway::edge::rate::RateLimits;
use gateway::http::origins::Origins;
use gateway::keys::{Key, Keys};
use gateway::origin::{Demand, Origin, SegmentError, SegmentId};
use gateway::session::{Session, mint};
use gateway::streams::HoldLimits;
use gateway::{Gateway, Options, Ports};
use presence::memory::MemoryPresence;
use prometheus_client::registry::Registry;
use runtime::trace::TraceContext;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// The channel that plays.
const SLUG: &str = "news-one";
/// Its stream.
const UID: &str = "0f9c2a41-7b1e";
/// The attempt that plays it.
const ATTEMPT: i32 = 3;
/// The first segment that is listed.
const FIRST: u64 = 10;
/// Segments that are listed: enough that nobody waits for more.
const LISTED: u64 = 10;
/// The rendition whose first segment `{key}` is of.
const RENDITION: &str = "source";
/// Who may watch, and the token that proves it.
const VIEWER: (&str, &[u8]) = ("guest", b"viewer-token");
/// The token of who may do everything.
const ADMINISTRATOR: &str = "admin-token";

/// A gateway is told this often that its channel goes on: one that hears nothing stops serving it.
const NEWS: Duration = Duration::from_secs(5);

/// The gateway of all requests: to make one costs more than to ask it.
pub(crate) static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// A gateway, and what stands for something that only it can mint.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) app: Router,
    /// A session of the viewer at the channel.
    pub(crate) session: String,
    /// The key of the rendition's first segment.
    pub(crate) key: String,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("the system gives a timer");
        let keys = Keys {
            session: Key::new(&[1; 32]),
            segment: Key::new(&[2; 32]),
        };
        let token_key = TokenKey::new(&[3; 32]).expect("a key of 32 bytes is long enough");
        let session = mint(&keys.session, &session(&token_key));
        let key = keys.segment_key(UID, RENDITION, &segment_name(ATTEMPT, FIRST));
        let app = runtime.block_on(async {
            let channel = Arc::new(Playing::new());
            tokio::spawn(channel.clone().go_on());
            let options = options(keys, token_key);
            let ports = ports(channel, &options.token_key);
            gateway::app(Gateway::new(ports, options, &mut Registry::default()))
        });
        Self {
            runtime,
            app,
            session,
            key,
        }
    }
}

fn ports(channel: Arc<Playing>, token_key: &TokenKey) -> Ports {
    let catalog = Arc::new(Unchanging {
        snapshot: Arc::new(rows(token_key).into_iter().collect()),
        versions: watch::Sender::new(1),
    });
    let presence = Arc::new(MemoryPresence::new());
    Ports {
        catalog: catalog.clone(),
        store: Some(catalog),
        presence: presence.clone(),
        places: presence.clone(),
        notes: presence.clone(),
        reports: presence,
        directory: channel.clone(),
        origin: channel,
    }
}

fn options(keys: Keys, token_key: TokenKey) -> Options {
    let administrators = Administrators::only("admin", ADMINISTRATOR, token_key.clone());
    Options {
        name: "gateway-0".to_owned(),
        keys,
        token_key,
        administrators: Some(Arc::new(administrators)),
        hold: HoldLimits {
            time: Duration::from_secs(8),
            count: 100,
        },
        cache_bytes: 1 << 20,
        // All requests come from a proxy, so that addresses are read and nobody is shut out for guessing.
        proxies: Proxies {
            networks: "10.0.0.0/8".parse::<Network>().into_iter().collect(),
            ..Proxies::default()
        },
        rates: RateLimits::OFF,
        origins: Origins::Any,
        web_directory: PathBuf::from("/nonexistent"),
        is_tls: false,
        access_log: None,
    }
}

fn session(token_key: &TokenKey) -> Session {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Session {
        user: VIEWER.0.to_owned(),
        token: token_key.hash(VIEWER.1).tag(),
        channel: SLUG.to_owned(),
        client: *b"client--",
        issued_at: now.map_or(0, |now| now.as_secs()),
    }
}

fn rows(token_key: &TokenKey) -> [Row; 3] {
    let token = UserToken {
        name: "tv".to_owned(),
        hash: token_key.hash(VIEWER.1),
        created: None,
        expires: None,
    };
    [
        Row::Channel(Channel {
            slug: SLUG.to_owned(),
            name: "News One".to_owned(),
            group: Some("news".to_owned()),
            sources: vec![ChannelSource::at("http://source.example/1")],
            ..Channel::default()
        }),
        Row::Group(Group {
            id: "news".to_owned(),
            name: "News".to_owned(),
            ..Group::default()
        }),
        Row::User(User {
            id: VIEWER.0.to_owned(),
            name: VIEWER.0.to_owned(),
            tokens: vec![token],
            channels: Allowed::All,
            ..User::default()
        }),
    ]
}

/// A catalog that takes every change and keeps none.
struct Unchanging {
    snapshot: Arc<Snapshot>,
    versions: watch::Sender<u64>,
}

impl Catalog for Unchanging {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    fn versions(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }
}

#[async_trait]
impl CatalogStore for Unchanging {
    async fn apply(&self, _changes: Vec<Change>) -> Result<u64, StoreError> {
        Ok(1)
    }
}

/// The channel's stream, and where it comes from. No other name has one.
struct Playing {
    identity: Arc<StreamIdentity>,
    view: watch::Sender<Arc<StreamView>>,
    nothing: watch::Sender<Arc<StreamView>>,
    playlists: watch::Sender<Option<Arc<Playlists>>>,
}

impl Playing {
    fn new() -> Self {
        let identity = Arc::new(StreamIdentity {
            namespace: String::new(),
            name: SLUG.to_owned(),
            uid: UID.to_owned(),
        });
        let view = StreamView {
            phase: StreamPhase::Wanted,
            identity: Some(identity.clone()),
            ..StreamView::default()
        };
        Self {
            identity,
            view: watch::Sender::new(Arc::new(view)),
            nothing: watch::Sender::default(),
            playlists: watch::Sender::new(Some(Arc::new(playlists(1)))),
        }
    }

    async fn go_on(self: Arc<Self>) {
        let mut news = tokio::time::interval(NEWS);
        for version in 2.. {
            news.tick().await;
            let playlists = Arc::new(playlists(version));
            self.playlists.send_replace(Some(playlists));
        }
    }
}

fn playlists(version: u64) -> Playlists {
    let segments = (FIRST..FIRST + LISTED).map(|number| SegmentEntry {
        number,
        attempt: ATTEMPT,
        duration_ticks: 180_000,
        discontinuity: false,
        independent: true,
        program_date_time_unix_milliseconds: 1_790_000_000_000,
        gaps: Vec::new(),
    });
    let rendition = |(id, height): (&str, u32)| Rendition {
        id: id.to_owned(),
        bandwidth: 3_210_000,
        average_bandwidth: 2_730_000,
        codecs: "avc1.64001f,mp4a.40.2".to_owned(),
        resolution: Some(Resolution {
            width: height * 16 / 9,
            height,
        }),
        frame_rate_thousandths: Some(25_000),
    };
    Playlists {
        version,
        stream_uid: UID.to_owned(),
        attempt: ATTEMPT,
        updated_unix_milliseconds: 1_790_000_000_000,
        class: String::new(),
        segment_duration_seconds: 2,
        target_duration_seconds: 4,
        discontinuity_sequence: 7,
        renditions: [(RENDITION, 720), ("480p", 480)].map(rendition).to_vec(),
        on_request: Vec::new(),
        segments: segments.collect(),
        next: ResumeFloor::default(),
        behind: Vec::new(),
    }
}

#[async_trait]
impl StreamDirectory for Playing {
    async fn ensure(
        &self,
        _channel: &directory::Channel,
        _urgency: Urgency,
        _trace: Option<TraceContext>,
    ) -> Result<(), EnsureError> {
        Ok(())
    }

    fn follow(&self, slug: &str) -> watch::Receiver<Arc<StreamView>> {
        match slug {
            SLUG => self.view.subscribe(),
            _ => self.nothing.subscribe(),
        }
    }

    fn stream(&self, uid: &str) -> Option<Arc<StreamIdentity>> {
        (uid == UID).then(|| self.identity.clone())
    }

    fn own_channel(&self, _slug: &str) -> Option<OwnChannel> {
        None
    }

    fn own_channels(&self) -> Vec<OwnChannel> {
        Vec::new()
    }

    fn streams(&self) -> Vec<StreamSummary> {
        vec![StreamSummary {
            identity: self.identity.clone(),
            display_name: None,
            phase: Phase::Live,
            refusal: None,
        }]
    }

    async fn steer(&self, slug: &str, _steering: Steering) -> Result<(), SteerError> {
        (slug == SLUG).then_some(()).ok_or(SteerError::Unknown)
    }
}

#[async_trait]
impl Origin for Playing {
    fn playlists(
        &self,
        _stream: &Arc<StreamIdentity>,
        _demand: &Arc<Demand>,
    ) -> watch::Receiver<Option<Arc<Playlists>>> {
        self.playlists.subscribe()
    }

    async fn segment(
        &self,
        _stream: &StreamIdentity,
        segment: &SegmentId,
    ) -> Result<Bytes, SegmentError> {
        let is_listed = (FIRST..FIRST + LISTED).contains(&segment.number);
        let bytes = is_listed.then(|| Bytes::from_static(&[0x47; 1880]));
        bytes.ok_or(SegmentError::NotFound)
    }
}
