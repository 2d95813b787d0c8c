//! A gateway on a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway::edge::tls::Certificates;
use gateway::{Gateway, Limits};
use runtime::admin::Readiness;
use runtime::serve::ServeLimits;
use runtime::shutdown::TasksError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: CancellationToken,
    running: JoinHandle<Result<(), TasksError>>,
}

/// No limits but those of the test.
pub(crate) fn limits() -> Limits {
    Limits {
        drain: Duration::ZERO,
        serve: ServeLimits::default(),
        connections_per_address: 0,
        certificates: None,
    }
}

/// The same under TLS.
pub(crate) fn with_tls(certificates: &Arc<Certificates>) -> Limits {
    Limits {
        certificates: Some(certificates.clone()),
        ..limits()
    }
}

impl Server {
    pub(crate) async fn start(gateway: Arc<Gateway>, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (readiness, shutdown) = (Readiness::new(&["serving"]), CancellationToken::new());
        let running = gateway::run(
            listener,
            gateway,
            limits,
            readiness.clone(),
            shutdown.clone(),
        );
        Self {
            address,
            readiness,
            shutdown,
            running: tokio::spawn(running),
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits for its end, which something else brings about.
    pub(crate) async fn ended(self) {
        let ended = in_time(self.running).await.unwrap();
        ended.unwrap();
    }

    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        self.ended().await;
    }
}

pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    let bounded = tokio::time::timeout(PATIENCE, future).await;
    bounded.expect("a bounded wait")
}

/// Asks, and reads the head of the answer and what of the body comes with it; nothing when the connection is closed.
pub(crate) async fn asked(stream: &mut TcpStream, uri: &str) -> String {
    let request = format!("GET {uri} HTTP/1.1\r\nhost: tv\r\n\r\n");
    // Whoever is refused may find it closed already.
    let _ = stream.write_all(request.as_bytes()).await;
    head(stream).await
}

/// Reads until a head is whole, or the end.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match in_time(stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}
