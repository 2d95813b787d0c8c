//! Opens a source and reads it as a stream of bytes without end. Redirects are followed here, so that each is checked.
//! Never reads a body whole, never waits without a limit, reuses connections only for the lists and segments of one source.

mod asking;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::client::{After, Client, Common, client, trusting_nobody, trusting_the_system};
use crate::egress::EgressPolicy;
#[cfg(test)]
use crate::egress::Names;
use crate::failure::{self, SourceFailure};
use crate::milestones::{Milestone, Milestones};
use crate::proxy::Proxy;
use crate::redirect;
use crate::sockets::Sockets;
use asking::{ask_for, headers};

const REDIRECTS_MAXIMUM: usize = 10;

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

/// Under which terms a source is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Which addresses may be connected to.
    pub policy: EgressPolicy,
    /// How long is waited for what.
    pub patience: Patience,
    /// What every connection goes through.
    pub proxy: Option<Proxy>,
}

/// Opens sources under the same terms. Cheap to clone; loads the certificates of the system on the first `https` address only.
#[derive(Clone)]
pub struct Opener {
    shared: Arc<Shared>,
}

struct Shared {
    terms: Terms,
    common: Common,
    after: After,
    plain: Client,
    secure: OnceCell<Client>,
    trust: Arc<Trust>,
}

