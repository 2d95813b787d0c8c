//! The HTTP/1.1 server loop of every process: hyper below, an axum router above, every resource of a connection bounded.
//! Handlers learn the peer by `ConnectInfo<SocketAddr>`. No connection outlives the drain deadline.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::write_deadline::WriteDeadline;

/// How long accepting rests when the process has run out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What one server gives its clients at most.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Open connections; more wait in the listen queue.
    pub connections: usize,
    /// From the end of one answer (or the connect) to the complete head of the next request; so also how long an idle connection lives.
    pub head_timeout: Duration,
    /// How long a client may take no data of an answer.
    pub write_timeout: Duration,
    /// The kernel's send buffer of a connection, in bytes; `None` leaves the kernel's choice.
    pub send_buffer: Option<usize>,
    /// Headers of a request.
    pub headers: usize,
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
            write_timeout: Duration::from_secs(20),
            send_buffer: Some(256 * 1024),
            headers: 64,
            head_bytes: 32 * 1024,
            drain: Duration::from_secs(10),
        }
    }
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
    let mut connections = JoinSet::new();
    let drain = limits.drain;
    let server = Server {
        builder: builder(&limits),
        slots: Arc::new(Semaphore::new(limits.connections)),
        router,
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

fn builder(limits: &ServeLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes.max(8 * 1024))
        .half_close(false);
    builder
}

struct Server {
    builder: http1::Builder,
    slots: Arc<Semaphore>,
    router: Router,
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
        tokio::select! {
            () = self.shutdown.cancelled() => None,
            slot = self.slots.clone().acquire_owned() => slot.ok(),
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
        if let Err(error) = prepare(&stream, &self.limits) {
            tracing::debug!(%peer, %error, "failed to prepare a connection");
            return;
        }
        let io = TokioIo::new(WriteDeadline::new(stream, self.limits.write_timeout));
        let router = self.router.clone();
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().call(request)
        });
        let connection = self.builder.serve_connection(io, service);
        let shutdown = self.shutdown.clone();
        connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let outcome = tokio::select! {
                // The shutdown first, so that an answer that comes with it already says `connection: close`.
                biased;
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                outcome = connection.as_mut() => outcome,
            };
            if let Err(error) = outcome {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(slot);
        });
    }
}

fn prepare(stream: &TcpStream, limits: &ServeLimits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if let Some(size) = limits.send_buffer {
        sockopt::set_socket_send_buffer_size(stream, size)?;
    }
    Ok(())
}
