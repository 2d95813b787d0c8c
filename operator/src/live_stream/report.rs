//! Tells what is known of a stream: its status and its events, only what changed, and what matters sooner than what merely reads differently.
//! Never writes a status that says the same, and never follows every viewer.

use std::time::{Duration, SystemTime};

use api::LiveStreamStatus;
use api::condition::ConditionType;
use api::control::JobStatus;
use api::names::is_warm_pod_name;
use k8s_openapi::jiff::Timestamp;
use runtime::trace::{self, Span, TraceContext};

use super::apply::Applied;
use super::cluster::status_change;
use super::observed::{Observed, StreamFacts, age};
use super::plan::Plan;
use super::resync::ROUND;
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
        Applied::Collected => return Ok(ROUND),
        Applied::Again => return Ok(Duration::ZERO),
        Applied::Told { requeue } => return Ok(requeue),
        Applied::Done { requeue } => requeue,
    };
    let stream = &observed.stream;
    let Some(change) = status_change(&stream.status, &plan.status) else {
        return Ok(requeue);
    };
    let left = left(
        &stream.status,
        &plan.status,
        observed.recollection.written,
        now,
    );
    if left > Duration::ZERO {
        return Ok(requeue.min(left));
    }
    let Some(written) = context.cluster.write_status(stream, &change).await? else {
        return Err(Error::Changed {
            stream: stream.identity.name.clone(),
        });
    };
    let (uid, seen) = (&stream.identity.uid, &stream.resource_version);
    context
        .memory
        .update(uid, |stream| stream.wrote(seen, &written, now));
    if let (None, Some(took)) = (
        stream.status.first_segment_milliseconds,
        plan.status.first_segment_milliseconds,
    ) {
        let phases = start_phases(took, observed.polled.status.as_ref());
        context.metrics.started(path(&plan.status), &phases);
        if let Some(trace) = stream.trace {
            tell_pod(trace, stream, &phases);
        }
    }
    context
        .events
        .changed(&stream.object, &stream.status, &plan.status);
    Ok(requeue)
}

/// Which kind of pod a stream started with.
fn path(status: &LiveStreamStatus) -> &'static str {
    let pod = status.pod.as_ref();
    match pod.is_some_and(|pod| is_warm_pod_name(&pod.name)) {
        true => "warm",
        false => "cold",
    }
}

/// Where the time of a start went, in milliseconds: all of it, until the pod's process ran, and what that says of its own.
fn start_phases(took: i64, job: Option<&JobStatus>) -> Vec<(&'static str, i64)> {
    let mut phases = vec![("total", took)];
    if let Some((job, first)) = job.and_then(|job| Some((job, job.first_segment_milliseconds?))) {
        phases.push(("pod", (took - first).max(0)));
        phases.extend(job.start.unwrap_or_default().phases(first));
    }
    phases
}

