//! The HTTP client below: connects only to checked addresses, trusts what the system trusts, keeps little memory, and a connection
//! only for who asks for one thing after another.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::Verifier;
use tokio::time::timeout;
use tower::{BoxError, Service};

use crate::egress::{CheckedResolver, Names};
use crate::failure::SourceFailure;
use crate::milestones::{Milestone, Milestones};
use crate::proxy::Proxy;
use crate::sockets::Sockets;
use crate::source::Terms;
use crate::unhurried::Unhurried;

/// What a connection reads ahead at most: a fraction of a second of any stream.
const READ_AHEAD: usize = 128 << 10;

/// A connection that is kept and not used is closed after this: a list is loaded more often.
const IDLE: Duration = Duration::from_secs(20);

/// What becomes of a connection after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It is closed: a provider counts connections.
    Close,
    /// One to each host is kept for what is asked next.
    Keep,
}

type Https = HttpsConnector<Plain>;

/// A client under a source's terms.
pub(crate) type Client = legacy::Client<Connector, Empty<Bytes>>;

/// Lookup, connection and TLS, in bounded time.
#[derive(Clone)]
pub(crate) struct Connector {
    https: Https,
    patience: Duration,
    milestones: Milestones,
}

impl Service<Uri> for Connector {
    type Response = <Https as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.patience, self.https.call(uri));
        let seconds = self.patience.as_secs();
        let milestones = self.milestones.clone();
        Box::pin(async move {
            let late = |_| BoxError::from(format!("no connection within {seconds} s"));
            let connected = connecting.await.map_err(late)??;
            milestones.reach(Milestone::Connected);
            Ok(connected)
        })
    }
}

/// TCP connections to checked addresses, through a proxy where there is one.
#[derive(Clone)]
pub(crate) struct Plain {
    tcp: HttpConnector<CheckedResolver>,
    /// Where there is one, `tcp` is for its own address.
    proxy: Option<(Proxy, CheckedResolver)>,
    sockets: Sockets,
    after: After,
}

impl Service<Uri> for Plain {
    type Response = TokioIo<Unhurried>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let place = self.sockets.enter();
        let mut tcp = self.tcp.clone();
        let proxy = self.proxy.clone();
        let after = self.after;
        Box::pin(async move {
            let place = place?;
            let (connected, is_forwarded) = match proxy {
                None => (tcp.call(uri).await?, false),
                Some((proxy, names)) => proxy.connect(tcp, names, uri).await?,
            };
            let stream = match after {
                After::Close => Unhurried::new(connected.into_inner(), place),
                // It is idle for most of the time, and need not be looked at then.
                After::Keep => Unhurried::hurried(connected.into_inner(), place),
            };
            Ok(TokioIo::new(stream.forwarded(is_forwarded)))
        })
    }
}

/// What the clients of one opener have in common, whatever their terms.
#[derive(Clone, Default)]
pub(crate) struct Common {
    pub(crate) names: Names,
    pub(crate) milestones: Milestones,
    pub(crate) sockets: Sockets,
}

/// A client under a source's terms.
pub(crate) fn client(terms: &Terms, tls: ClientConfig, common: &Common, after: After) -> Client {
    let resolver = |policy, milestones| CheckedResolver {
        policy,
        names: common.names.clone(),
        milestones,
    };
    let checked = resolver(terms.policy, common.milestones.clone());
    let (checked, proxy) = match &terms.proxy {
        None => (checked, None),
        Some(proxy) => {
            // Nobody asks how long the lookup of a proxy takes.
            let own = resolver(proxy.policy(), Milestones::default());
            (own, Some((proxy.clone(), checked)))
        }
    };
    let mut http = HttpConnector::new_with_resolver(checked);
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(Plain {
            tcp: http,
            proxy,
            sockets: common.sockets.clone(),
            after,
        });
    legacy::Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(usize::from(after == After::Keep))
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .http1_max_buf_size(READ_AHEAD)
        .http1_ignore_invalid_headers_in_responses(true)
        .build(Connector {
            https,
            patience: terms.patience.connect,
            milestones: common.milestones.clone(),
        })
}

/// For plain HTTP, where loading certificates would be a waste of time and memory.
pub(crate) fn trusting_nobody() -> Result<ClientConfig, SourceFailure> {
    let builder = builder()?.with_root_certificates(RootCertStore::empty());
    Ok(builder.with_no_client_auth())
}

/// What the system trusts, and these. Reads files.
pub(crate) fn trusting_the_system(
    roots: Vec<CertificateDer<'static>>,
) -> Result<ClientConfig, SourceFailure> {
    let provider = Arc::new(ring::default_provider());
    let verifier =
        Verifier::new_with_extra_roots(roots, provider).map_err(|error| unusable(&error))?;
    Ok(builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, SourceFailure> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))
}

fn unusable(error: &rustls::Error) -> SourceFailure {
    SourceFailure::InvalidRequest {
        detail: format!("TLS cannot be used: {error}"),
    }
}
