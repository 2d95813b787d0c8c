//! The client of the admin API: one request after the other, each bounded in time and its answer in length. Follows no redirect, so that the token goes
//! nowhere but to the address that was named; certificates are trusted as the system trusts.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::token::TOKEN_MAXIMUM;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runtime::exit::ProcessError;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::question::Question;
use super::show::plain;

/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long an answer may take: the API gives up sooner.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Bytes of an answer at most: a page has some megabytes.
const ANSWER_MAXIMUM: usize = 64 * 1024 * 1024;

/// Where all of it is.
const BASE: [&str; 2] = ["api", "v1"];

/// Why the API did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// No token is given.
    #[error(
        "failed to find a token: name a file that has it with --token-file, or set HEADEND_ADMIN_TOKEN"
    )]
    NoToken,
    /// What is given can be no token.
    #[error("failed to use the token: it has 1 to {TOKEN_MAXIMUM} plain characters")]
    BadToken,
    /// A file cannot be read.
    #[error("failed to read {path:?}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// No such address can be asked.
    #[error(
        "failed to use the address {0:?}: it is that of a gateway, such as http://127.0.0.1:8080"
    )]
    Address(String),
    /// No address can have such a name in it.
    #[error("failed to ask for {0:?}: it is no name that an address can have")]
    Name(String),
    /// TLS cannot be set up.
    #[error("failed to set TLS up: {0}")]
    Tls(#[from] rustls::Error),
    /// The gateway cannot be reached, or the answer broke off.
    #[error("failed to ask {address}: {reason}")]
    Unreachable {
        /// The gateway's address.
        address: String,
        /// The cause.
        reason: String,
    },
    /// The API says no.
    #[error("{message} ({code}{}, HTTP {status})", field.as_ref().map(|field| format!(", {field}")).unwrap_or_default())]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its word.
        code: String,
        /// Its sentence.
        message: String,
        /// What of the request it is about.
        field: Option<String>,
    },
    /// Something else answers there.
    #[error("failed to understand the answer of {address}: HTTP {status}, and no word of the API")]
    Foreign {
        /// The address.
        address: String,
        /// The status.
        status: StatusCode,
    },
    /// An import that the API accepted did not come to its end.
    #[error("{0}")]
    Import(String),
}

impl ApiError {
    /// Whether another try with the same words is in vain.
    fn is_input(&self) -> bool {
        match self {
            Self::NoToken
            | Self::BadToken
            | Self::File { .. }
            | Self::Address(_)
            | Self::Name(_) => true,
            Self::Refused { status, .. } => {
                let may_change = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                status.is_client_error() && !may_change.contains(status)
            }
            Self::Tls(_) | Self::Unreachable { .. } | Self::Foreign { .. } | Self::Import(_) => {
                false
            }
        }
    }

    /// The same for the process, with whose turn it is.
    pub(super) fn into_process(self) -> ProcessError {
        if self.is_input() {
            ProcessError::input(self)
        } else {
            ProcessError::Failure(self.into())
        }
    }
}

/// The token: the first line of the file, or else what the variable says.
pub(super) fn read_token(
    file: Option<&Path>,
    variable: Option<String>,
) -> Result<String, ApiError> {
    let Some(path) = file else {
        return variable.ok_or(ApiError::NoToken);
    };
    let read = || {
        let file = std::fs::File::open(path)?;
        let mut line = String::new();
        // Longer than any token, so that one that is too long is not cut.
        BufReader::new(file.take(4 * TOKEN_MAXIMUM as u64)).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    };
    read().map_err(|source| ApiError::File {
        path: path.to_owned(),
        source,
    })
}

/// A client of one gateway, as one administrator.
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: Url,
    authorization: HeaderValue,
}

