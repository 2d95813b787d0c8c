//! One connection from its first byte to its last: HTTP/1.1 in clear; under TLS what was agreed on, HTTP/2 or HTTP/1.1. Whoever says nothing,
//! too slowly or too much loses it.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::serve::ServeLimits;

/// What ALPN calls HTTP/2.
const HTTP2: &[u8] = b"h2";

/// Requests that a connection of HTTP/2 may have under way: more than any player asks for at once.
const STREAMS: u32 = 32;

/// Bytes of answers that a stream of HTTP/2 may have waiting beyond what is shared in memory anyway.
const STREAM_BUFFER: usize = 64 * 1024;

/// How connections speak.
pub(crate) struct Protocols {
    http1: http1::Builder,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
}

impl Protocols {
    pub(crate) fn new(
        router: Router,
        tls: Option<Arc<ServerConfig>>,
        limits: ServeLimits,
        shutdown: CancellationToken,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .max_headers(limits.headers)
            .max_buf_size(limits.head_bytes.max(8 * 1024))
            .half_close(false);
        Self {
            http1,
            tls: tls.map(TlsAcceptor::from),
            router,
            limits,
            shutdown,
        }
    }

    /// TLS, where connections speak it.
    pub(crate) fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.clone()
    }

    /// A connection in clear, to its end; `time` is what it may take for the head of a request.
    pub(crate) async fn clear<S: Stream>(
        self: Arc<Self>,
        stream: S,
        peer: SocketAddr,
        time: Duration,
    ) {
        if let Err(error) = self.http1(stream, peer, time).await {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }

    /// A connection under TLS, to its end.
    pub(crate) async fn secure<S: Stream>(
        self: Arc<Self>,
        tls: TlsAcceptor,
        stream: S,
        peer: SocketAddr,
        time: Duration,
    ) {
        let shaking_hands = tokio::time::timeout(time, tls.accept(stream));
        let stream = match shaking_hands.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "failed to agree on TLS");
                return;
            }
            Err(_) => {
                tracing::debug!(%peer, "failed to agree on TLS in time");
                return;
            }
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        let outcome = if is_http2 {
            self.http2(stream, peer, time).await
        } else {
            self.http1(stream, peer, time).await
        };
        if let Err(error) = outcome {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }

    /// The future holds the connection once: there are thousands of them.
    fn http1<S: Stream>(
        &self,
        stream: S,
        peer: SocketAddr,
        time: Duration,
    ) -> impl Future<Output = hyper::Result<()>> + Send {
        let service = service_fn(move |request| self.answer(request, peer));
        let mut builder = self.http1.clone();
        builder.header_read_timeout(time);
        let mut connection = builder.serve_connection(TokioIo::new(stream), service);
        async move {
            let mut connection = Pin::new(&mut connection);
            tokio::select! {
                // The shutdown first, so that an answer that comes with it already says `connection: close`.
                biased;
                () = self.shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                outcome = connection.as_mut() => outcome,
            }
        }
    }

    /// hyper bounds neither how long a connection of HTTP/2 may say nothing nor how slowly it may read: this does.
    async fn http2<S: Stream>(
        self: Arc<Self>,
        stream: S,
        peer: SocketAddr,
        time: Duration,
    ) -> hyper::Result<()> {
        let requests = CancellationToken::new();
        let _ended = requests.clone().drop_guard();
        let activity = Arc::new(AtomicU64::new(0));
        let service = service_fn({
            let (this, activity) = (self.clone(), activity.clone());
            move |request| {
                let answer = this.answer(request, peer);
                let activity = activity.clone();
                async move {
                    activity.fetch_add(1, Ordering::Relaxed);
                    let response = answer.await?;
                    // Each part of a body that is taken.
                    let body = |body: Body| {
                        body.map_frame(move |frame| {
                            activity.fetch_add(1, Ordering::Relaxed);
                            frame
                        })
                    };
                    Ok::<_, Infallible>(response.map(body))
                }
            }
        });
        let builder = http2(&self.limits, Requests(requests));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                return connection.await;
            }
            () = silence(&activity, time) => {}
            outcome = connection.as_mut() => return outcome,
        }
        // What is under way may be held for long, or taken slowly.
        connection.as_mut().graceful_shutdown();
        let rest = tokio::time::timeout(self.limits.head_timeout, connection).await;
        rest.unwrap_or(Ok(()))
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let target = request.uri().path_and_query();
        let length = target.map_or(0, |target| target.as_str().len());
        if length > self.limits.target_bytes {
            let refusal = StatusCode::URI_TOO_LONG.into_response();
            return Either::Right(ready(Ok(refusal)));
        }
        request.extensions_mut().insert(ConnectInfo(peer));
        Either::Left(self.router.clone().call(request))
    }
}

/// What a connection goes over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

fn http2(limits: &ServeLimits, requests: Requests) -> http2::Builder<Requests> {
    let mut builder = http2::Builder::new(requests);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(STREAM_BUFFER)
        .keep_alive_interval(limits.head_timeout)
        .keep_alive_timeout(limits.write_timeout);
    builder
}

/// Ends when nothing happened for that long, or for up to twice as long.
async fn silence(activity: &AtomicU64, time: Duration) {
    let mut seen = activity.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(time).await;
        let now = activity.load(Ordering::Relaxed);
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// Runs the requests of a connection of HTTP/2, none of them longer than it.
#[derive(Clone)]
struct Requests(CancellationToken);

impl<F> Executor<F> for Requests
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, request: F) {
        let ended = self.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                _ = request => {}
            }
        });
    }
}
