//! Turns LiveStreams into transcoder pods and idle ones into nothing; sweeps what they leave on the volume.
//! The process that reconciles never mounts the volume: a hung volume must not hang the control plane.

mod class;
mod events;
mod leader;
mod live_stream;
mod metrics;
mod provider;
pub mod settings;
mod sweeper;
mod text;
mod uninstall;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client};
use presence::Presence;
use presence::redis::RedisPresence;
use prometheus_client::registry::Registry;
use runtime::admin::{self, Readiness};
use runtime::exit::ProcessError;
use runtime::serve::{ServeLimits, serve};
use runtime::shutdown::Tasks;
use runtime::telemetry::{LogFormat, LogSettings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::leader::{Election, Leadership};
use crate::live_stream::pod::Fleet;
use crate::live_stream::signer::Signer;
use crate::live_stream::{Context, Triggers};
use crate::metrics::Metrics;
use crate::settings::{ReleaseSettings, RunSettings, Settings, SweepSettings, UninstallSettings};

/// How long tasks may take to end after a signal.
const SHUTDOWN: Duration = Duration::from_secs(4);
/// How long an admin request under way may take to end.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// Connects to the cluster and does what the settings say, until it is done or told to end.
///
/// # Errors
/// When the settings cannot be used, or something the process needs ends early.
pub async fn start(settings: Settings, shutdown: CancellationToken) -> Result<(), ProcessError> {
    let client = Client::try_default().await.map_err(NoCluster)?;
    match settings {
        Settings::Run(settings) => {
            let ReleaseSettings {
                namespace,
                instance,
                ..
            } = &settings.release;
            runtime::trace::start(&settings.trace, "headend-operator")
                .map_err(ProcessError::input)?;
            let prefix = format!("{namespace}/{instance}");
            let presence = RedisPresence::new(&settings.redis, &prefix);
            let presence = Arc::new(presence.map_err(ProcessError::input)?);
            let listener = listen(settings.admin_listen).await?;
            run(client, presence, listener, &settings, shutdown).await
        }
        Settings::Sweep(settings) => {
            let listener = listen(settings.admin_listen).await?;
            sweep(client, listener, &settings, shutdown).await
        }
        Settings::Uninstall(settings) => uninstall(client, &settings, shutdown).await,
    }
}

/// The cluster could not be found or its credentials not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to find the cluster")]
struct NoCluster(#[source] kube::Error);

/// The address for the admin endpoints could not be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}")]
struct Listen {
    address: SocketAddr,
    source: std::io::Error,
}

/// Reconciles the LiveStreams of one release until it is told to end. `admin` is where /livez, /readyz and /metrics are answered.
///
/// # Errors
/// When the settings cannot be used, or a task that must run ends early.
pub async fn run(
    client: Client,
    presence: Arc<dyn Presence>,
    admin: TcpListener,
    settings: &RunSettings,
    shutdown: CancellationToken,
) -> Result<(), ProcessError> {
    let release = &settings.release;
    let mut registry = Registry::default();
    runtime::build::register(&mut registry);
    let metrics = Metrics::new(&mut registry);
    metrics.collects(settings.collection.collect);
    let readiness = Readiness::new(&live_stream::WATCHES);
    let (sender, receiver) = Triggers::new(&release.namespace);
    let (events, publisher) = Events::new(client.clone());
    let (election, leadership) = candidate(&client, settings, &metrics)?;
    let context = Context::new(
        &client,
        &release.namespace,
        presence,
        fleet(settings)?,
        (sender.clone(), events, metrics),
        (leadership, &settings.collection),
    );
    let mut tasks = Tasks::new(shutdown);
    live_stream::start(
        &mut tasks,
        &client,
        &Arc::new(context),
        (sender, receiver),
        &readiness,
        &mut registry,
    );
    let token = tasks.token();
    tasks.spawn("events", async move {
        publisher.run(token).await;
        Ok::<_, std::convert::Infallible>(())
    });
    serve_admin(&mut tasks, admin, registry, readiness);
    if let Some(election) = election {
        let token = tasks.token();
        tasks.spawn("election", async move {
            election.run(token).await;
            Ok::<_, std::convert::Infallible>(())
        });
    }
    let (namespace, instance) = (&release.namespace, &release.instance);
    tracing::info!(
        namespace,
        instance,
        collects = settings.collection.collect,
        version = runtime::build::version(),
        "reconciling"
    );
    Ok(tasks.run(SHUTDOWN).await?)
}

/// Stands for election where there is one; else leads.
fn candidate(
    client: &Client,
    settings: &RunSettings,
    metrics: &Metrics,
) -> Result<(Option<Election>, Leadership), ProcessError> {
    let election = &settings.election;
    let (Some(lease), Some(identity)) = (&election.lease, &election.identity) else {
        metrics.leads(true);
        return Ok((None, Leadership::alone()));
    };
    let timing = election.timing().map_err(ProcessError::input)?;
    let leases = Api::namespaced(client.clone(), &settings.release.namespace);
    let (election, leadership) = Election::new(leases, (lease, identity), timing, metrics.clone());
    Ok((Some(election), leadership))
}

/// Sweeps the output volume of one release until it is told to end. `admin` is where /livez, /readyz and /metrics are answered.
///
/// # Errors
/// When the volume's thread cannot be started, or a task that must run ends early.
pub async fn sweep(
    client: Client,
    admin: TcpListener,
    settings: &SweepSettings,
    shutdown: CancellationToken,
) -> Result<(), ProcessError> {
    let mut registry = Registry::default();
    runtime::build::register(&mut registry);
    let readiness = Readiness::new(&sweeper::CONDITIONS);
    let mut tasks = Tasks::new(shutdown);
    sweeper::start(&mut tasks, &client, settings, &readiness, &mut registry)?;
    serve_admin(&mut tasks, admin, registry, readiness);
    let directory = settings.output_directory.display();
    tracing::info!(%directory, version = runtime::build::version(), "sweeping");
    Ok(tasks.run(SHUTDOWN).await?)
}

/// Stops every stream of the namespace, and waits until their pods are gone.
///
/// # Errors
/// When the cluster refuses, pods do not end in time, or the process is told to end before.
pub async fn uninstall(
    client: Client,
    settings: &UninstallSettings,
    shutdown: CancellationToken,
) -> Result<(), ProcessError> {
    let stopped = shutdown
        .run_until_cancelled(uninstall::run(&client, settings))
        .await;
    Ok(stopped.unwrap_or(Err(uninstall::Error::Cancelled))?)
}

fn fleet(settings: &RunSettings) -> Result<(Fleet, Option<Signer>), ProcessError> {
    let LogSettings { filter, format } = &settings.release.log;
    let signer = settings.job_key.as_deref().map(Signer::read);
    let signer = signer.transpose().map_err(ProcessError::input)?;
    let fleet = Fleet {
        instance: settings.release.instance.clone(),
        transcoder: settings.transcoder.clone(),
        log_filter: filter.to_string(),
        log_format: match format {
            Some(LogFormat::Text) => "text",
            Some(LogFormat::Json) | None => "json",
        },
        otlp_endpoint: settings.trace.endpoint.clone(),
        job_key: signer.as_ref().map(Signer::public_key),
    };
    Ok((fleet, signer))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Listen> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| Listen { address, source })
}

fn serve_admin(tasks: &mut Tasks, listener: TcpListener, registry: Registry, readiness: Readiness) {
    let limits = ServeLimits {
        connections: 64,
        drain: ADMIN_DRAIN,
        ..ServeLimits::default()
    };
    let router = admin::router(Arc::new(registry), readiness);
    let token = tasks.token();
    tasks.spawn("admin endpoints", serve(listener, router, limits, token));
}
