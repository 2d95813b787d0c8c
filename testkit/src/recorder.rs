//! A plain HTTP proxy between a player and what it plays, which notes what is asked for and how that is answered. Changes nothing on the way
//! but what belongs to a single connection; passes no bodies of requests on, as players send none; never asserts anything.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HeaderName, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::tls;

/// Headers of one connection (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 4] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// A request as it was made.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// How.
    pub method: Method,
    /// For what: path and query.
    pub target: String,
    /// What was said besides.
    pub headers: HeaderMap,
    /// How it was answered; nothing where whoever asked did not wait for it.
    pub status: Option<StatusCode>,
}

/// A proxy that listens until it is dropped.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    server: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Recorder {
    /// Listens on a free port of this machine and passes everything on to a server (`http://host:port`).
    ///
    /// # Errors
    /// When it cannot listen, or no client can be made.
    pub async fn start(server: &str) -> io::Result<Self> {
        tls::choose_provider();
        let client = Client::builder().no_proxy().redirect(Policy::none());
        let asked = Arc::default();
        let shared = Shared {
            client: client.build().map_err(io::Error::other)?,
            server: server.to_owned(),
            asked: Arc::clone(&asked),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(pass).with_state(shared);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the recorder broke");
            }
        });
        Ok(Self {
            address,
            asked,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// What players take for the server.
    #[must_use]
    pub fn server(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was asked for so far, in its order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.asked).clone()
    }
}

fn lock(asked: &Mutex<Vec<Asked>>) -> MutexGuard<'_, Vec<Asked>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let target = parts.uri.path_and_query();
    let target = target.map_or_else(String::new, ToString::to_string);
    let number = {
        let mut asked = lock(&shared.asked);
        asked.push(Asked {
            at: Instant::now(),
            method: parts.method.clone(),
            target: target.clone(),
            headers: parts.headers.clone(),
            status: None,
        });
        asked.len() - 1
    };
    let request = shared
        .client
        .request(parts.method, format!("{}{target}", shared.server))
        .headers(end_to_end(parts.headers));
    let response = match request.send().await {
        Ok(answer) => {
            let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
            (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
        }
        Err(error) => {
            tracing::warn!(%error, target, "failed to pass a request on");
            StatusCode::BAD_GATEWAY.into_response()
        }
    };
    if let Some(asked) = lock(&shared.asked).get_mut(number) {
        asked.status = Some(response.status());
    }
    response
}

fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use axum::http::header::{CONTENT_RANGE, HOST, RANGE};
    use axum::routing::get;

    use super::*;

    /// Says what it was asked, in a piece of a body.
    async fn server() -> String {
        let answer = |headers: HeaderMap, request: Request| async move {
            let host = headers[HOST].to_str().unwrap().to_owned();
            let range = headers[RANGE].to_str().unwrap().to_owned();
            let body = format!("{} of {host}, {range}", request.uri());
            let headers = [(CONTENT_RANGE, "bytes 0-4/9")];
            (StatusCode::PARTIAL_CONTENT, headers, body)
        };
        let router = Router::new().route("/a", get(answer));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn what_is_asked_for_passes_through_and_is_noted() {
        let recorder = Recorder::start(&server().await).await.unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        let ask = |target: &str| {
            let url = format!("{}{target}", recorder.server());
            client.get(url).header(RANGE, "bytes=0-4").send()
        };
        let answer = ask("/a?b=%20c").await.unwrap();
        assert_eq!(answer.status(), 206);
        assert_eq!(answer.headers()[CONTENT_RANGE], "bytes 0-4/9");
        let host = recorder.address;
        let expected = format!("/a?b=%20c of {host}, bytes=0-4");
        assert_eq!(answer.text().await.unwrap(), expected);
        assert_eq!(ask("/nothing").await.unwrap().status(), 404);
        let asked = recorder.asked();
        let asked: Vec<_> = asked
            .iter()
            .map(|asked| (asked.target.as_str(), asked.status.unwrap().as_u16()))
            .collect();
        assert_eq!(asked, [("/a?b=%20c", 206), ("/nothing", 404)]);
    }
}
