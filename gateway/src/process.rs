//! The gateway's process in a cluster: settings become ports, ports become a gateway, and the tasks of all of them live and end together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::catalog::files::FilesCatalog;
use ::catalog::redis::OpenError;
use ::catalog::store::{CatalogStore, StoreCatalog};
use ::catalog::{Catalog, TokenKey};
use ::presence::redis::RedisPresence;
use prometheus_client::registry::Registry;
use runtime::admin::{self, Readiness};
use runtime::exit::ProcessError;
use runtime::serve::{ServeLimits, serve};
use runtime::shutdown::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::administrators::Administrators;
use crate::directory::kubernetes::{self, KubernetesDirectory, Watch};
use crate::edge::tls::Certificates;
use crate::keys::Keys;
use crate::origin::remote::RemoteOrigin;
use crate::run::{self, Limits, SERVING};
use crate::settings::{CatalogPlace, Settings};
use crate::{Gateway, Options, Ports};

/// The condition of readiness that the first list of streams meets.
const STREAMS: &str = "streams";

/// What the process is made of, before anything runs.
struct Parts {
    catalog: Kept,
    watch: Watch,
    synced: watch::Receiver<bool>,
    ports: Ports,
}

/// The catalog, as what keeps it up to date.
#[derive(Clone)]
enum Kept {
    Files(Arc<FilesCatalog>),
    Store(Arc<StoreCatalog>),
}

impl Kept {
    async fn open(settings: &Settings, prefix: &str) -> Result<Self, ProcessError> {
        match settings.catalog_store {
            CatalogPlace::Files => {
                let catalog = FilesCatalog::open(settings.files.catalog.clone());
                let catalog = catalog.map_err(ProcessError::input)?;
                Ok(Self::Files(Arc::new(catalog)))
            }
            CatalogPlace::Redis => {
                let opened = ::catalog::redis::open(&settings.redis, prefix).await;
                let catalog = opened.map_err(|error| match error {
                    OpenError::Settings(error) => ProcessError::input(error),
                    // Starting again may help: then it waits for Redis.
                    OpenError::Store(error) => error.into(),
                })?;
                if catalog.snapshot().user_count() == 0 {
                    tracing::warn!(
                        "the catalog in Redis has no users: nobody may watch. Fill it: headend-admin import-catalog"
                    );
                }
                Ok(Self::Store(Arc::new(catalog)))
            }
        }
    }

    fn port(&self) -> Arc<dyn Catalog> {
        match self {
            Self::Files(catalog) => catalog.clone(),
            Self::Store(catalog) => catalog.clone(),
        }
    }

    /// The port for changes; files are changed where they come from.
    fn store(&self) -> Option<Arc<dyn CatalogStore>> {
        match self {
            Self::Files(_) => None,
            Self::Store(catalog) => Some(catalog.clone()),
        }
    }

    async fn follow(self, shutdown: CancellationToken) -> io::Result<()> {
        match self {
            Self::Files(catalog) => catalog.follow(shutdown.cancelled_owned()).await,
            Self::Store(catalog) => catalog.follow(shutdown.cancelled_owned()).await,
        }
        Ok(())
    }
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
    tasks.spawn("catalog", parts.catalog.follow(shutdown.clone()));
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
    let token_key = token_key.map_err(ProcessError::input)?;
    let administrators = settings.files.administrators.clone();
    let administrators = administrators
        .map(|file| Administrators::open(file, token_key.clone()).map(Arc::new))
        .transpose();
    Ok(Options {
        name: settings.place.gateway_name.clone(),
        keys: Keys::read(keys_directory).map_err(ProcessError::input)?,
        token_key,
        administrators: administrators.map_err(ProcessError::input)?,
        hold: settings.serving.hold(),
        cache_bytes: settings.serving.cache_mebibytes * 1024 * 1024,
        proxies: settings.limits.proxies(),
        rates: settings.limits.rates(),
        origins: settings.serving.cors_origins.clone(),
        web_directory: settings.files.web_directory(),
        is_tls: settings.tls.files().is_some(),
        access_log: settings.serving.access_log_sample,
    })
}

fn certificates(settings: &Settings) -> Result<Option<Arc<Certificates>>, ProcessError> {
    let certificates = settings.tls.files().map(Certificates::open);
    let certificates = certificates.transpose().map_err(ProcessError::input)?;
    Ok(certificates.map(Arc::new))
}

async fn parts(settings: &Settings) -> Result<Parts, ProcessError> {
    let place = &settings.place;
    let prefix = format!("{}/{}", place.namespace, place.instance);
    let catalog = Kept::open(settings, &prefix).await?;
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
            catalog: catalog.port(),
            store: catalog.store(),
            presence: presence.clone(),
            places: presence.clone(),
            notes: presence.clone(),
            reports: presence,
            directory,
            origin: Arc::new(origin),
        },
        catalog,
        watch,
        synced,
    })
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

#[cfg(test)]
mod tests {
    use ::catalog::store::{CatalogStore, Change};
    use ::catalog::{Group, Row};
    use clap::Parser;
    use redis_support::testing::RedisServer;

    use super::*;

    fn settings(further: &[&str]) -> Settings {
        let words = [
            "headend-gateway",
            "--namespace=tv",
            "--instance=tv-one",
            "--gateway-name=gateway-0",
            "--keys-directory=/keys",
            "--output-directory=/output",
        ];
        Settings::try_parse_from(words.iter().chain(further)).unwrap()
    }

    async fn refusal(settings: &Settings) -> ProcessError {
        let opened = Kept::open(settings, "tv/tv-one").await;
        opened.map(|_| ()).unwrap_err()
    }

    #[tokio::test]
    async fn a_catalog_in_redis_is_followed_and_one_that_is_away_may_come_back() {
        let mut server = RedisServer::start().await;
        let url = format!("--redis-url={}", server.url());
        let settings = settings(&["--catalog-store=redis", &url]);
        let kept = Kept::open(&settings, "tv/tv-one").await.unwrap();
        let catalog = kept.port();
        let mut versions = catalog.versions();
        let shutdown = CancellationToken::new();
        let following = tokio::spawn(kept.follow(shutdown.clone()));
        let other = ::catalog::redis::open(&settings.redis, "tv/tv-one").await;
        let group = Group {
            id: "News".to_owned(),
            name: "News".to_owned(),
            order: 1,
        };
        let change = Change::put(Row::Group(group));
        other.unwrap().apply(vec![change]).await.unwrap();
        let changed = tokio::time::timeout(Duration::from_mins(1), versions.changed());
        changed.await.unwrap().unwrap();
        assert!(catalog.snapshot().group("News").is_some());
        shutdown.cancel();
        following.await.unwrap().unwrap();
        server.kill();
        let away = refusal(&settings).await;
        assert!(matches!(away, ProcessError::Failure(_)), "{away:?}");
        assert!(away.message().contains("the catalog in Redis at"));
    }

    #[tokio::test]
    async fn a_catalog_that_is_nowhere_is_for_the_user_to_correct() {
        for further in [
            &[][..],
            &["--catalog=/nonexistent"],
            &["--catalog-store=redis"],
        ] {
            let refused = refusal(&settings(further)).await;
            assert!(matches!(refused, ProcessError::Input(_)), "{refused:?}");
        }
    }
}
