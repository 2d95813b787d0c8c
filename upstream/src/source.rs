//! Opens a source and reads it as a stream of bytes without end. Redirects are followed here, so that each is checked.
//! Never reads a body whole, never waits without a limit, never reuses a connection.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::egress::{CheckedResolver, EgressPolicy};
use crate::failure::{self, SourceFailure};
use crate::redirect;

const REDIRECTS_MAXIMUM: usize = 10;
const HEADERS_MAXIMUM: usize = 64;
const DEFAULT_USER_AGENT: &str = concat!("Headend/", env!("CARGO_PKG_VERSION"));

/// Headers that belong to the connection, not to the source.
const OWN_HEADERS: [&str; 6] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
];

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For lookup, connection and TLS, each time.
    pub connect: Duration,
    /// From the start to the first byte of the stream, redirects included.
    pub first_byte: Duration,
    /// For more bytes, once there were some.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(20),
            silence: Duration::from_secs(4),
        }
    }
}

/// What is asked for.
#[derive(Clone)]
pub struct SourceRequest {
    /// Address; user information in it becomes basic authentication.
    pub url: Url,
    /// The User-Agent header; ours when there is none.
    pub user_agent: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// Opens sources under one egress policy. Cheap to clone; loads the certificates of the system on the first `https` address only.
#[derive(Clone)]
pub struct Opener {
    shared: Arc<Shared>,
}

struct Shared {
    policy: EgressPolicy,
    patience: Patience,
    plain: reqwest::Client,
    secure: OnceCell<reqwest::Client>,
    roots: Vec<CertificateDer<'static>>,
}

impl Opener {
    /// An opener for sources that `policy` allows.
    ///
    /// # Errors
    /// When the HTTP client cannot be built, which no source is to blame for.
    pub fn new(policy: EgressPolicy, patience: Patience) -> Result<Self, SourceFailure> {
        Self::with_roots(policy, patience, Vec::new())
    }