/// What the operator and the cluster did of a start: from the naming of the pod until its process ran.
fn tell_pod(trace: TraceContext, stream: &StreamFacts, phases: &[(&'static str, i64)]) {
    let duration = |phase: &str| {
        let found = phases.iter().find(|(name, _)| *name == phase);
        let milliseconds = found.and_then(|(_, took)| u64::try_from(*took).ok());
        milliseconds.map(Duration::from_millis)
    };
    if let (Some(total), Some(took)) = (duration("total"), duration("pod")) {
        trace::tell(Span {
            name: "pod",
            context: trace.another(),
            parent: Some(trace),
            start: SystemTime::now() - total,
            took,
            attributes: vec![
                ("stream.name", stream.identity.name.clone()),
                ("stream.uid", stream.identity.uid.clone()),
            ],
        });
    }
}

/// How long a change still has to wait.
fn left(
    old: &LiveStreamStatus,
    new: &LiveStreamStatus,
    written: Option<Timestamp>,
    now: Timestamp,
) -> Duration {
    let passed = written.map(|written| age(written, now));
    passed.map_or(Duration::ZERO, |passed| {
        pace(old, new).saturating_sub(passed)
    })
}

/// How long after the last write a change has to wait.
fn pace(old: &LiveStreamStatus, new: &LiveStreamStatus) -> Duration {
    if essence(old) != essence(new) || first_viewer(old, new) {
        return Duration::ZERO;
    }
    if (&old.media, &old.source) != (&new.media, &new.source)
        || source_health(old) != source_health(new)
    {
        return SOON;
    }
    RELAXED
}

/// Somebody watches what nobody watched. That the last one is gone is told in its time: so both together are told once in that time.
fn first_viewer(old: &LiveStreamStatus, new: &LiveStreamStatus) -> bool {
    old.viewers == 0 && new.viewers > 0
}

/// What of a status is told at once besides a first viewer: everything but viewers, wordings, media, and a source that turns out to be
/// well.
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
    use api::control::JobPhase;
    use api::live_stream::{MediaSummary, Phase};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::live_stream::collect::PresenceView;
    use crate::live_stream::fixtures::{NOW, at, job, live, observed, pod, watched};
    use crate::live_stream::plan::plan;
    use crate::live_stream::pods::PodState;

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
    fn phases_are_told_at_once_and_media_soon() {
        let old = LiveStreamStatus::default();
        let media = LiveStreamStatus {
            media: Some(MediaSummary::default()),
            ..old.clone()
        };
        let phase = LiveStreamStatus {
            phase: Some(Phase::Live),
            ..old.clone()
        };
        assert_eq!(pace(&old, &media), SOON);
        assert_eq!(pace(&old, &phase), Duration::ZERO);
    }

    #[test]
    fn the_first_viewers_are_told_at_once_and_others_in_their_time() {
        let viewers = |viewers| LiveStreamStatus {
            viewers,
            ..LiveStreamStatus::default()
        };
        for (old, new, expected) in [
            (0, 1, Duration::ZERO),
            (0, 100, Duration::ZERO),
            (1, 10, RELAXED),
            (10, 1, RELAXED),
            (1, 0, RELAXED),
        ] {
            assert_eq!(pace(&viewers(old), &viewers(new)), expected, "{old} {new}");
        }
    }

    /// Who brings news: the cluster, which is heard at once, or the presence store, which is asked when its time has come.
    #[derive(PartialEq)]
    enum Teller {
        Cluster,
        Store,
    }

    type News = (i64, Teller, fn(&mut Observed));

    /// When the status is written while this happens, in seconds; with the phase and the viewers that it says.
    fn writes(mut observed: Observed, news: &[News], end: i64) -> Vec<(i64, Phase, i32)> {
        let mut writes = Vec::new();
        let mut look = NOW;
        for second in 0..end {
            let now = at(NOW + second);
            for (_, teller, change) in news.iter().filter(|(when, ..)| *when == second) {
                change(&mut observed);
                if *teller == Teller::Cluster {
                    look = now.as_second();
                }
            }
            if now.as_second() < look {
                continue;
            }
            let plan = plan(&observed, now);
            let old = &observed.stream.status;
            let waits = left(old, &plan.status, observed.recollection.written, now);
            let differs = status_change(old, &plan.status).is_some();
            let mut requeue = plan.requeue;
            if plan.names_pod || differs && waits.is_zero() {
                writes.push((second, plan.status.phase.unwrap(), plan.status.viewers));
                observed.recollection.written = Some(now);
                observed.stream.status = plan.status;
            } else if differs {
                requeue = requeue.min(waits);
            }
            look = now.as_second() + i64::try_from(requeue.as_secs()).unwrap();
        }
        writes
    }

    #[test]
    fn a_whole_life_takes_five_writes_besides_those_of_viewers() {
        use Teller::{Cluster, Store};
        let mut wanted = observed();
        wanted.presence = watched(1, 0);
        let life: [News; 12] = [
            (1, Cluster, |observed| {
                observed.pods = vec![pod(1)];
                observed.pods[0].address = None;
                observed.pods[0].state = PodState::Pending {
                    reason: Reason::PodPending,
                    message: "the pod is being started".to_owned(),
                };
            }),
            (2, Cluster, |observed| observed.pods = vec![pod(1)]),
            (3, Cluster, |observed| {
                observed.polled.status = Some(job(1, JobPhase::Starting));
            }),
            (5, Cluster, |observed| {
                observed.polled.status = Some(job(1, JobPhase::Live));
            }),
            (7, Store, |observed| observed.presence = watched(1, 1)),
            (20, Store, |observed| observed.presence = watched(1, 12)),
            (600, Store, |observed| observed.presence = watched(40, 0)),
            (700, Store, |observed| observed.presence = watched(1, 1)),
            (800, Store, |observed| observed.presence = watched(40, 0)),
            (900, Cluster, |observed| {
                observed.stream.replicas = 0;
                observed.presence = PresenceView::NotAsked;
            }),
            (901, Cluster, |observed| observed.pods[0].terminating = true),
            (906, Cluster, |observed| observed.pods.clear()),
        ];
        assert_eq!(
            writes(wanted, &life, 2000),
            [
                (0, Phase::Pending, 0),
                (2, Phase::Starting, 0),
                (5, Phase::Live, 0),
                // The first viewer is told a moment after having been counted, not a minute after.
                (15, Phase::Live, 1),
                (75, Phase::Live, 10),
                (615, Phase::Live, 0),
                (705, Phase::Live, 1),
                (825, Phase::Live, 0),
                (900, Phase::Stopping, 0),
                (906, Phase::Idle, 0),
            ]
        );
    }

    #[test]
    fn viewers_who_come_and_go_cost_two_writes_a_minute() {
        let news: Vec<News> = (0..600)
            .map(|second| {
                let change: fn(&mut Observed) = match second % 2 {
                    0 => |observed| observed.presence = watched(1, 0),
                    _ => |observed| observed.presence = watched(1, 1),
                };
                (second, Teller::Cluster, change)
            })
            .collect();
        let writes = writes(live(), &news, 600).len();
        assert!((18..=20).contains(&writes), "{writes}");
    }
}
