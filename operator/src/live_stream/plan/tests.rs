//! Every state of a pod against everything that can be wanted, as one table; then what the table is too coarse for.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use api::condition::{ConditionStatus, ConditionType, Reason, find_condition};
use api::control::Trouble;
use api::job::{ResumeFloor, TranscodeJob};
use api::live_stream::{Phase, WhenIdle};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::class::Refusal;
use crate::live_stream::backoff::Failure;
use crate::live_stream::collect::PresenceView;
use crate::live_stream::fixtures::{NOW, at, intent, job, live, now, observed, pod, watched};
use crate::live_stream::memory::Finish;

/// The named pod in every state it can be in.
#[expect(clippy::too_many_lines, reason = "a table")]
fn states() -> Vec<(&'static str, Observed)> {
    let with = |change: &dyn Fn(&mut Observed)| {
        let mut observed = live();
        change(&mut observed);
        observed
    };
    let pending = |reason| {
        with(&|observed| {
            let message = "as the cluster says".to_owned();
            observed.pods[0].state = PodState::Pending { reason, message };
            observed.pods[0].address = None;
            observed.stream.status.pod = Some(intent(1, false));
            observed.polled.status = None;
        })
    };
    let says = |phase| with(&|observed| observed.polled.status = Some(job(1, phase)));
    let lost = |unready: i64, silent: u64| {
        with(&|observed| {
            observed.pods[0].unready_since = Some(at(NOW - unready));
            observed.polled.unreachable_for = Duration::from_secs(silent);
        })
    };
    let finished = |next| {
        with(&|observed| {
            observed.pods[0].terminating = true;
            let pod_uid = observed.pods[0].uid.clone();
            observed.recollection.finish = Some(Finish { pod_uid, next });
        })
    };
    vec![
        ("never started", observed()),
        (
            "named, not created",
            with(&|observed| {
                observed.pods.clear();
                observed.stream.status.pod = Some(intent(1, false));
            }),
        ),
        ("missing", with(&|observed| observed.pods.clear())),
        ("pending", pending(Reason::PodPending)),
        ("unschedulable", pending(Reason::PodUnschedulable)),
        ("image unavailable", pending(Reason::ImageUnavailable)),
        (
            "running, not heard of",
            with(&|observed| observed.polled.status = None),
        ),
        ("starting", says(JobPhase::Starting)),
        ("live", live()),
        ("interrupted", says(JobPhase::Interrupted)),
        ("gave up", says(JobPhase::Failed)),
        ("finished by somebody", says(JobPhase::Finished)),
        (
            "ended",
            with(&|observed| {
                let message = "Evicted: low on memory".to_owned();
                observed.pods[0].state = PodState::Ended { message };
            }),
        ),
        ("silent, ready", lost(0, 60)),
        ("unready, answering", lost(60, 0)),
        ("silent and unready for 14 s", lost(60, 14)),
        ("silent and unready for 15 s", lost(15, 15)),
        (
            "terminating",
            with(&|observed| observed.pods[0].terminating = true),
        ),
        (
            "terminating, told to finish",
            finished(Some(job(1, JobPhase::Live).next)),
        ),
        ("terminating, deaf", finished(None)),
        (
            "terminating, already stopped",
            with(&|observed| {
                observed.pods[0].terminating = true;
                let uid = observed.pods[0].uid.clone();
                observed.recollection.stopped.insert(uid);
            }),
        ),
        (
            "terminating before it had an address",
            with(&|observed| {
                observed.pods[0].terminating = true;
                observed.pods[0].address = None;
            }),
        ),
        (
            "live, beside another attempt",
            with(&|observed| observed.pods.push(pod(2))),
        ),
        (
            "live, beside a terminating predecessor",
            with(&|observed| {
                let mut before = pod(0);
                before.terminating = true;
                observed.pods.insert(0, before);
            }),
        ),
        (
            "not named by the status",
            with(&|observed| observed.stream.status.pod = None),
        ),
        (
            "of another owner",
            with(&|observed| observed.pods[0].owner_uid = Some("another".to_owned())),
        ),
    ]
}

