//! The poller, and control HTTP itself, against a transcoder that answers, lags, lies and is away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::control::{FinishAnswer, JobPhase, PublishRequest};
use api::job::ResumeFloor;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use kube::runtime::reflector::ObjectRef;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::*;
use crate::live_stream::Guarded;
use crate::live_stream::fixtures::{NAME, NAMESPACE, UID, job};

const SOON: Duration = Duration::from_secs(10);

/// A transcoder, as far as its control HTTP goes.
#[derive(Clone)]
struct Transcoder {
    says: watch::Sender<JobStatus>,
    stops: Arc<AtomicUsize>,
    told: Arc<Mutex<Option<PublishRequest>>>,
}

#[derive(serde::Deserialize)]
struct After {
    after: u64,
}

impl Transcoder {
    async fn start(status: JobStatus) -> (Self, SocketAddr) {
        let transcoder = Self {
            says: watch::Sender::new(status),
            stops: Arc::default(),
            told: Arc::default(),
        };
        let router = Router::new()
            .route("/v1/streams/{uid}/{attempt}/status", get(Self::status))
            .route("/v1/streams/{uid}/{attempt}/finish", post(Self::finish))
            .route("/v1/streams/{uid}/{attempt}/publish", post(Self::publish))
            .route("/v1/streams/{uid}/{attempt}/stop", post(Self::stop))
            .with_state(transcoder.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (transcoder, address)
    }

    async fn status(
        State(transcoder): State<Self>,
        Path((uid, attempt)): Path<(String, i32)>,
        Query(After { after }): Query<After>,
    ) -> Response {
        if uid != UID || attempt != transcoder.says.borrow().attempt {
            return StatusCode::MISDIRECTED_REQUEST.into_response();
        }
        let mut says = transcoder.says.subscribe();
        let status = says.wait_for(|status| status.version > after).await;
        Json(status.unwrap().clone()).into_response()
    }

    async fn finish() -> Json<FinishAnswer> {
        let next = ResumeFloor {
            media_sequence: 520,
            discontinuity_sequence: 3,
        };
        Json(FinishAnswer { next, listed: None })
    }

    async fn publish(
        State(transcoder): State<Self>,
        Json(request): Json<PublishRequest>,
    ) -> StatusCode {
        *transcoder.told.lock().unwrap() = Some(request);
        StatusCode::NO_CONTENT
    }

    async fn stop(State(transcoder): State<Self>) -> StatusCode {
        transcoder.stops.fetch_add(1, Ordering::SeqCst);
        StatusCode::NO_CONTENT
    }

    fn say(&self, version: u64, phase: JobPhase) {
        let mut status = job(1, phase);
        status.version = version;
        self.says.send_replace(status);
    }
}

struct Operator {
    polls: Polls,
    triggers: mpsc::UnboundedReceiver<ObjectRef<Guarded>>,
}

impl Operator {
    fn new() -> Self {
        let (sender, triggers) = Triggers::new(NAMESPACE);
        let metrics = Metrics::new(&mut Registry::default());
        Self {
            polls: Polls::new(sender, metrics),
            triggers,
        }
    }

