//! What the process is made of: settings become ports, ports become the same gateway as in a cluster, and everything ends together.
//! The gateway ends before its streams, so that the last request is answered.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use catalog::files::FilesCatalog;
use catalog::store::{CatalogStore, StoreCatalog};
use catalog::{Catalog, TokenKey};
use gateway::administrators::Administrators;
use gateway::client::Proxies;
use gateway::edge::rate::RateLimits;
use gateway::http::origins::Origins;
use gateway::keys::Keys;
use gateway::run::SERVING;
use gateway::settings::{HOLDS, default_web_directory};
use gateway::streams::HoldLimits;
use gateway::{Gateway, Limits, Options, Ports};
use presence::memory::MemoryPresence;
use prometheus_client::registry::Registry;
use runtime::admin::{self, Readiness};
use runtime::exit::ProcessError;
use runtime::serve::{ServeLimits, serve};
use runtime::shutdown::Tasks;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use transcoder::job::JobOptions;
use transcoder::metrics::Metrics;
use transcoder::sandbox::Launcher;

use crate::classes::Classes;
use crate::collector::Collector;
use crate::guest::Guest;
use crate::narrator::{self, Narrator, say};
use crate::settings::{ChannelSettings, Settings};
use crate::sources::Playlist;
use crate::stored;
use crate::streams::{Context, LocalStreams};
use crate::threads::StreamThreads;

/// The one gateway's name in the presence store.
pub(crate) const GATEWAY: &str = "standalone";

/// How long a playlist request of a starting channel is held.
const HOLD: Duration = Duration::from_secs(8);

/// How long answers under way may take to end with the process.
const DRAIN: Duration = Duration::from_secs(2);

/// When every source of a stream was tried and nothing came for this long, a new attempt follows after a pause.
const GIVE_UP: Duration = Duration::from_mins(1);

/// Bytes of segments of one stream that may wait in memory for the disk.
const MEMORY: u64 = 64 << 20;

/// Channels that are listed at the start.
const LISTED: usize = 20;

/// Runs until `shutdown` is cancelled.
///
/// # Errors
/// When settings or files are wrong, an address is taken, or a task fails.
pub async fn start(settings: Settings, shutdown: CancellationToken) -> Result<(), ProcessError> {
    let classes = Classes::load(&settings.streams).map_err(ProcessError::input)?;
    let listener = listen(settings.listen).await?;
    let output = Output::new(settings.streams.directory.clone())?;
    let mut registry = Registry::default();
    runtime::build::register(&mut registry);
    let mut tasks = Tasks::new(shutdown);
    let (narrator, lines) = Narrator::new();
    let channels = Channels::load(&settings.channels, output.path(), &mut tasks).await?;
    let presence = Arc::new(MemoryPresence::new());
    let threads = StreamThreads::start()?;
    let streams = LocalStreams::new(Context {
        threads: threads.handle(),
        classes,
        output: output.path(),
        files: settings.streams.files_directory.clone(),
        options: job_options(&settings, &mut registry),
        presence: presence.clone(),
        narrator: narrator.clone(),
    });
    let collector = Collector {
        streams: streams.clone(),
        presence: presence.clone(),
        gateway: GATEWAY.to_owned(),
        narrator,
    };
    introduce(&channels, listener.local_addr()?);
    let gateway = gateway(&settings, channels, presence, &streams, &mut registry)?;
    let readiness = Readiness::new(&[SERVING]);
    let token = tasks.token();
    if let Some(address) = settings.admin_listen {
        let admin = admin::router(Arc::new(registry), readiness.clone());
        let serving = serve(
            listen(address).await?,
            admin,
            ServeLimits::default(),
            token.clone(),
        );
        tasks.spawn("admin", serving);
    }
    let limits = limits();
    tasks.spawn("collector", collector.run(token.clone()));
    let running = gateway::run(listener, gateway, limits.clone(), readiness, token);
    tasks.spawn("gateway", running);
    let told = CancellationToken::new();
    let printing = tokio::spawn(narrator::print(lines, told.clone()));
    let outcome = tasks.run(limits.end()).await;
    streams.shutdown().await;
    told.cancel();
    let _ = printing.await;
    Ok(outcome?)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ProcessError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| ProcessError::input(format!("failed to listen on {address}: {error}")))
}

fn limits() -> Limits {
    Limits {
        drain: Duration::ZERO,
        serve: ServeLimits {
            drain: DRAIN,
            ..ServeLimits::default()
        },
        connections_per_address: 0,
        certificates: None,
    }
}

fn job_options(settings: &Settings, registry: &mut Registry) -> JobOptions {
    let metrics = Metrics::register(registry);
    let launcher = Launcher::new(settings.streams.ffmpeg.clone());
    tokio::spawn(launcher.clone().announce(metrics.clone()));
    JobOptions {
        launcher,
        allow_loopback: true,
        grace: Duration::ZERO,
        give_up_after: GIVE_UP,
        linger: Duration::ZERO,
        memory_bytes: MEMORY,
        metrics,
        readiness: Readiness::new(&[]),
        routes: Router::new(),
    }
}

fn gateway(
    settings: &Settings,
    channels: Channels,
    presence: Arc<MemoryPresence>,
    streams: &LocalStreams,
    registry: &mut Registry,
) -> Result<Arc<Gateway>, ProcessError> {
    let keys = match &settings.channels.keys_directory {
        Some(directory) => Keys::read(directory).map_err(ProcessError::input)?,
        None => Keys::generate()?,
    };
    let ports = Ports {
        catalog: channels.catalog,
        store: channels.store,
        presence: presence.clone(),
        places: presence.clone(),
        notes: presence.clone(),
        reports: presence,
        directory: Arc::new(streams.clone()),
        origin: Arc::new(streams.clone()),
    };
    let options = Options {
        name: GATEWAY.to_owned(),
        keys,
        token_key: channels.token_key,
        administrators: channels.administrators,
        hold: HoldLimits {
            time: HOLD,
            count: HOLDS,
        },
        cache_bytes: settings.streams.cache_mebibytes << 20,
        proxies: Proxies::default(),
        // A process on one machine, for those who are on it: all of them come from one address.
        rates: RateLimits::OFF,
        origins: Origins::Any,
        web_directory: default_web_directory(),
        is_tls: false,
        access_log: None,
    };
    Ok(Gateway::new(ports, options, registry))
}