/// What certificates are checked against: loaded once, whatever the terms.
struct Trust {
    roots: Vec<CertificateDer<'static>>,
    config: OnceCell<ClientConfig>,
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
        let trust = Trust {
            roots,
            config: OnceCell::new(),
        };
        let terms = Terms {
            policy,
            patience,
            proxy: None,
        };
        Self::build(terms, Common::default(), Arc::new(trust), After::Close)
    }

    fn build(
        terms: Terms,
        common: Common,
        trust: Arc<Trust>,
        after: After,
    ) -> Result<Self, SourceFailure> {
        let shared = Shared {
            plain: client(&terms, trusting_nobody()?, &common, after),
            common,
            after,
            secure: OnceCell::new(),
            terms,
            trust,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How far its connections come, and when.
    #[must_use]
    pub fn milestones(&self) -> &Milestones {
        &self.shared.common.milestones
    }

    /// The sockets of its connections.
    #[must_use]
    pub fn sockets(&self) -> &Sockets {
        &self.shared.common.sockets
    }

    /// The terms it asks under.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.shared.terms.clone()
    }

    /// The same under other terms; its milestones and sockets are these.
    ///
    /// # Errors
    /// As [`Opener::new`].
    pub fn under(&self, terms: Terms) -> Result<Self, SourceFailure> {
        if terms == self.shared.terms {
            return Ok(self.clone());
        }
        let shared = &self.shared;
        let trust = Arc::clone(&shared.trust);
        Self::build(terms, shared.common.clone(), trust, shared.after)
    }

    /// The same, with connections of its own that are kept for what is asked next; its milestones and sockets are these. They are
    /// closed with it, and like all others when its sockets are to end.
    ///
    /// # Errors
    /// As [`Opener::new`].
    pub(crate) fn keeping(&self) -> Result<Self, SourceFailure> {
        let shared = &self.shared;
        let (terms, common) = (shared.terms.clone(), shared.common.clone());
        Self::build(terms, common, Arc::clone(&shared.trust), After::Keep)
    }

    /// Names are looked up as a test says.
    #[cfg(test)]
    pub(crate) fn with_names(
        policy: EgressPolicy,
        patience: Patience,
        names: Names,
    ) -> Result<Self, SourceFailure> {
        let opener = Self::new(policy, patience)?;
        let common = Common {
            names,
            ..Common::default()
        };
        let trust = Arc::clone(&opener.shared.trust);
        Self::build(opener.terms(), common, trust, After::Close)
    }

    /// Asks for a source and follows its redirects until it delivers.
    ///
    /// # Errors
    /// The named failure of the source.
    pub async fn open(&self, request: &SourceRequest) -> Result<SourceStream, SourceFailure> {
        let started = Instant::now();
        let patience = self.shared.terms.patience;
        let deadline = started + patience.first_byte;
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
                    is_part: answer.status() == StatusCode::PARTIAL_CONTENT,
                    url,
                    body: answer.into_body(),
                    silence: patience.silence,
                    deadline: Some(deadline),
                    waiting_since: Some(started),
                    milestones: self.shared.common.milestones.clone(),
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

    async fn ask(
        &self,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, SourceFailure> {
        let origin = redirect::origin(url);
        if !redirect::is_http(url) {
            let detail = "the address is not http or https".to_owned();
            return Err(SourceFailure::InvalidRequest { detail });
        }
        let refuse = |refused| SourceFailure::EgressRefused {
            origin: origin.clone(),
            refused,
        };
        let Terms { policy, proxy, .. } = &self.shared.terms;
        policy.check_literal(url).map_err(refuse)?;
        let client = self.client(url).await?;
        let mut request = ask_for(url, headers)?;
        let proxy = proxy.as_ref();
        if let Some(login) = proxy.and_then(|proxy| proxy.authorization(url)) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        let mut sent = client.request(request.clone()).await;
        if self.shared.after == After::Keep && sent.as_ref().is_err_and(|error| !error.is_connect())
        {
            // A connection that was kept may have been closed at its other end just now. The next one is new.
            sent = client.request(request).await;
        }
        let answer = sent.map_err(|error| failure::opening(&origin, &error))?;
        match proxy.and_then(|proxy| proxy.refusal(url, answer.status())) {
            Some(detail) => Err(SourceFailure::ConnectFailed { origin, detail }),
            None => Ok(answer),
        }
    }

    async fn client(&self, url: &Url) -> Result<&Client, SourceFailure> {
        let shared = &self.shared;
        if url.scheme() == "http" {
            return Ok(&shared.plain);
        }
        let build = || async {
            let config = shared.trust.config().await?;
            Ok(client(&shared.terms, config, &shared.common, shared.after))
        };
        shared.secure.get_or_try_init(build).await
    }
}

impl Trust {
    async fn config(&self) -> Result<ClientConfig, SourceFailure> {
        let load = || async {
            let roots = self.roots.clone();
            let loading = spawn_blocking(|| trusting_the_system(roots));
            loading.await.map_err(|error| {
                let detail = format!("the certificates of the system cannot be read: {error}");
                SourceFailure::InvalidRequest { detail }
            })?
        };
        self.config.get_or_try_init(load).await.cloned()
    }
}

/// The next address when the answer is a redirect, `None` when it delivers.
fn next_hop(
    url: &Url,
    origin: &str,
    answer: &Response<Incoming>,
) -> Result<Option<Url>, SourceFailure> {
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
pub struct SourceStream {
    origin: String,
    /// Where the redirects ended: what relative addresses are relative to.
    pub(crate) url: Url,
    /// It is the range that was asked for.
    pub(crate) is_part: bool,
    body: Incoming,
    silence: Duration,
    /// Until when the first byte must have come; `None` once it has.
    deadline: Option<Instant>,
    /// Since when more bytes are wanted; silence counts from here, so a slow reader is never the source's fault.
    waiting_since: Option<Instant>,
    milestones: Milestones,
}

impl fmt::Debug for SourceStream {
    /// Its address carries logins.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SourceStream")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
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
        let ended = |detail| SourceFailure::EndOfStream {
            origin: self.origin.clone(),
            detail,
        };
        loop {
            let silent = |_| SourceFailure::Silent {
                origin: self.origin.clone(),
                waited: since.elapsed(),
            };
            let frame = timeout_at(deadline, self.body.frame())
                .await
                .map_err(silent)?;
            let frame = frame.ok_or_else(|| ended(None))?;
            let frame = frame.map_err(|error| failure::reading(&self.origin, &error))?;
            if let Ok(bytes) = frame.into_data()
                && !bytes.is_empty()
            {
                if self.deadline.take().is_some() {
                    self.milestones.reach(Milestone::FirstByte);
                }
                self.waiting_since = None;
                return Ok(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests;
