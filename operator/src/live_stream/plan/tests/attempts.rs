//! Attempts: their numbers, what they go on from, how soon they follow each other, and when a stream is looked at again.

use super::*;

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
        answer: Some(answer(floor(520, 3))),
    });
    let plan = plan(&observed, now());
    assert_eq!(plan.status.resume, Some(floor(520, 9)));
    let container = &plan.create.unwrap().spec.unwrap().containers[0];
    let document = container.env.as_ref().unwrap()[0].value.as_ref().unwrap();
    let job = TranscodeJob::from_json(document).unwrap();
    assert_eq!((job.attempt, job.resume), (2, floor(520, 9)));
}

#[test]
fn what_takes_over_goes_on_with_what_the_other_one_listed() {
    let mut observed = live();
    observed.pods[0].terminating = true;
    observed.stream.status.successor = Some(intent(2, false));
    observed.pods.push(pod(2));
    let next = ResumeFloor {
        media_sequence: 520,
        discontinuity_sequence: 3,
    };
    let listed = Some(Playlists {
        version: 7,
        stream_uid: UID.to_owned(),
        attempt: 1,
        updated_unix_milliseconds: NOW * 1000,
        segment_duration_seconds: 2,
        target_duration_seconds: 4,
        discontinuity_sequence: 2,
        renditions: Vec::new(),
        segments: Vec::new(),
        next,
        behind: Vec::new(),
        on_request: Vec::new(),
        class: String::new(),
    });
    let told = FinishAnswer {
        next,
        listed: listed.clone(),
    };
    finish(&mut observed, Some(told));
    let plan = plan(&observed, now());
    let request = plan.publish.unwrap().request;
    assert_eq!((request.floor, request.previous), (next, listed));
    assert_eq!(plan.status.pod, Some(intent(2, true)));
    assert_eq!(plan.status.successor, None);
}

#[test]
fn an_operator_that_has_not_heard_a_pod_yet_believes_what_is_written_of_it() {
    let mut observed = live();
    observed.stream.status = plan(&observed, now()).status;
    observed.pods[0].terminating = true;
    observed.polled.status = None;
    let first = |observed: &Observed| {
        let summary = summary(&plan(observed, now()));
        summary.split(" → ").next().map(str::to_owned)
    };
    let succession = "name 1, then 2, create 2";
    assert_eq!(first(&observed).as_deref(), Some(succession));
    observed.stream.status.conditions.clear();
    assert_ne!(first(&observed).as_deref(), Some(succession));
}

#[test]
fn what_takes_over_from_a_deaf_pod_numbers_well_above_its_last_word() {
    let mut observed = live();
    observed.pods[0].terminating = true;
    observed.stream.status.successor = Some(intent(2, false));
    observed.pods.push(pod(2));
    finish(&mut observed, None);
    let request = plan(&observed, now()).publish.unwrap().request;
    let heard = job(1, JobPhase::Live).next;
    assert!(request.floor.media_sequence > heard.media_sequence + 20);
    assert!(request.floor.discontinuity_sequence > heard.discontinuity_sequence);
    assert_eq!(request.previous, None);
}

#[test]
fn the_pod_that_takes_over_waits_for_its_turn_and_is_no_other_pod_for_that() {
    let mut observed = live();
    observed.pods[0].terminating = true;
    let standby = plan(&observed, now()).create.unwrap();
    observed.pods[0].terminating = false;
    observed.stream.status.pod = None;
    observed.pods.clear();
    let fresh = plan(&observed, now()).create.unwrap();
    let job = |pod: &Pod| {
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let document = container.env.as_ref().unwrap()[0].value.clone();
        TranscodeJob::from_json(&document.unwrap()).unwrap()
    };
    let waits = job(&standby).standby.unwrap();
    assert!(waits.second_connection && job(&fresh).standby.is_none());
    let hash = |pod: Pod| pod.metadata.annotations;
    assert_eq!(hash(*standby), hash(*fresh));
}

#[test]
fn what_plays_is_replaced_when_class_or_sources_have_changed_and_its_turn_has_come() {
    let current = live().effective.unwrap().revision;
    type Case = (&'static str, fn(&mut Observed), &'static str, Stand);
    let table: [Case; 7] = [
        (
            "held",
            |observed| observed.stream.hold = Some(String::new()),
            "nothing",
            Stand::Settled,
        ),
        (
            "its turn",
            |_| {},
            "delete 1",
            Stand::Outdated { watched: true },
        ),
        (
            "others first",
            |observed| observed.has_turn = false,
            "nothing",
            Stand::Outdated { watched: true },
        ),
        (
            "nobody watches",
            |observed| observed.presence = watched(5, 0),
            "delete 1",
            Stand::Outdated { watched: false },
        ),
        (
            "going already",
            |observed| observed.pods[0].terminating = true,
            "name 1, then 2, create 2",
            Stand::Underway,
        ),
        (
            "plays nothing now",
            |observed| observed.polled.status = Some(job(1, JobPhase::Interrupted)),
            "nothing",
            Stand::Underway,
        ),
        (
            "made by a version that says nothing of it",
            |observed| observed.pods[0].revision = None,
            "nothing",
            Stand::Settled,
        ),
    ];
    for (case, change, expected, stand) in table {
        let mut observed = live();
        observed.has_turn = true;
        observed.pods[0].revision = Some("of another class".to_owned());
        change(&mut observed);
        let plan = plan(&observed, now());
        let summary = summary(&plan);
        assert_eq!(summary.split(" → ").next(), Some(expected), "{case}");
        assert_eq!(plan.stand, stand, "{case}");
    }
    let mut observed = live();
    observed.pods[0].revision = Some(current);
    assert_eq!(plan(&observed, now()).stand, Stand::Settled);
}

