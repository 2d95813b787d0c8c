//! What every request shares: the ports, the keys, and what was learnt from them. Built once; holds no state that another replica lacks.

use std::path::PathBuf;
use std::sync::Arc;

use ::catalog::store::CatalogStore;
use ::catalog::{Catalog, TokenKey};
use ::presence::Presence;
use ::presence::notes::Notes;
use ::presence::places::Places as PlaceStore;
use ::presence::reports::Reports;
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::access_log::{AccessLog, Share};
use crate::administrators::Administrators;
use crate::audience::Audience;
use crate::cache::SegmentCache;
use crate::client::Proxies;
use crate::directory::StreamDirectory;
use crate::edge::Edge;
use crate::edge::rate::RateLimits;
use crate::http::error::Error;
use crate::http::origins::Origins;
use crate::http::page::Page;
use crate::imports::Imports;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::origin::Origin;
use crate::places::Places;
use crate::remembered::Memory;
use crate::streams::{HoldLimits, Need, Ready, Shared, Streams};
use crate::viewers::Viewers;

/// What a gateway stands on.
#[derive(Clone)]
pub struct Ports {
    /// Channels and users.
    pub catalog: Arc<dyn Catalog>,
    /// The same, where they can be changed.
    pub store: Option<Arc<dyn CatalogStore>>,
    /// Where it is told who is watching.
    pub presence: Arc<dyn Presence>,
    /// Where places of users' sessions are counted.
    pub places: Arc<dyn PlaceStore>,
    /// Where it keeps what channels turned out to be.
    pub notes: Arc<dyn Notes>,
    /// Where it reports who watches here, for all gateways' administrators.
    pub reports: Arc<dyn Reports>,
    /// Which streams there are.
    pub directory: Arc<dyn StreamDirectory>,
    /// Where playlists and segments come from.
    pub origin: Arc<dyn Origin>,
}

/// How a gateway behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name among the gateways of the release: the pod's.
    pub name: String,
    /// Sign sessions and segments.
    pub keys: Keys,
    /// Hashes tokens.
    pub token_key: TokenKey,
    /// Who may use the admin API; without them there is none.
    pub administrators: Option<Arc<Administrators>>,
    /// How requests are held.
    pub hold: HoldLimits,
    /// Bytes of recent segments in memory.
    pub cache_bytes: u64,
    /// Proxies that are believed where requests come from.
    pub proxies: Proxies,
    /// How often addresses and users may ask.
    pub rates: RateLimits,
    /// Whose pages may read playlists and segments.
    pub origins: Origins,
    /// The built start page.
    pub web_directory: PathBuf,
    /// Whether its own port speaks TLS.
    pub is_tls: bool,
    /// Which part of the requests that succeed is told of in the log, beside those that do not; without it there is no access log.
    pub access_log: Option<Share>,
}

/// The gateway.
pub struct Gateway {
    pub(crate) name: String,
    pub(crate) keys: Keys,
    pub(crate) proxies: Proxies,
    pub(crate) edge: Edge,
    pub(crate) origins: Origins,
    pub(crate) access: Access,
    pub(crate) administrators: Option<Arc<Administrators>>,
    pub(crate) store: Option<Arc<dyn CatalogStore>>,
    pub(crate) directory: Arc<dyn StreamDirectory>,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) streams: Streams,
    pub(crate) viewers: Arc<Viewers>,
    pub(crate) places: Places,
    pub(crate) place_store: Arc<dyn PlaceStore>,
    pub(crate) reports: Arc<dyn Reports>,
    pub(crate) audience: Audience,
    pub(crate) imports: Imports,
    pub(crate) notes: Arc<dyn Notes>,
    pub(crate) cache: SegmentCache,
    pub(crate) metrics: Metrics,
    pub(crate) page: Page,
    pub(crate) is_tls: bool,
    pub(crate) access_log: Option<AccessLog>,
    /// Cancelled when what goes on without an end is to end.
    pub(crate) draining: CancellationToken,
}

impl Gateway {
    /// A gateway on these ports; its metrics are registered.
    #[must_use]
    pub fn new(ports: Ports, options: Options, registry: &mut Registry) -> Arc<Self> {
        let metrics = Metrics::register(registry);
        let now = Instant::now();
        let viewers = Arc::new(Viewers::new(now));
        let Ports {
            catalog,
            store,
            presence,
            places,
            notes,
            reports,
            directory,
            origin,
        } = ports;
        let shared = Shared {
            directory: directory.clone(),
            origin: origin.clone(),
            keys: options.keys.clone(),
            viewers: viewers.clone(),
            metrics: metrics.clone(),
            memory: Memory::new(notes.clone()),
        };
        Arc::new(Self {
            name: options.name,
            keys: options.keys,
            proxies: options.proxies,
            edge: Edge::new(options.rates, now),
            origins: options.origins,
            access: Access::new(catalog, options.token_key, directory.clone()),
            administrators: options.administrators,
            store,
            directory,
            presence,
            streams: Streams::new(shared, options.hold),
            viewers,
            places: Places::new(Instant::now()),
            place_store: places,
            reports,
            audience: Audience::default(),
            imports: Imports::default(),
            notes,
            cache: SegmentCache::new(origin, options.cache_bytes, metrics.clone()),
            metrics,
            page: Page::load(&options.web_directory),
            is_tls: options.is_tls,
            access_log: options.access_log.map(|share| AccessLog::new(share, now)),
            draining: CancellationToken::new(),
        })
    }

    /// The channel's window, held until it has what is needed.
    pub(crate) async fn window(&self, slug: &str, need: &Need) -> Result<Ready, Error> {
        let channel = || self.access.channel(slug);
        Ok(self.streams.window(slug, channel, need).await?)
    }

    /// The wall clock, and the same in Unix seconds.
    #[expect(
        clippy::unused_self,
        reason = "the clock is the gateway's: one place reads it"
    )]
    pub(crate) fn now(&self) -> (Timestamp, u64) {
        let now = Timestamp::now();
        (now, u64::try_from(now.as_second()).unwrap_or(0))
    }
}
