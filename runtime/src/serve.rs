//! The HTTP server loop of every process: hyper below, an axum router above, every resource of a connection bounded.
//! Handlers learn the peer by `ConnectInfo<SocketAddr>`. No connection outlives the drain deadline.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::connection::Protocols;
use crate::write_deadline::WriteDeadline;

/// How long accepting rests when the process has run out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A line of the log says at most this often that no connection is free.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// While fewer than one in this many connections are free, those that come are given less time.
const SCARCE: usize = 8;

/// What one server gives its clients at most.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Open connections; more wait in the listen queue.
    pub connections: usize,
    /// From the end of one answer (or the connect) to the complete head of the next request; so also how long an idle connection lives.
    pub head_timeout: Duration,
    /// The same for connections that come while hardly any is free.
    pub scarce_head_timeout: Duration,
    /// How long a client may take less than `write_minimum` of an answer that it is offered.
    pub write_timeout: Duration,
    /// Bytes of an answer that a client takes in that time at least, unless there are fewer.
    pub write_minimum: usize,
    /// The kernel's send buffer of a connection, in bytes; `None` leaves the kernel's choice.
    pub send_buffer: Option<usize>,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of a request's path and query.
    pub target_bytes: usize,
    /// Bytes a request's head may have, and the size of the connection's own buffer (at least 8 KiB).
    pub head_bytes: usize,
    /// How long answers under way may take to end after the shutdown began.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            head_timeout: Duration::from_secs(30),
            scarce_head_timeout: Duration::from_secs(6),
            write_timeout: Duration::from_secs(20),
            write_minimum: 32 * 1024,
            send_buffer: Some(256 * 1024),
            headers: 64,
            target_bytes: 8 * 1024,
            head_bytes: 32 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

/// What a connection that is let in is given; dropped with the connection.
pub type Guest = Box<dyn Send>;

/// Decides about connections before anything of them is read. Never waits.
pub trait Door: Send + Sync {
    /// Lets a connection in.
    ///
    /// # Errors
    /// When it may not come in: what it is told, if it takes that at once. Under TLS it is told nothing.
    fn admit(&self, peer: IpAddr) -> Result<Guest, &'static [u8]>;
}

/// How connections come in.
#[derive(Clone, Default)]
pub struct Entrance {
    /// Who is asked about them; without one, nobody.
    pub door: Option<Arc<dyn Door>>,
    /// TLS, and by its ALPN the versions of HTTP that are offered; without it HTTP/1.1 in clear.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Serves `router` on `listener` until `shutdown` is cancelled, then lets answers under way end within `limits.drain`.
///
/// # Errors
/// When the listener itself is broken; trouble with single connections never ends the loop.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    serve_through(Entrance::default(), listener, router, limits, shutdown).await
}

/// The same for those whom an entrance lets in.
///
/// # Errors
/// As [`serve`].
pub async fn serve_through(
    entrance: Entrance,
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let drain = limits.drain;
    let protocols = Protocols::new(router, entrance.tls, limits.clone(), shutdown.clone());
    let server = Server {
        slots: Arc::new(Semaphore::new(limits.connections)),
        told: Mutex::new(None),
        door: entrance.door,
        protocols: Arc::new(protocols),
        limits,
        shutdown: shutdown.clone(),
    };
    let outcome = server.accept(listener, &mut connections).await;
    shutdown.cancel();
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, ended).await.is_err() {
        let open = connections.len();
        tracing::info!(connections = open, "closing connections that did not drain");
        connections.shutdown().await;
    }
    outcome
}

struct Server {
    slots: Arc<Semaphore>,
    /// When the log was told last that none is free.
    told: Mutex<Option<Instant>>,
    door: Option<Arc<dyn Door>>,
    protocols: Arc<Protocols>,
    limits: ServeLimits,
    shutdown: CancellationToken,
}

impl Server {
    async fn accept(&self, listener: TcpListener, connections: &mut JoinSet<()>) -> io::Result<()> {
        while let Some(slot) = self.slot().await {
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.start(connections, stream, peer, slot),
                    Err(error) => self.judge(error).await?,
                },
            }
        }
        Ok(())
    }

    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if self.slots.available_permits() == 0 {
            self.tell_that_none_is_free();
        }
        tokio::select! {
            () = self.shutdown.cancelled() => None,
            slot = self.slots.clone().acquire_owned() => slot.ok(),
        }
    }

    fn tell_that_none_is_free(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            let connections = self.limits.connections;
            tracing::warn!(
                connections,
                "all connections are in use, further ones wait: more replicas have more"
            );
        }
    }

    /// How long a connection that comes now may take for the head of a request.
    fn head_timeout(&self) -> Duration {
        if self.slots.available_permits() < self.limits.connections / SCARCE {
            self.limits.scarce_head_timeout
        } else {
            self.limits.head_timeout
        }
    }

    async fn judge(&self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            // The client went away between its connect and our accept.
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => {}
            // The listener is no listener: nothing will ever be accepted.
            ErrorKind::InvalidInput | ErrorKind::NotConnected | ErrorKind::Unsupported => {
                return Err(error);
            }
            // Out of descriptors or memory: connections that end give some back.
            _ => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::select! {
                    () = self.shutdown.cancelled() => {}
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
        Ok(())
    }

    fn start(
        &self,
        connections: &mut JoinSet<()>,
        stream: TcpStream,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) {
        let guest = match self.admit(peer) {
            Ok(guest) => guest,
            Err(answer) => return self.refuse(stream, answer),
        };
        if let Err(error) = prepare(&stream, &self.limits) {
            tracing::debug!(%peer, %error, "failed to prepare a connection");
            return;
        }
        let (timeout, minimum) = (self.limits.write_timeout, self.limits.write_minimum);
        let stream = WriteDeadline::new(stream, timeout, minimum);
        let held = (slot, guest);
        let (protocols, time) = (self.protocols.clone(), self.head_timeout());
        // Two kinds of tasks, so that a connection in clear takes no memory for TLS.
        match self.protocols.tls() {
            None => connections.spawn(async move {
                protocols.clear(stream, peer, time).await;
                drop(held);
            }),
            Some(tls) => connections.spawn(async move {
                protocols.secure(tls, stream, peer, time).await;
                drop(held);
            }),
        };
    }

    fn admit(&self, peer: SocketAddr) -> Result<Option<Guest>, &'static [u8]> {
        let door = self.door.as_ref();
        door.map(|door| door.admit(peer.ip())).transpose()
    }

    fn refuse(&self, stream: TcpStream, answer: &'static [u8]) {
        if self.protocols.tls().is_some() {
            return;
        }
        // Its send buffer is empty, so that it takes this at once or is broken.
        if let Ok(mut stream) = stream.into_std() {
            let _ = stream.write(answer);
        }
    }
}

fn prepare(stream: &TcpStream, limits: &ServeLimits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(size) = limits.send_buffer {
        sockopt::set_socket_send_buffer_size(stream, size)?;
    }
    Ok(())
}
