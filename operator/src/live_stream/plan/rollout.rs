//! Whether a pod plays what class, sources and Provider say, and goes where it does not. Pure.

use api::control::JobPhase;

use super::course::Course;
use super::wishes;
use crate::class::Effective;
use crate::live_stream::collect::PresenceView;
use crate::live_stream::observed::Observed;
use crate::live_stream::pods::PodFacts;
use crate::live_stream::rollout::Stand;

/// Where the stream stands.
pub(super) fn stand(observed: &Observed, course: &Course) -> Stand {
    match course {
        Course::Rest(_) | Course::Refused(_) => Stand::Settled,
        Course::Keep(pod) if is_outdated(observed, pod) => Stand::Outdated {
            watched: is_watched(observed),
        },
        Course::Keep(_) if is_live(observed) => Stand::Settled,
        _ => Stand::Underway,
    }
}

/// Whether its pod is replaced now.
pub(super) fn is_due(observed: &Observed, course: &Course) -> bool {
    observed.has_turn && matches!(stand(observed, course), Stand::Outdated { .. })
}

/// Only what plays is outdated: what does not is made anew by itself, or has other troubles.
pub(super) fn is_outdated(observed: &Observed, pod: &PodFacts) -> bool {
    let Ok(effective) = &observed.effective else {
        return false;
    };
    let may_go = observed.stream.hold.is_none() && !pod.terminating;
    let provider = wishes::in_use(observed, pod);
    may_go && is_live(observed) && is_made_of_else(pod, provider, effective)
}

/// What a pod does not say, as one that an earlier version made, is no difference.
fn is_made_of_else(pod: &PodFacts, provider: Option<&str>, effective: &Effective) -> bool {
    let is_other = |made: Option<&String>, now: Option<&String>| match (made, now) {
        (Some(made), Some(now)) => made != now,
        _ => false,
    };
    let of_provider = provider.is_some_and(|provider| {
        let made = pod.provider_revisions.get(provider);
        is_other(made, effective.provider_revisions.get(provider))
    });
    of_provider || is_other(pod.revision.as_ref(), Some(&effective.revision))
}

fn is_live(observed: &Observed) -> bool {
    let job = observed.polled.status.as_ref();
    job.is_some_and(|job| job.phase == JobPhase::Live)
}

/// Where nobody knows, somebody may.
pub(super) fn is_watched(observed: &Observed) -> bool {
    match &observed.presence {
        PresenceView::Known(facts) => facts.stream.viewers > 0,
        PresenceView::NotAsked => false,
        PresenceView::Away(_) => true,
    }
}
