//! Whether a stream that nobody watches may be collected, and the next step on the way there: the operator's side of the presence fence.
//! Pure. A store that does not answer, a gateway that has not spoken: never a reason to collect.

use std::collections::BTreeMap;
use std::time::Duration;

use presence::{Fence, GATEWAY_STALE_AFTER, StoreTime, StreamPresence};

/// How often a fence is looked at while gateways have not flushed yet.
const FENCE_RECHECK: Duration = Duration::from_secs(1);
/// How long gateways may take to flush before collection counts as paused: three flushes.
const FLUSH_PATIENCE: Duration = Duration::from_secs(15);
/// How often a paused collection is looked at.
const PAUSED_RECHECK: Duration = Duration::from_secs(5);
/// How often a store that is away is asked.
const AWAY_RECHECK: Duration = Duration::from_secs(15);

/// What the presence store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PresenceView {
    /// It was not asked: nothing runs.
    NotAsked,
    /// It did not answer.
    Away(String),
    /// Its answer.
    Known(PresenceFacts),
}

/// The presence store's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PresenceFacts {
    pub(crate) stream: StreamPresence,
    /// When each gateway flushed last; asked for only while the fence is closing.
    pub(crate) flushes: BTreeMap<String, StoreTime>,
}

/// Why a stream is not collected, whoever watches it: somebody said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spared {
    /// It is held.
    Held,
    /// The release does not collect.
    Off,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Collect {
    /// This stream is not collected.
    Nothing,
    /// This stream is not collected for now.
    Spared(Spared),
    /// Look again after this long.
    Wait(Duration),
    /// Step 1: fence the stream.
    Begin { timeout: Duration },
    /// Step 2: gateways have a little longer to flush.
    Flushing,
    /// Step 2: these gateways have not flushed for too long.
    Paused { gateways: Vec<String> },
    /// Step 3: every gateway has flushed since this fence was set; seal it, then remove.
    Seal { since: StoreTime },
    /// The stream runs anew, or was sealed and is wanted again: it counts as touched now.
    Open,
    /// The store is away.
    Away { reason: String },
}

impl Collect {
    /// When to look again, if nothing else happens before.
    pub(crate) fn recheck(&self) -> Option<Duration> {
        match self {
            Self::Wait(left) => Some(*left),
            Self::Flushing => Some(FENCE_RECHECK),
            Self::Paused { .. } => Some(PAUSED_RECHECK),
            Self::Away { .. } => Some(AWAY_RECHECK),
            Self::Nothing
            | Self::Spared(_)
            | Self::Begin { .. }
            | Self::Seal { .. }
            | Self::Open => None,
        }
    }

    /// Whether the stream is about to be removed, or may be for all that is known.
    pub(crate) fn is_on_the_way(&self) -> bool {
        match self {
            Self::Begin { .. }
            | Self::Flushing
            | Self::Paused { .. }
            | Self::Seal { .. }
            | Self::Away { .. } => true,
            Self::Nothing | Self::Spared(_) | Self::Wait(_) | Self::Open => false,
        }
    }

    /// What was decided, as a metric's label; nothing where there was nothing to decide.
    pub(crate) fn decision(&self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Spared(_) | Self::Wait(_) => None,
            Self::Begin { .. } => Some("begin"),
            Self::Flushing => Some("flushing"),
            Self::Paused { .. } => Some("paused"),
            Self::Seal { .. } => Some("seal"),
            Self::Open => Some("open"),
            Self::Away { .. } => Some("away"),
        }
    }
}

/// The next step for a stream that is not to be collected. One that was on the way there is opened again: nobody would seal it any more,
/// and gateways take a sealed one for gone.
pub(crate) fn spare(presence: &PresenceView, spared: Spared) -> Collect {
    match presence {
        PresenceView::Known(facts) if facts.stream.fence != Fence::Open => Collect::Open,
        PresenceView::Known(_) | PresenceView::NotAsked | PresenceView::Away(_) => {
            Collect::Spared(spared)
        }
    }
}

/// The next step for a stream that is wanted and has run for `run_age`.
pub(crate) fn decide(
    presence: &PresenceView,
    timeout: Duration,
    run_age: Duration,
    gateways: &[String],
) -> Collect {
    let facts = match presence {
        PresenceView::NotAsked => return Collect::Nothing,
        PresenceView::Away(reason) => {
            let reason = reason.clone();
            return Collect::Away { reason };
        }
        PresenceView::Known(facts) => facts,
    };
    let stream = &facts.stream;
    let idle = stream.last.map(|last| between(last, stream.now));
    // A run lasts at least the timeout: what a person started by hand has no touch, or one of days ago.
    let left = timeout.saturating_sub(idle.unwrap_or_default().min(run_age));
    match stream.fence {
        Fence::Open if stream.last.is_none() => Collect::Begin { timeout },
        Fence::Open if left > Duration::ZERO => Collect::Wait(left),
        Fence::Open => Collect::Begin { timeout },
        // Its collector died between the seal and the removal, or it was removed and is wanted again: nothing tells one from the other.
        Fence::Closed { .. } => Collect::Open,
        Fence::Closing { .. } if left > Duration::ZERO => Collect::Open,
        Fence::Closing { since } => closing(facts, since, gateways),
    }
}

fn closing(facts: &PresenceFacts, since: StoreTime, gateways: &[String]) -> Collect {
    let silent = silent(facts, since, gateways);
    if silent.is_empty() {
        return Collect::Seal { since };
    }
    if between(since, facts.stream.now) < FLUSH_PATIENCE {
        return Collect::Flushing;
    }
    Collect::Paused { gateways: silent }
}

/// Gateways that may have viewers the store does not know of: those that run, and those that spoke a moment ago and that our view of
/// the cluster does not show yet.
fn silent(facts: &PresenceFacts, since: StoreTime, gateways: &[String]) -> Vec<String> {
    let flushes = &facts.flushes;
    let spoke = |gateway: &String| flushes.get(gateway).is_some_and(|flushed| *flushed > since);
    let running = gateways.iter().filter(|gateway| !spoke(gateway)).cloned();
    let unseen = flushes.iter().filter(|(gateway, flushed)| {
        let recent = between(**flushed, facts.stream.now) < GATEWAY_STALE_AFTER;
        recent && **flushed <= since && !gateways.contains(gateway)
    });
    running
        .chain(unseen.map(|(gateway, _)| gateway.clone()))
        .collect()
}

fn between(earlier: StoreTime, later: StoreTime) -> Duration {
    Duration::from_millis(later.0.saturating_sub(earlier.0))
}

#[cfg(test)]
mod tests;
