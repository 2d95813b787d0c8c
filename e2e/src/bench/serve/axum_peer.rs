//! axum::serve as a peer for memory: a playlist and a segment from memory, nothing else, a process of its own, this very program started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use clap::Args;
use e2e::wait::{Seen, until};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

use super::cores::Cores;
use crate::machine::free_port;

/// How long it may take until it answers.
const LIMIT: Duration = Duration::from_secs(20);

/// Where its files are served.
pub(crate) const PLAYLIST: &str = "/index.m3u8";
pub(crate) const SEGMENT: &str = "/segment.ts";

/// What it is told.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// The playlist
    #[arg(long)]
    playlist: PathBuf,
    /// The segment
    #[arg(long)]
    segment: PathBuf,
}

/// The server itself, until it is killed.
pub(crate) async fn serve(arguments: &Arguments) -> Result<()> {
    let playlist = Bytes::from(std::fs::read(&arguments.playlist)?);
    let segment = Bytes::from(std::fs::read(&arguments.segment)?);
    let router = Router::new()
        .route(PLAYLIST, get(async || playlist))
        .route(SEGMENT, get(async || segment));
    let listener = TcpListener::bind(arguments.listen).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// The server at work; killed when dropped.
#[derive(Debug)]
pub(crate) struct AxumPeer {
    child: Child,
    address: SocketAddr,
}

impl AxumPeer {
    /// Starts it on these two files.
    pub(crate) async fn start(cores: Cores, playlist: &Path, segment: &Path) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let program = std::env::current_exe().context("failed to find this program")?;
        let child = cores
            .server(program)
            .args(["axum-peer", "--listen", &address.to_string(), "--playlist"])
            .arg(playlist)
            .arg("--segment")
            .arg(segment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start axum's server")?;
        until("axum's server listens", LIMIT, async || {
            TcpStream::connect(address).await?;
            Ok(Seen::Yes(()))
        })
        .await?;
        Ok(Self { child, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("axum's server has ended")
    }
}
