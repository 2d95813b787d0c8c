//! A pod that waits for a stream: control HTTP before there is a job, and the one job that it takes in its life.
//! Only what the operator has signed for this very pod is ever run. See [`api::assignment`] for the answers.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use api::assignment::{Assignment, Claims};
use api::control::ErrorBody;
use api::job::TranscodeJob;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};
use runtime::serve::{ServeLimits, serve};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::control;
use crate::job::{self, JobOptions, Outcome};

/// Bytes of a job with its signature at most.
const BODY_BYTES: usize = 1 << 20;

/// The condition of readiness that an attempt tells; a pod that waits is ready for what it can be.
const CONDITION: &str = "segments";

/// The operator's public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JobKey([u8; 32]);

/// What is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has 64 hexadecimal digits")]
pub struct NoKey;

impl FromStr for JobKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).map_err(|_| NoKey)?;
        Ok(Self(key))
    }
}

impl fmt::Debug for JobKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JobKey")
    }
}

/// A pod without a job.
#[derive(Debug)]
pub struct Seat {
    pod_uid: String,
    key: JobKey,
}

/// What the handlers share.
#[derive(Debug)]
struct Waiting {
    seat: Seat,
    /// Stream and attempt of the job that was taken.
    taken: Mutex<Option<(String, i32)>>,
    jobs: mpsc::Sender<TranscodeJob>,
    /// The control HTTP of the attempt, from its start on.
    attempt: watch::Sender<Option<Router>>,
    closing: CancellationToken,
}

/// A job that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    Misdirected,
    Unsigned(&'static str),
    Busy,
    Ended,
    Unusable(String),
}

impl Seat {
    /// The pod of that uid, which takes jobs that are signed with the other half of this key.
    #[must_use]
    pub fn new(pod_uid: &str, key: JobKey) -> Self {
        Self {
            pod_uid: pod_uid.to_owned(),
            key,
        }
    }

    /// The job, if the operator has signed it for this pod, and its time is not over.
    fn read(&self, body: &[u8], now: i64) -> Result<TranscodeJob, Refusal> {
        let unusable = |error: &dyn fmt::Display| Refusal::Unusable(error.to_string());
        let assignment: Assignment = serde_json::from_slice(body).map_err(|e| unusable(&e))?;
        let job = TranscodeJob::from_json(&assignment.document);
        // Whose job it is stands in it, so it is read before it is known to be the operator's; nothing is done with it until it is.
        let job = job.map_err(|error| unusable(&error))?;
        let mut document_hash = [0; 32];
        document_hash.copy_from_slice(digest(&SHA256, assignment.document.as_bytes()).as_ref());
        let claims = Claims {
            pod_uid: &self.pod_uid,
            stream_uid: &job.stream.uid,
            attempt: job.attempt,
            document_hash,
            expires_unix_seconds: assignment.expires_unix_seconds,
        };
        let signature = hex::decode(&assignment.signature);
        let signature = signature
            .map_err(|_| Refusal::Unsigned("the signature is no text of hexadecimal digits"))?;
        let key = UnparsedPublicKey::new(&ED25519, self.key.0);
        key.verify(&claims.signed_bytes(), &signature)
            .map_err(|_| Refusal::Unsigned("the operator has not signed this job for this pod"))?;
        if assignment.expires_unix_seconds < now {
            return Err(Refusal::Unsigned(
                "the time in which it may be taken is over",
            ));
        }
        Ok(job)
    }
}

/// Waits for a job and runs it to its end, with control HTTP on `listener`. A shutdown before there is one ends the waiting.
///
/// # Errors
/// When the listener is broken. What goes wrong with the stream is an [`Outcome`].
pub async fn run(
    seat: Seat,
    listener: TcpListener,
    options: JobOptions,
    shutdown: CancellationToken,
) -> io::Result<Outcome> {
    let (sender, mut jobs) = mpsc::channel(1);
    let closing = CancellationToken::new();
    let waiting = Arc::new(Waiting {
        seat,
        taken: Mutex::default(),
        jobs: sender,
        attempt: watch::Sender::new(None),
        closing: closing.clone(),
    });
    let routes = options.routes.clone().merge(router(waiting.clone()));
    let serving = serve(listener, routes, ServeLimits::default(), closing.clone());
    let attempt = async {
        options.readiness.set(CONDITION, true);
        tracing::info!("waiting for a stream");
        let job = shutdown.run_until_cancelled(jobs.recv()).await.flatten();
        let outcome = match job {
            None => Outcome::Stopped,
            Some(job) => {
                options.readiness.set(CONDITION, false);
                let (handle, attempt) = job::start(job, options, shutdown);
                let control = control::router(handle, closing.clone());
                waiting.attempt.send_replace(Some(control));
                attempt.await
            }
        };
        closing.cancel();
        outcome
    };
    let (served, outcome) = tokio::join!(serving, attempt);
    served.map(|()| outcome)
}

fn router(waiting: Arc<Waiting>) -> Router {
    Router::new()
        .route("/v1/pods/{uid}/job", post(take))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .fallback(ask)
        .with_state(waiting)
}

/// What is asked of an attempt; before there is one, whoever asks means another pod.
async fn ask(State(waiting): State<Arc<Waiting>>, request: Request) -> Response {
    let control = waiting.attempt.borrow().clone();
    match control {
        // A router that is complete refuses nothing that is not an answer.
        Some(control) => control.oneshot(request).await.into_response(),
        None => Refusal::Misdirected.into_response(),
    }
}

