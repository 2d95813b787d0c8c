//! What can be called, one module per surface. Viewers only read: nothing of them changes anything but the wish for a channel. What
//! administrators change is in [`admin`].

mod access_log;
mod admin;
mod channels;
mod continuous;
pub mod error;
pub mod hls;
pub mod live;
pub mod origins;
pub mod page;
mod panel;
pub mod segments;
mod viewer;
mod wish;

use std::sync::Arc;

use axum::{Router, middleware};
use http::header::{HeaderName, HeaderValue};

use crate::Gateway;

/// MIME type of playlists.
const PLAYLIST_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");

/// Says why a playlist or a segment is refused, in one word; the body has the sentence.
const REASON: HeaderName = HeaderName::from_static("headend-reason");

/// Every surface.
pub fn app(gateway: Arc<Gateway>) -> Router {
    let router = Router::new()
        .merge(live::router())
        .merge(hls::router())
        .merge(segments::router())
        .merge(admin::router(&gateway))
        .merge(page::router())
        .merge(panel::router());
    let router = match gateway.access_log {
        Some(_) => router.layer(middleware::from_fn_with_state(
            gateway.clone(),
            access_log::tell,
        )),
        None => router,
    };
    router.with_state(gateway)
}
