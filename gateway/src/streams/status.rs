//! What a stream's keeper knows, and what that means for a request. Pure: the moment is passed in.

use std::sync::Arc;
use std::time::Duration;

use api::condition::Reason;
use api::playlists::HEVC;
use tokio::time::Instant;

use super::Ready;
use crate::directory::{EnsureError, Refusal, StreamPhase, StreamView};
use crate::window::{Video, Window};

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
    /// The renditions that an attempt will have which has none yet, as far as is remembered.
    pub promised: Option<Arc<Window>>,
    /// Why the last wish could not be recorded.
    pub failure: Option<EnsureError>,
}

/// What a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The renditions are known, and what of them this client asks for.
    Renditions(Video),
    /// A segment of this rendition is listed.
    Listed(String),
    /// A segment of the rendition that such a client is offered first is listed.
    Best(Video),
}

impl Need {
    /// The rendition that is to run, where it is not every player's.
    pub(super) fn rendition(&self) -> Option<&str> {
        match self {
            Self::Renditions(Video::Usual) | Self::Best(Video::Usual) => None,
            Self::Renditions(Video::Hevc) | Self::Best(Video::Hevc) => Some(HEVC),
            Self::Listed(rendition) => Some(rendition),
        }
    }
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
            promised: None,
            failure: None,
        }
    }

    /// The renditions that the attempt will have, unless something is wrong.
    fn promised_window(&self) -> Option<&Arc<Window>> {
        let is_well = self.view.refusal.is_none() && self.failure.is_none();
        self.promised.as_ref().filter(|_| is_well)
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
    let window = status.current_window(now);
    let window = match need {
        Need::Renditions(video) => {
            let window = window.filter(|window| window.has_renditions());
            let known = window.or_else(|| status.promised_window());
            known.filter(|known| known.has_video(*video))
        }
        Need::Listed(rendition) => {
            let known = window.filter(|window| window.has_renditions());
            if known.is_some_and(|known| !known.has_rendition(rendition)) {
                return Outlook::Never(Unplayable::NoRendition);
            }
            known.filter(|known| known.media(rendition).is_some())
        }
        Need::Best(video) => {
            let known = window.filter(|window| window.has_video(*video));
            known.filter(|known| {
                let best = known.best(*video);
                best.is_some_and(|best| known.media(best).is_some())
            })
        }
    };
    match (window, &status.view.identity) {
        (Some(window), Some(identity)) => Outlook::Ready(Ready {
            window: window.clone(),
            came_at: status.window_at,
            stream_uid: identity.uid.clone(),
        }),
        _ => pending(status),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::testing::{identity, window};

    const SECOND: Duration = Duration::from_secs(1);

    fn status(phase: StreamPhase) -> Status {
        Status {
            view: Arc::new(StreamView {
                phase,
                identity: Some(identity("uid-1")),
                ..StreamView::default()
            }),
            ..Status::unknown(Instant::now())
        }
    }

    fn playing(segments: u64) -> Status {
        Status {
            window: Some(window("uid-1", 1, 1, 10..10 + segments)),
            ..status(StreamPhase::Wanted)
        }
    }

    fn refused(status: Status, refusal: Refusal) -> Status {
        let view = StreamView {
            refusal: Some(refusal),
            ..(*status.view).clone()
        };
        Status {
            view: Arc::new(view),
            ..status
        }
    }

    fn word(status: &Status, need: &Need, now: Instant) -> &'static str {
        match outlook(status, need, now) {
            Outlook::Ready(_) => "ready",
            Outlook::Wait(Unplayable::Starting) => "wait: starting",
            Outlook::Wait(_) => "wait: refused",
            Outlook::Refused(_) => "refused",
            Outlook::Never(Unplayable::NoChannel) => "no channel",
            Outlook::Never(Unplayable::NoRendition) => "no rendition",
            Outlook::Never(_) => "never",
        }
    }

    const MASTER: Need = Need::Renditions(Video::Usual);

    fn listed(rendition: &str) -> Need {
        Need::Listed(rendition.to_owned())
    }

    #[test]
    fn a_master_needs_renditions_and_a_media_playlist_needs_a_segment() {
        let now = Instant::now();
        let (cold, starting, live) = (status(StreamPhase::Wanted), playing(0), playing(3));
        assert_eq!(word(&cold, &MASTER, now), "wait: starting");
        assert_eq!(word(&cold, &listed("source"), now), "wait: starting");
        assert_eq!(word(&starting, &MASTER, now), "ready");
        assert_eq!(word(&starting, &listed("source"), now), "wait: starting");
        assert_eq!(word(&live, &listed("source"), now), "ready");
        assert_eq!(word(&live, &listed("144p"), now), "no rendition");
    }

    #[test]
    fn the_best_rendition_needs_a_segment_of_its_own_and_is_never_promised() {
        let now = Instant::now();
        let best = Need::Best(Video::Usual);
        let (starting, live) = (playing(0), playing(3));
        assert_eq!(
            word(&status(StreamPhase::Wanted), &best, now),
            "wait: starting"
        );
        assert_eq!(word(&starting, &best, now), "wait: starting");
        assert_eq!(word(&live, &best, now), "ready");
        assert_eq!(word(&live, &Need::Best(Video::Hevc), now), "ready");
        let promised = Status {
            window: None,
            promised: live.window.clone(),
            ..live
        };
        assert_eq!(word(&promised, &best, now), "wait: starting");
    }

    #[test]
    fn a_master_is_made_of_what_is_promised_while_nothing_is_known() {
        let now = Instant::now();
        let mut starting = Status {
            window: None,
            promised: playing(0).window,
            ..playing(0)
        };
        assert_eq!(word(&starting, &MASTER, now), "ready");
        assert_eq!(word(&starting, &listed("source"), now), "wait: starting");
        let asking = Need::Renditions(Video::Hevc);
        assert_eq!(word(&starting, &asking, now), "ready", "it has none");
        let silent = Refusal::passing(Reason::Silent, "no bytes");
        let unwell = refused(starting.clone(), silent);
        assert_eq!(word(&unwell, &MASTER, now), "wait: refused");
        starting.promised = None;
        assert_eq!(word(&starting, &MASTER, now), "wait: starting");
    }

    #[test]
    fn the_last_playlist_is_repeated_while_a_pod_is_replaced_and_not_for_ever() {
        let live = playing(3);
        let at = |seconds: u32| live.window_at + seconds * SECOND;
        assert_eq!(word(&live, &listed("source"), at(59)), "ready");
        assert_eq!(word(&live, &listed("source"), at(60)), "wait: starting");
        let lost = refused(live.clone(), Refusal::passing(Reason::Silent, "no bytes"));
        assert_eq!(word(&lost, &listed("source"), at(19)), "ready");
        assert_eq!(word(&lost, &listed("source"), at(20)), "wait: refused");
        assert_eq!(word(&lost, &MASTER, at(20)), "wait: refused");
    }

    #[test]
    fn a_reason_that_somebody_has_to_act_on_ends_the_wait_early() {
        let now = Instant::now();
        let cold = || status(StreamPhase::Wanted);
        let class = Refusal::lasting(Reason::ClassNotFound, "there is no class \"x\"");
        assert_eq!(word(&refused(cold(), class), &MASTER, now), "refused");
        let pending = Refusal::passing(Reason::PodUnschedulable, "no node has room");
        assert_eq!(
            word(&refused(cold(), pending), &MASTER, now),
            "wait: refused"
        );
        let rejected = Status {
            failure: Some(EnsureError::Refused {
                slug: "one".to_owned(),
                reason: "x".to_owned(),
            }),
            ..cold()
        };
        assert_eq!(word(&rejected, &MASTER, now), "refused");
        let away = Status {
            failure: Some(EnsureError::Unavailable {
                slug: "one".to_owned(),
                reason: "x".to_owned(),
            }),
            ..cold()
        };
        assert_eq!(word(&away, &MASTER, now), "wait: refused");
    }

    #[test]
    fn what_is_switched_off_or_gone_is_answered_at_once() {
        let now = Instant::now();
        let mut off = playing(3);
        off.view = status(StreamPhase::Suspended).view;
        assert_eq!(word(&off, &listed("source"), now), "never");
        let gone = Status {
            failure: Some(EnsureError::Unknown {
                slug: "one".to_owned(),
            }),
            ..Status::unknown(now)
        };
        assert_eq!(word(&gone, &MASTER, now), "no channel");
    }
}
