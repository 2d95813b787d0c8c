//! An API server in memory: lists, watches, merge patches, preconditions, as far as the operator uses them. It writes down every change,
//! can lose the process after any write, and can do something of its own just before a request is served.
//! It knows nothing of the product but the shape of its paths.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::retry::RetryPolicy;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep_until};

/// Resource and name, such as `("pods", "news-one-0f9c2a41-1")`.
pub(crate) type Key = (String, String);

/// What goes wrong at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused as if somebody else had been faster.
    Conflict,
    /// It is refused for a second.
    Throttled,
    /// It is not done: 500.
    Broken,
    /// It is done, and answered by 504.
    Unanswered,
    /// Every watch ends after it, and may go on.
    Dropped,
    /// Every watch ends after it, and must begin anew: 410.
    Gone,
    /// Every watch is behind for a while.
    Behind,
}

/// How far watches are behind.
const BEHIND: Duration = Duration::from_millis(500);

type Before = Box<dyn FnMut(&mut Objects, &Method, &str) + Send>;

/// The server; clones are the same one.
#[derive(Clone)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
    news: broadcast::Sender<Change>,
    /// Grows with each change, for those who wait for something.
    changed: watch::Sender<u64>,
    /// Ends every watch.
    cut: watch::Sender<()>,
    /// Lists by fields so far: resource and field selector.
    asked: watch::Sender<Vec<(String, String)>>,
    /// The client process has been lost.
    pub(crate) lost: Arc<Notify>,
}

/// What there is.
#[derive(Default)]
pub(crate) struct Objects {
    pub(crate) objects: BTreeMap<Key, Value>,
    version: u64,
    /// Every change there ever was, for watches that start later.
    history: Vec<Change>,
}

#[derive(Default)]
struct State {
    objects: Objects,
    /// `POST pods`, `PATCH livestreams/status` …, in order; events and leases left out.
    writes: Vec<String>,
    /// What they carried.
    bodies: Vec<Value>,
    /// Writes until the process is lost.
    writes_left: Option<usize>,
    dead: bool,
    /// A write that is done and answered by an error.
    unanswered: Option<String>,
    /// What goes wrong at which write that is tried.
    fault: Option<(usize, Fault)>,
    tried: usize,
    /// Watches of earlier versions must begin anew.
    oldest: u64,
    /// Until then watches tell nothing.
    behind: Option<Instant>,
    before: Option<Before>,
}

#[derive(Debug, Clone)]
struct Change {
    version: u64,
    kind: &'static str,
    resource: String,
    object: Value,
}

struct Call {
    method: Method,
    resource: String,
    name: Option<String>,
    status: bool,
    query: BTreeMap<String, String>,
    body: Value,
}

enum Answer {
    Document(StatusCode, Value),
    Watch(Body),
    /// The process that asked is gone.
    Never,
}