impl Client {
    pub(super) fn new(base: Url, token: &str) -> Result<Self, ApiError> {
        let is_secure = match base.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(ApiError::Address(base.to_string())),
        };
        if token.is_empty() || token.len() > TOKEN_MAXIMUM {
            return Err(ApiError::BadToken);
        }
        let authorization = HeaderValue::try_from(format!("Bearer {token}"));
        let mut authorization = authorization.map_err(|_| ApiError::BadToken)?;
        authorization.set_sensitive(true);
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIME));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(is_secure)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self {
            http: legacy::Client::builder(TokioExecutor::new()).build(https),
            base,
            authorization,
        })
    }

    /// The document that answers a question; nothing where an answer has none.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        query: &[(&'static str, String)],
        document: Option<Vec<u8>>,
    ) -> Result<Value, ApiError> {
        let url = self.url(&question.path, query)?;
        let kind = document.as_ref().map(|_| "application/json");
        let body = document.unwrap_or_default();
        let answer = self.send(&question.method, &url, kind, body).await?;
        self.document(answer).await
    }

    /// The address of something of the API.
    pub(super) fn url(
        &self,
        path: &[&str],
        query: &[(&'static str, String)],
    ) -> Result<Url, ApiError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ApiError::Address(self.base.to_string()))?
            .pop_if_empty()
            .extend(BASE)
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// An answer that is none of refusal.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        kind: Option<&'static str>,
        body: Vec<u8>,
    ) -> Result<Response<hyper::body::Incoming>, ApiError> {
        let agent = concat!("headend-admin/", env!("CARGO_PKG_VERSION"));
        let mut request = Request::builder().method(method).uri(url.as_str());
        request = request.header(AUTHORIZATION, self.authorization.clone());
        request = request.header(USER_AGENT, agent);
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(Full::from(body));
        let request = request.map_err(|_| ApiError::Address(self.base.to_string()))?;
        let answer = timeout(ANSWER_TIME, self.http.request(request)).await;
        let answer = answer.map_err(|_| self.unreachable("no answer came in time"))?;
        let answer = answer.map_err(|error| self.unreachable(&causes(&error)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let bytes = self.bytes(answer).await?;
        Err(self.refusal(status, &bytes))
    }

    /// The document of an answer.
    pub(super) async fn document(
        &self,
        answer: Response<hyper::body::Incoming>,
    ) -> Result<Value, ApiError> {
        let status = answer.status();
        let bytes = self.bytes(answer).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let address = self.base.to_string();
        serde_json::from_slice(&bytes).map_err(|_| ApiError::Foreign { address, status })
    }

    async fn bytes(&self, answer: Response<hyper::body::Incoming>) -> Result<Bytes, ApiError> {
        let body = Limited::new(answer.into_body(), ANSWER_MAXIMUM).collect();
        let body = timeout(ANSWER_TIME, body).await;
        let body = body.map_err(|_| self.unreachable("the answer did not come to its end"))?;
        let body = body.map_err(|error| self.unreachable(&error.to_string()))?;
        Ok(body.to_bytes())
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ApiError {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().map(plain);
        match (text("code"), text("message")) {
            (Some(code), Some(message)) => ApiError::Refused {
                status,
                code,
                message,
                field: text("field"),
            },
            _ => ApiError::Foreign {
                address: self.base.to_string(),
                status,
            },
        }
    }

    pub(super) fn unreachable(&self, reason: &str) -> ApiError {
        ApiError::Unreachable {
            address: self.base.to_string(),
            reason: reason.to_owned(),
        }
    }
}

/// An error with what caused it: alone it only says that something did not work.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// What the system trusts, where that is needed: it reads files.
fn tls(is_secure: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions()?;
    if !is_secure {
        let nobody = RootCertStore::empty();
        return Ok(builder.with_root_certificates(nobody).with_no_client_auth());
    }
    let verifier = Arc::new(Verifier::new(provider)?);
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Result<Client, ApiError> {
        Client::new(address.parse().unwrap(), "secret")
    }

    #[test]
    fn names_are_parts_of_an_address_whatever_they_have() {
        for (base, expected) in [
            (
                "http://a.example:8080",
                "http://a.example:8080/api/v1/groups/Sport%20&%20more%2F%3F?search=a+b%26c",
            ),
            (
                "https://a.example/tv/",
                "https://a.example/tv/api/v1/groups/Sport%20&%20more%2F%3F?search=a+b%26c",
            ),
        ] {
            let client = client("http://a.example").unwrap();
            let client = Client {
                base: base.parse().unwrap(),
                ..client
            };
            let query = [("search", "a b&c".to_owned())];
            let url = client.url(&["groups", "Sport & more/?"], &query).unwrap();
            assert_eq!(url.as_str(), expected);
        }
        assert!(matches!(client("ftp://a"), Err(ApiError::Address(_))));
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_api_and_says_whose_turn_it_is() {
        let client = client("http://a.example").unwrap();
        let body = br#"{"code":"Invalid","message":"a group needs\u001b an id","field":"id"}"#;
        let refused = client.refusal(StatusCode::UNPROCESSABLE_ENTITY, body);
        let expected = "a group needs an id (Invalid, id, HTTP 422 Unprocessable Entity)";
        assert_eq!(refused.to_string(), expected);
        for (status, is_input) in [(422, true), (404, true), (429, false), (503, false)] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(client.refusal(status, body).is_input(), is_input);
        }
        let foreign = client.refusal(StatusCode::FOUND, b"<html>");
        assert!(foreign.to_string().contains("302") && !foreign.is_input());
    }

    #[test]
    fn a_token_comes_from_a_file_or_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "of the file\r\nmore").unwrap();
        let variable = || Some("of the variable".to_owned());
        let read = |file, variable| read_token(file, variable).map_err(|error| error.to_string());
        assert_eq!(read(Some(&path), variable()).unwrap(), "of the file");
        assert_eq!(read(None, variable()).unwrap(), "of the variable");
        assert!(read(None, None).unwrap_err().contains("--token-file"));
        let none = folder.path().join("none");
        assert!(read(Some(&none), variable()).unwrap_err().contains("none"));
        for token in ["", "a\nb", &"x".repeat(TOKEN_MAXIMUM + 1)] {
            let address = "http://a.example".parse().unwrap();
            assert!(matches!(
                Client::new(address, token),
                Err(ApiError::BadToken)
            ));
        }
    }
}
