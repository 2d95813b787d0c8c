//! The HTTP client below: connects only to checked addresses, trusts what the system trusts, keeps no connection and little memory.

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
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::Verifier;
use tokio::time::timeout;
use tower::{BoxError, Service};

use crate::egress::{CheckedResolver, EgressPolicy};
use crate::failure::SourceFailure;
use crate::milestones::{Milestone, Milestones};
use crate::sockets::Sockets;
use crate::unhurried::Unhurried;

/// What a connection reads ahead at most: a fraction of a second of any stream.
const READ_AHEAD: usize = 128 << 10;

type Https = HttpsConnector<Plain>;

/// A client that connects anew for each request.
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

/// TCP connections to checked addresses.
#[derive(Clone)]
pub(crate) struct Plain {
    http: HttpConnector<CheckedResolver>,
    sockets: Sockets,
}

impl Service<Uri> for Plain {
    type Response = TokioIo<Unhurried>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let place = self.sockets.enter();
        let connecting = self.http.call(uri);
        Box::pin(async move {
            let place = place?;
            let stream = connecting.await?.into_inner();
            Ok(TokioIo::new(Unhurried::new(stream, place)))
        })
    }
}

/// A client under a policy; lookup, connection and TLS together may take so long.
pub(crate) fn client(
    policy: EgressPolicy,
    patience: Duration,
    tls: ClientConfig,
    milestones: &Milestones,
    sockets: &Sockets,
) -> Client {
    let resolver = CheckedResolver(policy, milestones.clone());
    let mut http = HttpConnector::new_with_resolver(resolver);
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(Plain {
            http,
            sockets: sockets.clone(),
        });
    legacy::Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .http1_max_buf_size(READ_AHEAD)
        .http1_ignore_invalid_headers_in_responses(true)
        .build(Connector {
            https,
            patience,
            milestones: milestones.clone(),
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