impl Objects {
    pub(crate) fn get(&self, resource: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(resource.to_owned(), name.to_owned()))
    }

    pub(crate) fn all<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a Value> {
        let objects = self.objects.iter();
        objects
            .filter(move |((of, _), _)| of == resource)
            .map(|(_, object)| object)
    }

    /// Stores an object as it is, under a new version.
    pub(crate) fn put(&mut self, resource: &str, mut object: Value) -> Value {
        self.version += 1;
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let key = (resource.to_owned(), name);
        let kind = if self.objects.contains_key(&key) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        metadata["namespace"] = json!("tv");
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("{:08x}-0000-4000-8000-000000000000", self.version));
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = json!("2026-03-01T10:00:00Z");
        }
        self.objects.insert(key, object.clone());
        self.note(kind, resource, object.clone());
        object
    }

    pub(crate) fn remove(&mut self, resource: &str, name: &str) {
        let key = (resource.to_owned(), name.to_owned());
        if let Some(mut object) = self.objects.remove(&key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.note("DELETED", resource, object);
        }
    }

    /// Merges a change into an object.
    pub(crate) fn change(&mut self, resource: &str, name: &str, change: &Value) -> Value {
        let mut object = self.get(resource, name).unwrap().clone();
        let spec = object["spec"].clone();
        merge(&mut object, change);
        if object["spec"] != spec {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.put(resource, object)
    }

    fn note(&mut self, kind: &'static str, resource: &str, object: Value) {
        self.history.push(Change {
            version: self.version,
            kind,
            resource: resource.to_owned(),
            object,
        });
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

impl ApiServer {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            news: broadcast::Sender::new(4096),
            changed: watch::Sender::new(0),
            cut: watch::Sender::new(()),
            asked: watch::Sender::new(Vec::new()),
            lost: Arc::default(),
        }
    }

    /// A client; its process dies with [`Self::lose_after`].
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move { Ok::<_, tower::BoxError>(server.serve(request).await) }
        });
        // As the client of the process does.
        let retries = RetryPolicy::server_retry();
        Client::new(tower::retry::Retry::new(retries, service), "tv")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Reads or changes what there is, and tells the watches.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Objects) -> T) -> T {
        let mut state = self.state();
        let known = state.objects.history.len();
        let outcome = act(&mut state.objects);
        for change in &state.objects.history[known..] {
            let _ = self.news.send(change.clone());
        }
        let version = state.objects.version;
        drop(state);
        // Who only looks wakes nobody: those who wait look, too.
        self.changed
            .send_if_modified(|known| std::mem::replace(known, version) != version);
        outcome
    }

    /// The writes so far.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    /// What the writes of one kind carried.
    pub(crate) fn bodies(&self, write: &str) -> Vec<Value> {
        let state = self.state();
        let writes = state.writes.iter().zip(&state.bodies);
        let writes = writes.filter(|(one, _)| *one == write);
        writes.map(|(_, body)| body.clone()).collect()
    }

    /// The client's process is lost after so many more writes, each of which is done.
    pub(crate) fn lose_after(&self, writes: usize) {
        self.state().writes_left = Some(writes);
    }

    /// The next such write is done, and answered as if it were not.
    pub(crate) fn lose_answer_of(&self, write: &str) {
        self.state().unanswered = Some(write.to_owned());
    }

    /// Something goes wrong at the n-th write that is tried, from 1 on.
    pub(crate) fn fail(&self, write: usize, fault: Fault) {
        self.state().fault = Some((write, fault));
    }

    fn next_fault(&self, resource: &str) -> Option<Fault> {
        // A lease is written all the time.
        if resource == "leases" {
            return None;
        }
        let mut state = self.state();
        state.tried += 1;
        let (at, fault) = state.fault?;
        (at == state.tried).then_some(fault)
    }

    fn disturb_watches(&self, fault: Fault) {
        let mut state = self.state();
        match fault {
            Fault::Gone => {
                state.objects.version += 1;
                state.oldest = state.objects.version;
            }
            Fault::Behind => state.behind = Some(Instant::now() + BEHIND),
            _ => {}
        }
        drop(state);
        if matches!(fault, Fault::Gone | Fault::Dropped) {
            self.cut.send_replace(());
        }
    }

    /// A new process may come.
    pub(crate) fn revive(&self) {
        let mut state = self.state();
        (state.dead, state.writes_left) = (false, None);
    }

    /// Runs before every write is looked at: method, and `resource` or `resource/status`.
    pub(crate) fn before(&self, act: impl FnMut(&mut Objects, &Method, &str) + Send + 'static) {
        self.state().before = Some(Box::new(act));
    }

    /// Every object of a resource there ever was, as it was after each change; a deletion as `None`.
    pub(crate) fn history(&self, resource: &str) -> Vec<(String, Option<Value>)> {
        let state = self.state();
        let changes = state.objects.history.iter();
        let changes = changes.filter(|change| change.resource == resource);
        changes
            .map(|change| {
                let name = change.object["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                (
                    name,
                    (change.kind != "DELETED").then(|| change.object.clone()),
                )
            })
            .collect()
    }

    /// What there was after each change, in order: the resource that changed, and everything of the resources that are asked for.
    pub(crate) fn moments(&self, resources: &[&str]) -> Vec<BTreeMap<Key, Value>> {
        let state = self.state();
        let changes = state.objects.history.iter();
        let changes = changes.filter(|change| resources.contains(&change.resource.as_str()));
        let mut objects = BTreeMap::new();
        let moments = changes.map(|change| {
            let name = change.object["metadata"]["name"].as_str().unwrap();
            let key = (change.resource.clone(), name.to_owned());
            match change.kind {
                "DELETED" => objects.remove(&key),
                _ => objects.insert(key, change.object.clone()),
            };
            objects.clone()
        });
        moments.collect()
    }

    /// Waits until a list of this resource has been asked for by these fields.
    pub(crate) async fn until_asked(&self, resource: &str, fields: &str) {
        let mut asked = self.asked.subscribe();
        let is_it = |(of, by): &(String, String)| of == resource && by == fields;
        asked
            .wait_for(|asked| asked.iter().any(is_it))
            .await
            .unwrap();
    }

    /// What is told each time something changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn serve(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let call = read(request).await;
        let answer = self.answer(&call);
        let (code, body) = match answer {
            Answer::Never => std::future::pending().await,
            Answer::Watch(body) => (StatusCode::OK, body),
            Answer::Document(code, document) => (code, Body::from(document.to_string())),
        };
        Response::builder()
            .status(code)
            .header("content-type", "application/json")
            .header(
                "retry-after",
                if code == StatusCode::TOO_MANY_REQUESTS {
                    "1"
                } else {
                    "0"
                },
            )
            .body(body)
            .unwrap()
    }

    fn answer(&self, call: &Call) -> Answer {
        let mut state = self.state();
        if state.dead {
            return Answer::Never;
        }
        if call.method == Method::GET {
            let watch = call.query.get("watch").is_some_and(|watch| watch == "true");
            return if watch {
                self.watch(&state, call)
            } else {
                if let Some(fields) = call.query.get("fieldSelector") {
                    let asked = (call.resource.clone(), fields.clone());
                    self.asked.send_modify(|all| all.push(asked));
                }
                let (code, document) = read_objects(&state.objects, call);
                Answer::Document(code, document)
            };
        }
        if call.resource == "events" {
            return Answer::Document(StatusCode::CREATED, call.body.clone());
        }
        let slash = if call.status { "/status" } else { "" };
        let what = format!("{}{slash}", call.resource);
        drop(state);
        let fault = self.next_fault(&call.resource);
        if let Some((code, document)) = fault.and_then(|fault| refused(fault, &call.method)) {
            return Answer::Document(code, document);
        }
        let mut before = self.state().before.take();
        let (code, document) = self.with(|objects| {
            if let Some(before) = &mut before {
                before(objects, &call.method, &what);
            }
            write(objects, call)
        });
        if let Some(fault) = fault {
            self.disturb_watches(fault);
        }
        state = self.state();
        state.before = state.before.take().or(before);
        if !code.is_success() || call.resource == "leases" {
            return Answer::Document(code, document);
        }
        state.writes.push(format!("{} {what}", call.method));
        state.bodies.push(call.body.clone());
        if let Some(left) = &mut state.writes_left {
            *left -= 1;
            if *left == 0 {
                state.dead = true;
                self.lost.notify_one();
                return Answer::Never;
            }
        }
        let written = state.writes.last();
        let is_meant = state.unanswered.is_some() && state.unanswered.as_ref() == written;
        if is_meant || fault == Some(Fault::Unanswered) {
            state.unanswered = None;
            let (code, document) = refusal(StatusCode::GATEWAY_TIMEOUT, "Timeout");
            return Answer::Document(code, document);
        }
        Answer::Document(code, document)
    }

    fn watch(&self, state: &State, call: &Call) -> Answer {
        let since: u64 = call.query["resourceVersion"].parse().unwrap();
        if since < state.oldest {
            let (_, status) = refusal(StatusCode::GONE, "Expired");
            let line = json!({"type": "ERROR", "object": status});
            return Answer::Watch(Body::from(format!("{line}\n")));
        }
        let selector = call.query.get("labelSelector").cloned().unwrap_or_default();
        let resource = call.resource.clone();
        let wanted = move |change: &Change| {
            change.resource == resource
                && change.version > since
                && selects(&selector, &change.object)
        };
        let news = self.news.subscribe();
        let past: Vec<_> = state
            .objects
            .history
            .iter()
            .filter(|one| wanted(one))
            .map(line)
            .collect();
        let past = futures::stream::iter(past);
        let news = futures::stream::unfold(news, |mut news| async {
            let change = news.recv().await.ok()?;
            Some((change, news))
        });
        let news = news.filter_map(move |change| {
            let line = wanted(&change).then(|| line(&change));
            std::future::ready(line)
        });
        let server = self.clone();
        let news = news.then(move |line| {
            let behind = server.state().behind;
            async move {
                if let Some(until) = behind {
                    sleep_until(until).await;
                }
                line
            }
        });
        let mut cut = self.cut.subscribe();
        let ends = Box::pin(async move { cut.changed().await });
        let lines = past.chain(news).take_until(ends);
        Answer::Watch(Body::from_stream(lines.map(Ok::<_, Infallible>)))
    }
}

