//! The whole process as its users meet it: the binary, real sources, real requests, real signals.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of a test file are outside of #[test] functions"
)]

mod admin;
mod burst;
mod caches;
mod continuous;
mod editing;
mod files;
mod life;
mod players;
mod refusals;
mod standalone;
mod traces;
mod viewer;

use std::time::Duration;

use testkit::source::{ChannelSettings, LiveSource, SourceSettings};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_mins(2);

/// A live source with these channels.
async fn source(channels: &[&str]) -> LiveSource {
    let channels = channels.iter().map(|name| ChannelSettings {
        gop: 1.0,
        ..ChannelSettings::small(name)
    });
    let settings = SourceSettings::loopback(channels.collect());
    LiveSource::start(settings).await.unwrap()
}

/// A channel list with those of a source.
fn list(source: &LiveSource, channels: &[&str]) -> String {
    let entry = |name: &&str| format!("#EXTINF:-1,{name}\n{}\n", source.url(name));
    let entries: String = channels.iter().map(entry).collect();
    format!("#EXTM3U\n{entries}")
}

/// Looks again and again until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, looking).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}
