//! The four steps as one, over minutes and hours on a clock that the test turns: what is written when, of one stream and of many.
//! The API server is as much of one as they use, pods run as soon as they are created, and say what they are told to.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Mutex;

use api::control::JobPhase;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use kube::runtime::watcher::Event;
use presence::memory::MemoryPresence;
use presence::{StoreTime, Touch};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::time::{Instant as Moment, advance};

use super::control::Target;
use super::fixtures::{NAMESPACE, NOW, at, fleet, job, spec};
use super::pods::PodFacts;
use super::*;

/// Between two flushes of a gateway.
const FLUSH: Duration = Duration::from_secs(5);

/// A write: when, what (`PATCH livestreams/status`), and what it carried.
#[derive(Debug, Clone)]
struct Write {
    at: Duration,
    what: String,
    body: Value,
}

/// What the API server has.
#[derive(Default)]
struct Objects {
    streams: BTreeMap<String, Value>,
    /// Pods that do not run yet.
    created: Vec<Value>,
    writes: Vec<Write>,
    version: u64,
}

/// A release on a clock of its own.
struct World {
    context: Context,
    presence: Arc<MemoryPresence>,
    objects: Arc<Mutex<Objects>>,
    started: Moment,
    /// When each stream is looked at next.
    looks: BTreeSet<(Duration, String)>,
    looked: usize,
    /// Pods that play, and the last number that each has listed.
    playing: Vec<(Target, i64)>,
}