async fn take(
    State(waiting): State<Arc<Waiting>>,
    Path(pod_uid): Path<String>,
    body: axum::body::Bytes,
) -> Result<StatusCode, Refusal> {
    if pod_uid != waiting.seat.pod_uid {
        return Err(Refusal::Misdirected);
    }
    let job = waiting.seat.read(&body, unix_seconds());
    let job = job.inspect_err(|refusal| tracing::warn!(?refusal, "a job was not taken"))?;
    waiting.take(job).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Waiting {
    /// Answers once the attempt can be asked.
    async fn take(&self, job: TranscodeJob) -> Result<(), Refusal> {
        let of_job = (job.stream.uid.clone(), job.attempt);
        let is_new = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            match &*taken {
                Some(taken) if *taken != of_job => return Err(Refusal::Busy),
                Some(_) => false,
                None => {
                    *taken = Some(of_job);
                    true
                }
            }
        };
        if is_new && self.jobs.try_send(job).is_err() {
            return Err(Refusal::Ended);
        }
        let mut attempt = self.attempt.subscribe();
        tokio::select! {
            _ = attempt.wait_for(Option::is_some) => Ok(()),
            () = self.closing.cancelled() => Err(Refusal::Ended),
        }
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "another pod, stream or attempt is meant".to_owned(),
            ),
            Self::Unsigned(why) => (StatusCode::FORBIDDEN, "unsigned", why.to_owned()),
            Self::Busy => (
                StatusCode::CONFLICT,
                "busy",
                "the pod runs another attempt or stream".to_owned(),
            ),
            Self::Ended => (StatusCode::GONE, "ended", "the pod is ending".to_owned()),
            Self::Unusable(why) => (StatusCode::UNPROCESSABLE_ENTITY, "unusable", why),
        };
        let code = code.to_owned();
        (status, Json(ErrorBody { code, message })).into_response()
    }
}

#[cfg(test)]
mod tests {
    use api::job::StreamIdentity;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::fixtures;

    const NOW: i64 = 1_772_359_200;

    struct Operator(Ed25519KeyPair);

    impl Operator {
        fn new(seed: u8) -> Self {
            Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
        }

        fn seat(&self) -> Seat {
            let key = hex::encode(self.0.public_key().as_ref());
            Seat::new("pod-1", key.parse().unwrap())
        }

        fn assign(&self, pod_uid: &str, job: &TranscodeJob) -> Assignment {
            let document = serde_json::to_string(job).unwrap();
            let mut document_hash = [0; 32];
            document_hash.copy_from_slice(digest(&SHA256, document.as_bytes()).as_ref());
            let claims = Claims {
                pod_uid,
                stream_uid: &job.stream.uid,
                attempt: job.attempt,
                document_hash,
                expires_unix_seconds: NOW + 60,
            };
            let signature = self.0.sign(&claims.signed_bytes());
            Assignment {
                document,
                expires_unix_seconds: NOW + 60,
                signature: hex::encode(signature.as_ref()),
            }
        }
    }

    fn job() -> TranscodeJob {
        fixtures::job("/output")
    }

    fn read(seat: &Seat, assignment: &Assignment, now: i64) -> Result<TranscodeJob, Refusal> {
        seat.read(&serde_json::to_vec(assignment).unwrap(), now)
    }

    #[test]
    fn only_what_the_operator_signed_for_this_pod_is_read() {
        let operator = Operator::new(1);
        let seat = operator.seat();
        let assignment = operator.assign("pod-1", &job());
        assert_eq!(read(&seat, &assignment, NOW), Ok(job()));
        let other = TranscodeJob {
            attempt: 9,
            ..job()
        };
        let changed = Assignment {
            document: serde_json::to_string(&other).unwrap(),
            ..assignment.clone()
        };
        let longer = Assignment {
            expires_unix_seconds: NOW + 9999,
            ..assignment.clone()
        };
        let garbled = Assignment {
            signature: "zz".to_owned(),
            ..assignment.clone()
        };
        for (case, assignment, now) in [
            ("another pod's", operator.assign("pod-2", &job()), NOW),
            ("another key", Operator::new(2).assign("pod-1", &job()), NOW),
            ("another document", changed, NOW),
            ("another time", longer, NOW),
            ("no signature", garbled, NOW),
            ("too late", assignment, NOW + 61),
        ] {
            let refusal = read(&seat, &assignment, now).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Unsigned(_)),
                "{case}: {refusal:?}"
            );
        }
        for body in [&b"{}"[..], b"\xff", b""] {
            let refusal = seat.read(body, NOW).unwrap_err();
            assert!(matches!(refusal, Refusal::Unusable(_)), "{refusal:?}");
        }
    }

    #[tokio::test]
    async fn one_job_is_taken_and_the_same_one_again_is_no_other() {
        let (jobs, mut given) = mpsc::channel(1);
        let waiting = Waiting {
            seat: Operator::new(1).seat(),
            taken: Mutex::default(),
            jobs,
            attempt: watch::Sender::new(None),
            closing: CancellationToken::new(),
        };
        let twice = async {
            tokio::join!(waiting.take(job()), waiting.take(job()), async {
                given.recv().await.unwrap();
                waiting.attempt.send_replace(Some(Router::new()));
            })
        };
        let (first, second, ()) = twice.await;
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert!(given.try_recv().is_err(), "it is run once");
        let next = TranscodeJob {
            attempt: job().attempt + 1,
            ..job()
        };
        let other = TranscodeJob {
            stream: StreamIdentity {
                uid: "another".to_owned(),
                ..job().stream
            },
            ..job()
        };
        for job in [next, other] {
            assert_eq!(waiting.take(job).await, Err(Refusal::Busy));
        }
    }

    #[test]
    fn a_key_has_64_digits() {
        assert!("ab".repeat(32).parse::<JobKey>().is_ok());
        for bad in ["", "ab", &"zz".repeat(32)] {
            assert_eq!(bad.parse::<JobKey>(), Err(NoKey), "{bad}");
        }
    }
}