    fn with_roots(
        policy: EgressPolicy,
        patience: Patience,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, SourceFailure> {
        let without_roots = tls_builder()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let shared = Shared {
            policy,
            patience,
            plain: client(policy, patience, without_roots)?,
            secure: OnceCell::new(),
            roots,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Asks for a source and follows its redirects until it delivers.
    ///
    /// # Errors
    /// The named failure of the source.
    pub async fn open(&self, request: &SourceRequest) -> Result<SourceStream, SourceFailure> {
        let started = Instant::now();
        let deadline = started + self.shared.patience.first_byte;
        let mut headers = headers(request)?;
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS_MAXIMUM {
            let origin = redirect::origin(&url);
            let answer = timeout_at(deadline, self.ask(&url, &headers))
                .await
                .map_err(|_| SourceFailure::Silent {
                    origin: origin.clone(),
                    waited: started.elapsed(),
                })??;
            let Some(next) = next_hop(&url, &origin, &answer)? else {
                return Ok(SourceStream {
                    origin,
                    response: answer,
                    silence: self.shared.patience.silence,
                    deadline: Some(deadline),
                    waiting_since: Some(started),
                });
            };
            redirect::strip_credentials(&mut headers, &url, &next);
            url = next;
        }
        Err(SourceFailure::BadAnswer {
            origin: redirect::origin(&url),
            detail: format!("more than {REDIRECTS_MAXIMUM} redirects"),
        })
    }

    async fn ask(&self, url: &Url, headers: &HeaderMap) -> Result<Response, SourceFailure> {
        let origin = redirect::origin(url);
        if !redirect::is_http(url) {
            let detail = "the address is not http or https".to_owned();
            return Err(SourceFailure::InvalidRequest { detail });
        }
        let refuse = |refused| SourceFailure::EgressRefused {
            origin: origin.clone(),
            refused,
        };
        self.shared.policy.check_literal(url).map_err(refuse)?;
        let client = self.client(url).await?;
        let request = client.get(url.clone()).headers(headers.clone());
        let sent = request.send().await;
        sent.map_err(|error| failure::opening(&origin, &error))
    }

    async fn client(&self, url: &Url) -> Result<&reqwest::Client, SourceFailure> {
        let shared = &self.shared;
        if url.scheme() == "http" {
            return Ok(&shared.plain);
        }
        let build = || async {
            let roots = shared.roots.clone();
            let config = tokio::task::spawn_blocking(|| trusting_the_system(roots))
                .await
                .map_err(|error| unusable(&error))??;
            client(shared.policy, shared.patience, config)
        };
        shared.secure.get_or_try_init(build).await
    }
}

fn tls_builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, SourceFailure>
{
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))
}

fn trusting_the_system(roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, SourceFailure> {
    let provider = Arc::new(ring::default_provider());
    let verifier =
        Verifier::new_with_extra_roots(roots, provider).map_err(|error| unusable(&error))?;
    Ok(tls_builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn client(
    policy: EgressPolicy,
    patience: Patience,
    tls: ClientConfig,
) -> Result<reqwest::Client, SourceFailure> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(CheckedResolver(policy))
        // A proxy of the environment would connect to what was never checked.
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .http1_ignore_invalid_headers_in_responses(true)
        .connect_timeout(patience.connect)
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| unusable(&error))
}

fn unusable(error: &dyn std::error::Error) -> SourceFailure {
    SourceFailure::InvalidRequest {
        detail: format!("the HTTP client cannot be used: {error}"),
    }
}

fn headers(request: &SourceRequest) -> Result<HeaderMap, SourceFailure> {
    let invalid = |detail: String| SourceFailure::InvalidRequest { detail };
    if request.headers.len() > HEADERS_MAXIMUM {
        return Err(invalid(format!("more than {HEADERS_MAXIMUM} headers")));
    }
    let mut headers = HeaderMap::new();
    let agent = request.user_agent.as_deref().unwrap_or(DEFAULT_USER_AGENT);
    let agent = HeaderValue::from_str(agent)
        .map_err(|_| invalid("the user agent has characters that no header may have".to_owned()))?;
    headers.insert(USER_AGENT, agent);
    for (position, (name, value)) in request.headers.iter().enumerate() {
        let name: HeaderName = name
            .parse()
            .map_err(|_| invalid(format!("header {} has no valid name", position + 1)))?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(invalid(format!("the header {name} cannot be set")));
        }
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| invalid(format!("the header {name} has no valid value")))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The next address when the answer is a redirect, `None` when it delivers.
fn next_hop(url: &Url, origin: &str, answer: &Response) -> Result<Option<Url>, SourceFailure> {
    let status = answer.status();
    let header = |name| answer.headers().get(name).map(HeaderValue::as_bytes);
    match (status, header(LOCATION)) {
        (
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT,
            Some(location),
        ) => redirect::target(url, location).map(Some).map_err(|detail| {
            let origin = origin.to_owned();
            SourceFailure::BadAnswer { origin, detail }
        }),
        (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => Ok(None),
        _ => Err(SourceFailure::HttpStatus {
            origin: origin.to_owned(),
            status: status.as_u16(),
            retry_after: header(RETRY_AFTER)
                .and_then(|value| redirect::retry_after(value, Timestamp::now())),
        }),
    }
}

/// The bytes of an open source. Dropping it closes the connection.
#[derive(Debug)]
pub struct SourceStream {
    origin: String,
    response: Response,
    silence: Duration,
    /// Until when the first byte must have come; `None` once it has.
    deadline: Option<Instant>,
    /// Since when more bytes are wanted; silence counts from here, so a slow reader is never the source's fault.
    waiting_since: Option<Instant>,
}

impl SourceStream {
    /// Scheme, host and port of where the redirects ended.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The next bytes, never empty. May be cancelled and called again without losing any.
    ///
    /// # Errors
    /// The source ended, broke or was silent for too long. A live source has no good end.
    pub async fn next(&mut self) -> Result<Bytes, SourceFailure> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let deadline = self.deadline.unwrap_or(since + self.silence);
        loop {
            let chunk = timeout_at(deadline, self.response.chunk())
                .await
                .map_err(|_| SourceFailure::Silent {
                    origin: self.origin.clone(),
                    waited: since.elapsed(),
                })?
                .map_err(|error| failure::reading(&self.origin, &error))?;
            match chunk {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    self.deadline = None;
                    self.waiting_since = None;
                    return Ok(bytes);
                }
                None => {
                    return Err(SourceFailure::EndOfStream {
                        origin: self.origin.clone(),
                        detail: None,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
