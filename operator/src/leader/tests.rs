//! Candidates for one Lease, before servers that are well, refuse, hang or lie. Time is paused.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::*;

const TIMING: Timing = Timing {
    lease: Duration::from_secs(15),
    renew: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

/// How a server treats those who ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Refuses,
    /// Never answers.
    Hangs,
    /// Does what it is asked and says that it failed.
    Lies,
}

/// A server with one Lease, whose mood differs by who asks.
#[derive(Clone)]
struct Server(Arc<Mutex<(Value, BTreeMap<String, Mood>)>>);

impl Server {
    fn new() -> Self {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "operator", "namespace": "tv", "resourceVersion": "1"},
        });
        Self(Arc::new(Mutex::new((lease, BTreeMap::new()))))
    }

    fn mood(&self, me: &str, mood: Mood) {
        self.0.lock().unwrap().1.insert(me.to_owned(), mood);
    }

    fn lease(&self) -> Value {
        self.0.lock().unwrap().0.clone()
    }

    fn holder(&self) -> String {
        let lease = self.lease();
        let holder = lease["spec"]["holderIdentity"].as_str();
        holder.unwrap_or_default().to_owned()
    }

    fn candidate(&self, me: &str) -> Candidate {
        let (server, name) = (self.clone(), me.to_owned());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, name) = (server.clone(), name.clone());
            async move { Ok::<_, Infallible>(server.serve(&name, request).await) }
        });
        let leases = Api::namespaced(Client::new(service, "tv"), "tv");
        let metrics = Metrics::new(&mut Registry::default());
        let (election, leadership) = Election::new(leases, ("operator", me), TIMING, metrics);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(election.run(shutdown.clone()));
        Candidate {
            leadership,
            shutdown,
            running,
        }
    }

    async fn serve(&self, me: &str, request: Request<Body>) -> Response<Body> {
        let mood = self.0.lock().unwrap().1.get(me).copied();
        let mood = mood.unwrap_or(Mood::Well);
        if mood == Mood::Hangs {
            return std::future::pending().await;
        }
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let (status, answer) = match mood {
            Mood::Refuses => (StatusCode::INTERNAL_SERVER_ERROR, self.failure(500)),
            _ if method == Method::PUT => self.put(&serde_json::from_slice(&body).unwrap()),
            _ => (StatusCode::OK, self.lease()),
        };
        let (status, answer) = match mood {
            Mood::Lies => (StatusCode::GATEWAY_TIMEOUT, self.failure(504)),
            _ => (status, answer),
        };
        let body = Body::from(answer.to_string().into_bytes());
        Response::builder().status(status).body(body).unwrap()
    }

    fn put(&self, lease: &Value) -> (StatusCode, Value) {
        let mut state = self.0.lock().unwrap();
        let version = &state.0["metadata"]["resourceVersion"];
        if lease["metadata"]["resourceVersion"] != *version {
            drop(state);
            return (StatusCode::CONFLICT, self.failure(409));
        }
        let next = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
        state.0 = lease.clone();
        state.0["metadata"]["resourceVersion"] = json!(next.to_string());
        (StatusCode::OK, state.0.clone())
    }

    #[expect(clippy::unused_self, reason = "reads better beside its neighbours")]
    fn failure(&self, code: u16) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
            "reason": if code == 409 { "Conflict" } else { "InternalError" }, "message": "no",
        })
    }
}

struct Candidate {
    leadership: Leadership,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Candidate {
    async fn until(&self, leads: bool) -> Duration {
        let started = Instant::now();
        let mut watched = self.leadership.0.clone();
        let reached = watched.wait_for(|is| *is == leads);
        timeout(Duration::from_secs(60), reached)
            .await
            .unwrap()
            .unwrap();
        started.elapsed()
    }

    async fn leave(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_two_leads_and_the_other_takes_over_at_once_when_it_leaves() {
    let server = Server::new();
    let first = server.candidate("first");
    first.until(true).await;
    let second = server.candidate("second");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(first.leadership.leads() && !second.leadership.leads());
    assert_eq!(server.holder(), "first");
    first.leave().await;
    let waited = second.until(true).await;
    assert!(waited <= TIMING.retry, "{waited:?}");
    assert_eq!(server.lease()["spec"]["leaseTransitions"], json!(2));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_begins() {
    for mood in [Mood::Hangs, Mood::Refuses] {
        let server = Server::new();
        let first = server.candidate("first");
        first.until(true).await;
        let second = server.candidate("second");
        tokio::time::sleep(Duration::from_secs(20)).await;
        server.mood("first", mood);
        let stopped = first.until(false).await;
        assert!(stopped <= TIMING.renew, "{mood:?} {stopped:?}");
        assert!(!second.leadership.leads(), "{mood:?}");
        let (taken, slack) = (second.until(true).await, 2 * TIMING.retry);
        assert!(stopped + taken <= TIMING.lease + slack, "{mood:?}");
        server.mood("first", Mood::Well);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!first.leadership.leads() && second.leadership.leads());
        second.leave().await;
        first.until(true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_does_not_cost_the_leadership() {
    let server = Server::new();
    let leader = server.candidate("first");
    leader.until(true).await;
    server.mood("first", Mood::Lies);
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.mood("first", Mood::Well);
    let mut watched = leader.leadership.0.clone();
    let lost = timeout(Duration::from_secs(60), watched.wait_for(|leads| !leads));
    assert!(lost.await.is_err(), "it led all the time");
    assert_eq!(server.lease()["spec"]["leaseTransitions"], json!(1));
}

#[tokio::test(start_paused = true)]
async fn many_candidates_never_lead_together() {
    let server = Server::new();
    let candidates: Vec<Candidate> = ["a", "b", "c", "d"]
        .iter()
        .map(|me| server.candidate(me))
        .collect();
    for second in 0..600_u64 {
        let unwell = ["a", "b", "c", "d"][usize::try_from(second / 40 % 4).unwrap()];
        let moods = [Mood::Hangs, Mood::Lies, Mood::Refuses, Mood::Well];
        let mood = moods[usize::try_from(second / 10 % 4).unwrap()];
        server.mood(unwell, mood);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let leaders = candidates.iter().filter(|one| one.leadership.leads());
        assert!(leaders.count() <= 1, "second {second}");
    }
    assert!(candidates.iter().any(|one| one.leadership.leads()));
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_with_the_leadership() {
    let (leads, leadership) = watch::channel(true);
    let leadership = Leadership(leadership);
    assert_eq!(leadership.while_leading(async { 1 }).await, Some(1));
    let work = leadership.while_leading(std::future::pending::<()>());
    let lose = async { leads.send_replace(false) };
    assert_eq!(tokio::join!(work, lose).0, None);
    assert_eq!(leadership.while_leading(async { 1 }).await, None);
    let alone = Leadership::alone();
    assert_eq!(alone.while_leading(async { 2 }).await, Some(2));
}
