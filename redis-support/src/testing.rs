//! A real redis-server as a child of the test, on a Unix socket or an ephemeral loopback port; ends with the test.
#![expect(
    missing_docs,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a part of tests only"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::AsyncConnectionConfig;

use crate::settings::RedisSettings;

const READY: Duration = Duration::from_secs(20);

pub struct RedisServer {
    directory: tempfile::TempDir,
    port: u16,
    extra: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    pub async fn start() -> Self {
        Self::start_with(0, &[]).await
    }

    /// On a TCP port of loopback as well.
    pub async fn start_on_tcp() -> Self {
        // Nobody else takes an ephemeral port in the moment between; if so, the server fails and the test says it.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::start_with(port, &[]).await
    }

    pub async fn start_with(port: u16, extra: &[&str]) -> Self {
        let mut server = Self {
            directory: tempfile::tempdir().unwrap(),
            port,
            extra: extra.iter().map(ToString::to_string).collect(),
            child: None,
        };
        server.restart().await;
        server
    }

    pub async fn restart(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .arg("--unixsocket")
            .arg(self.socket())
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            .arg("--dir")
            .arg(self.directory.path())
            .args(&self.extra)
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        tokio::time::timeout(READY, self.ready()).await.unwrap();
    }

    async fn ready(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let answers = || async {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            let ping = redis::cmd("PING");
            // A server that wants a password answers too.
            match ping.query_async::<String>(&mut connection).await {
                Err(error) if error.code() != Some("NOAUTH") => None,
                _ => Some(()),
            }
        };
        while answers().await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn settings(&self) -> RedisSettings {
        RedisSettings {
            url: Some(self.url().parse().unwrap()),
            password_file: None,
        }
    }

    pub async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        // A busy machine is no failure.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(READY))
            .set_response_timeout(Some(READY));
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        connection.await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
