//! A request as a line of the access log, written when its answer has been sent. Of its address it has the route alone: no token, session, key of
//! a segment or query is ever in it, and no path that is none of ours, since players put logins into such.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Method, StatusCode, Uri};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use super::{REASON, live, viewer};
use crate::Gateway;
use crate::access::Form;
use crate::client::Client;
use crate::metrics::Surface;
use crate::session;

/// The target of these lines, by which a filter finds them.
const TARGET: &str = "headend::access";

/// Characters of a user agent, and of a method that nobody knows.
const AGENT_MAXIMUM: usize = 120;
const METHOD_MAXIMUM: usize = 16;

/// Tells of a request what became of it.
pub(super) async fn tell(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(is_sampled) = gateway.access_log.as_ref().map(|log| log.samples()) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let mut line = Line {
        client: viewer::client(&parts, &gateway.proxies),
        route: parts.extensions.get().cloned(),
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        authorization: parts.headers.get(AUTHORIZATION).cloned(),
        agent: parts.headers.get(USER_AGENT).cloned(),
        began: Instant::now(),
        answer: None,
        bytes: Some(0),
        is_written: is_sampled,
        gateway,
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    line.answered(&response);
    if !line.is_written {
        return response;
    }
    if line.goes_on() {
        // The end is a line of its own, with what was sent.
        line.bytes = None;
        return response;
    }
    response.map(|body| Body::new(Told { body, line }))
}

/// A body that is counted.
struct Told {
    body: Body,
    line: Line,
}

impl hyper::body::Body for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok());
        if let (Some(data), Some(bytes)) =
            (data.and_then(Frame::data_ref), self.line.bytes.as_mut())
        {
            *bytes += data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is known of a request; written, where it is to be, when nothing of it goes on.
struct Line {
    gateway: Arc<Gateway>,
    client: Client,
    route: Option<MatchedPath>,
    method: Method,
    uri: Uri,
    authorization: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    began: Instant,
    /// Status, and the word for a refusal. Nothing where the client left before.
    answer: Option<(StatusCode, Option<HeaderValue>)>,
    /// Of the body, as far as they were taken. Nothing where that is told elsewhere.
    bytes: Option<u64>,
    is_written: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_written {
            self.write();
        }
    }
}

impl Line {
    fn answered(&mut self, response: &Response) {
        let status = response.status();
        self.answer = Some((status, response.headers().get(REASON).cloned()));
        let Some(log) = &self.gateway.access_log else {
            return;
        };
        let is_failure = status.is_client_error() || status.is_server_error();
        if !is_failure && !self.is_written {
            return;
        }
        let now = Instant::now();
        if is_failure {
            self.is_written = log.admits_failure(now);
        }
        if let Some(lines) = log.left_out(now) {
            tracing::warn!(
                target: TARGET,
                lines,
                "requests that were refused or failed are not in this log, because there are too many"
            );
        }
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or("", MatchedPath::as_str)
    }

    fn surface(&self) -> Option<Surface> {
        surface(self.route(), self.uri.path())
    }

    /// Whether the answer is a stream without an end.
    fn goes_on(&self) -> bool {
        let is_read = self.method == Method::GET && self.surface() == Some(Surface::Continuous);
        let status = self.answer.as_ref().map(|(status, _)| status);
        is_read && status.is_some_and(StatusCode::is_success)
    }

    fn write(&self) {
        let About { user, channel } = self.about();
        let (status, reason) = self
            .answer
            .as_ref()
            .map_or((None, None), |(status, reason)| {
                (Some(status.as_u16()), reason.as_ref())
            });
        let agent = self.agent.as_ref();
        let agent =
            agent.map(|agent| clipped(&String::from_utf8_lossy(agent.as_bytes()), AGENT_MAXIMUM));
        let duration = self.began.elapsed().as_millis();
        tracing::info!(
            target: TARGET,
            method = clipped(self.method.as_str(), METHOD_MAXIMUM),
            surface = self.surface().map(tracing::field::debug),
            path = self.route.as_ref().map(MatchedPath::as_str),
            channel,
            status,
            reason = reason.and_then(|reason| reason.to_str().ok()),
            bytes = self.bytes,
            duration_ms = u64::try_from(duration).unwrap_or(u64::MAX),
            client.address = %self.client.address,
            user,
            user_agent = agent,
            "{}",
            if status.is_some() { "answered" } else { "left before it was answered" }
        );
    }

    /// Looked up again for the few requests that are told of, so that the others pay nothing for it.
    fn about(&self) -> About {
        let gateway = &self.gateway;
        let mut segments = self.uri.path().split('/').skip(2);
        let named = segments.next().unwrap_or_default();
        match self.surface() {
            Some(Surface::Hls) => self.in_session(named),
            Some(Surface::Segment) => {
                let stream = gateway.directory.stream(named);
                let channel = stream.map(|stream| stream.name.clone());
                About {
                    channel,
                    ..About::default()
                }
            }
            Some(Surface::Live) if !self.route().ends_with("/{slug}") => About {
                channel: self.known(named),
                user: self.user(),
            },
            Some(Surface::Live | Surface::Continuous) => About {
                channel: live::form(named).and_then(|(_, slug)| self.known(slug)),
                user: self.user(),
            },
            Some(Surface::Api) => About {
                user: self.user(),
                ..About::default()
            },
            Some(Surface::Page) | None => About::default(),
        }
    }

    fn in_session(&self, text: &str) -> About {
        let (_, unix_seconds) = self.gateway.now();
        let verified = session::verify(&self.gateway.keys.session, text, unix_seconds);
        let Ok(session) = verified.map(|verified| verified.session) else {
            return About::default();
        };
        let snapshot = self.gateway.access.snapshot();
        About {
            user: snapshot.user(&session.user).map(|user| user.name.clone()),
            channel: Some(session.channel),
        }
    }

    /// A name that is no channel's may be anything, and is not told.
    fn known(&self, slug: &str) -> Option<String> {
        let gateway = &self.gateway;
        let is_listed = || gateway.access.snapshot().channel(slug).is_some();
        let is_known = is_listed() || gateway.directory.own_channel(slug).is_some();
        is_known.then(|| slug.to_owned())
    }

    /// Whose token it is, if it is a viewer's.
    fn user(&self) -> Option<String> {
        let token = viewer::token_in(self.authorization.as_ref(), &self.uri);
        let (now, _) = self.gateway.now();
        let admitted = self.gateway.access.by_token(token.as_deref(), now).ok()?;
        Some(admitted.user.name.clone())
    }
}

/// Whom and what a request is about, as far as it is known for certain.
#[derive(Debug, Default)]
struct About {
    user: Option<String>,
    channel: Option<String>,
}

/// Where the viewer asked, by the route; nothing where there is none.
fn surface(route: &str, path: &str) -> Option<Surface> {
    Some(match route.split('/').nth(1)? {
        "live" if route.ends_with("/{slug}") => {
            let name = path.rsplit('/').next().unwrap_or_default();
            match live::form(name) {
                Some((Form::Continuous, _)) => Surface::Continuous,
                _ => Surface::Live,
            }
        }
        "live" => Surface::Live,
        "hls" => Surface::Hls,
        "seg" => Surface::Segment,
        "api" | "get_playlist.php" => Surface::Api,
        _ => Surface::Page,
    })
}

fn clipped(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
