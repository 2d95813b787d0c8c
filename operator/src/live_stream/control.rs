//! Asks and tells transcoder pods over their control HTTP. Every call carries the identity of the attempt, is bounded in time and in bytes,
//! and an answer of somebody else's is an error: pod addresses are reused. Pods are gone to directly: no proxy, no redirect.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use api::assignment::{Assignment, job_path};
use api::control::{
    FinishAnswer, GrantRequest, JobStatus, POLL_SECONDS, PublishRequest, stream_path,
};
use http::{Method, StatusCode};
use serde::Serialize;
use tokio::time::timeout;

use self::connection::{NoAnswer, request};

pub(crate) use self::connection::Connection;

/// How long `finish`, `publish`, `grant` and `stop` may take.
const TELL_LIMIT: Duration = Duration::from_secs(2);
/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How long a long poll may take beyond the time in which it is answered at the latest.
const POLL_SLACK: Duration = Duration::from_secs(5);
/// Longest status read, and longest answer that nobody reads.
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
    pub(crate) endpoint: SocketAddr,
}

/// Why a pod was not asked or told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("failed to reach {endpoint}: {source}")]
    Unreachable {
        endpoint: SocketAddr,
        source: io::Error,
    },
    #[error("failed to ask {endpoint}: it is of another stream or attempt")]
    Misdirected { endpoint: SocketAddr },
    #[error("failed to ask {endpoint}: it answered {status}")]
    Refused {
        endpoint: SocketAddr,
        status: StatusCode,
    },
    #[error("failed to read the answer of {endpoint}: {reason}")]
    Malformed {
        endpoint: SocketAddr,
        reason: String,
    },
}

/// The attempt's status as soon as it is newer than `after`. Polls of a pod hand their connection on from one to the next.
pub(crate) async fn status(
    target: &Target,
    after: u64,
    kept: &mut Option<Connection>,
) -> Result<JobStatus, ControlError> {
    let path = path(target, &format!("status?after={after}"));
    let request = request(&Method::GET, target.endpoint, &path, &[]);
    let limits = Limits {
        time: Duration::from_secs(POLL_SECONDS) + POLL_SLACK,
        bytes: STATUS_BYTES,
    };
    let answer = send(target.endpoint, request, limits, kept).await?;
    let status = JobStatus::from_json(&answer);
    let status = status.map_err(|error| malformed(target, &error))?;
    if status.stream_uid != target.stream_uid || status.attempt != target.attempt {
        let endpoint = target.endpoint;
        return Err(ControlError::Misdirected { endpoint });
    }
    Ok(status)
}

/// Ends the attempt's publishing; answers with what the next goes on.
pub(crate) async fn finish(target: &Target) -> Result<FinishAnswer, ControlError> {
    let answer = tell(target, &path(target, "finish"), &[], FINISH_BYTES).await?;
    serde_json::from_slice(&answer).map_err(|error| malformed(target, &error))
}

/// It is the standby's turn. An attempt that publishes already does so anyway.
pub(crate) async fn publish(target: &Target, body: &PublishRequest) -> Result<(), ControlError> {
    let body = json(target, body)?;
    tell(target, &path(target, "publish"), &body, STATUS_BYTES).await?;
    Ok(())
}

/// It has a connection of another account, which it asked for.
pub(crate) async fn grant(target: &Target, body: &GrantRequest) -> Result<(), ControlError> {
    let body = json(target, body)?;
    tell(target, &path(target, "grant"), &body, STATUS_BYTES).await?;
    Ok(())
}

/// Gives a pod that waits its job: it runs it from now on, or has done so.
pub(crate) async fn give(
    target: &Target,
    pod_uid: &str,
    assignment: &Assignment,
) -> Result<(), ControlError> {
    let body = json(target, assignment)?;
    tell(target, &job_path(pod_uid), &body, STATUS_BYTES).await?;
    Ok(())
}

/// Ends the attempt; its upstream is closed when this returns.
pub(crate) async fn stop(target: &Target) -> Result<(), ControlError> {
    tell(target, &path(target, "stop"), &[], STATUS_BYTES).await?;
    Ok(())
}

fn path(target: &Target, what: &str) -> String {
    let stream = stream_path(&target.stream_uid, target.attempt);
    format!("{stream}/{what}")
}

/// What an exchange may take at the most.
#[derive(Debug, Clone, Copy)]
struct Limits {
    time: Duration,
    bytes: usize,
}

async fn tell(
    target: &Target,
    path: &str,
    body: &[u8],
    bytes: usize,
) -> Result<Vec<u8>, ControlError> {
    let request = request(&Method::POST, target.endpoint, path, body);
    let limits = Limits {
        time: TELL_LIMIT,
        bytes,
    };
    send(target.endpoint, request, limits, &mut None).await
}

/// Answers with the body, and leaves the connection where it can be used again.
async fn send(
    endpoint: SocketAddr,
    request: Vec<u8>,
    limits: Limits,
    kept: &mut Option<Connection>,
) -> Result<Vec<u8>, ControlError> {
    let idle = kept.take().filter(Connection::is_idle);
    let exchange = async {
        let connection = match idle {
            Some(connection) => connection,
            None => in_time(CONNECT_LIMIT, Connection::open(endpoint)).await?,
        };
        connection.exchange(request, limits.bytes).await
    };
    match in_time(limits.time, exchange).await {
        Ok((answer, again)) if answer.status.is_success() => {
            *kept = again;
            Ok(answer.body)
        }
        Ok((answer, _)) if answer.status == StatusCode::MISDIRECTED_REQUEST => {
            Err(ControlError::Misdirected { endpoint })
        }
        Ok((answer, _)) => Err(ControlError::Refused {
            endpoint,
            status: answer.status,
        }),
        Err(NoAnswer::Lost(source)) => Err(ControlError::Unreachable { endpoint, source }),
        Err(NoAnswer::Malformed(reason)) => Err(ControlError::Malformed { endpoint, reason }),
    }
}

async fn in_time<T, E: Into<NoAnswer>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, NoAnswer> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => {
            let message = format!("it took longer than {} s", limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, message).into())
        }
    }
}

fn json(target: &Target, body: &impl Serialize) -> Result<Vec<u8>, ControlError> {
    serde_json::to_vec(body).map_err(|error| malformed(target, &error))
}

fn malformed(target: &Target, reason: &dyn std::fmt::Display) -> ControlError {
    ControlError::Malformed {
        endpoint: target.endpoint,
        reason: reason.to_string(),
    }
}
