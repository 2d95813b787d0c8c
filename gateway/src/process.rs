//! The gateway's process in a cluster: settings become ports, ports become a gateway, and the tasks of all of them live and end together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::catalog::TokenKey;
use ::catalog::files::FilesCatalog;
use ::presence::redis::RedisPresence;
use prometheus_client::registry::Registry;
use runtime::admin::{self, Readiness};
use runtime::exit::ProcessError;
use runtime::serve::{ServeLimits, serve};
use runtime::shutdown::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::directory::kubernetes::{self, KubernetesDirectory, Watch};
use crate::edge::tls::Certificates;
use crate::keys::Keys;
use crate::origin::remote::RemoteOrigin;
use crate::run::{self, Limits, SERVING};
use crate::settings::Settings;
use crate::{Gateway, Options, Ports};

/// The condition of readiness that the first list of streams meets.
const STREAMS: &str = "streams";

/// What the process is made of, before anything runs.
struct Parts {
    catalog: Arc<FilesCatalog>,
    watch: Watch,
    synced: watch::Receiver<bool>,
    ports: Ports,
}

/// Runs until `shutdown` is cancelled.
///
/// # Errors
/// When settings or files are wrong, the cluster is out of reach, or a task fails.
pub async fn start(settings: Settings, shutdown: CancellationToken) -> Result<(), ProcessError> {
    let options = options(&settings)?;
    let parts = parts(&settings).await?;
    let listener = TcpListener::bind(settings.listen).await?;
    let admin_listener = TcpListener::bind(settings.admin_listen).await?;

    let mut registry = Registry::default();
    runtime::build::register(&mut registry);
    let gateway = Gateway::new(parts.ports, options, &mut registry);
    let readiness = Readiness::new(&[SERVING, STREAMS]);
    let limits = Limits {
        drain: Duration::from_secs(settings.serving.drain_seconds),
        serve: ServeLimits::default(),
        connections_per_address: settings.limits.connections_per_address,
        certificates: certificates(&settings)?,
    };
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn(
        "catalog files",
        follow_files(parts.catalog, shutdown.clone()),
    );
    tasks.spawn("streams", follow_streams(parts.watch, shutdown.clone()));
    tasks.spawn(
        "readiness",
        tell_synced(parts.synced, readiness.clone(), shutdown),
    );
    let admin = admin::router(Arc::new(registry), readiness.clone());
    let ended = run::spawn(&mut tasks, listener, gateway, &limits, readiness);
    // Probes are answered to the end: "not ready" is an answer, a refused connection is a riddle.
    tasks.spawn(
        "admin",
        serve(admin_listener, admin, ServeLimits::default(), ended),
    );
    Ok(tasks.run(limits.end()).await?)
}

fn options(settings: &Settings) -> Result<Options, ProcessError> {
    let keys_directory = &settings.files.keys_directory;
    let token_key = TokenKey::read(&keys_directory.join("token"));
    Ok(Options {
        name: settings.place.gateway_name.clone(),
        keys: Keys::read(keys_directory).map_err(ProcessError::input)?,
        token_key: token_key.map_err(ProcessError::input)?,
        hold: settings.serving.hold(),
        cache_bytes: settings.serving.cache_mebibytes * 1024 * 1024,
        proxies: settings.limits.proxies(),
        rates: settings.limits.rates(),
        origins: settings.serving.cors_origins.clone(),
        web_directory: settings.files.web_directory(),
    })
}

fn certificates(settings: &Settings) -> Result<Option<Arc<Certificates>>, ProcessError> {
    let certificates = settings.tls.files().map(Certificates::open);
    let certificates = certificates.transpose().map_err(ProcessError::input)?;
    Ok(certificates.map(Arc::new))
}

async fn parts(settings: &Settings) -> Result<Parts, ProcessError> {
    let catalog =
        FilesCatalog::open(settings.files.catalog.clone()).map_err(ProcessError::input)?;
    let catalog = Arc::new(catalog);
    let place = &settings.place;
    let prefix = format!("{}/{}", place.namespace, place.instance);
    let presence = RedisPresence::new(&settings.redis, &prefix).map_err(ProcessError::input)?;
    let presence = Arc::new(presence);
    let client = kubernetes::connect().await?;
    let (directory, watch) = KubernetesDirectory::new(&client, &place.namespace, &place.instance);
    let synced = directory.synced();
    let directory = Arc::new(directory);
    let output = settings.files.output_directory.clone();
    let origin = RemoteOrigin::new(directory.clone(), output, &place.gateway_name)?;
    Ok(Parts {
        ports: Ports {
            catalog: catalog.clone(),
            presence: presence.clone(),
            places: presence.clone(),
            notes: presence,
            directory,
            origin: Arc::new(origin),
        },
        catalog,
        watch,
        synced,
    })
}

async fn follow_files(catalog: Arc<FilesCatalog>, shutdown: CancellationToken) -> io::Result<()> {
    catalog.follow(shutdown.cancelled_owned()).await;
    Ok(())
}

async fn follow_streams(watch: Watch, shutdown: CancellationToken) -> io::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = watch.run() => {}
    }
    Ok(())
}

async fn tell_synced(
    mut synced: watch::Receiver<bool>,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> io::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        listed = synced.wait_for(|synced| *synced) => readiness.set(STREAMS, listed.is_ok()),
    }
    shutdown.cancelled().await;
    Ok(())
}
