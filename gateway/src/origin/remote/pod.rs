//! Asks transcoder pods over control HTTP. Answers are bounded in size and time; redirects and proxies are never followed.

use std::net::SocketAddr;
use std::time::Duration;

use api::control::{POLL_SECONDS, stream_path};
use api::names;
use api::playlists::Playlists;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use reqwest::{Client, Response};
use url::form_urlencoded;

use crate::directory::StreamView;
use crate::origin::{SEGMENT_MAXIMUM, SegmentId};
use crate::tls;

/// Bytes of a playlist document at most.
const DOCUMENT_MAXIMUM: usize = 4 * 1024 * 1024;

/// How long a connection to a pod may take to open.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// How long a pod may take longer than it promised.
const POLL_MARGIN: Duration = Duration::from_secs(5);

/// How long a segment may take.
const SEGMENT_TIME: Duration = Duration::from_secs(8);

/// Probes of a silent connection: a node that died is noticed within some ten seconds.
const KEEPALIVE: Duration = Duration::from_secs(4);

/// A pod that can be asked, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) stream_uid: String,
    pub(super) attempt: i32,
    pub(super) endpoint: SocketAddr,
}

impl Target {
    /// The pod that runs the stream, if it is that stream and has an address.
    pub(super) fn of(view: &StreamView, stream_uid: &str) -> Option<Self> {
        let identity = view.identity.as_ref()?;
        let pod = view.pod.as_ref()?;
        (identity.uid == stream_uid).then_some(())?;
        Some(Self {
            stream_uid: stream_uid.to_owned(),
            attempt: pod.attempt,
            endpoint: pod.endpoint.as_deref()?.parse().ok()?,
        })
    }

    fn url(&self, rest: &str) -> String {
        let path = stream_path(&self.stream_uid, self.attempt);
        format!("http://{}{path}/{rest}", self.endpoint)
    }
}

/// Why pods cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[error("failed to make the HTTP client for pods: {0}")]
pub struct PodsError(#[source] reqwest::Error);

/// Why a pod did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum PodFailure {
    /// Another stream or attempt is at that address.
    #[error("another attempt answers at the pod's address")]
    Misdirected,
    /// It has no such thing.
    #[error("the pod does not have it")]
    NotFound,
    /// It cannot be reached or makes no sense.
    #[error("failed to ask the pod: {0}")]
    Failed(String),
}

impl From<reqwest::Error> for PodFailure {
    fn from(error: reqwest::Error) -> Self {
        Self::Failed(error.without_url().to_string())
    }
}

/// The client for pods.
pub(super) struct Pods {
    client: Client,
    gateway: String,
}

impl Pods {
    pub(super) fn new(gateway: &str) -> Result<Self, PodsError> {
        tls::choose_provider();
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIME)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE / 2)
            .tcp_keepalive_retries(3)
            .build()
            .map_err(PodsError)?;
        let gateway = form_urlencoded::byte_serialize(gateway.as_bytes()).collect();
        Ok(Self { client, gateway })
    }

    /// One long poll: the playlists once their version is above `after`, the current ones otherwise. Tells which renditions viewers
    /// asked for, and how many they are.
    pub(super) async fn playlists(
        &self,
        target: &Target,
        after: u64,
        requested: &str,
        viewers: u32,
    ) -> Result<Playlists, PodFailure> {
        let gateway = &self.gateway;
        let url = target.url(&format!(
            "playlists?after={after}&requested={requested}&gateway={gateway}&viewers={viewers}"
        ));
        let time = Duration::from_secs(POLL_SECONDS) + POLL_MARGIN;
        let response = self.client.get(url).timeout(time).send().await?;
        let body = read(response, DOCUMENT_MAXIMUM).await?;
        let playlists: Playlists = serde_json::from_slice(&body)
            .map_err(|error| PodFailure::Failed(format!("no playlists: {error}")))?;
        // A pod that does not compare identities must not be believed either.
        if playlists.stream_uid != target.stream_uid || playlists.attempt != target.attempt {
            return Err(PodFailure::Misdirected);
        }
        Ok(playlists)
    }

    pub(super) async fn segment(
        &self,
        target: &Target,
        segment: &SegmentId,
    ) -> Result<Bytes, PodFailure> {
        let name = names::segment_name(segment.attempt, segment.number);
        let url = target.url(&format!("hls/{}/{name}", segment.rendition));
        let response = self.client.get(url).timeout(SEGMENT_TIME).send().await?;
        read(response, SEGMENT_MAXIMUM).await
    }
}

async fn read(mut response: Response, maximum: usize) -> Result<Bytes, PodFailure> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::MISDIRECTED_REQUEST => return Err(PodFailure::Misdirected),
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(PodFailure::NotFound),
        other => return Err(PodFailure::Failed(format!("it answered {other}"))),
    }
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    let mut body = BytesMut::with_capacity(announced.min(maximum));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > maximum {
            return Err(PodFailure::Failed(format!("more than {maximum} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