impl World {
    fn new(collections_per_second: u32) -> Self {
        let (objects, started) = (Arc::new(Mutex::<Objects>::default()), Moment::now());
        let server = objects.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(serve(&server, started, request).await) }
        });
        let client = Client::new(service, NAMESPACE);
        let presence = Arc::new(MemoryPresence::new());
        let metrics = Metrics::new(&mut Registry::default());
        let collecting = CollectionSettings {
            collect: true,
            per_second: collections_per_second.try_into().unwrap(),
        };
        let context = Context::new(
            &client,
            NAMESPACE,
            presence.clone(),
            (fleet(), None),
            (
                Triggers::new(NAMESPACE).0,
                Events::new(client.clone()).0,
                metrics,
            ),
            (Leadership::alone(), &collecting),
        );
        let gateway = json!({
            "metadata": {"name": "gateway-1", "uid": "gateway-1", "labels": {"app.kubernetes.io/component": "gateway"}},
            "status": {"phase": "Running"},
        });
        let gateway = serde_json::from_value(gateway).unwrap();
        context.pods.take(&Event::Apply(gateway));
        Self {
            context,
            presence,
            objects,
            started,
            looks: BTreeSet::new(),
            looked: 0,
            playing: Vec::new(),
        }
    }

    /// A stream that is wanted, as a gateway makes it.
    fn create(&mut self, number: usize) {
        let name = format!("stream-{number}");
        let mut spec = json!(spec());
        spec["whenIdle"] = json!("Delete");
        spec["idleTimeoutSeconds"] = json!(30);
        let stream = json!({
            "metadata": {
                "name": name, "namespace": NAMESPACE, "uid": format!("{number:08x}-0000-4000-8000-000000000000"),
                "generation": 1, "resourceVersion": "0", "creationTimestamp": at(NOW).to_string(),
            },
            "spec": spec,
        });
        let mut objects = self.objects.lock().unwrap();
        objects.streams.insert(name.clone(), stream);
        self.looks.insert((self.started.elapsed(), name));
    }

    fn writes(&self) -> Vec<Write> {
        self.objects.lock().unwrap().writes.clone()
    }

    /// Lets time pass, with so many viewers of every stream at each time.
    async fn run(&mut self, span: Duration, viewers: impl Fn(Duration) -> u32) {
        let begin = self.started.elapsed();
        let mut flush = begin;
        loop {
            let look = self.looks.first().map_or(Duration::MAX, |(at, _)| *at);
            let next = look.min(flush).min(begin + span);
            advance(next.saturating_sub(self.started.elapsed())).await;
            if next == begin + span {
                return;
            } else if next == flush {
                self.flush(viewers(next - begin)).await;
                flush += FLUSH;
            } else if let Some((_, name)) = self.looks.pop_first() {
                self.look(&name).await;
            }
        }
    }

    /// Every pod goes on listing, and a gateway tells how many watch; whom nobody watches it has not heard of.
    async fn flush(&mut self, viewers: u32) {
        for (target, listed) in &mut self.playing {
            *listed += 2;
            let status = says(target, *listed);
            self.context.polls.follow_told(target.clone(), status);
        }
        let streams = self.playing.iter().filter(|_| viewers > 0);
        let touches: Vec<_> = streams
            .map(|(target, _)| Touch {
                stream_uid: target.stream_uid.clone(),
                age: Duration::ZERO,
                viewers,
            })
            .collect();
        let gathered = StoreTime(u64::MAX);
        let flush = self.presence.flush("gateway-1", &touches, gathered);
        flush.await.unwrap();
    }

    fn stream(&self, name: &str) -> Option<LiveStream> {
        let stream = self.objects.lock().unwrap().streams.get(name).cloned();
        stream.map(|stream| serde_json::from_value(stream).unwrap())
    }

    async fn reconcile(&self, stream: &LiveStream) -> Duration {
        let second = i64::try_from(self.started.elapsed().as_secs()).unwrap();
        let clock = || at(NOW + second);
        let again = reconcile_stream(stream, &self.context, clock).await;
        again.unwrap()
    }

    async fn look(&mut self, name: &str) {
        let Some(stream) = self.stream(name) else {
            return;
        };
        self.looked += 1;
        let mut again = self.reconcile(&stream).await;
        let created = std::mem::take(&mut self.objects.lock().unwrap().created);
        for pod in created {
            self.start(pod);
            again = Duration::ZERO;
        }
        let again = self.started.elapsed() + again.max(Duration::from_millis(1));
        self.looks.insert((again, name.to_owned()));
    }

    fn start(&mut self, mut pod: Value) {
        let [.., low] = self.playing.len().to_be_bytes();
        pod["metadata"]["uid"] = json!(format!("pod-{}", self.playing.len()));
        pod["status"] = json!({
            "phase": "Running", "podIP": format!("10.0.0.{low}"),
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let facts = PodFacts::of(&pod).unwrap();
        let target = Target {
            endpoint: facts.endpoint().unwrap(),
            stream: facts.stream,
            stream_uid: facts.stream_uid,
            attempt: facts.attempt,
        };
        let status = says(&target, 0);
        self.context.polls.follow_told(target.clone(), status);
        self.playing.push((target, 0));
        self.context.pods.take(&Event::Apply(pod));
    }
}

/// What a transcoder says that is live.
fn says(target: &Target, listed: i64) -> api::control::JobStatus {
    let mut status = job(target.attempt, JobPhase::Live);
    status.stream_uid.clone_from(&target.stream_uid);
    status.next.media_sequence += listed;
    status
}

async fn serve(
    server: &Mutex<Objects>,
    started: Moment,
    request: Request<Body>,
) -> Response<axum::body::Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (_, path) = path
        .split_once(&format!("/namespaces/{NAMESPACE}/"))
        .unwrap();
    let (status, answer) = answer(&mut server.lock().unwrap(), started, (&method, path), &body);
    Response::builder()
        .status(status)
        .body(axum::body::Body::from(answer.to_string()))
        .unwrap()
}

fn answer(
    objects: &mut Objects,
    started: Moment,
    (method, path): (&Method, &str),
    body: &Value,
) -> (StatusCode, Value) {
    let mut words = path.split('/');
    let (resource, name) = (words.next().unwrap(), words.next().unwrap_or_default());
    if *method != Method::GET {
        let slash = words.next().map(|part| format!("/{part}"));
        objects.writes.push(Write {
            at: started.elapsed(),
            what: format!("{method} {resource}{}", slash.unwrap_or_default()),
            body: body.clone(),
        });
    }
    objects.version += 1;
    let version = json!(objects.version.to_string());
    match (method, resource) {
        (&Method::POST, "pods") => {
            objects.created.push(body.clone());
            (StatusCode::CREATED, body.clone())
        }
        (&Method::DELETE, "livestreams") => (StatusCode::OK, objects.streams.remove(name).unwrap()),
        (&Method::PATCH, "livestreams") => {
            let stream = objects.streams.get_mut(name).unwrap();
            merge(&mut stream["status"], &body["status"]);
            stream["metadata"]["resourceVersion"] = version;
            (StatusCode::OK, stream.clone())
        }
        _ => panic!("{method} {path} was not expected"),
    }
}

