//! A provider's panel on this machine, with the faults of real ones: one account, tokens that expire, and a slot that counts for a
//! while after its connection is closed. Its channels are those of a live source. Never asserts anything.

mod account;
mod stalker;
mod xtream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::source::LiveSource;
use crate::source::panel::{Channels, stream_of};
use account::{Account, Slot};

pub use account::{PanelStats, Standing};

/// What a panel is like.
#[derive(Debug, Clone)]
pub struct PanelSettings {
    /// Name of its one account.
    pub username: String,
    /// The account's password.
    pub password: String,
    /// What its portal knows the account's box by.
    pub mac: String,
    /// Its portal asks for the login besides.
    pub asks_for_login: bool,
    /// How often its portal wants to hear from a box.
    pub watchdog: Duration,
    /// What it says of the account.
    pub standing: Standing,
    /// Connections that the account may have.
    pub maximum_connections: usize,
    /// How long a connection counts after it was closed.
    pub hold: Duration,
    /// Redirects between a channel's address and its stream.
    pub redirects: u32,
    /// How long a link that the panel makes is good for. It is good for one connection only.
    pub token_lifetime: Duration,
    /// The HTTP status of a channel that is refused.
    pub refusal: u16,
}

impl Default for PanelSettings {
    fn default() -> Self {
        Self {
            username: "viewer".to_owned(),
            password: "s3cr3t-w0rd".to_owned(),
            mac: "00:1A:79:0A:0B:0C".to_owned(),
            asks_for_login: false,
            watchdog: Duration::from_secs(2),
            standing: Standing::Active,
            maximum_connections: 1,
            hold: Duration::ZERO,
            redirects: 2,
            token_lifetime: Duration::from_secs(10),
            refusal: 403,
        }
    }
}

/// A running panel; dropping it ends it.
#[derive(Debug)]
pub struct Panel {
    address: SocketAddr,
    shared: Shared,
    server: JoinHandle<()>,
}

/// What the handlers share.
#[derive(Debug, Clone)]
struct Shared {
    account: Arc<Mutex<Account>>,
    /// Where the live source is, which serves the playlists.
    source: SocketAddr,
    channels: watch::Receiver<Option<Channels>>,
}

impl Shared {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Panel {
    /// Serves the channels of a source on a free port of this machine. Call it in a runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(source: &LiveSource, settings: PanelSettings) -> std::io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), source, settings)
    }

    /// The same on an address of one's choice.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start_at(
        listen: SocketAddr,
        source: &LiveSource,
        settings: PanelSettings,
    ) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let shared = Shared {
            account: Arc::new(Mutex::new(Account::new(settings))),
            source: source.address(),
            channels: source.channels(),
        };
        let router = Router::new()
            .merge(xtream::routes())
            .merge(stalker::routes())
            .layer(middleware::from_fn_with_state(shared.clone(), note))
            .with_state(shared.clone());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// Base address of the panel.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what it is like from now on.
    pub fn change(&self, change: impl FnOnce(&mut PanelSettings)) {
        change(&mut self.shared.account().settings);
    }

    /// Where its portal is.
    #[must_use]
    pub fn portal_url(&self) -> String {
        format!("http://{}/portal/c/", self.address)
    }

    /// Lets the portal forget the token of its last handshake.
    pub fn forget_session(&self) {
        self.shared.account().forget_session();
    }

    /// What has happened.
    #[must_use]
    pub fn stats(&self) -> PanelStats {
        self.shared.account().stats()
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Remembers what was asked for.
async fn note(
    axum::extract::State(shared): axum::extract::State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    shared.account().note(request.uri().to_string());
    next.run(request).await
}

/// The stream of a channel, which takes a slot for as long as it is read.
async fn play(shared: &Shared, channel: &str, slot: Slot) -> Response {
    match stream_of(shared.channels.clone(), channel).await {
        Ok(stream) => Body::from_stream(stream.inspect(move |_| {
            let _ = &slot;
        }))
        .into_response(),
        Err(status) => status.into_response(),
    }
}
