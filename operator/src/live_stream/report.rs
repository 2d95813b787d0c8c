//! Tells what is known of a stream: its status and its events, only what changed, and what matters sooner than what merely reads differently.

use std::time::Duration;

use api::LiveStreamStatus;
use api::condition::ConditionType;
use k8s_openapi::jiff::Timestamp;

use super::apply::Applied;
use super::cluster::status_change;
use super::observe::Observed;
use super::plan::{Plan, age};
use super::{Context, Error};

/// Good news of a stream that is not live yet waits a moment for the best: that it is live.
const SOON: Duration = Duration::from_secs(5);
/// Coarse viewers and wordings are written at most so often.
const RELAXED: Duration = Duration::from_secs(60);

/// Reports; answers when the stream is to be looked at again.
pub(crate) async fn report(
    context: &Context,
    observed: &Observed,
    plan: &Plan,
    applied: Applied,
    now: Timestamp,
) -> Result<Duration, Error> {
    let requeue = match applied {
        Applied::Collected => return Ok(observed.resync),
        Applied::Again => return Ok(Duration::ZERO),
        Applied::Told { requeue } => return Ok(requeue),
        Applied::Done { requeue } => requeue,
    };
    let stream = &observed.stream;
    let Some(change) = status_change(&stream.status, &plan.status) else {
        return Ok(requeue);
    };
    let pace = pace(&stream.status, &plan.status);
    let passed = observed
        .recollection
        .written
        .map(|written| age(written, now));
    let left = passed.map_or(Duration::ZERO, |passed| pace.saturating_sub(passed));
    if left > Duration::ZERO {
        return Ok(requeue.min(left));
    }
    let written = context.cluster.write_status(stream, &change).await?;
    if written.is_none() {
        return Err(Error::Changed {
            stream: stream.identity.name.clone(),
        });
    }
    let uid = &stream.identity.uid;
    context
        .memory
        .update(uid, |stream| stream.written = Some(now));
    context
        .events
        .changed(&stream.object, &stream.status, &plan.status);
    Ok(requeue)
}

/// How long after the last write a change has to wait.
fn pace(old: &LiveStreamStatus, new: &LiveStreamStatus) -> Duration {
    if essence(old) != essence(new) {
        return Duration::ZERO;
    }
    if (&old.media, &old.source) != (&new.media, &new.source)
        || source_health(old) != source_health(new)
    {
        return SOON;
    }
    RELAXED
}

/// What of a status is told at once: everything but viewers, wordings, media, and a source that turns out to be well.
fn essence(status: &LiveStreamStatus) -> LiveStreamStatus {
    let mut essence = status.clone();
    essence.viewers = 0;
    essence.media = None;
    essence.source = None;
    for condition in &mut essence.conditions {
        condition.message.clear();
        let of_viewers = condition.type_ == ConditionType::Idle.as_str()
            && matches!(
                condition.reason.as_str(),
                "Watched" | "Unwatched" | "KeptRunning"
            );
        let well =
            condition.type_ == ConditionType::SourceHealthy.as_str() && condition.status != "False";
        if of_viewers || well {
            condition.status.clear();
            condition.reason.clear();
            condition.last_transition_time.0 = Timestamp::UNIX_EPOCH;
        }
    }
    essence
}

fn source_health(status: &LiveStreamStatus) -> Option<&str> {
    let kind = ConditionType::SourceHealthy;
    let health = api::condition::find_condition(&status.conditions, kind);
    health.map(|condition| condition.status.as_str())
}

#[cfg(test)]
mod tests {
    use ConditionStatus::{False, True, Unknown};
    use api::condition::{ConditionStatus, Finding, Reason, set_condition};
    use api::live_stream::{MediaSummary, Phase};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn with(findings: &[(ConditionType, ConditionStatus, Reason, &str)]) -> LiveStreamStatus {
        let mut status = LiveStreamStatus::default();
        for (index, (kind, value, reason, message)) in findings.iter().enumerate() {
            let finding = Finding {
                kind: *kind,
                status: *value,
                reason: *reason,
                message: (*message).to_owned(),
            };
            let now = Time(Timestamp::from_second(index as i64).unwrap());
            set_condition(&mut status.conditions, &finding, Some(1), &now);
        }
        status
    }

    #[test]
    fn what_matters_is_told_at_once_and_wordings_wait() {
        use ConditionType::{Idle, Ready, SourceHealthy};
        for (case, old, new, expected) in [
            (
                "ready",
                with(&[(Ready, False, Reason::WaitingForFirstSegment, "a")]),
                with(&[(Ready, True, Reason::Streaming, "b")]),
                Duration::ZERO,
            ),
            (
                "reason",
                with(&[(Ready, True, Reason::Streaming, "a")]),
                with(&[(Ready, True, Reason::OutputStalled, "a")]),
                Duration::ZERO,
            ),
            (
                "wording",
                with(&[(Ready, False, Reason::HttpError, "answered 404")]),
                with(&[(Ready, False, Reason::HttpError, "answered 403")]),
                RELAXED,
            ),
            (
                "source found well",
                with(&[(SourceHealthy, Unknown, Reason::Connecting, "a")]),
                with(&[(SourceHealthy, True, Reason::Receiving, "b")]),
                SOON,
            ),
            (
                "source found ill",
                with(&[(SourceHealthy, True, Reason::Receiving, "a")]),
                with(&[(SourceHealthy, False, Reason::Silent, "b")]),
                Duration::ZERO,
            ),
            (
                "watched",
                with(&[(Idle, False, Reason::Unwatched, "a")]),
                with(&[(Idle, False, Reason::Watched, "b")]),
                RELAXED,
            ),
            (
                "paused",
                with(&[(Idle, False, Reason::Unwatched, "a")]),
                with(&[(Idle, Unknown, Reason::CollectionPaused, "b")]),
                Duration::ZERO,
            ),
        ] {
            assert_eq!(pace(&old, &new), expected, "{case}");
        }
    }

    #[test]
    fn phases_are_told_at_once_media_soon_and_viewers_in_their_time() {
        let old = LiveStreamStatus::default();
        let media = LiveStreamStatus {
            media: Some(MediaSummary::default()),
            ..old.clone()
        };
        let viewers = LiveStreamStatus {
            viewers: 10,
            ..old.clone()
        };
        let phase = LiveStreamStatus {
            phase: Some(Phase::Live),
            ..old.clone()
        };
        assert_eq!(pace(&old, &media), SOON);
        assert_eq!(pace(&old, &viewers), RELAXED);
        assert_eq!(pace(&old, &phase), Duration::ZERO);
    }
}
