//! Every refusal, as an answer: status, a stable word, a sentence. The cause of a failure is logged where it happens, never sent.

use std::borrow::Cow;
use std::time::Duration;

use api::control::ErrorBody;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::REASON;
use crate::metrics::Limit;
use crate::origin::SegmentError;
use crate::session::SessionError;
use crate::streams::Unplayable;

/// Why a request is not answered with what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No token was given.
    #[error("a token is needed, as `Authorization: Bearer` or `?token=`")]
    NoToken,
    /// No token was given where it has no business in a URL.
    #[error("a token is needed, as `Authorization: Bearer`")]
    NoBearer,
    /// The token is nobody's, or its user may not come in.
    #[error("the token is not valid")]
    WrongToken,
    /// The address or the user asks too often.
    #[error("{}; ask again in {} s", sentence(.limit), seconds(.wait))]
    TooMany {
        /// Who does, and what.
        limit: Limit,
        /// After how long it is let in.
        wait: Duration,
    },
    /// The session in the URL cannot be used.
    #[error("{0}; start the channel anew")]
    Session(SessionError),
    /// The place that the session had was taken.
    #[error(
        "the session ended: another one of the same user took its place; start the channel anew"
    )]
    SessionEnded,
    /// Somebody ended the session.
    #[error("the session was ended by an administrator; start the channel anew")]
    SessionClosed,
    /// No place is free for the session.
    #[error(
        "the user already watches in {most} places, which is as many as are allowed; end one of them"
    )]
    TooManySessions {
        /// How many.
        most: u32,
    },
    /// The user may not watch the channel.
    #[error("the channel is not among those that this token may watch")]
    NotAllowed,
    /// There is no such channel.
    #[error("there is no such channel")]
    NoChannel,
    /// There is no such thing at this address.
    #[error("there is nothing at this address")]
    NotFound,
    /// The segment's key does not fit.
    #[error("the address of the segment is not valid")]
    WrongKey,
    /// The channel cannot be played now.
    #[error("{0}")]
    Unplayable(Unplayable),
    /// The segment cannot be had.
    #[error("{0}")]
    Segment(SegmentError),
}

fn sentence(limit: &Limit) -> &'static str {
    match limit {
        Limit::Address => "too many requests come from this address",
        Limit::User => "too many requests come from this user",
        Limit::WrongTokens => "too many wrong tokens came from this address",
        Limit::ColdStarts => "this user has started too many channels that nobody watches",
    }
}