/// How a write is refused that is not done.
fn refused(fault: Fault, method: &Method) -> Option<(StatusCode, Value)> {
    let (code, reason) = match fault {
        Fault::Conflict if *method == Method::POST => (StatusCode::CONFLICT, "AlreadyExists"),
        Fault::Conflict => (StatusCode::CONFLICT, "Conflict"),
        Fault::Throttled => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        Fault::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Fault::Unanswered | Fault::Dropped | Fault::Gone | Fault::Behind => return None,
    };
    Some(refusal(code, reason))
}

fn line(change: &Change) -> Bytes {
    let line = json!({"type": change.kind, "object": change.object});
    Bytes::from(format!("{line}\n"))
}

async fn read(request: Request<kube::client::Body>) -> Call {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut words = parts
        .uri
        .path()
        .split('/')
        .skip_while(|word| *word != "namespaces")
        .skip(2);
    let query = parts.uri.query().unwrap_or_default().split('&');
    let query = query.filter_map(|pair| pair.split_once('='));
    Call {
        method: parts.method,
        resource: words.next().unwrap().to_owned(),
        name: words.next().map(str::to_owned),
        status: words.next() == Some("status"),
        query: query
            .map(|(name, value)| (name.to_owned(), plain(value)))
            .collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

/// Undoes the escapes of a query.
fn plain(value: &str) -> String {
    let escapes = [
        ("%3D", "="),
        ("%2C", ","),
        ("%2F", "/"),
        ("+", " "),
        ("%28", "("),
        ("%29", ")"),
        ("%21", "!"),
    ];
    escapes.iter().fold(value.to_owned(), |value, (from, to)| {
        value.replace(from, to)
    })
}

fn read_objects(objects: &Objects, call: &Call) -> (StatusCode, Value) {
    if let Some(name) = &call.name {
        return match objects.get(&call.resource, name) {
            Some(object) => (StatusCode::OK, object.clone()),
            None => refusal(StatusCode::NOT_FOUND, "NotFound"),
        };
    }
    let labels = call.query.get("labelSelector").cloned().unwrap_or_default();
    let fields = call.query.get("fieldSelector").cloned().unwrap_or_default();
    let named = |object: &Value| {
        let name = fields.strip_prefix("metadata.name=");
        name.is_none_or(|name| object["metadata"]["name"] == name)
    };
    let items = objects
        .all(&call.resource)
        .filter(|object| selects(&labels, object) && named(object));
    let items: Vec<_> = items.cloned().collect();
    let version = objects.version.to_string();
    (
        StatusCode::OK,
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
    )
}

/// Label selectors of the forms `a=b`, `a in (b,c)`, `a` and `!a`.
fn selects(selector: &str, object: &Value) -> bool {
    let label = |name: &str| {
        object["metadata"]["labels"][name]
            .as_str()
            .unwrap_or_default()
    };
    let mut alone = selector
        .split(',')
        .filter(|term| !term.contains(['=', ' ', ')', '(']));
    let has = |term: &str| match term.strip_prefix('!') {
        Some(name) => label(name).is_empty(),
        None => term.is_empty() || !label(term).is_empty(),
    };
    if !selector.contains(" in (") && !alone.all(has) {
        return false;
    }
    let (equal, set) = match selector.split_once(" in (") {
        Some((before, values)) => {
            let (equal, name) = before.rsplit_once(',').unwrap_or(("", before));
            (equal, Some((name, values.trim_end_matches(')'))))
        }
        None => (selector, None),
    };
    let equal = equal.split(',').filter_map(|term| term.split_once('='));
    equal.into_iter().all(|(name, value)| label(name) == value)
        && set.is_none_or(|(name, values)| values.split(',').any(|value| value == label(name)))
}

fn refusal(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": reason, "code": code.as_u16(),
    });
    (code, status)
}

