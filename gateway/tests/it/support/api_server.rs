//! An API server for LiveStreams, as far as a gateway talks to one: list, watch, get, create, merge patch. Notes every call.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

const COLLECTION: &str = "/apis/headend.dev/v1alpha1/namespaces/tv/livestreams";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A call that may change something or ask for something: everything but list and watch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) name: String,
    pub(crate) body: Value,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    made: u64,
    calls: Vec<Call>,
    watchers: Vec<mpsc::UnboundedSender<Bytes>>,
    away: bool,
}

/// The server.
#[derive(Clone)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

impl ApiServer {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        Client::new(service, "tv")
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// The object of that name.
    pub(crate) fn object(&self, name: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(name).cloned()
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let mut changes = self.changes.subscribe();
        let reached = changes.wait_for(|_| is(self));
        let outcome = tokio::time::timeout(Duration::from_secs(10), reached).await;
        assert!(
            outcome.is_ok(),
            "not in time: {what}; calls: {:#?}",
            self.calls()
        );
    }

    /// Puts an object there, as `kubectl apply` or an operator would.
    pub(crate) fn put(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        let known = state.objects.get(name).cloned();
        let fresh = known.is_none();
        let mut object = known.unwrap_or_else(|| state.blank(name));
        change(&mut object);
        state.store(name, object, if fresh { "ADDED" } else { "MODIFIED" });
        drop(state);
        self.changed();
    }

    /// Puts an object there that the watch is slow to tell of.
    pub(crate) fn put_silently(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        let mut object = state.blank(name);
        change(&mut object);
        let watchers = std::mem::take(&mut state.watchers);
        state.store(name, object, "ADDED");
        state.watchers = watchers;
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects.remove(name).unwrap();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.tell("DELETED", &object);
        drop(state);
        self.changed();
    }

    /// From now on nothing is answered, and the watch breaks.
    pub(crate) fn go_away(&self) {
        let mut state = self.state.lock().unwrap();
        state.away = true;
        state.watchers.clear();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    async fn answer(
        &self,
        request: Request<kube::client::Body>,
    ) -> Result<Response<Body>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let rest = parts.uri.path().strip_prefix(COLLECTION).unwrap();
        let name = rest.trim_start_matches('/').to_owned();
        let query = parts.uri.query().unwrap_or_default();
        let response = {
            let mut state = self.state.lock().unwrap();
            if state.away {
                return Err(std::io::Error::other("connection refused"));
            }
            state.answer(&parts.method, name, query.contains("watch="), &body)
        };
        self.changed();
        Ok(response)
    }
}

impl State {
    fn blank(&mut self, name: &str) -> Value {
        self.made += 1;
        json!({
            "apiVersion": "headend.dev/v1alpha1",
            "kind": "LiveStream",
            "metadata": { "name": name, "namespace": "tv", "uid": format!("{:08}-uid-of-{name}", self.made) },
            "spec": { "sources": [{ "url": "http://source.example/own.ts" }], "replicas": 0 }
        })
    }

    fn store(&mut self, name: &str, mut object: Value, event: &str) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(name.to_owned(), object.clone());
        self.tell(event, &object);
        object
    }

    fn tell(&mut self, event: &str, object: &Value) {
        let line = format!("{}\n", json!({ "type": event, "object": object }));
        self.watchers
            .retain(|watcher| watcher.send(line.clone().into()).is_ok());
    }

    fn answer(
        &mut self,
        method: &Method,
        name: String,
        watch: bool,
        body: &Value,
    ) -> Response<Body> {
        if name.is_empty() && *method == Method::GET {
            return if watch { self.watch() } else { self.list() };
        }
        let name = match method {
            &Method::POST => body["metadata"]["name"].as_str().unwrap().to_owned(),
            _ => name,
        };
        let call = Call {
            method: method.clone(),
            name: name.clone(),
            body: body.clone(),
        };
        self.calls.push(call);
        let known = self.objects.get(&name).cloned();
        match (method.as_str(), known) {
            ("GET" | "PATCH", None) => refusal(404, "NotFound"),
            ("GET", Some(object)) => full(200, &object),
            ("POST", Some(_)) => refusal(409, "AlreadyExists"),
            ("POST", None) => {
                let mut object = self.blank(&name);
                merge(&mut object, body);
                full(201, &self.store(&name, object, "ADDED"))
            }
            ("PATCH", Some(mut object)) => {
                merge(&mut object, body);
                full(200, &self.store(&name, object, "MODIFIED"))
            }
            _ => refusal(405, "MethodNotAllowed"),
        }
    }

    fn list(&self) -> Response<Body> {
        let items: Vec<_> = self.objects.values().collect();
        let version = self.version.to_string();
        full(
            200,
            &json!({ "kind": "LiveStreamList", "apiVersion": "headend.dev/v1alpha1", "metadata": { "resourceVersion": version }, "items": items }),
        )
    }

    fn watch(&mut self) -> Response<Body> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watchers.push(sender);
        let frames = futures::stream::unfold(receiver, |mut receiver| async {
            let line = receiver.recv().await?;
            Some((Ok(Frame::data(line)), receiver))
        });
        Response::new(StreamBody::new(frames.boxed()).boxed_unsync())
    }
}

fn full(status: u16, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder().status(status).body(body).unwrap()
}

fn refusal(code: u16, reason: &str) -> Response<Body> {
    full(
        code,
        &json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason }),
    )
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
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
