//! What control HTTP refuses, as answers. The body is `api::control::ErrorBody`; causes are logged where they happen.

use api::control::ErrorBody;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::handle::{JobEnded, SegmentReadError};

/// A refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It means another stream or attempt: addresses of pods are used again.
    Misdirected,
    /// The attempt has ended.
    Ended,
    /// The attempt does not ask for what it was granted.
    NotWanted,
    /// There is no such playlist or segment.
    NotFound,
    /// Nothing is published yet, or the volume does not answer.
    Unavailable,
}

impl Refusal {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "another stream or attempt runs here",
            ),
            Self::Ended => (StatusCode::GONE, "ended", "the attempt has ended"),
            Self::NotWanted => (
                StatusCode::CONFLICT,
                "notWanted",
                "the attempt does not ask for a connection of that Provider, or not any more",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "notFound",
                "there is no such playlist or segment",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "it cannot be read now, ask again",
            ),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = self.parts();
        let body = ErrorBody {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        (status, Json(body)).into_response()
    }
}

impl From<JobEnded> for Refusal {
    fn from(_: JobEnded) -> Self {
        Self::Ended
    }
}

impl From<SegmentReadError> for Refusal {
    fn from(error: SegmentReadError) -> Self {
        match error {
            SegmentReadError::NotFound => Self::NotFound,
            SegmentReadError::Unavailable => Self::Unavailable,
        }
    }
}