#[test]
fn only_a_start_that_somebody_waits_for_belongs_to_its_trace() {
    let traceparent = |observed: &Observed| {
        let plan = plan(observed, now());
        let container = &plan.create.unwrap().spec.unwrap().containers[0];
        let document = container.env.as_ref().unwrap()[0].value.clone().unwrap();
        TranscodeJob::from_json(&document).unwrap().traceparent
    };
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut first = observed();
    first.stream.trace = text.parse().ok();
    assert_eq!(traceparent(&first).as_deref(), Some(text));
    let mut next = live();
    next.stream.trace = text.parse().ok();
    next.pods[0].state = PodState::Ended {
        message: "exit code 1".to_owned(),
    };
    next.stream.status.first_segment_milliseconds = None;
    assert_eq!(traceparent(&next).as_deref(), Some(text));
    next.stream.status.first_segment_milliseconds = Some(1200);
    assert_eq!(traceparent(&next), None);
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

type Case = (&'static str, fn(&mut Observed), &'static str);

#[test]
fn what_plays_nothing_yet_is_made_anew_when_what_it_was_made_from_has_changed() {
    let table: [Case; 6] = [
        (
            "publishes nothing",
            |_| {},
            "name 2, stop delete 1, create 2",
        ),
        (
            "live",
            |observed| observed.polled.status = Some(job(1, JobPhase::Live)),
            "nothing",
        ),
        (
            "not asked yet",
            |observed| observed.polled.status = None,
            "nothing",
        ),
        ("pending", pend, "name 2, delete 1, create 2"),
        (
            "made by another version",
            |observed| observed.pods[0].order_hash = None,
            "nothing",
        ),
        ("unchanged", unchange, "nothing"),
    ];
    for (case, change, expected) in table {
        let mut observed = live();
        observed.pods[0].order_hash = Some("of another class".to_owned());
        observed.polled.status = Some(job(1, JobPhase::Starting));
        change(&mut observed);
        let summary = summary(&plan(&observed, now()));
        assert_eq!(summary.split(" → ").next(), Some(expected), "{case}");
    }
}

fn pend(observed: &mut Observed) {
    observed.polled = Default::default();
    observed.pods[0].state = PodState::Pending {
        reason: Reason::PodUnschedulable,
        message: "no node has that much memory".to_owned(),
    };
}

/// The pod is what would be made now, but for its attempt.
fn unchange(observed: &mut Observed) {
    let mut fresh = observed.clone();
    fresh.stream.status.pod = None;
    fresh.pods.clear();
    let pod = plan(&fresh, now()).create.unwrap();
    observed.pods[0].order_hash = pod
        .metadata
        .annotations
        .unwrap()
        .pop_first()
        .map(|(_, hash)| hash);
}

#[test]
fn a_failed_attempt_is_replaced_without_a_wait_when_what_it_was_made_from_has_changed() {
    let mut observed = live();
    let ended = PodState::Ended {
        message: "exit code 1".to_owned(),
    };
    observed.pods[0].state = ended.clone();
    let first = plan(&observed, now());
    observed.recollection.failures = first.failures;
    observed.stream.status = first.status;
    observed.pods = vec![pod(2)];
    observed.pods[0].state = ended;
    observed.polled = Default::default();
    assert_eq!(summary(&plan(&observed, now())), "nothing → Degraded");
    observed.pods[0].order_hash = Some("of another class".to_owned());
    assert_eq!(
        summary(&plan(&observed, now())),
        "name 3, delete 2, create 3 → Degraded"
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
    observed.presence = watched(297, 0);
    assert_eq!(
        plan(&observed, now()).requeue,
        Duration::from_secs(3),
        "idle"
    );
    observed.presence = watched(5, 1);
    assert_eq!(plan(&observed, now()).requeue, VIEWERS_RECHECK, "watched");
    observed.presence = watched(5, 0);
    assert_eq!(
        plan(&observed, now()).requeue,
        FIRST_VIEWER_RECHECK,
        "unwatched"
    );
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
    assert_eq!(plan(&idle, now()).requeue, ROUND);
}
