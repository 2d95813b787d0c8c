//! Control HTTP asked without a network: who is answered what, and what is answered at once.

use std::sync::Arc;

use api::control::{ErrorBody, JobPhase, stream_path};
use api::job::ResumeFloor;
use api::playlists::{Rendition, SegmentEntry};
use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use super::*;
use crate::audience::Audience;
use crate::fixtures;
use crate::handle::Command;
use crate::output::memory::SegmentStore;
use crate::output::volume::Volume;
use crate::status::StatusBoard;

struct Served {
    router: Router,
    board: StatusBoard,
    playlists: watch::Sender<Arc<Playlists>>,
    commands: mpsc::Receiver<Command>,
    closing: CancellationToken,
    audience: Audience,
    directory: tempfile::TempDir,
}

fn playlists(version: u64) -> Playlists {
    Playlists {
        version,
        stream_uid: "0f9c2a41-7b1e".to_owned(),
        attempt: 3,
        updated_unix_milliseconds: 0,
        segment_duration_seconds: 2,
        target_duration_seconds: 4,
        discontinuity_sequence: 1,
        renditions: vec![Rendition {
            id: "source".to_owned(),
            bandwidth: 2,
            average_bandwidth: 1,
            codecs: "avc1.64001f".to_owned(),
            resolution: None,
            frame_rate_thousandths: None,
        }],
        segments: vec![SegmentEntry {
            number: 7,
            attempt: 3,
            duration_ticks: 180_000,
            discontinuity: false,
            independent: true,
            program_date_time_unix_milliseconds: 0,
            gaps: Vec::new(),
        }],
        next: ResumeFloor::default(),
        behind: Vec::new(),
        on_request: Vec::new(),
        class: String::new(),
    }
}

fn served() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let job = fixtures::job(&directory.path().to_string_lossy());
    let board = StatusBoard::new(&job, 100);
    let nothing = Playlists {
        segments: Vec::new(),
        ..playlists(100)
    };
    let (playlists, listed) = watch::channel(Arc::new(nothing));
    let (tell, commands) = mpsc::channel(1);
    let audience = Audience::default();
    let handle = JobHandle {
        stream_uid: job.stream.uid.as_str().into(),
        attempt: job.attempt,
        status: board.subscribe(),
        playlists: listed,
        segments: SegmentStore::new(Volume::new(directory.path())),
        commands: tell,
        answered: watch::Sender::default(),
        requested: mpsc::channel(1).0,
        audience: audience.clone(),
    };
    let closing = CancellationToken::new();
    Served {
        router: router(handle, closing.clone()),
        board,
        playlists,
        commands,
        closing,
        audience,
        directory,
    }
}

impl Served {
    async fn ask(&self, method: Method, path: &str) -> Response {
        let base = stream_path("0f9c2a41-7b1e", 3);
        self.ask_at(method, &format!("{base}/{path}")).await
    }

    async fn ask_at(&self, method: Method, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.ask(Method::GET, path).await;
        (response.status(), text(response).await)
    }
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn every_path_refuses_another_identity_before_anything_else() {
    let served = served();
    for path in [
        "status",
        "playlists",
        "hls/master.m3u8",
        "hls/source/3-7.ts",
    ] {
        for base in ["/v1/streams/another/3", "/v1/streams/0f9c2a41-7b1e/4"] {
            let response = served.ask_at(Method::GET, &format!("{base}/{path}")).await;
            assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
            let body: ErrorBody = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(body.code, "misdirected");
        }
    }
    for path in ["finish", "publish", "grant", "stop"] {
        let path = format!("/v1/streams/another/3/{path}");
        let response = served.ask_at(Method::POST, &path).await;
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_held_until_there_is_news() {
    let served = served();
    let version = |text: &str| -> u64 {
        let document: serde_json::Value = serde_json::from_str(text).unwrap();
        document["version"].as_u64().unwrap()
    };
    assert_eq!(version(&served.get("status").await.1), 100);
    assert_eq!(version(&served.get("playlists?after=99").await.1), 100);
    let news = async {
        tokio::task::yield_now().await;
        served.board.update(|status| status.phase = JobPhase::Live);
        served.playlists.send_replace(Arc::new(playlists(101)));
    };
    let started = tokio::time::Instant::now();
    let (status, listed, ()) = tokio::join!(
        served.get("status?after=100"),
        served.get("playlists?after=100&requested=480p,..,source"),
        news
    );
    assert_eq!((version(&status.1), version(&listed.1)), (101, 101));
    assert_eq!(started.elapsed().as_secs(), 0);
    assert_eq!(version(&served.get("status?after=101").await.1), 101);
    assert_eq!(started.elapsed().as_secs(), api::control::POLL_SECONDS);
    served.closing.cancel();
    assert_eq!(version(&served.get("status?after=101").await.1), 101);
    assert_eq!(started.elapsed().as_secs(), api::control::POLL_SECONDS);
}

#[tokio::test]
async fn a_gateway_says_how_many_watch_and_an_older_one_does_not() {
    let served = served();
    for (query, peak) in [
        ("requested=source", None),
        ("requested=&gateway=one&viewers=many", None),
        ("requested=&gateway=one&viewers=4", Some(4)),
        ("requested=&gateway=two&viewers=3", Some(7)),
        ("requested=&gateway=one&viewers=0", Some(7)),
    ] {
        served.get(&format!("playlists?{query}")).await;
        assert_eq!(served.audience.peak(), peak, "{query}");
    }
}

#[tokio::test]
async fn playlists_and_segments_are_served_once_there_are_any() {
    let served = served();
    for path in ["hls/master.m3u8", "hls/source/index.m3u8"] {
        assert_eq!(served.get(path).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    served.playlists.send_replace(Arc::new(playlists(101)));
    let (status, master) = served.get("hls/master.m3u8").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        master.ends_with("CODECS=\"avc1.64001f\"\nsource/index.m3u8\n"),
        "{master}"
    );
    let (_, media) = served.get("hls/source/index.m3u8").await;
    assert!(media.ends_with("#EXTINF:2.000000,\n3-7.ts\n"), "{media}");
    assert_eq!(
        served.get("hls/480p/index.m3u8").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        served.get("hls/source/3-7.ts").await.0,
        StatusCode::NOT_FOUND
    );
    let volume = Volume::new(served.directory.path());
    volume.write_segment("source", "3-7.ts", b"media").unwrap();
    let response = served.ask(Method::GET, "hls/source/3-7.ts").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "video/mp2t");
    assert_eq!(text(response).await, "media");
    for path in [
        "hls/source/2-7.ts",
        "hls/source/state.json",
        "hls/%2e%2e/3-7.ts",
    ] {
        assert_eq!(served.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_attempt_that_has_ended_says_so() {
    let mut served = served();
    served.commands.close();
    for path in ["finish", "stop"] {
        let response = served.ask(Method::POST, path).await;
        assert_eq!(response.status(), StatusCode::GONE, "{path}");
    }
}