/// Everything that can be wanted.
fn demands(observed: &Observed) -> Vec<(&'static str, Observed)> {
    let with = |change: &dyn Fn(&mut Observed)| {
        let mut observed = observed.clone();
        change(&mut observed);
        observed
    };
    let at_rest = |change: &dyn Fn(&mut Observed)| {
        with(&|observed| {
            change(observed);
            observed.presence = PresenceView::NotAsked;
        })
    };
    vec![
        ("wanted", observed.clone()),
        (
            "idle",
            with(&|observed| observed.presence = watched(301, 0)),
        ),
        (
            "suspended",
            at_rest(&|observed| observed.stream.suspend = true),
        ),
        (
            "scaled to 0",
            at_rest(&|observed| observed.stream.replicas = 0),
        ),
        (
            "deleted",
            at_rest(&|observed| observed.stream.deleting = true),
        ),
        (
            "invalid",
            with(&|observed| {
                observed.effective = Err(Refusal {
                    reason: Reason::ClassNotFound,
                    message: "there is no StreamClass \"x\"".to_owned(),
                });
            }),
        ),
    ]
}

/// A plan in one line.
fn summary(plan: &Plan) -> String {
    let mut words = Vec::new();
    let short = |name: &str| name.rsplit('-').next().unwrap_or_default().to_owned();
    words.extend(
        plan.finish
            .iter()
            .map(|pod| format!("finish {}", short(&pod.name))),
    );
    let named = plan.status.pod.as_ref().map_or(0, |pod| pod.attempt);
    words.extend(plan.names_pod.then(|| format!("name {named}")));
    for Dismissal {
        pod,
        stop,
        delete,
        unnamed,
    } in &plan.dismiss
    {
        let name = short(&pod.name);
        let parts = [
            (*unnamed, "if unnamed "),
            (*stop, "stop "),
            (*delete, "delete "),
        ];
        let parts: String = parts
            .iter()
            .filter(|(does, _)| *does)
            .map(|(_, word)| *word)
            .collect();
        words.push(format!("{parts}{name}"));
    }
    let created = plan
        .create
        .as_ref()
        .and_then(|pod| pod.metadata.name.as_deref());
    words.extend(created.map(|name| format!("create {}", short(name))));
    match &plan.collect {
        Collect::Nothing | Collect::Wait(_) => {}
        step => words.push(
            format!("{step:?}")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_lowercase(),
        ),
    }
    if words.is_empty() {
        words.push("nothing".to_owned());
    }
    format!(
        "{} → {:?}",
        words.join(", "),
        plan.status.phase.unwrap_or_default()
    )
}

fn table() -> String {
    let mut table = String::new();
    for (state, observed) in states() {
        writeln!(table, "{state}").unwrap();
        for (demand, observed) in demands(&observed) {
            let plan = plan(&observed, now());
            writeln!(table, "  {demand:<12} {}", summary(&plan)).unwrap();
        }
    }
    table
}

#[test]
fn the_plan_for_every_state_and_demand_is_in_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/live_stream/plan/table.txt");
    let fresh = table();
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        fresh, committed,
        "to take the new table over, after reading it: UPDATE=1"
    );
}

#[test]
fn no_plan_leaves_two_pods_that_are_not_ending() {
    for (state, observed) in states() {
        for (demand, observed) in demands(&observed) {
            let plan = plan(&observed, now());
            let dismissed = |pod: &PodFacts| plan.dismiss.iter().any(|one| one.pod.uid == pod.uid);
            let ours = observed.pods.iter().filter(|pod| observed.owns(pod));
            let kept = ours
                .filter(|pod| !pod.terminating && !dismissed(pod))
                .count();
            let total = kept + usize::from(plan.create.is_some());
            assert!(total <= 1, "{state}, {demand}: {total} pods");
        }
    }
}

#[test]
fn a_status_that_was_written_is_planned_again_unchanged() {
    for (state, observed) in states() {
        for (demand, mut observed) in demands(&observed) {
            let first = plan(&observed, now());
            observed.stream.status = first.status.clone();
            if first.names_pod || first.finish.is_some() {
                continue;
            }
            let later = at(NOW + 1);
            let second = plan(&observed, later);
            assert_eq!(second.status, first.status, "{state}, {demand}");
        }
    }
}

#[test]
fn attempts_only_grow_whatever_the_status_names() {
    let mut observed = observed();
    observed.stream.status.last_attempt = 7;
    let plan = plan(&observed, now());
    assert_eq!(plan.status.pod, Some(intent(8, false)));
    assert_eq!(plan.status.last_attempt, 8);
}

