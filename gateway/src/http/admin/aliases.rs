//! Addresses of `/api` that panels know from elsewhere: the same answers as those of `/api/v1`, which describe them.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::{stats, streams};
use crate::Gateway;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/api/health", get(stats::health))
        .route("/api/stats", get(stats::stats))
        .route("/api/streams/active", get(streams::active))
}
