//! "Closed" means the socket: when `finish` or `stop` is answered, the source has lost its connection, whatever was going on over it.

use std::time::Duration;

use api::control::JobPhase;
use axum::Router;
use axum::body::Body;
use axum::response::Redirect;
use axum::routing::get;
use bytes::Bytes;
use futures::stream::{StreamExt, iter, pending};
use reqwest::StatusCode;
use rustix::process::{Signal, kill_process};
use testkit::source::{ChannelSettings, Faults};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::attempt::{Attempt, BOUND, Setup, job_source};
use crate::encode::own_ffmpeg;

/// Connections from this machine to a port that are open or being opened, as the kernel counts them.
pub(crate) fn open_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        let (remote, state) = (fields.next().unwrap(), fields.next().unwrap());
        // Established, and SYN sent.
        remote.ends_with(&format!(":{port:04X}")) && matches!(state, "01" | "02")
    };
    table.lines().skip(1).filter(is_open).count()
}

async fn is_connected(port: u16) {
    let connected = async {
        while open_to(port) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, connected).await.unwrap();
}

/// A server that keeps everybody waiting, each in another way.
async fn waiting_server() -> u16 {
    let list = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/silent\n";
    let held = || async {
        let first = iter([Ok::<_, std::io::Error>(Bytes::from_static(&[0x47; 188]))]);
        Body::from_stream(first.chain(pending()))
    };
    let routes = Router::new()
        .route("/silent", get(std::future::pending::<()>))
        .route(
            "/redirect",
            get(|| async { Redirect::temporary("/silent") }),
        )
        .route("/list.m3u8", get(move || async move { list }))
        .route("/held", get(held));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
    port
}

async fn attempt_on(url: String) -> Attempt {
    let mut setup = Setup::copy(ChannelSettings::small("unused"));
    setup.job.sources = vec![job_source(0, url)];
    setup.start().await
}

#[tokio::test]
async fn finish_and_stop_close_the_socket_in_the_middle_of_anything() {
    for path in ["silent", "redirect", "list.m3u8", "held"] {
        for order in ["finish", "stop"] {
            let port = waiting_server().await;
            let mut attempt = attempt_on(format!("http://127.0.0.1:{port}/{path}")).await;
            is_connected(port).await;
            assert_eq!(attempt.post(order).await.status(), StatusCode::OK);
            assert_eq!(open_to(port), 0, "{order} during {path}");
            if order == "finish" {
                assert_eq!(attempt.post("stop").await.status(), StatusCode::OK);
            }
            attempt.outcome().await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_kept_for_the_next_segment_is_closed_too() {
    let channel = ChannelSettings::small("kept");
    let attempt = Setup::hls(channel, "index").start().await;
    attempt.live().await;
    attempt.playlists_grow(6).await;
    // One for the first list, and one for everything after it.
    assert_eq!(attempt.source.connections(), 2);
    let port = attempt.source_port("kept");
    assert_eq!(open_to(port), 1);
    assert_eq!(attempt.post("finish").await.status(), StatusCode::OK);
    assert_eq!(open_to(port), 0);
    attempt.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_being_made_is_given_up() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // As many as it takes; whoever comes next is kept waiting by the kernel.
    let crowd = [(); 4].map(|()| tokio::spawn(TcpStream::connect(address)));
    let before = async {
        while open_to(address.port()) < crowd.len() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, before).await.unwrap();
    let attempt = attempt_on(format!("http://{address}/")).await;
    let connecting = async {
        while open_to(address.port()) == crowd.len() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, connecting).await.unwrap();
    assert_eq!(attempt.post("finish").await.status(), StatusCode::OK);
    assert_eq!(open_to(address.port()), crowd.len());
    attempt.stop().await;
}

#[tokio::test]
async fn a_source_that_is_silent_and_an_encoder_that_hangs_keep_no_socket_open() {
    let directory = tempfile::tempdir().unwrap();
    let (launcher, processes) = own_ffmpeg(directory.path());
    let mut setup = Setup::auto(ChannelSettings::small("hanging")).with_ladder(&[180, 144]);
    setup.options.launcher = launcher;
    let attempt = setup.start().await;
    attempt.playlists_grow(1).await;
    let silent = Faults {
        silence: Some(true),
        ..Faults::default()
    };
    attempt.source.set_faults("hanging", silent).unwrap();
    let encoder = processes()[0];
    kill_process(encoder, Signal::STOP).unwrap();
    let port = attempt.source_port("hanging");
    let response = timeout(Duration::from_secs(30), attempt.post("finish")).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
    assert_eq!(open_to(port), 0);
    let status = attempt
        .status(|status| status.phase == JobPhase::Finished)
        .await;
    assert!(!status.source.connected);
    assert_eq!(processes(), [], "it was killed");
    attempt.stop().await;
}
