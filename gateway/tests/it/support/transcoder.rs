//! Transcoder pods behind one address each: control HTTP as far as a gateway asks it. An address may change hands, as in a cluster.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::playlists::Playlists;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::segment_bytes;

/// One address, and who lives there.
pub(crate) struct Pod {
    pub(crate) address: SocketAddr,
    tenant: watch::Sender<Option<Arc<Playlists>>>,
    asked: Arc<Mutex<Vec<String>>>,
    requested: watch::Sender<Vec<String>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Home {
    tenant: watch::Sender<Option<Arc<Playlists>>>,
    asked: Arc<Mutex<Vec<String>>>,
    requested: watch::Sender<Vec<String>>,
}

impl Pod {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let home = Home {
            tenant: watch::Sender::new(None),
            asked: Arc::default(),
            requested: watch::Sender::default(),
        };
        let router = Router::new()
            .route("/v1/streams/{uid}/{attempt}/playlists", get(playlists))
            .route(
                "/v1/streams/{uid}/{attempt}/hls/{rendition}/{name}",
                get(segment),
            )
            .with_state(home.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            tenant: home.tenant,
            asked: home.asked,
            requested: home.requested,
            server,
        }
    }

    /// From now on this attempt lives here, and lists this.
    pub(crate) fn publish(&self, playlists: Playlists) {
        self.tenant.send_replace(Some(Arc::new(playlists)));
    }

    /// The segments it was asked for.
    pub(crate) fn segments_asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it is told that viewers want this rendition, or that a gateway has so many (`<name> <count>`).
    pub(crate) async fn is_told_of(&self, rendition: &str) {
        let mut requested = self.requested.subscribe();
        let told = |all: &Vec<String>| all.iter().any(|one| one == rendition);
        requested.wait_for(told).await.unwrap();
    }

    /// The pod is gone: connections break, and new ones are refused.
    pub(crate) async fn kill(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
        self.tenant.send_replace(None);
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn playlists(
    State(home): State<Home>,
    Path((uid, attempt)): Path<(String, i32)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let after: u64 = query["after"].parse().unwrap();
    home.requested.send_modify(|all| {
        all.extend(query["requested"].split(',').map(str::to_owned));
        all.push(format!("{} {}", query["gateway"], query["viewers"]));
    });
    let mut tenant = home.tenant.subscribe();
    let other = |playlists: &Playlists| playlists.stream_uid != uid || playlists.attempt != attempt;
    let news = tenant.wait_for(|tenant| {
        tenant
            .as_ref()
            .is_none_or(|playlists| other(playlists) || playlists.version > after)
    });
    let _ = tokio::time::timeout(Duration::from_secs(20), news).await;
    let tenant = home.tenant.borrow().clone();
    match tenant {
        Some(playlists) if !other(&playlists) => Json((*playlists).clone()).into_response(),
        _ => StatusCode::MISDIRECTED_REQUEST.into_response(),
    }
}

async fn segment(
    State(home): State<Home>,
    Path((uid, attempt, rendition, name)): Path<(String, i32, String, String)>,
) -> Response {
    let tenant = home.tenant.borrow().clone();
    let Some(playlists) = tenant.filter(|own| own.stream_uid == uid && own.attempt == attempt)
    else {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    };
    home.asked
        .lock()
        .unwrap()
        .push(format!("{rendition}/{name}"));
    let listed = playlists
        .segments
        .iter()
        .any(|entry| api::names::segment_name(entry.attempt, entry.number) == name);
    if listed {
        segment_bytes(&uid, &rendition, &name).into_response()
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}