#[test]
fn the_next_attempt_goes_on_from_the_greatest_numbers_that_anybody_said() {
    let mut observed = live();
    let floor = |media_sequence, discontinuity_sequence| ResumeFloor {
        media_sequence,
        discontinuity_sequence,
    };
    observed.stream.status.resume = Some(floor(100, 9));
    observed.pods[0].terminating = true;
    observed.recollection.finish = Some(Finish {
        pod_uid: observed.pods[0].uid.clone(),
        next: Some(floor(520, 3)),
    });
    let plan = plan(&observed, now());
    assert_eq!(plan.status.resume, Some(floor(520, 9)));
    let container = &plan.create.unwrap().spec.unwrap().containers[0];
    let document = container.env.as_ref().unwrap()[0].value.as_ref().unwrap();
    let job = TranscodeJob::from_json(document).unwrap();
    assert_eq!((job.attempt, job.resume), (2, floor(520, 9)));
}

#[test]
fn numbers_are_kept_when_a_stream_comes_to_rest() {
    let mut observed = live();
    observed.stream.replicas = 0;
    let stopping = plan(&observed, now()).status;
    assert_eq!(stopping.resume, Some(job(1, JobPhase::Live).next));
    assert_eq!(
        stopping.pod,
        Some(intent(1, true)),
        "it is named while it is there"
    );
    observed.stream.status = stopping;
    observed.pods.clear();
    observed.polled = Default::default();
    let idle = plan(&observed, now()).status;
    assert_eq!((idle.pod, idle.phase), (None, Some(Phase::Idle)));
    assert_eq!(idle.resume, Some(job(1, JobPhase::Live).next));
    assert_eq!(
        (idle.source, idle.media, idle.started_time),
        (None, None, None)
    );
}

#[test]
fn a_failed_attempt_is_replaced_at_once_and_the_next_ones_ever_later() {
    let mut observed = live();
    observed.polled.status = Some(job(1, JobPhase::Failed));
    let first = plan(&observed, now());
    assert_eq!(
        summary(&first),
        "name 2, stop delete 1, create 2 → Degraded"
    );
    // The same again, a moment later: it fails at once, and so waits for a second.
    observed.recollection.failures = first.failures;
    observed.stream.status = first.status;
    observed.pods = vec![pod(2)];
    observed.polled.status = Some(job(2, JobPhase::Failed));
    let second = plan(&observed, now());
    assert_eq!(summary(&second), "stop delete 2 → Degraded");
    assert_eq!(second.requeue, Duration::from_secs(1));
    let provisioned =
        find_condition(&second.status.conditions, ConditionType::Provisioned).unwrap();
    assert_eq!(
        (provisioned.reason.as_str(), provisioned.message.as_str()),
        (
            "PodFailed",
            "the transcoder gave up: receiving from source.example; tried again 1 s after that (2 failures in a row)"
        )
    );
    // Its pod is gone meanwhile; the wait is over.
    observed.recollection.failures = second.failures;
    observed.stream.status = second.status;
    observed.pods.clear();
    assert_eq!(summary(&plan(&observed, now())), "nothing → Degraded");
    assert_eq!(
        summary(&plan(&observed, at(NOW + 1))),
        "name 3, create 3 → Degraded"
    );
}

#[test]
fn a_stream_that_was_live_for_a_minute_owes_nothing_to_earlier_failures() {
    let mut observed = live();
    let last = Failure {
        reason: Reason::PodFailed,
        message: "gone".to_owned(),
    };
    observed.recollection.failures = Some(Failures {
        count: 5,
        attempt: 0,
        at: at(NOW - 950),
        last,
    });
    observed.polled.status = Some(job(1, JobPhase::Failed));
    let failures = plan(&observed, now()).failures.unwrap();
    assert_eq!((failures.count, failures.attempt), (1, 1));
}

#[test]
fn what_is_not_known_now_stands_as_it_was() {
    // An operator that has just started has not heard of the pod yet.
    let mut observed = live();
    observed.polled = Default::default();
    let plan = plan(&observed, now());
    assert_eq!(plan.status.conditions, observed.stream.status.conditions);
    assert_eq!(plan.status.phase, Some(Phase::Live));
}