fn merge(target: &mut Value, change: &Value) {
    let Value::Object(fields) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_watched_is_written_down_by_coarse_viewers_alone() {
    type Viewers = fn(u64) -> u32;
    let cases: [(&str, Viewers, &[i32]); 3] = [
        ("as many all the time", |_| 40, &[]),
        (
            "never ten times as many",
            |second| 10 + u32::try_from(second % 90).unwrap(),
            &[],
        ),
        (
            "many at half-time",
            |second| {
                if (1200..2400).contains(&second) {
                    700
                } else {
                    40
                }
            },
            &[100, 10],
        ),
    ];
    for (case, viewers, expected) in cases {
        let mut world = World::new(20);
        world.create(1);
        world.run(Duration::from_secs(180), |_| viewers(0)).await;
        let before = world.writes().len();
        assert!(before >= 3, "{case}: it plays");
        let looked = world.looked;
        world
            .run(Duration::from_secs(3600), |time| viewers(time.as_secs()))
            .await;
        let writes = &world.writes()[before..];
        let told: Vec<_> = writes.iter().map(|write| &write.what).collect();
        assert!(
            told.iter().all(|what| *what == "PATCH livestreams/status"),
            "{case}: {told:?}"
        );
        let told: Vec<_> = writes.iter().map(|write| &write.body["status"]).collect();
        let expected: Vec<_> = expected.iter().map(|n| json!({"viewers": n})).collect();
        assert_eq!(told, expected.iter().collect::<Vec<_>>(), "{case}");
        assert!(world.looked - looked >= 60, "{case}: {}", world.looked);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_over_what_the_watch_is_behind_with() {
    let mut world = World::new(20);
    world.create(1);
    let seen = world.stream("stream-1").unwrap();
    world.look("stream-1").await;
    let writes = world.writes().len();
    assert_eq!(writes, 2, "a name and a pod");
    assert_eq!(world.reconcile(&seen).await, BEHIND_RECHECK);
    for (seconds, recheck) in [
        (1, Duration::from_millis(500)),
        (60, LONGEST_BEHIND_RECHECK),
    ] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        assert_eq!(world.reconcile(&seen).await, recheck, "{seconds}");
    }
    assert_eq!(world.writes().len(), writes);
    world.look("stream-1").await;
    assert!(world.writes().len() > writes, "it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_streams_that_fall_idle_at_once_are_removed_one_after_the_other() {
    const STREAMS: usize = 1000;
    let mut world = World::new(20);
    (0..STREAMS).for_each(|number| world.create(number));
    world.run(Duration::from_secs(60), |_| 1).await;
    assert_eq!(world.playing.len(), STREAMS);
    let looked = world.looked;
    world.run(Duration::from_secs(45), |_| 0).await;
    let waiting = world.context.removals.waiting();
    assert!(waiting > STREAMS / 2, "{waiting} wait in the middle of it");
    world.run(Duration::from_secs(60), |_| 0).await;
    assert_eq!(world.context.removals.waiting(), 0);
    let mut removed: BTreeMap<u64, usize> = BTreeMap::new();
    let writes = world.writes();
    for write in writes.iter().filter(|one| one.what == "DELETE livestreams") {
        *removed.entry(write.at.as_secs()).or_default() += 1;
    }
    assert_eq!(removed.values().sum::<usize>(), STREAMS);
    // A second's worth at once, and then as many a second.
    assert!(removed.values().all(|count| *count <= 40), "{removed:?}");
    let (first, last) = (removed.keys().next(), removed.keys().last());
    let took = last.unwrap() - first.unwrap();
    assert!((48..=52).contains(&took), "{removed:?}");
    // Who waits is looked at every ten seconds, like everybody whom nobody watches.
    let looked = world.looked - looked;
    assert!(looked < STREAMS * 25, "{looked}");
}
