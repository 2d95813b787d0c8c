//! What a stream's keeper knows, and what that means for a request. Pure: the moment is passed in.

use std::sync::Arc;
use std::time::Duration;

use api::condition::Reason;
use tokio::time::Instant;

use super::Ready;
use crate::directory::{EnsureError, Refusal, StreamPhase, StreamView};
use crate::window::Window;

/// How long the last playlist is repeated while its stream brings nothing new: long enough to replace a pod.
const REPEAT: Duration = Duration::from_mins(1);

/// The same while it is known that the stream cannot be played.
const REPEAT_REFUSED: Duration = Duration::from_secs(20);

/// What is known of a stream now.
#[derive(Debug, Clone)]
pub struct Status {
    /// What the directory says.
    pub view: Arc<StreamView>,
    /// The last playlists.
    pub window: Option<Arc<Window>>,
    /// When they came.
    pub window_at: Instant,
    /// Why the last wish could not be recorded.
    pub failure: Option<EnsureError>,
}

/// What a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The renditions are known.
    Renditions,
    /// A segment of this rendition is listed.
    Listed(String),
}

/// Why a channel cannot be played now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplayable {
    /// There is no such channel.
    #[error("there is no such channel")]
    NoChannel,
    /// The stream has no such rendition.
    #[error("the channel has no such rendition")]
    NoRendition,
    /// It is known why.
    #[error("{}: {}", .0.reason, .0.message)]
    Refused(Refusal),
    /// Not in time; there is nothing wrong with it as far as is known.
    #[error("the channel is starting")]
    Starting,
    /// Too many requests wait already.
    #[error("too many requests are waiting for channels to start")]
    Overload,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Outlook {
    /// What is needed is there.
    Ready(Ready),
    /// It may come; if it does not in time, this is why.
    Wait(Unplayable),
    /// Somebody has to act first, unless what is known is out of date.
    Refused(Unplayable),
    /// It does not come.
    Never(Unplayable),
}

impl Status {
    /// Nothing known yet.
    pub(super) fn unknown(now: Instant) -> Self {
        Self {
            view: Arc::default(),
            window: None,
            window_at: now,
            failure: None,
        }
    }

    /// The window, unless its stream has brought nothing for too long.
    fn current_window(&self, now: Instant) -> Option<&Arc<Window>> {
        let refused = self.view.refusal.is_some();
        let repeat = if refused { REPEAT_REFUSED } else { REPEAT };
        let window = self.window.as_ref()?;
        (now < self.window_at + repeat).then_some(window)
    }
}

/// What a status means for a request.
pub(super) fn outlook(status: &Status, need: &Need, now: Instant) -> Outlook {
    if let Some(why) = barred(status) {
        return Outlook::Never(why);
    }
    let (Some(window), Some(identity)) = (status.current_window(now), &status.view.identity) else {
        return pending(status);
    };
    let ready = match need {
        Need::Renditions => window.has_renditions(),
        Need::Listed(_) if !window.has_renditions() => false,
        Need::Listed(rendition) if !window.has_rendition(rendition) => {
            return Outlook::Never(Unplayable::NoRendition);
        }
        Need::Listed(rendition) => window.media(rendition).is_some(),
    };
    if !ready {
        return pending(status);
    }
    Outlook::Ready(Ready {
        window: window.clone(),
        stream_uid: identity.uid.clone(),
    })
}

/// What no waiting changes.
fn barred(status: &Status) -> Option<Unplayable> {
    match (status.view.phase, &status.failure) {
        (StreamPhase::Suspended, _) => {
            let message = "the channel is switched off";
            Some(Unplayable::Refused(Refusal::lasting(
                Reason::Suspended,
                message,
            )))
        }
        (StreamPhase::Absent, Some(EnsureError::Unknown { .. })) => Some(Unplayable::NoChannel),
        _ => None,
    }
}

fn pending(status: &Status) -> Outlook {
    let refusal = match (&status.view.refusal, &status.failure) {
        (Some(refusal), _) => refusal.clone(),
        (None, Some(EnsureError::Refused { .. })) => Refusal {
            reason: "Rejected".to_owned(),
            message:
                "the channel's stream was refused; its entry in the catalog has to be corrected"
                    .to_owned(),
            lasting: true,
        },
        (None, Some(_)) => Refusal {
            reason: "DirectoryUnavailable".to_owned(),
            message: "streams cannot be started now".to_owned(),
            lasting: false,
        },
        (None, None) => return Outlook::Wait(Unplayable::Starting),
    };
    if refusal.lasting {
        Outlook::Refused(Unplayable::Refused(refusal))
    } else {
        Outlook::Wait(Unplayable::Refused(refusal))
    }
}
