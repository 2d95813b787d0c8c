//! One who stays with a stream for long: while it is there the stream is wanted and followed, whatever becomes of pods and lists meanwhile.
//! Never counts anybody as watching: that is the reader's business.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::time::Instant;

use super::status::{Outlook, outlook};
use super::{Active, Need, Ready, Status, Streams, Unplayable};
use crate::viewers::Viewers;
use crate::window::Video;

/// A stream that somebody stays with.
pub(crate) struct Following {
    active: Arc<Active>,
    status: watch::Receiver<Status>,
    viewers: Arc<Viewers>,
    video: Video,
}

impl Streams {
    /// Stays with a channel that was asked for just now, in the rendition that such a client is offered first; `None` where nobody asked.
    pub(crate) fn follow(&self, slug: &str, video: Video) -> Option<Following> {
        let active = self.0.wish_again(slug, Instant::now())?;
        active.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Following {
            status: active.status.subscribe(),
            viewers: self.0.shared.viewers.clone(),
            active,
            video,
        })
    }
}

impl Following {
    /// What there is now; nothing while the stream starts again. A touch of the stream, and of the rendition.
    ///
    /// # Errors
    /// When nothing will come any more.
    pub(crate) fn look(&mut self, now: Instant) -> Result<Option<Ready>, Unplayable> {
        self.active.touch(&self.viewers, now);
        let need = Need::Best(self.video);
        let outlook = outlook(&self.status.borrow_and_update(), &need, now);
        match outlook {
            Outlook::Ready(ready) => {
                if let Some(best) = ready.window.best(self.video) {
                    self.active.ask_for(best);
                }
                Ok(Some(ready))
            }
            Outlook::Never(why) => Err(why),
            Outlook::Refused(_) | Outlook::Wait(_) => Ok(None),
        }
    }

    /// Waits until something is known that [`Self::look`] did not see.
    pub(crate) async fn changed(&mut self) {
        // The stream outlives those who follow it, so the sender is there.
        let _ = self.status.changed().await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.active.wish(Instant::now());
        self.active.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