#[test]
fn a_pod_that_is_ready_and_silent_is_unknown_and_stays() {
    let mut observed = live();
    observed.polled.unreachable_for = Duration::from_secs(600);
    let plan = plan(&observed, now());
    let ready = find_condition(&plan.status.conditions, ConditionType::Ready).unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("Unknown", "TranscoderUnreachable")
    );
    assert_eq!(plan.dismiss, []);
}

#[test]
fn conditions_tell_of_the_job_what_it_says() {
    let ready = |change: &dyn Fn(&mut api::control::JobStatus)| {
        let mut observed = live();
        change(observed.polled.status.as_mut().unwrap());
        let status = plan(&observed, now()).status;
        let of = |kind| {
            let condition = find_condition(&status.conditions, kind).unwrap();
            format!(
                "{} {}: {}",
                condition.status, condition.reason, condition.message
            )
        };
        (
            of(ConditionType::Ready),
            of(ConditionType::SourceHealthy),
            status.phase.unwrap(),
        )
    };
    let (streaming, receiving) = (
        "True Streaming: segments are published",
        "True Receiving: receiving from source.example",
    );
    assert_eq!(
        ready(&|_| {}),
        (streaming.to_owned(), receiving.to_owned(), Phase::Live)
    );
    let trouble = |reason| Trouble {
        reason,
        message: "said so".to_owned(),
    };
    assert_eq!(
        ready(&|job| job.troubles = vec![trouble(Reason::LongGop), trouble(Reason::OutputStalled)]),
        (
            "True OutputStalled: said so".to_owned(),
            "True LongGop: said so".to_owned(),
            Phase::Degraded
        )
    );
    let silent = |job: &mut api::control::JobStatus| {
        job.phase = JobPhase::Interrupted;
        job.source.healthy = Some(false);
        job.source.reason = Reason::Silent;
        job.source.message = "no bytes for 4 s".to_owned();
    };
    let expected = "False Silent: no bytes for 4 s".to_owned();
    assert_eq!(
        ready(&silent),
        (expected.clone(), expected, Phase::Degraded)
    );
}

#[test]
fn the_first_segment_is_timed_from_the_naming_of_the_first_pod() {
    let started = plan(&observed(), now());
    assert_eq!(started.status.started_time, Some(Time(now())));
    let mut observed = live();
    observed.stream.status.first_segment_milliseconds = None;
    observed.recollection.named = Some("2026-03-01T09:59:57.850Z".parse().unwrap());
    let status = plan(&observed, now()).status;
    assert_eq!(status.first_segment_milliseconds, Some(2150));
    observed.stream.status.first_segment_milliseconds = Some(1234);
    let status = plan(&observed, now()).status;
    assert_eq!(status.first_segment_milliseconds, Some(1234));
}

#[test]
fn viewers_are_told_by_order_of_magnitude() {
    for (viewers, expected) in [(0, 0), (1, 1), (9, 1), (10, 10), (99, 10), (12_345, 10_000)] {
        let mut observed = live();
        observed.presence = watched(5, viewers);
        assert_eq!(plan(&observed, now()).status.viewers, expected, "{viewers}");
    }
    let mut away = live();
    away.stream.status.viewers = 10;
    away.presence = PresenceView::Away("connection refused".to_owned());
    assert_eq!(
        plan(&away, now()).status.viewers,
        10,
        "what was known stands"
    );
}

#[test]
fn a_collection_that_is_paused_names_the_gateway() {
    let mut observed = live();
    let PresenceView::Known(facts) = &mut observed.presence else {
        panic!("presence must be known");
    };
    let since = presence::StoreTime(facts.stream.now.0 - 15_000);
    facts.stream.fence = presence::Fence::Closing { since };
    facts.stream.last = Some(presence::StoreTime(facts.stream.now.0 - 400_000));
    facts.stream.viewers = 0;
    let plan = plan(&observed, now());
    let idle = find_condition(&plan.status.conditions, ConditionType::Idle).unwrap();
    assert_eq!(
        (
            idle.status.as_str(),
            idle.reason.as_str(),
            idle.message.as_str()
        ),
        (
            "Unknown",
            "CollectionPaused",
            "gateway gateway-1 has not said who is watching"
        )
    );
    assert_eq!(plan.requeue, Duration::from_secs(5));
}