/// Where segments are written; a temporary directory goes with the process.
enum Output {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Output {
    fn new(given: Option<PathBuf>) -> Result<Self, ProcessError> {
        let Some(path) = given else {
            let directory = tempfile::Builder::new().prefix("headend-").tempdir()?;
            return Ok(Self::Temporary(directory));
        };
        std::fs::create_dir_all(&path).map_err(|error| {
            ProcessError::input(format!("failed to make the directory {path:?}: {error}"))
        })?;
        Ok(Self::Given(path))
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Given(path) => path.clone(),
            Self::Temporary(directory) => directory.path().to_owned(),
        }
    }
}

/// Channels and users, the guest if there is one, and who may change them.
struct Channels {
    catalog: Arc<dyn Catalog>,
    store: Option<Arc<dyn CatalogStore>>,
    token_key: TokenKey,
    guest_token: Option<String>,
    administrators: Option<Arc<Administrators>>,
}

impl Channels {
    async fn load(
        settings: &ChannelSettings,
        directory: PathBuf,
        tasks: &mut Tasks,
    ) -> Result<Self, ProcessError> {
        let token_key = token_key(settings)?;
        let is_alone = settings.catalog.is_empty() && settings.catalog_file.is_none();
        let guest = (settings.token.is_some() || is_alone)
            .then(|| Guest::new(&token_key, settings.token.clone()))
            .transpose()?;
        let (catalog, store): (Arc<dyn Catalog>, Option<Arc<dyn CatalogStore>>) =
            match &settings.catalog_file {
                None => {
                    let catalog = files(settings, &directory, guest.as_ref(), tasks).await?;
                    (catalog, None)
                }
                Some(file) => {
                    let stored = stored::open(file, settings, &directory, guest.as_ref()).await?;
                    let stored = Arc::new(stored);
                    tasks.spawn("catalog file", follow_store(stored.clone(), tasks.token()));
                    (stored.clone(), Some(stored))
                }
            };
        let administrators = settings.admin_token.as_ref();
        let administrators = administrators
            .map(|token| Arc::new(Administrators::only("admin", token, token_key.clone())));
        if catalog.snapshot().user_count() == 0 && (store.is_none() || administrators.is_none()) {
            let message = "nobody may watch: name users in the catalog, or set HEADEND_TOKEN";
            return Err(ProcessError::input(message));
        }
        Ok(Self {
            catalog,
            store,
            token_key,
            guest_token: guest.map(|guest| guest.token),
            administrators,
        })
    }
}

/// The catalog of the lists and files that are named, kept up with them.
async fn files(
    settings: &ChannelSettings,
    directory: &Path,
    guest: Option<&Guest>,
    tasks: &mut Tasks,
) -> Result<Arc<FilesCatalog>, ProcessError> {
    let mut paths = settings.catalog.clone();
    if let Some(playlist) = &settings.playlist {
        let playlist = Playlist::parse(playlist, directory);
        paths.push(playlist.file().to_owned());
        if let Playlist::Web(list) = playlist {
            list.fetch().await.map_err(ProcessError::input)?;
            tasks.spawn("channel list", list.keep(tasks.token()));
        }
    }
    let users = guest.iter().map(|guest| guest.user.clone()).collect();
    let catalog = FilesCatalog::open_with(paths, users).map_err(ProcessError::input)?;
    let catalog = Arc::new(catalog);
    tasks.spawn("catalog files", follow(catalog.clone(), tasks.token()));
    Ok(catalog)
}

async fn follow(catalog: Arc<FilesCatalog>, shutdown: CancellationToken) -> io::Result<()> {
    catalog.follow(shutdown.cancelled_owned()).await;
    Ok(())
}

async fn follow_store(catalog: Arc<StoreCatalog>, shutdown: CancellationToken) -> io::Result<()> {
    catalog.follow(shutdown.cancelled_owned()).await;
    Ok(())
}

fn token_key(settings: &ChannelSettings) -> Result<TokenKey, ProcessError> {
    if let Some(directory) = &settings.keys_directory {
        return TokenKey::read(&directory.join("token")).map_err(ProcessError::input);
    }
    let mut bytes = [0; catalog::token::KEY_MINIMUM];
    getrandom::fill(&mut bytes)?;
    Ok(TokenKey::new(&bytes)?)
}

/// Says what there is to watch, and where.
fn introduce(channels: &Channels, address: SocketAddr) {
    let snapshot = channels.catalog.snapshot();
    let version = runtime::build::version();
    let count = snapshot.channel_count();
    say(&format!(
        "Headend {version} has {count} channels and listens on http://{address}/"
    ));
    let Some(token) = &channels.guest_token else {
        return;
    };
    say(&format!(
        "The page there lists and plays them; the token is {token}"
    ));
    for channel in snapshot.channels().take(LISTED) {
        let slug = &channel.slug;
        say(&format!(
            "  {}: http://{address}/live/{slug}/master.m3u8?token={token}",
            channel.name
        ));
    }
    if count > LISTED {
        say(&format!("  and {} more", count - LISTED));
    }
    say("A channel starts when somebody plays it, and stops when nobody has watched for a while.");
}
