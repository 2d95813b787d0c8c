//! Every refusal of the admin API as an answer: status, a stable word, a sentence, and the field that it is about. The cause of a failure is
//! logged where it happens, never sent.

use axum::Json;
use axum::response::{IntoResponse, Response};
use catalog::RowKey;
use catalog::store::{ROW_BYTES_MAXIMUM, StoreError};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::administrators::{Action, Role};
use crate::http::error::Error;

/// Why a request is not answered with what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Who asks, or how often.
    #[error("{0}")]
    Edge(#[from] Error),
    /// There is no admin API here.
    #[error(
        "the admin API is switched off: it is on where a file of administrators is named (HEADEND_ADMINISTRATORS; in the chart gateway.admin.secretName)"
    )]
    Off,
    /// The role may not.
    #[error("the role {} may not {}", role.as_str(), action.as_str())]
    NotPermitted {
        /// The role.
        role: Role,
        /// What it may not do.
        action: Action,
    },
    /// The request cannot be read.
    #[error("{message}")]
    Unreadable {
        /// What of it, where that is known.
        field: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// The request can be read, and what it says cannot be.
    #[error("{message}")]
    Invalid {
        /// What of it, where that is known.
        field: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// The body is no JSON.
    #[error("the body has to be JSON, and the header content-type has to say so: application/json")]
    NotJson,
    /// The body is too long.
    #[error("the body is too long: at most {} KiB are read", most / 1024)]
    TooLong {
        /// Bytes at most.
        most: usize,
    },
    /// The body did not come in time, or the store took too long.
    #[error("the request took too long")]
    TooSlow,
    /// There is no such row.
    #[error("there is no {what} {name:?}")]
    Missing {
        /// A row of which kind.
        what: &'static str,
        /// What names it.
        name: String,
    },
    /// The catalog is not changed here.
    #[error(
        "the catalog comes from files and is changed there; to change it here, keep it in Redis (HEADEND_CATALOG_STORE=redis, in the chart \
         catalog.store) or, in headend-standalone, in a file of its own (HEADEND_CATALOG_FILE)"
    )]
    ReadOnly,
    /// What is to be made is there.
    #[error("there is a {what} {name:?} already")]
    Exists {
        /// A row of which kind.
        what: &'static str,
        /// What names it.
        name: String,
    },
    /// Another row has what only one may have.
    #[error("{0}")]
    Taken(String),
    /// The row is not as it was said to be.
    #[error(
        "it is not as If-Match or If-None-Match say: somebody has changed it meanwhile; read it again"
    )]
    Changed,
    /// The row is being changed by others, too.
    #[error("somebody else is changing it at the same time; try again")]
    Busy,
    /// Another list is imported.
    #[error(
        "another list is being imported: wait until that is done{}",
        at.as_ref().map(|at| format!("; {at} has its progress")).unwrap_or_default()
    )]
    ImportUnderWay {
        /// Its address, where that is known.
        at: Option<String>,
    },
    /// A list was not imported to its end.
    #[error("{0}")]
    ImportFailed(String),
    /// The store does not answer.
    #[error(
        "the catalog cannot be changed now; whether this change was made is not known, so look before repeating it"
    )]
    Unavailable,
    /// What keeps the streams does not answer, or refused it.
    #[error("the stream cannot be steered now; the gateway's log says why")]
    StreamsAway,
    /// What all gateways tell each other does not answer.
    #[error("who is watching cannot be told or changed now; the gateway's log says why")]
    SessionsAway,
    /// The system gives no random bytes.
    #[error("no token can be made now")]
    NoRandom,
}

