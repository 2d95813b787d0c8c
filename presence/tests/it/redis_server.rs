//! A real redis-server as a child of the test, on a Unix socket or an ephemeral loopback port; ends with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use presence::redis::RedisSettings;

const READY: Duration = Duration::from_secs(20);

pub(crate) struct RedisServer {
    directory: tempfile::TempDir,
    port: u16,
    extra: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(0, &[]).await
    }

    /// On a TCP port of loopback as well.
    pub(crate) async fn start_on_tcp() -> Self {
        // Nobody else takes an ephemeral port in the moment between; if so, the server fails and the test says it.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::start_with(port, &[]).await
    }

    pub(crate) async fn start_with(port: u16, extra: &[&str]) -> Self {
        let mut server = Self {
            directory: tempfile::tempdir().unwrap(),
            port,
            extra: extra.iter().map(ToString::to_string).collect(),
            child: None,
        };
        server.restart().await;
        server
    }

    pub(crate) async fn restart(&mut self) {
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

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(crate) fn settings(&self) -> RedisSettings {
        RedisSettings {
            url: Some(self.url().parse().unwrap()),
            password_file: None,
        }
    }

    pub(crate) async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
