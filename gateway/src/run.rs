//! Runs a gateway on a socket until it is told to end: not ready first, then serving on while the news spreads, then draining, and the
//! last word goes to the presence store.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use runtime::admin::Readiness;
use runtime::serve::{Entrance, ServeLimits, serve_through};
use runtime::shutdown::{Tasks, TasksError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::edge::connections::Connections;
use crate::edge::tls::Certificates;
use crate::presence_flush::keep_flushing;

/// The condition of readiness that ends with the shutdown.
pub const SERVING: &str = "serving";

/// For everything after the last connection.
const MARGIN: Duration = Duration::from_secs(5);

/// How a gateway serves.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long it serves on after it was told to end.
    pub drain: Duration,
    /// What connections get.
    pub serve: ServeLimits,
    /// How many connections an address may have; 0 is no limit.
    pub connections_per_address: usize,
    /// The certificate of TLS; without one viewers come in clear.
    pub certificates: Option<Arc<Certificates>>,
}

/// Serves viewers on `listener` until `shutdown` is cancelled.
///
/// # Errors
/// When a task of the gateway ends early or does not end in time.
pub async fn run(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    limits: Limits,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), TasksError> {
    let mut tasks = Tasks::new(shutdown.clone());
    let _ended = spawn(&mut tasks, listener, gateway, &limits, readiness);
    tasks.run(limits.end()).await
}

impl Limits {
    /// From the order to end until everything has ended.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.drain + self.serve.drain + MARGIN
    }
}

/// Starts a gateway's tasks among others of the process. The token is cancelled when the last connection has ended.
pub(crate) fn spawn(
    tasks: &mut Tasks,
    listener: TcpListener,
    gateway: Arc<Gateway>,
    limits: &Limits,
    readiness: Readiness,
) -> CancellationToken {
    let shutdown = tasks.token();
    let accepting = CancellationToken::new();
    let ended = CancellationToken::new();
    readiness.set(SERVING, true);
    tasks.spawn("drain", {
        let (shutdown, accepting, drain) = (shutdown.clone(), accepting.clone(), limits.drain);
        let draining = gateway.draining.clone();
        async move {
            shutdown.cancelled().await;
            readiness.set(SERVING, false);
            // Whoever routes to this replica needs a moment to learn that it is going.
            tokio::time::sleep(drain).await;
            accepting.cancel();
            draining.cancel();
            Ok::<_, io::Error>(())
        }
    });
    tasks.spawn("http", {
        let (router, serve_limits) = (crate::app(gateway.clone()), limits.serve.clone());
        let entrance = entrance(&gateway, limits);
        let ended = ended.clone();
        async move {
            let entrance = entrance.map_err(io::Error::other)?;
            let outcome = serve_through(entrance, listener, router, serve_limits, accepting).await;
            ended.cancel();
            outcome
        }
    });
    if let Some(certificates) = limits.certificates.clone() {
        let shutdown = shutdown.clone();
        tasks.spawn("certificate", async move {
            certificates.follow(shutdown).await;
            Ok::<_, io::Error>(())
        });
    }
    if let Some(administrators) = gateway.administrators.clone() {
        let shutdown = shutdown.clone();
        tasks.spawn("administrators", async move {
            administrators.follow(shutdown).await;
            Ok::<_, io::Error>(())
        });
    }
    tasks.spawn("catalog", follow_catalog(gateway.clone(), shutdown));
    tasks.spawn("presence", {
        let ended = ended.clone();
        async move {
            keep_flushing(gateway, ended).await;
            Ok::<_, io::Error>(())
        }
    });
    ended
}

fn entrance(gateway: &Arc<Gateway>, limits: &Limits) -> Result<Entrance, rustls::Error> {
    let door = Connections::new(gateway.clone(), limits.connections_per_address);
    let tls = limits.certificates.as_ref().map(|tls| tls.server());
    Ok(Entrance {
        door: Some(Arc::new(door)),
        tls: tls.transpose()?,
    })
}

/// Tells the streams that are watched when their channels may have been edited.
async fn follow_catalog(gateway: Arc<Gateway>, shutdown: CancellationToken) -> io::Result<()> {
    let mut versions = gateway.access.versions();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = versions.changed() => match changed {
                Ok(()) => gateway.streams.catalog_changed(|slug| gateway.access.channel(slug)),
                // A catalog that cannot change any more.
                Err(_) => {
                    shutdown.cancelled().await;
                    return Ok(());
                }
            },
        }
    }
}
