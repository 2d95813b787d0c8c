//! A Redis of the bench's own, set up as the chart does. Ends with the bench.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::wait::{Seen, until};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::machine::free_port;

/// How long it may take until it answers.
const LIMIT: Duration = Duration::from_secs(20);

/// What it is started by.
pub(crate) const PROGRAM: &str = "redis-server";

/// A running redis-server.
#[derive(Debug)]
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts it with its files in this directory.
    pub(crate) async fn start(directory: &Path) -> Result<Self> {
        Self::start_by(Command::new(PROGRAM), directory).await
    }

    /// The same by a command that runs [`PROGRAM`].
    pub(crate) async fn start_by(mut command: Command, directory: &Path) -> Result<Self> {
        let port = free_port()?;
        let child = command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "everysec"])
            .args(["--save", "", "--maxmemory-policy", "noeviction", "--dir"])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start redis-server: install it (Debian: redis-server)")?;
        until("redis-server listens", LIMIT, async || {
            TcpStream::connect(("127.0.0.1", port)).await?;
            Ok(Seen::Yes(()))
        })
        .await?;
        Ok(Self { child, port })
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("redis-server has ended")
    }
}
