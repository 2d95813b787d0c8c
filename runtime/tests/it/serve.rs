//! The server loop over real loopback sockets: limits, drain and peer address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use runtime::serve::{Door, Entrance, Guest, ServeLimits, serve_through};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

async fn start(router: Router, limits: ServeLimits) -> Running {
    start_through(Entrance::default(), router, limits).await
}

async fn start_through(entrance: Entrance, router: Router, limits: ServeLimits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = serve_through(entrance, listener, router, limits, shutdown.clone());
    let server = tokio::spawn(serving);
    Running {
        address,
        shutdown,
        server,
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn end(self) {
        self.shutdown.cancel();
        in_time(self.server).await.unwrap().unwrap();
    }
}

async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future)
        .await
        .expect("bounded wait")
}

/// Everything until the server closes; a reset counts as closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = in_time(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut buffer = [0; 1024];
        let count = in_time(stream.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn handlers_learn_the_peer() {
    let answer =
        |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("peer {peer};") };
    let running = start(
        Router::new().route("/", get(answer)),
        ServeLimits::default(),
    )
    .await;
    let mut stream = running.connect().await;
    stream.write_all(GET).await.unwrap();
    let own = stream.local_addr().unwrap();
    assert!(
        until(&mut stream, ";")
            .await
            .ends_with(&format!("peer {own};"))
    );
    running.end().await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let limits = ServeLimits {
        head_timeout: Duration::from_millis(50),
        ..ServeLimits::default()
    };
    let running = start(hello(), limits).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    assert!(!rest(&mut stream).await.contains("hello"));
    running.end().await;
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let running = start(hello(), ServeLimits::default()).await;
    let mut stream = running.connect().await;
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(64 * 1024)
    );
    let _ = stream.write_all(head.as_bytes()).await;
    assert!(!rest(&mut stream).await.contains("hello"));
    let mut stream = running.connect().await;
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "x: y\r\n".repeat(100)
    );
    let _ = stream.write_all(head.as_bytes()).await;
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431"));
    running.end().await;
}

#[tokio::test]
async fn a_connection_that_comes_while_hardly_any_is_free_has_less_time() {
    let limits = ServeLimits {
        connections: 16,
        scarce_head_timeout: Duration::from_millis(50),
        ..ServeLimits::default()
    };
    let running = start(hello(), limits).await;
    let mut early = Vec::new();
    for _ in 0..14 {
        let mut stream = running.connect().await;
        stream.write_all(GET).await.unwrap();
        until(&mut stream, "hello").await;
        early.push(stream);
    }
    // One of sixteen is free besides its own.
    let mut late = running.connect().await;
    late.write_all(GET).await.unwrap();
    assert!(
        rest(&mut late).await.contains("hello"),
        "and is closed then"
    );
    for stream in &mut early {
        stream.write_all(GET).await.unwrap();
        until(stream, "hello").await;
    }
    running.end().await;
}

#[tokio::test]
async fn a_target_that_is_too_long_is_refused() {
    let limits = ServeLimits {
        target_bytes: 20,
        ..ServeLimits::default()
    };
    let running = start(hello(), limits).await;
    for (target, answer) in [
        ("/?0123456789", "hello"),
        ("/?01234567890123456789", "414 URI Too Long"),
    ] {
        let mut stream = running.connect().await;
        let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        until(&mut stream, answer).await;
    }
    running.end().await;
}

/// Lets one connection in at a time.
#[derive(Clone, Default)]
struct One(Arc<AtomicBool>);

impl Door for One {
    fn admit(&self, peer: IpAddr) -> Result<Guest, &'static [u8]> {
        assert!(peer.is_loopback());
        if self.0.swap(true, Ordering::SeqCst) {
            return Err(b"not now");
        }
        Ok(Box::new(Inside(self.clone())))
    }
}

struct Inside(One);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn whom_the_door_does_not_let_in_is_told_and_others_notice_nothing() {
    let door = One::default();
    let entrance = Entrance {
        door: Some(Arc::new(door.clone())),
        tls: None,
    };
    let running = start_through(entrance, hello(), ServeLimits::default()).await;
    let mut first = running.connect().await;
    first.write_all(GET).await.unwrap();
    until(&mut first, "hello").await;
    let mut second = running.connect().await;
    assert_eq!(rest(&mut second).await, "not now");
    first.write_all(GET).await.unwrap();
    until(&mut first, "hello").await;
    drop(first);
    while door.0.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let mut third = running.connect().await;
    third.write_all(GET).await.unwrap();
    until(&mut third, "hello").await;
    running.end().await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_their_turn() {
    let limits = ServeLimits {
        connections: 1,
        ..ServeLimits::default()
    };
    let running = start(hello(), limits).await;
    let mut first = running.connect().await;
    first.write_all(GET).await.unwrap();
    until(&mut first, "hello").await;
    let mut second = running.connect().await;
    second.write_all(GET).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(
        early.is_err(),
        "the second connection is not served beside the first"
    );
    drop(first);
    until(&mut second, "hello").await;
    running.end().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_connection() {
    let body = Bytes::from(vec![b'x'; 64 * 1024 * 1024]);
    let router = Router::new().route("/", get(move || async move { Body::from(body) }));
    let limits = ServeLimits {
        write_timeout: Duration::from_millis(100),
        connections: 1,
        ..ServeLimits::default()
    };
    let running = start(router, limits).await;
    let mut greedy = running.connect().await;
    greedy.write_all(GET).await.unwrap();
    // The only slot comes free although the first client keeps its connection open.
    let mut second = running.connect().await;
    second.write_all(GET).await.unwrap();
    until(&mut second, "200 OK").await;
    drop(greedy);
    running.end().await;
}

/// A handler that says when it began and answers when told to.
fn held(began: Arc<Notify>, go_on: Arc<Notify>) -> Router {
    let answer = move || {
        let (began, go_on) = (began.clone(), go_on.clone());
        async move {
            began.notify_one();
            go_on.notified().await;
            "hello"
        }
    };
    Router::new().route("/", get(answer))
}

#[tokio::test]
async fn answers_under_way_end_during_the_drain_and_idle_connections_close() {
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let running = start(held(began.clone(), go_on.clone()), ServeLimits::default()).await;
    let mut idle = running.connect().await;
    idle.write_all(GET).await.unwrap();
    in_time(began.notified()).await;
    go_on.notify_one();
    until(&mut idle, "hello").await;
    let mut busy = running.connect().await;
    busy.write_all(GET).await.unwrap();
    in_time(began.notified()).await;
    running.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert!(!running.server.is_finished());
    go_on.notify_one();
    let answer = rest(&mut busy).await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    running.end().await;
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let limits = ServeLimits {
        drain: Duration::from_millis(50),
        ..ServeLimits::default()
    };
    let running = start(held(began.clone(), go_on), limits).await;
    let mut busy = running.connect().await;
    busy.write_all(GET).await.unwrap();
    in_time(began.notified()).await;
    running.shutdown.cancel();
    assert_eq!(rest(&mut busy).await, "");
    running.end().await;
}