/// The body of a refusal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusalBody {
    /// A stable word, such as `NotPermitted`.
    code: &'static str,
    /// One sentence: what failed, and what to do.
    message: String,
    /// What of the request it is about, such as `sources[0].url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Refusal {
    /// Something of the request that cannot be read.
    pub(super) fn unreadable(field: &str, message: impl Into<String>) -> Self {
        Self::Unreadable {
            field: Some(field.to_owned()),
            message: message.into(),
        }
    }

    /// Something of the request that cannot be.
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: Some(field.into()),
            message: message.into(),
        }
    }

    /// There is no such row.
    pub(super) fn missing(what: &'static str, name: &str) -> Self {
        let name = name.to_owned();
        Self::Missing { what, name }
    }

    /// What the store says, of which the log has to know where it is a failure.
    pub(super) fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::BatchTooLarge => Self::TooLong {
                most: ROW_BYTES_MAXIMUM,
            },
            StoreError::Refused { field, fault, .. } => Self::Invalid {
                field: field.clone(),
                message: fault.clone(),
            },
            StoreError::Conflict { .. } => Self::Changed,
            StoreError::Taken { claim, by, .. } => Self::Taken(taken(*claim, by)),
            StoreError::Unavailable { .. } => {
                tracing::error!(%error, "failed to change the catalog");
                Self::Unavailable
            }
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Edge(error) => error.status(),
            Self::Off | Self::Missing { .. } => StatusCode::NOT_FOUND,
            Self::NotPermitted { .. } => StatusCode::FORBIDDEN,
            Self::Unreadable { .. } => StatusCode::BAD_REQUEST,
            Self::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::ReadOnly
            | Self::Exists { .. }
            | Self::Taken(_)
            | Self::Busy
            | Self::ImportUnderWay { .. } => StatusCode::CONFLICT,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::Unavailable
            | Self::ImportFailed(_)
            | Self::StreamsAway
            | Self::SessionsAway
            | Self::NoRandom => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A stable word.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Edge(_) => "Refused",
            Self::Off => "AdminApiOff",
            Self::NotPermitted { .. } => "NotPermitted",
            Self::Unreadable { .. } => "Unreadable",
            Self::Invalid { .. } => "Invalid",
            Self::NotJson => "NotJson",
            Self::TooLong { .. } => "TooLong",
            Self::TooSlow => "TooSlow",
            Self::Missing { .. } => "NotFound",
            Self::ReadOnly => "CatalogReadOnly",
            Self::Exists { .. } => "Exists",
            Self::Taken(_) => "Taken",
            Self::Changed => "Changed",
            Self::Busy => "Busy",
            Self::ImportUnderWay { .. } => "ImportUnderWay",
            Self::ImportFailed(_) => "Failed",
            Self::Unavailable => "Unavailable",
            Self::StreamsAway => "StreamsUnavailable",
            Self::SessionsAway => "SessionsUnavailable",
            Self::NoRandom => "NoRandom",
        }
    }

    fn field(&self) -> Option<String> {
        match self {
            Self::Unreadable { field, .. } | Self::Invalid { field, .. } => field.clone(),
            _ => None,
        }
    }
}

fn taken(claim: catalog::store::Claim, by: &RowKey) -> String {
    let what = match claim {
        catalog::store::Claim::Name => "name",
        catalog::store::Claim::Token => "token",
    };
    format!("the {what} is that of {by} already")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, field) = (self.status(), self.code(), self.field());
        let message = match self {
            Self::Edge(error) => return error.into_json(),
            other => other.to_string(),
        };
        let body = Json(RefusalBody {
            code,
            message,
            field,
        });
        let mut response = (status, body).into_response();
        if matches!(code, "Unavailable" | "Busy") {
            let seconds = HeaderValue::from_static("2");
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    async fn answer(refusal: Refusal) -> (u16, Value) {
        let response = refusal.into_response();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_refusal_is_a_status_a_word_a_sentence_and_the_field() {
        let refusal = Refusal::invalid("sources[0]", "a source has either a url or a provider");
        let body = json!({
            "code": "Invalid", "message": "a source has either a url or a provider", "field": "sources[0]"
        });
        assert_eq!(answer(refusal).await, (422, body));
        let refusal = Refusal::NotPermitted {
            role: Role::Support,
            action: Action::ChangeUsers,
        };
        let message = "the role support may not change users and their tokens";
        let body = json!({ "code": "NotPermitted", "message": message });
        assert_eq!(answer(refusal).await, (403, body));
        let (status, body) = answer(Refusal::Edge(Error::WrongToken)).await;
        assert_eq!((status, &body["code"]), (401, &json!("WrongToken")));
    }

    #[tokio::test]
    async fn what_a_store_says_becomes_an_answer_without_its_address() {
        let row = RowKey::User("1".to_owned());
        let by = RowKey::User("2".to_owned());
        let fault = "a user's name has 1 to 256 characters".to_owned();
        let away = StoreError::Unavailable {
            operation: "change the catalog",
            store: "redis.internal".to_owned(),
            reason: "refused".to_owned(),
        };
        for (error, status, code) in [
            (
                StoreError::Refused {
                    field: Some("name".to_owned()),
                    row: row.clone(),
                    fault,
                },
                422,
                "Invalid",
            ),
            (
                StoreError::Conflict {
                    row: row.clone(),
                    found: None,
                },
                412,
                "Changed",
            ),
            (
                StoreError::Taken {
                    row,
                    claim: catalog::store::Claim::Name,
                    by,
                },
                409,
                "Taken",
            ),
            (StoreError::BatchTooLarge, 413, "TooLong"),
            (away, 503, "Unavailable"),
        ] {
            let (answered, body) = answer(Refusal::of_store(&error)).await;
            assert_eq!((answered, &body["code"]), (status, &json!(code)));
            assert!(!body.to_string().contains("redis.internal"), "{body}");
        }
    }
}
