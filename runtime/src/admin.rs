//! The admin endpoints of every process: `/livez` (this process turns), `/readyz` (it can do its work), `/metrics`.
//! They never depend on another process being well, and never answer viewers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a process needs before it can work: named conditions, all false at start.
#[derive(Debug, Clone)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

impl Readiness {
    /// The conditions that must hold; none holds yet.
    #[must_use]
    pub fn new(conditions: &[&'static str]) -> Self {
        let conditions = conditions.iter().map(|name| (*name, false)).collect();
        Self {
            conditions: Arc::new(Mutex::new(conditions)),
        }
    }

    /// Says whether a condition holds; a name that is new becomes a condition.
    pub fn set(&self, condition: &'static str, holds: bool) {
        self.lock().insert(condition, holds);
    }

    /// The conditions that do not hold, in order of their names.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let conditions = self.lock();
        let missing = conditions.iter().filter(|(_, holds)| !**holds);
        missing.map(|(name, _)| *name).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, bool>> {
        self.conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/livez`, `/readyz` and `/metrics`, to be served on the admin port.
pub fn router(registry: Arc<Registry>, readiness: Readiness) -> Router {
    let metrics_router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(registry);
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(readiness)
        .merge(metrics_router)
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let missing = readiness.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let body = format!("not ready: {}\n", missing.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, body)
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, METRICS_TYPE)], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to encode metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_means_every_named_condition_holds() {
        let readiness = Readiness::new(&["store", "catalog"]);
        let router = router(Arc::default(), readiness.clone());
        assert_eq!(
            ask(&router, "/readyz").await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: catalog, store\n".to_owned()
            )
        );
        readiness.set("catalog", true);
        assert_eq!(
            ask(&router, "/readyz").await,
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: store\n".to_owned()
            )
        );
        readiness.set("store", true);
        assert_eq!(
            ask(&router, "/readyz").await,
            (StatusCode::OK, "ok\n".to_owned())
        );
        readiness.set("store", false);
        assert_eq!(
            ask(&router, "/readyz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test]
    async fn a_process_is_alive_before_it_is_ready() {
        let router = router(Arc::default(), Readiness::new(&["store"]));
        assert_eq!(
            ask(&router, "/livez").await,
            (StatusCode::OK, "ok\n".to_owned())
        );
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_text() {
        let mut registry = Registry::default();
        let requests = Counter::<u64>::default();
        registry.register("requests", "Requests answered", requests.clone());
        requests.inc_by(7);
        let router = router(Arc::new(registry), Readiness::new(&[]));
        assert_eq!(
            ask(&router, "/metrics").await,
            (
                StatusCode::OK,
                "# HELP requests Requests answered.\n# TYPE requests counter\nrequests_total 7\n# EOF\n".to_owned()
            )
        );
    }
}