/// Whole seconds that are not too short.
fn seconds(wait: &Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<Unplayable> for Error {
    fn from(error: Unplayable) -> Self {
        match error {
            Unplayable::NoChannel => Self::NoChannel,
            Unplayable::NoRendition => Self::NotFound,
            other => Self::Unplayable(other),
        }
    }
}

impl From<SegmentError> for Error {
    fn from(error: SegmentError) -> Self {
        Self::Segment(error)
    }
}

impl Error {
    /// The status code of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::NoBearer | Self::WrongToken | Self::Session(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::TooMany { .. } | Self::TooManySessions { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotAllowed | Self::WrongKey | Self::SessionEnded | Self::SessionClosed => {
                StatusCode::FORBIDDEN
            }
            Self::NoChannel | Self::NotFound | Self::Segment(SegmentError::NotFound) => {
                StatusCode::NOT_FOUND
            }
            Self::Unplayable(_) | Self::Segment(SegmentError::Unavailable { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// A stable word: the reason of the stream's condition where there is one.
    #[must_use]
    pub fn reason(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::NoToken | Self::NoBearer => "NoToken",
            Self::WrongToken => "WrongToken",
            Self::TooMany { limit, .. } => match limit {
                Limit::Address | Limit::User => "TooManyRequests",
                Limit::WrongTokens => "TooManyWrongTokens",
                Limit::ColdStarts => "TooManyStarts",
            },
            Self::Session(SessionError::Invalid) => "SessionInvalid",
            Self::Session(SessionError::Expired) => "SessionExpired",
            Self::SessionEnded | Self::SessionClosed => "SessionEnded",
            Self::TooManySessions { .. } => "TooManySessions",
            Self::NotAllowed => "NotAllowed",
            Self::NoChannel => "NoChannel",
            Self::NotFound => "NotFound",
            Self::WrongKey => "WrongKey",
            Self::Unplayable(Unplayable::Refused(refusal)) => &refusal.reason,
            Self::Unplayable(Unplayable::Overload) => "Overload",
            Self::Unplayable(_) => "Starting",
            Self::Segment(SegmentError::NotFound) => "SegmentNotFound",
            Self::Segment(SegmentError::Unavailable { .. }) => "SegmentUnavailable",
        })
    }

    /// The sentence that people read.
    fn message(&self) -> String {
        match self {
            Self::Unplayable(Unplayable::Refused(refusal)) => refusal.message.clone(),
            // The cause is for the log.
            Self::Segment(SegmentError::Unavailable { .. }) => {
                "the segment cannot be read now".to_owned()
            }
            other => other.to_string(),
        }
    }

    /// Seconds after which it is worth asking again.
    fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::TooMany { wait, .. } => Some(HeaderValue::from(seconds(wait))),
            Self::Unplayable(Unplayable::Refused(refusal)) if refusal.lasting => {
                Some(HeaderValue::from_static("10"))
            }
            Self::Unplayable(Unplayable::Overload) => Some(HeaderValue::from_static("5")),
            // A place is free so long after its last playlist.
            Self::TooManySessions { .. } => Some(HeaderValue::from_static("15")),
            Self::Unplayable(_) => Some(HeaderValue::from_static("2")),
            Self::Segment(SegmentError::Unavailable { .. }) => Some(HeaderValue::from_static("1")),
            _ => None,
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(reason) = HeaderValue::from_str(&self.reason()) {
            headers.insert(REASON, reason);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        if matches!(self, Self::NoToken | Self::NoBearer | Self::WrongToken) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers
    }

    /// The answer on APIs: a JSON body.
    #[must_use]
    pub fn into_json(self) -> Response {
        let body = ErrorBody {
            code: self.reason().into_owned(),
            message: self.message(),
        };
        (self.status(), self.headers(), Json(body)).into_response()
    }

    /// The answer where players ask: plain text.
    #[must_use]
    pub fn into_text(self) -> Response {
        let body = format!("{}: {}\n", self.reason(), self.message());
        (self.status(), self.headers(), body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use api::condition::Reason;
    use http_body_util::BodyExt;

    use super::*;
    use crate::directory::Refusal;

    async fn text(error: Error) -> (u16, Option<String>, String) {
        let response = error.into_text();
        let retry = response.headers().get(RETRY_AFTER);
        let retry = retry.map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, retry, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn players_read_the_reason_and_when_to_ask_again() {
        let refusal = Refusal::lasting(Reason::HttpError, "the source answered 404");
        let refused = Error::from(Unplayable::Refused(refusal));
        let expected = "HttpError: the source answered 404\n".to_owned();
        assert_eq!(text(refused).await, (503, Some("10".to_owned()), expected));
        let starting = Error::from(Unplayable::Starting);
        let expected = "Starting: the channel is starting\n".to_owned();
        assert_eq!(text(starting).await, (503, Some("2".to_owned()), expected));
        let (status, retry, _) = text(Error::from(Unplayable::NoChannel)).await;
        assert_eq!((status, retry), (404, None));
    }

    #[tokio::test]
    async fn who_asks_too_often_is_told_how_long_to_wait() {
        let asked = |limit, milliseconds| Error::TooMany {
            limit,
            wait: Duration::from_millis(milliseconds),
        };
        let body = "TooManyRequests: too many requests come from this address; ask again in 1 s\n";
        let expected = (429, Some("1".to_owned()), body.to_owned());
        assert_eq!(text(asked(Limit::Address, 20)).await, expected);
        let (status, retry, body) = text(asked(Limit::WrongTokens, 63_001)).await;
        assert_eq!((status, retry.as_deref()), (429, Some("64")));
        assert!(body.starts_with("TooManyWrongTokens: "), "{body}");
    }

    #[tokio::test]
    async fn the_cause_of_a_failure_is_not_sent() {
        let error = Error::from(SegmentError::Unavailable {
            reason: "permission denied on /output".to_owned(),
        });
        let (status, _, body) = text(error).await;
        assert_eq!(status, 503);
        assert_eq!(body, "SegmentUnavailable: the segment cannot be read now\n");
    }

    #[tokio::test]
    async fn apis_answer_with_a_document() {
        let response = Error::WrongToken.into_json();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: ErrorBody = serde_json::from_slice(&body).unwrap();
        assert_eq!(body.code, "WrongToken");
    }
}