    async fn triggered(&mut self) -> ObjectRef<Guarded> {
        let triggered = timeout(SOON, self.triggers.recv()).await;
        triggered.expect("bounded wait").unwrap()
    }
}

fn target(address: SocketAddr) -> Target {
    Target {
        stream: NAME.to_owned(),
        stream_uid: UID.to_owned(),
        attempt: 1,
        endpoint: address,
    }
}

async fn asked(target: &Target) -> Result<JobStatus, ControlError> {
    control::status(target, 0, &mut None).await
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn what_a_pod_says_is_heard_and_triggers_its_stream() {
    let (transcoder, address) = Transcoder::start(job(1, JobPhase::Starting)).await;
    let mut operator = Operator::new();
    assert_eq!(operator.polls.follow(target(address)), Polled::default());
    let stream = operator.triggered().await;
    assert_eq!(stream, ObjectRef::new(NAME).within(NAMESPACE));
    let heard = operator.polls.follow(target(address));
    assert_eq!(heard.status, Some(job(1, JobPhase::Starting)));
    transcoder.say(2000, JobPhase::Live);
    operator.triggered().await;
    let heard = operator.polls.follow(target(address)).status.unwrap();
    assert_eq!((heard.version, heard.phase), (2000, JobPhase::Live));
    assert_eq!(operator.polls.counts(), (1, 0));
}

#[tokio::test]
async fn the_last_word_of_a_pod_stands_when_it_is_asked_no_more() {
    let (transcoder, address) = Transcoder::start(job(1, JobPhase::Live)).await;
    let mut operator = Operator::new();
    operator.polls.follow(target(address));
    operator.triggered().await;
    let word = operator.polls.last_word(UID, 1);
    assert_eq!(word.status, Some(job(1, JobPhase::Live)));
    assert_eq!(operator.polls.counts(), (0, 0));
    transcoder.say(2000, JobPhase::Failed);
    let word = operator.polls.last_word(UID, 1);
    assert_eq!(word.status, Some(job(1, JobPhase::Live)));
    assert_eq!(operator.polls.last_word(UID, 2), Polled::default());
    operator.polls.keep(UID, &[2]);
    assert_eq!(operator.polls.last_word(UID, 1), Polled::default());
}

#[tokio::test]
async fn an_answer_of_another_stream_is_none() {
    let mut other = job(1, JobPhase::Live);
    other.stream_uid = "another".to_owned();
    let (_transcoder, address) = Transcoder::start(other).await;
    let refused = asked(&target(address)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("failed to ask {address}: it is of another stream or attempt")
    );
    let mut later = target(address);
    later.attempt = 2;
    let refused = asked(&later).await.unwrap_err();
    assert!(refused.to_string().contains("another stream or attempt"));
}

#[tokio::test]
async fn a_pod_that_does_not_answer_is_unreachable_and_nothing_else() {
    let mut operator = Operator::new();
    let target = target(nobody().await);
    operator.polls.follow(target.clone());
    let unreachable = async {
        loop {
            let heard = operator.polls.follow(target.clone());
            if heard.unreachable_for > Duration::ZERO {
                return heard;
            }
            tokio::task::yield_now().await;
        }
    };
    let heard = timeout(SOON, unreachable).await.expect("bounded wait");
    assert_eq!(heard.status, None);
    assert_eq!(operator.polls.counts(), (1, 1));
    assert!(
        operator.triggers.try_recv().is_err(),
        "it may come any moment"
    );
}

#[test]
fn a_fifth_of_all_pods_is_too_many_to_blame_and_two_are_not() {
    for (silent, all, expected) in [
        (0, 0, false),
        (1, 1, false),
        (2, 2, false),
        (3, 3, true),
        (3, 14, true),
        (3, 15, false),
        (20, 100, false),
        (21, 100, true),
    ] {
        assert_eq!(blinds(silent, all), expected, "{silent} of {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_hears_nobody_is_blind_until_it_hears_somebody() {
    let operator = Operator::new();
    for stream in ["a", "b", "c"] {
        let target = Target {
            stream_uid: stream.to_owned(),
            ..target(nobody().await)
        };
        operator.polls.follow(target);
    }
    assert!(!operator.polls.is_blind());
    let blind = async {
        while !operator.polls.is_blind() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(2 * SOON, blind).await.expect("bounded wait");
    operator.polls.leave("a");
    assert!(!operator.polls.is_blind());
}

#[tokio::test]
async fn two_attempts_of_a_stream_are_heard_side_by_side_and_each_keeps_its_last_word() {
    let mut operator = Operator::new();
    let (_old, old) = Transcoder::start(job(1, JobPhase::Live)).await;
    let (_next, next) = Transcoder::start(job(2, JobPhase::Standby)).await;
    let attempt = |attempt, address| Target {
        attempt,
        ..target(address)
    };
    let phases = |polls: &Polls| {
        [attempt(1, old), attempt(2, next)].map(|target| {
            let heard = polls.follow(target).status;
            heard.map(|status| (status.attempt, status.phase))
        })
    };
    assert_eq!(phases(&operator.polls), [None, None]);
    operator.triggered().await;
    operator.triggered().await;
    let both = [Some((1, JobPhase::Live)), Some((2, JobPhase::Standby))];
    assert_eq!(phases(&operator.polls), both);
    assert_eq!(operator.polls.counts(), (2, 0));
    let ended = operator.polls.last_word(UID, 1).status;
    assert_eq!(ended.map(|status| status.attempt), Some(1));
    operator.polls.keep(UID, &[2]);
    assert_eq!(operator.polls.last_word(UID, 1), Polled::default());
    assert_eq!(operator.polls.counts(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_stays_away_triggers_its_stream_once() {
    let mut operator = Operator::new();
    let target = target(nobody().await);
    operator.polls.follow(target.clone());
    timeout(Duration::from_secs(60), operator.triggers.recv())
        .await
        .unwrap();
    let heard = operator.polls.follow(target);
    assert!(heard.unreachable_for >= UNREACHABLE_AFTER);
    let again = timeout(Duration::from_secs(600), operator.triggers.recv()).await;
    assert!(again.is_err(), "one trigger is enough");
}

#[tokio::test]
async fn a_pod_that_comes_back_is_news_even_if_it_says_the_same() {
    let said = Said::default();
    assert!(said.answered(job(1, JobPhase::Live)));
    assert!(!said.answered(job(1, JobPhase::Live)));
    said.failed();
    assert!(said.answered(job(1, JobPhase::Live)));
    assert_eq!(said.polled().unreachable_for, Duration::ZERO);
}

#[tokio::test]
async fn numbers_that_grow_with_every_segment_are_kept_and_are_no_news() {
    let said = Said::default();
    said.answered(job(1, JobPhase::Live));
    let mut later = job(1, JobPhase::Live);
    later.next.media_sequence += 10;
    assert!(!said.answered(later.clone()));
    assert_eq!(said.polled().status, Some(later));
}

#[tokio::test]
async fn a_pod_is_told_to_finish_to_publish_and_to_stop() {
    let (transcoder, address) = Transcoder::start(job(1, JobPhase::Live)).await;
    let next = control::finish(&target(address)).await.unwrap().next;
    assert_eq!((next.media_sequence, next.discontinuity_sequence), (520, 3));
    let request = PublishRequest {
        floor: next,
        previous: None,
    };
    let told = control::publish(&target(address), &request).await;
    told.unwrap();
    assert_eq!(transcoder.told.lock().unwrap().take(), Some(request));
    control::stop(&target(address)).await.unwrap();
    assert_eq!(transcoder.stops.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_hangs_holds_nobody_up_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let started = Instant::now();
    let told = control::stop(&target(address)).await;
    assert!(told.is_err());
    assert!(started.elapsed() <= Duration::from_secs(3));
}

#[tokio::test]
async fn an_answer_without_end_is_refused() {
    let router = Router::new().fallback(|| async { "x".repeat(1 << 20) });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let refused = asked(&target(address)).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        format!("failed to read the answer of {address}: it is too long")
    );
}

#[tokio::test]
async fn polls_go_over_one_connection_until_it_ends() {
    let connections = Arc::new(AtomicUsize::new(0));
    let (_transcoder, address) = Transcoder::start(job(1, JobPhase::Live)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = target(listener.local_addr().unwrap());
    let counted = connections.clone();
    let (cut, mut cuts) = mpsc::unbounded_channel::<()>();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut server = tokio::net::TcpStream::connect(address).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = cuts.recv() => {}
            }
        }
    });
    let mut connection = None;
    for _ in 0..3 {
        let answer = control::status(&between, 0, &mut connection).await;
        assert_eq!(answer.unwrap(), job(1, JobPhase::Live));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    cut.send(()).unwrap();
    let closed = async {
        while connection.as_ref().is_some_and(|one| one.is_idle()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, closed).await.expect("bounded wait");
    let answer = control::status(&between, 0, &mut connection).await;
    assert_eq!(answer.unwrap(), job(1, JobPhase::Live));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_poll_holds_less_than_two_kilobytes() {
    let operator = Operator::new();
    let pod = Arc::new(Pod {
        target: target(nobody().await),
        said: Said::default(),
    });
    let task = size_of_val(&poll(pod, operator.polls.news.clone()));
    assert!(task < 2048, "{task} bytes");
}
