//! A live MPEG-TS source over HTTP for tests: synthetic media, one shared timeline per channel, faults on request.
//! Never asserts anything and never looks at who reads.

mod carousel;
mod channel;
mod client;
mod elementary;
mod faults;
mod fragments;
mod hls;
mod http;
mod http_hls;
mod multiplex;
pub(crate) mod panel;
mod settings;
mod synthesis;
#[cfg(test)]
pub(crate) mod test_media;
mod turn;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use channel::ChannelStats;
pub use elementary::ElementaryError;
pub use faults::{Cut, Faults, Malformed};
pub use hls::{HlsContainer, HlsEncryption, HlsSettings};
pub use settings::{
    AccessIndicator, AccessPoints, AudioFormat, ChannelSettings, FrameRate, Mute, SettingsError,
    Size, SourceSettings, VideoFormat, default_cache, parse_channels,
};
pub use synthesis::SynthesisError;
pub use turn::Tables;

use channel::Channel;
use http::Channels;

/// How long open connections are waited for at shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// Why the source did not start.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The address is taken or not ours.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Two channels have one name.
    #[error("failed to tell channels apart: {0:?} is named twice")]
    Duplicate(String),
    /// Media could not be made.
    #[error(transparent)]
    Synthesis(#[from] SynthesisError),
    /// Media could not be used.
    #[error(transparent)]
    Elementary(#[from] ElementaryError),
    /// The channel does not exist.
    #[error("failed to find channel {0:?}")]
    UnknownChannel(String),
}

/// A running source; dropping it ends it at once, `shutdown` waits for that.
#[derive(Debug)]
pub struct LiveSource {
    address: SocketAddr,
    channels: watch::Receiver<Option<Channels>>,
    stop: CancellationToken,
    server: JoinHandle<()>,
    connections: Arc<AtomicU64>,
}

impl LiveSource {
    /// Makes or finds the media, then serves them.
    ///
    /// # Errors
    /// When media cannot be made or the address cannot be listened on.
    pub async fn start(settings: SourceSettings) -> Result<Self, SourceError> {
        let (source, media) = Self::listen(&settings).await?;
        prepare(&settings, &media).await?;
        Ok(source)
    }

    /// Binds and serves before the media are there: requests wait for them. `prepare` must follow.
    async fn listen(settings: &SourceSettings) -> Result<(Self, Prepared), SourceError> {
        let failed = |source| SourceError::Listen {
            address: settings.listen,
            source,
        };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (sender, channels) = watch::channel(None);
        let stop = CancellationToken::new();
        let router = http::router(channels.clone());
        let stopped = stop.clone().cancelled_owned();
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        let listener = listener.tap_io(move |stream| {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            let serving = axum::serve(listener, router);
            let _ = serving.with_graceful_shutdown(stopped).await;
        });
        let source = Self {
            address,
            channels,
            stop,
            server,
            connections,
        };
        Ok((source, Prepared(sender)))
    }

    /// The address that is listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the channel's stream is.
    #[must_use]
    pub fn url(&self, channel: &str) -> String {
        format!("http://{}/{channel}.ts", self.address)
    }

    /// Where one of the channel's HLS playlists is: `index`, `master`, or `entry`, which redirects to the first with a token.
    #[must_use]
    pub fn hls_url(&self, channel: &str, playlist: &str) -> String {
        format!("http://{}/{channel}/{playlist}.m3u8", self.address)
    }

    /// Connections that were ever made, whatever for.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The channel's counts.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn stats(&self, channel: &str) -> Result<ChannelStats, SourceError> {
        Ok(self.channel(channel)?.stats())
    }

    /// Replaces the channel's faults.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn set_faults(&self, channel: &str, faults: Faults) -> Result<(), SourceError> {
        self.channel(channel)?.set_faults(faults);
        Ok(())
    }

    /// Ends the channel's present connections.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn cut(&self, channel: &str, how: Cut) -> Result<(), SourceError> {
        self.channel(channel)?.cut(how);
        Ok(())
    }

    /// Lets all timestamps of the channel jump.
    ///
    /// # Errors
    /// When there is no such channel.
    pub fn jump(&self, channel: &str, seconds: f64) -> Result<(), SourceError> {
        self.channel(channel)?.jump(seconds);
        Ok(())
    }

    /// Ends all connections and waits until the server is gone.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        for channel in self
            .channels
            .borrow()
            .iter()
            .flat_map(|channels| channels.values())
        {
            channel.cut(Cut::Abort);
        }
        if tokio::time::timeout(GRACE, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }

    /// Its channels, once they are made.
    pub(crate) fn channels(&self) -> watch::Receiver<Option<Channels>> {
        self.channels.clone()
    }

    fn channel(&self, name: &str) -> Result<Arc<Channel>, SourceError> {
        let channels = self.channels.borrow().clone().unwrap_or_default();
        let channel = channels.get(name).cloned();
        channel.ok_or_else(|| SourceError::UnknownChannel(name.to_owned()))
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Where `prepare` puts the finished channels.
struct Prepared(watch::Sender<Option<Channels>>);

async fn prepare(settings: &SourceSettings, media: &Prepared) -> Result<(), SourceError> {
    let mut channels = BTreeMap::new();
    for channel in &settings.channels {
        let name = channel.name.clone();
        if channels.contains_key(&name) {
            return Err(SourceError::Duplicate(name));
        }
        let made = carousel(channel, &settings.cache).await?;
        let resized = match channel.resized {
            Some(size) => {
                let resized = ChannelSettings {
                    size,
                    ..channel.clone()
                };
                Some(Arc::new(carousel(&resized, &settings.cache).await?))
            }
            None => None,
        };
        let channel = Channel::new(channel.clone(), Arc::new(made), resized);
        channels.insert(name, Arc::new(channel));
    }
    media.0.send_replace(Some(Arc::new(channels)));
    Ok(())
}

async fn carousel(
    channel: &ChannelSettings,
    cache: &Path,
) -> Result<carousel::Carousel, SourceError> {
    let plan = synthesis::plan(channel);
    if channel.codec == VideoFormat::None && channel.audio == AudioFormat::None {
        let nothing = elementary::Elementary {
            video: Vec::new(),
            audio: Vec::new(),
            duration: 720_000,
            gop: 720_000,
        };
        return Ok(multiplex::multiplex(&nothing, channel));
    }
    let file = synthesis::media_file(channel, cache).await?;
    let media = elementary::load(&file, channel, &plan)?;
    Ok(multiplex::multiplex(&media, channel))
}

/// Makes the media of all channels without serving them, for images that carry their cache.
///
/// # Errors
/// When media cannot be made.
pub async fn synthesise(settings: &SourceSettings) -> Result<(), SourceError> {
    for channel in &settings.channels {
        carousel(channel, &settings.cache).await?;
    }
    Ok(())
}

/// Serves until `shutdown` resolves. `/livez` answers before the media are made.
///
/// # Errors
/// As `LiveSource::start`.
pub async fn serve(
    settings: SourceSettings,
    bound: impl FnOnce(&LiveSource),
    shutdown: impl Future<Output = ()>,
) -> Result<(), SourceError> {
    let (source, media) = LiveSource::listen(&settings).await?;
    bound(&source);
    tokio::pin!(shutdown);
    tokio::select! {
        prepared = prepare(&settings, &media) => prepared?,
        () = &mut shutdown => return Ok(()),
    }
    shutdown.await;
    source.shutdown().await;
    Ok(())
}
