//! A TCP proxy in front of the API server that holds back what its clients send, until it is told to let go. TLS passes through it.
//! It provokes races that reality shows only under load; it reads and changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Bytes that are passed on at a time.
const PIECE: usize = 16 * 1024;

/// A running proxy; dropping it closes every connection.
pub struct DelayProxy {
    hold: watch::Sender<bool>,
    held: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

impl DelayProxy {
    /// Listens, and passes every connection on to `target`.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(listen: SocketAddr, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("failed to listen on {listen}"))?;
        let (hold, holding) = watch::channel(false);
        let held = Arc::new(AtomicUsize::new(0));
        let counter = held.clone();
        let accepting = async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, target, holding.clone(), counter.clone()));
            }
        };
        Ok(Self {
            hold,
            held,
            _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)),
        })
    }

    /// From now on, what clients send waits here.
    pub fn hold(&self) {
        self.held.store(0, Ordering::SeqCst);
        self.hold.send_replace(true);
    }

    /// Bytes that wait, or that waited until [`Self::let_go`].
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Passes on what waits, and everything after it.
    pub fn let_go(&self) {
        self.hold.send_replace(false);
    }
}

async fn pass(
    client: TcpStream,
    target: SocketAddr,
    mut holding: watch::Receiver<bool>,
    held: Arc<AtomicUsize>,
) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upwards = async move {
        let mut piece = vec![0; PIECE];
        loop {
            let length = from_client.read(&mut piece).await?;
            if length == 0 {
                return to_server.shutdown().await;
            }
            if *holding.borrow() {
                held.fetch_add(length, Ordering::SeqCst);
            }
            if holding.wait_for(|hold| !hold).await.is_err() {
                return Ok(());
            }
            to_server.write_all(&piece[..length]).await?;
        }
    };
    let downwards = copy(&mut from_server, &mut to_client);
    // A connection ends when either side does; what a broken one says is its client's to handle.
    tokio::select! {
        _ = upwards => {}
        _ = downwards => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_arrives_whole_once_it_is_let_go() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = echo.local_addr().unwrap();
        let received = tokio::spawn(async move {
            let (mut stream, _) = echo.accept().await.unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            word
        });
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let proxy = DelayProxy::start(address, target).await.unwrap();
        proxy.hold();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        while proxy.held_bytes() < 4 {
            tokio::task::yield_now().await;
        }
        assert!(!received.is_finished());
        proxy.let_go();
        assert_eq!(&received.await.unwrap(), b"ping");
    }
}
