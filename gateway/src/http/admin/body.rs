//! What a request says: its body as a document, JSON of a bounded length, and the query of its address. Unknown fields are mistakes, and each
//! mistake names its field.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use catalog::store::ROW_BYTES_MAXIMUM;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// What a request brings.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        if !is_json(request.headers()) {
            return Err(Refusal::NotJson);
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| {
            let response: Response = rejection.into_response();
            match response.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLong {
                    most: ROW_BYTES_MAXIMUM,
                },
                _ => Refusal::Unreadable {
                    field: None,
                    message: "the body broke off".to_owned(),
                },
            }
        })?;
        read(&bytes).map(Self)
    }
}

/// What the query of an address says.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        let Query(query) = query.map_err(|rejection| Refusal::Unreadable {
            field: None,
            message: rejection.body_text(),
        })?;
        Ok(Self(query))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let document = read.map_err(|error| {
        let path = error.path().to_string();
        Refusal::Unreadable {
            field: (path != ".").then_some(path),
            message: error.into_inner().to_string(),
        }
    })?;
    deserializer
        .end()
        .map(|()| document)
        .map_err(|error| Refusal::Unreadable {
            field: None,
            message: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        #[serde(rename = "sources")]
        _sources: Vec<Source>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Source {
        #[serde(rename = "url")]
        _url: String,
    }

    #[test]
    fn a_mistake_names_its_field() {
        let field = |text: &str| match read::<Row>(text.as_bytes()) {
            Ok(_) => None,
            Err(Refusal::Unreadable { field, .. }) => Some(field),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(field(r#"{"sources":[{"url":"x"}]}"#), None);
        for (text, expected) in [
            (
                r#"{"sources":[{"url":"x"},{"url":7}]}"#,
                Some("sources[1].url"),
            ),
            (r#"{"sources":[{"uri":"x"}]}"#, Some("sources[0].uri")),
            (r#"{"sources":7}"#, Some("sources")),
            (r#"{}"#, None),
            (r#"{"sources":[]} x"#, None),
            ("", None),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(field(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn only_json_is_read() {
        let of = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            is_json(&headers)
        };
        assert!(of("application/json") && of("Application/JSON; charset=utf-8"));
        assert!(!of("application/x-www-form-urlencoded") && !is_json(&HeaderMap::new()));
    }
}
