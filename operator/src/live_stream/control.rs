//! Asks and tells transcoder pods over their control HTTP. Every call carries the identity of the attempt, is bounded in time and in bytes,
//! and an answer of somebody else's is an error: pod addresses are reused.

use std::time::Duration;

use api::assignment::{Assignment, job_path};
use api::control::{FinishAnswer, JobStatus, POLL_SECONDS, PublishRequest, stream_path};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};

/// How long `finish`, `publish` and `stop` may take.
const TELL_LIMIT: Duration = Duration::from_secs(2);
/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How long a long poll may take beyond the time in which it is answered at the latest.
const POLL_SLACK: Duration = Duration::from_secs(5);
/// Longest status read.
const STATUS_BYTES: usize = 64 << 10;
/// Longest answer to `finish` read: the list of a window of hours is in it.
const FINISH_BYTES: usize = 4 << 20;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// Name of the LiveStream.
    pub(crate) stream: String,
    pub(crate) stream_uid: String,
    pub(crate) attempt: i32,
    /// `address:port`.
    pub(crate) endpoint: String,
}

/// Why a pod was not asked or told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("failed to reach {endpoint}: {source}")]
    Unreachable {
        endpoint: String,
        source: reqwest::Error,
    },
    #[error("failed to ask {endpoint}: it is of another stream or attempt")]
    Misdirected { endpoint: String },
    #[error("failed to ask {endpoint}: it answered {status}")]
    Refused {
        endpoint: String,
        status: StatusCode,
    },
    #[error("failed to read the answer of {endpoint}: {reason}")]
    Malformed { endpoint: String, reason: String },
}

/// The client of all control HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    client: Client,
}

impl Control {
    /// A client that goes to pods directly: no proxy, no redirect.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        // Every client asks for a provider of cryptography, this one too, which speaks no TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(Self { client })
    }

    /// The attempt's status as soon as it is newer than `after`.
    pub(crate) async fn status(
        &self,
        target: &Target,
        after: u64,
    ) -> Result<JobStatus, ControlError> {
        let limit = Duration::from_secs(POLL_SECONDS) + POLL_SLACK;
        let path = format!("status?after={after}");
        let answer = self.send(self.request(Method::GET, target, &path), target, limit);
        let answer = answer.await?;
        let answer = read(target, answer, STATUS_BYTES).await?;
        let status = JobStatus::from_json(&answer);
        let status = status.map_err(|error| malformed(&target.endpoint, &error))?;
        if status.stream_uid != target.stream_uid || status.attempt != target.attempt {
            let endpoint = target.endpoint.clone();
            return Err(ControlError::Misdirected { endpoint });
        }
        Ok(status)
    }

    /// Ends the attempt's publishing; answers with what the next goes on.
    pub(crate) async fn finish(&self, target: &Target) -> Result<FinishAnswer, ControlError> {
        let request = self.request(Method::POST, target, "finish");
        let answer = self.send(request, target, TELL_LIMIT).await?;
        let answer = read(target, answer, FINISH_BYTES).await?;
        serde_json::from_slice(&answer).map_err(|error| malformed(&target.endpoint, &error))
    }

    /// It is the standby's turn. An attempt that publishes already does so anyway.
    pub(crate) async fn publish(
        &self,
        target: &Target,
        body: &PublishRequest,
    ) -> Result<(), ControlError> {
        let body = serde_json::to_vec(body).map_err(|error| malformed(&target.endpoint, &error))?;
        let request = self.request(Method::POST, target, "publish");
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        self.send(request, target, TELL_LIMIT).await?;
        Ok(())
    }

    /// Gives a pod that waits its job: it runs it from now on, or has done so.
    pub(crate) async fn give(
        &self,
        target: &Target,
        pod_uid: &str,
        assignment: &Assignment,
    ) -> Result<(), ControlError> {
        let body = serde_json::to_vec(assignment);
        let body = body.map_err(|error| malformed(&target.endpoint, &error))?;
        let url = format!("http://{}{}", target.endpoint, job_path(pod_uid));
        let request = self.client.post(url).body(body);
        let request = request.header(CONTENT_TYPE, "application/json");
        self.send(request, target, TELL_LIMIT).await?;
        Ok(())
    }

    /// Ends the attempt; its upstream is closed when this returns.
    pub(crate) async fn stop(&self, target: &Target) -> Result<(), ControlError> {
        let request = self.request(Method::POST, target, "stop");
        self.send(request, target, TELL_LIMIT).await?;
        Ok(())
    }

    fn request(&self, method: Method, target: &Target, what: &str) -> RequestBuilder {
        let path = stream_path(&target.stream_uid, target.attempt);
        let url = format!("http://{}{path}/{what}", target.endpoint);
        self.client.request(method, url)
    }

    async fn send(
        &self,
        request: RequestBuilder,
        target: &Target,
        limit: Duration,
    ) -> Result<Response, ControlError> {
        let endpoint = target.endpoint.clone();
        match request.timeout(limit).send().await {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) if answer.status() == StatusCode::MISDIRECTED_REQUEST => {
                Err(ControlError::Misdirected { endpoint })
            }
            Ok(answer) => Err(ControlError::Refused {
                endpoint,
                status: answer.status(),
            }),
            Err(source) => Err(ControlError::Unreachable {
                endpoint,
                source: source.without_url(),
            }),
        }
    }
}

async fn read(
    target: &Target,
    mut answer: Response,
    limit: usize,
) -> Result<Vec<u8>, ControlError> {
    let endpoint = &target.endpoint;
    let mut bytes = Vec::new();
    loop {
        let chunk = answer.chunk().await;
        let chunk = chunk.map_err(|source| ControlError::Unreachable {
            endpoint: endpoint.clone(),
            source: source.without_url(),
        })?;
        let Some(chunk) = chunk else { break };
        if bytes.len() + chunk.len() > limit {
            return Err(malformed(endpoint, &"it is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn malformed(endpoint: &str, reason: &dyn std::fmt::Display) -> ControlError {
    ControlError::Malformed {
        endpoint: endpoint.to_owned(),
        reason: reason.to_string(),
    }
}