#[test]
fn a_stream_that_is_kept_running_is_never_collected() {
    let mut observed = live();
    observed.stream.idle.when_idle = WhenIdle::KeepRunning;
    observed.presence = watched(100_000, 0);
    let plan = plan(&observed, now());
    assert_eq!(plan.collect, Collect::Nothing);
    let idle = find_condition(&plan.status.conditions, ConditionType::Idle).unwrap();
    assert_eq!(
        (idle.status.as_str(), idle.reason.as_str()),
        ("True", "KeptRunning")
    );
}

#[test]
fn it_is_looked_at_again_exactly_when_something_may_be_due() {
    let mut observed = live();
    observed.presence = watched(290, 0);
    assert_eq!(
        plan(&observed, now()).requeue,
        Duration::from_secs(10),
        "idle"
    );
    observed.presence = watched(5, 1);
    assert_eq!(plan(&observed, now()).requeue, VIEWERS_RECHECK);
    observed.polled.unreachable_for = Duration::from_secs(9);
    assert_eq!(
        plan(&observed, now()).requeue,
        Duration::from_secs(6),
        "lost"
    );
    let mut pending = live();
    let message = "the pod is being started".to_owned();
    let reason = Reason::PodPending;
    pending.pods[0].state = PodState::Pending { reason, message };
    pending.pods[0].scheduled_since = Some(at(NOW - 3));
    assert_eq!(
        plan(&pending, now()).requeue,
        Duration::from_secs(7),
        "mounts"
    );
    let mut idle = live();
    idle.stream.replicas = 0;
    idle.pods.clear();
    idle.presence = PresenceView::NotAsked;
    assert_eq!(plan(&idle, now()).requeue, idle.resync);
}

#[test]
fn a_volume_that_cannot_be_mounted_is_told_with_its_reason() {
    let mut observed = live();
    let message = "the pod is being started".to_owned();
    let reason = Reason::PodPending;
    observed.pods[0].state = PodState::Pending { reason, message };
    observed.mount_trouble = Some(Refusal {
        reason: Reason::ReferenceNotFound,
        message: "secret \"headend-source-a\" not found".to_owned(),
    });
    let status = plan(&observed, now()).status;
    let provisioned = find_condition(&status.conditions, ConditionType::Provisioned).unwrap();
    assert_eq!(provisioned.status, ConditionStatus::False.as_str());
    assert_eq!(provisioned.reason, "ReferenceNotFound");
}

#[test]
fn what_is_in_the_way_is_told_where_people_look_first() {
    let ready = |observed: &Observed| {
        let status = plan(observed, now()).status;
        let ready = find_condition(&status.conditions, ConditionType::Ready).unwrap();
        format!("{}: {}", ready.reason, ready.message)
    };
    let mut starting = live();
    starting.stream.status.first_segment_milliseconds = None;
    let mut says = job(1, JobPhase::Starting);
    says.source.healthy = Some(false);
    says.source.reason = Reason::HttpError;
    says.source.message = "source.example answered with HTTP status 404".to_owned();
    starting.polled.status = Some(says);
    assert_eq!(
        ready(&starting),
        "WaitingForFirstSegment: no segment is published yet: source.example answered with HTTP status 404"
    );
    let mut unschedulable = live();
    unschedulable.polled.status = None;
    unschedulable.stream.status = Default::default();
    unschedulable.stream.status.pod = Some(intent(1, false));
    unschedulable.pods[0].state = PodState::Pending {
        reason: Reason::PodUnschedulable,
        message: "0/2 nodes are available".to_owned(),
    };
    assert_eq!(
        ready(&unschedulable),
        "WaitingForFirstSegment: no segment is published yet: 0/2 nodes are available"
    );
    // While attempts fail one after the other, the failure stays in sight.
    let mut failing = starting;
    let last = Failure {
        reason: Reason::TranscoderFailed,
        message: "the transcoder gave up: no keyframe".to_owned(),
    };
    failing.recollection.failures = Some(Failures {
        count: 3,
        attempt: 0,
        at: at(NOW - 5),
        last,
    });
    assert_eq!(
        ready(&failing),
        "TranscoderFailed: the transcoder gave up: no keyframe"
    );
}
