//! The status: conditions, reasons and messages, and that what is not known stands as it was.

use super::*;

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
fn a_pod_that_is_lost_is_kept_while_many_others_are_silent_too() {
    let mut observed = live();
    observed.polled.unreachable_for = Duration::from_secs(60);
    observed.pods[0].unready_since = Some(at(NOW - 60));
    assert_eq!(plan(&observed, now()).dismiss.len(), 1);
    observed.blind = true;
    let plan = plan(&observed, now());
    assert_eq!(plan.dismiss, []);
    let ready = find_condition(&plan.status.conditions, ConditionType::Ready).unwrap();
    assert!(ready.message.contains("network"), "{}", ready.message);
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
            "gateway gateway-1 has not said who is watching: let it reach Redis, or delete its pod, with --force if its node is lost"
        )
    );
    assert_eq!(plan.requeue, Duration::from_secs(5));
}

#[test]
fn that_somebody_keeps_a_stream_is_said_with_the_reason() {
    let told = |change: &dyn Fn(&mut Observed)| {
        let mut observed = live();
        observed.presence = watched(301, 0);
        change(&mut observed);
        let status = plan(&observed, now()).status;
        let of = |kind| {
            let condition = find_condition(&status.conditions, kind).unwrap();
            format!(
                "{} {}: {}",
                condition.status, condition.reason, condition.message
            )
        };
        [
            of(ConditionType::Idle),
            of(ConditionType::Ready),
            of(ConditionType::Provisioned),
        ]
    };
    let hold =
        |observed: &mut Observed| observed.stream.hold = Some("anna looks into it".to_owned());
    let [idle, ready, _] = told(&|observed| {
        hold(observed);
        observed.collects = false;
    });
    assert_eq!(
        idle,
        "False Held: neither collected nor replaced while the annotation headend.dev/hold is set: anna looks into it"
    );
    assert_eq!(ready, "True Streaming: segments are published");
    let [_, ready, provisioned] = told(&|observed| {
        hold(observed);
        let message = "OOMKilled".to_owned();
        observed.pods[0].state = PodState::Ended { message };
    });
    let failed = "False PodFailed: pod news-one-0f9c2a41-1 ended: OOMKilled; not replaced while the annotation headend.dev/hold is set";
    assert_eq!([ready, provisioned], [failed, failed]);
    // A pod that is silent may come back; had its attempt failed, it could not.
    let [_, ready, _] = told(&|observed| {
        hold(observed);
        observed.polled.unreachable_for = Duration::from_secs(60);
        observed.pods[0].unready_since = Some(at(NOW - 60));
    });
    assert!(
        ready.starts_with("Unknown TranscoderUnreachable"),
        "{ready}"
    );
    let [idle, ..] = told(&|observed| observed.collects = false);
    assert_eq!(
        idle,
        "Unknown CollectionPaused: nothing is collected while the release is told not to: set operator.collect of the chart to true again"
    );
    let [idle, ..] = told(&|observed| {
        observed.collects = false;
        observed.stream.idle.when_idle = WhenIdle::KeepRunning;
    });
    assert!(idle.starts_with("True KeptRunning"), "{idle}");
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
