//! The authentication service that nginx asks, as one writes it: an HTTP server that looks a token up in Redis and answers without a body.
//! A process of its own, this very program started again. Knows nothing of what it protects.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::serve::ListenerExt;
use clap::Args;
use e2e::wait::{Seen, until};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

use super::cores::Cores;
use crate::machine::free_port;
use crate::redis_server::Redis;

/// How long it may take until it answers.
const LIMIT: Duration = Duration::from_secs(20);

/// Tokens that are written to Redis at once.
const BATCH: usize = 1000;

/// Where it is told how the service runs.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// The Redis that has the tokens
    #[arg(long)]
    redis: String,
}

/// What every request shares.
#[derive(Clone)]
struct Shared {
    /// One connection for all: whatever is asked at once goes together.
    redis: MultiplexedConnection,
    connections: Arc<AtomicU64>,
}

/// The service itself, until it is killed.
pub(crate) async fn serve(arguments: &Arguments) -> Result<()> {
    let shared = Shared {
        redis: connect(&arguments.redis).await?,
        connections: Arc::default(),
    };
    let router = Router::new()
        .route("/", get(check))
        .route("/connections", get(connections))
        .with_state(shared.clone());
    let listener = TcpListener::bind(arguments.listen).await?;
    let listener = listener.tap_io(move |stream| {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

/// Patient: under more load than it can bear a service is to be slow, not to fail.
async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(LIMIT))
        .set_response_timeout(Some(LIMIT));
    let client = redis::Client::open(url)?;
    let connected = client.get_multiplexed_async_connection_with_config(&settings);
    connected.await.context("failed to connect to Redis")
}

async fn check(State(mut shared): State<Shared>, headers: HeaderMap) -> StatusCode {
    let token = headers.get("x-token").and_then(|token| token.to_str().ok());
    let Some(token) = token else {
        return StatusCode::UNAUTHORIZED;
    };
    let mut get = redis::cmd("GET");
    get.arg(key(token));
    let user = get.query_async::<Option<String>>(&mut shared.redis).await;
    match user {
        Ok(Some(_)) => StatusCode::NO_CONTENT,
        Ok(None) => StatusCode::UNAUTHORIZED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// How often somebody connected.
async fn connections(State(shared): State<Shared>) -> String {
    shared.connections.load(Ordering::Relaxed).to_string()
}

fn key(token: &str) -> String {
    format!("token:{token}")
}

/// The service at work, with its Redis; killed when dropped.
#[derive(Debug)]
pub(crate) struct AuthService {
    child: Child,
    redis: Redis,
    address: SocketAddr,
}

impl AuthService {
    /// Starts it on a Redis that has these tokens.
    pub(crate) async fn start(cores: Cores, redis: Redis, tokens: &[String]) -> Result<Self> {
        store(&redis, tokens).await?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let program = std::env::current_exe().context("failed to find this program")?;
        let child = cores
            .server(program)
            .args(["auth-service", "--listen", &address.to_string(), "--redis"])
            .arg(redis.url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start the authentication service")?;
        until("the authentication service listens", LIMIT, async || {
            TcpStream::connect(address).await?;
            Ok(Seen::Yes(()))
        })
        .await?;
        Ok(Self {
            child,
            redis,
            address,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process and that of its Redis.
    pub(crate) fn pids(&self) -> Result<[u32; 2]> {
        let own = self.child.id();
        let own = own.context("the authentication service has ended")?;
        Ok([own, self.redis.pid()?])
    }

    /// A peer that connects anew for each check would be no fair one.
    pub(crate) async fn ensure_kept(&self, connections_at_most: u64) -> Result<()> {
        let url = format!("http://{}/connections", self.address);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let told = client.get(url).send().await?.text().await?;
        let made: u64 = told.parse().context("the authentication service is odd")?;
        ensure!(
            made <= connections_at_most,
            "nginx made {made} connections to the authentication service: it does not keep them"
        );
        Ok(())
    }
}

async fn store(redis: &Redis, tokens: &[String]) -> Result<()> {
    let mut connection = connect(&redis.url()).await?;
    for batch in tokens.chunks(BATCH) {
        let mut set = redis::cmd("MSET");
        for token in batch {
            set.arg(key(token)).arg("{\"user\":\"guest\"}");
        }
        let stored = set.query_async::<()>(&mut connection).await;
        stored.context("failed to store tokens")?;
    }
    Ok(())
}
