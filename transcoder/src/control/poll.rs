//! Long polls: an answer as soon as there is news, the present state when there is none for long.
//! They hold no lock while they wait, and wait for nothing but the news, the limit and the end of the server.

use std::time::Duration;

use api::control::POLL_SECONDS;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Waits until the value is what was asked for, the limit has passed, or the server ends.
pub(super) async fn until<T>(
    values: &mut watch::Receiver<T>,
    is_wanted: impl FnMut(&T) -> bool,
    closing: &CancellationToken,
) {
    let limit = Duration::from_secs(POLL_SECONDS);
    tokio::select! {
        () = closing.cancelled() => {}
        // The value is read again by the caller; a sender that is gone leaves the last one.
        _ = tokio::time::timeout(limit, values.wait_for(is_wanted)) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_poll_ends_with_news_with_the_limit_or_with_the_server() {
        let (sender, mut receiver) = watch::channel(1);
        let closing = CancellationToken::new();
        let started = tokio::time::Instant::now();
        until(&mut receiver, |value| *value > 1, &closing).await;
        assert_eq!(started.elapsed().as_secs(), POLL_SECONDS);
        let send = async { sender.send(2).unwrap() };
        tokio::join!(until(&mut receiver, |value| *value > 1, &closing), send);
        assert_eq!(started.elapsed().as_secs(), POLL_SECONDS);
        closing.cancel();
        until(&mut receiver, |value| *value > 2, &closing).await;
        assert_eq!(started.elapsed().as_secs(), POLL_SECONDS);
    }
}