fn write(objects: &mut Objects, call: &Call) -> (StatusCode, Value) {
    if call.method == Method::POST {
        let name = call.body["metadata"]["name"].as_str().unwrap();
        if objects.get(&call.resource, name).is_some() {
            return refusal(StatusCode::CONFLICT, "AlreadyExists");
        }
        return (
            StatusCode::CREATED,
            objects.put(&call.resource, call.body.clone()),
        );
    }
    let name = call.name.as_deref().unwrap();
    let Some(current) = objects.get(&call.resource, name).cloned() else {
        return refusal(StatusCode::NOT_FOUND, "NotFound");
    };
    let conditions = if call.method == Method::DELETE {
        &call.body["preconditions"]
    } else {
        &call.body["metadata"]
    };
    for field in ["uid", "resourceVersion"] {
        let wanted = &conditions[field];
        if !wanted.is_null() && *wanted != current["metadata"][field] {
            return refusal(StatusCode::CONFLICT, "Conflict");
        }
    }
    if call.method == Method::DELETE {
        return delete(objects, call, name, &current);
    }
    let parts: &[_] = match (call.status, call.resource.as_str()) {
        (true, _) => &["/status"],
        (false, "pods") => &["/metadata"],
        (false, _) => &["/spec", "/metadata/annotations"],
    };
    let mut change = json!({});
    for part in parts {
        match (call.body.pointer(part), part.rsplit_once('/')) {
            (Some(value), Some(("", name))) => change[name] = value.clone(),
            (Some(value), Some((_, name))) => change["metadata"] = json!({ name: value }),
            (_, _) => {}
        }
    }
    (
        StatusCode::OK,
        objects.change(&call.resource, name, &change),
    )
}

/// A pod whose container runs ends in its own time; everything else goes at once.
fn delete(objects: &mut Objects, call: &Call, name: &str, current: &Value) -> (StatusCode, Value) {
    if call.resource == "pods" && current["status"]["phase"] == "Running" {
        let mark = json!({"metadata": {"deletionTimestamp": "2026-03-01T11:00:00Z"}});
        return (StatusCode::OK, objects.change("pods", name, &mark));
    }
    objects.remove(&call.resource, name);
    (StatusCode::OK, current.clone())
}
