//! Pods that wait: which of them a start names, and what follows when it is not to be had.

use std::sync::Arc;

use api::names;

use super::*;
use crate::live_stream::pod::template;
use crate::live_stream::warm::tests::waiting;
use crate::live_stream::warm::{PoolView, WaitingPod};

const ONE: &str = "warm-0000000000000001";
const OTHER: &str = "warm-0000000000000002";

/// A pod that waits and is what the stream needs.
fn fit(observed: &Observed, name: &str) -> WaitingPod {
    let effective = observed.effective.as_ref().unwrap();
    WaitingPod {
        template: template(&observed.fleet, effective),
        ..waiting(name)
    }
}

/// A stream of a class with pods that wait.
fn warm(mut observed: Observed) -> Observed {
    let mut fleet = (*observed.fleet).clone();
    fleet.job_key = Some("ab".repeat(32));
    observed.fleet = Arc::new(fleet);
    let one = fit(&observed, ONE);
    observed.warm.pool = Some(PoolView {
        class: "sport".to_owned(),
        provider: None,
        template: Ok(one.template.clone().unwrap()),
    });
    observed.warm.waiting = vec![one, fit(&observed, OTHER)];
    observed
}

/// A stream whose status names a pod that waits, as attempt 1.
fn named() -> Observed {
    let mut observed = warm(observed());
    observed.stream.status = plan(&observed, now()).status;
    observed.warm.named = Some(fit(&observed, ONE));
    observed
}

/// The same, once the pod is the stream's.
fn taken() -> Observed {
    let mut observed = named();
    observed.warm.named = None;
    observed.pods = vec![PodFacts {
        name: ONE.to_owned(),
        ..pod(1)
    }];
    observed
}

/// What a plan does with pods, in short.
fn told(observed: &Observed) -> String {
    let plan = plan(observed, now());
    let mut words = Vec::new();
    if plan.names_pod {
        let pod = plan.status.pod.as_ref().unwrap();
        words.push(format!("name {} as {}", pod.name, pod.attempt));
    }
    if let Some(assigning) = &plan.assign {
        let claims = if assigning.claim.is_some() {
            "take"
        } else {
            "give"
        };
        words.push(format!(
            "{claims} {} {}",
            assigning.pod, assigning.job.attempt
        ));
    }
    if let Some(pod) = &plan.create {
        words.push(format!("create {}", pod.metadata.name.as_deref().unwrap()));
    }
    words.extend(
        plan.dismiss
            .iter()
            .map(|one| format!("dismiss {}", one.pod.name)),
    );
    words.join(", ")
}

#[test]
fn a_start_names_a_pod_that_waits_and_takes_it() {
    let observed = warm(observed());
    assert_eq!(told(&observed), format!("name {ONE} as 1, take {ONE} 1"));
    assert_eq!(told(&named()), format!("take {ONE} 1"), "a restart later");
    assert_eq!(
        told(&taken()),
        format!("give {ONE} 1"),
        "a restart later still"
    );
}

#[test]
fn nobody_is_told_of_a_pod_before_it_has_its_job() {
    let uid = |observed: &Observed| plan(observed, now()).status.pod.unwrap().uid;
    let mut given = taken();
    assert_eq!(uid(&given), None);
    given.recollection.given = Some("pod-uid-1".to_owned());
    assert_eq!(uid(&given).as_deref(), Some("pod-uid-1"));
    assert_eq!(told(&given), "");
    let mut heard = taken();
    heard.polled.status = Some(job(1, JobPhase::Starting));
    assert_eq!(uid(&heard).as_deref(), Some("pod-uid-1"));
    let mut known = given;
    known.stream.status = plan(&known, now()).status;
    known.recollection.given = None;
    assert_eq!(told(&known), "", "not given again to one that may play");
}

#[test]
fn a_pod_that_is_not_to_be_had_gives_way_to_the_next_one() {
    let next = format!("name {OTHER} as 2, take {OTHER} 2");
    let lost: [&dyn Fn(&mut Observed); 5] = [
        &|observed| observed.warm.named = None,
        &|observed| observed.warm.named.as_mut().unwrap().terminating = true,
        &|observed| observed.warm.named.as_mut().unwrap().ready = false,
        &|observed| observed.warm.named.as_mut().unwrap().template = None,
        &|observed| {
            let message = "OOMKilled".to_owned();
            observed.warm.named.as_mut().unwrap().state = PodState::Ended { message };
        },
    ];
    for (case, lose) in lost.iter().enumerate() {
        let mut observed = named();
        lose(&mut observed);
        assert_eq!(told(&observed), next, "{case}");
        let status = plan(&observed, now()).status;
        let attempts: Vec<_> = status.warm_attempts.iter().map(|one| one.attempt).collect();
        assert_eq!(attempts, [2]);
        assert_eq!(status.started_time, observed.stream.status.started_time);
        // What the watch shows of those that were lost before does not make it go round in circles.
        observed.recollection.lost = [OTHER.to_owned()].into();
        let cold = names::pod_name("news-one", UID, 2);
        assert_eq!(told(&observed), format!("name {cold} as 2, create {cold}"));
    }
}

#[test]
fn a_pod_that_does_not_take_its_job_is_followed_by_one_that_is_made() {
    let mut observed = taken();
    observed.recollection.refused = Some("pod-uid-1".to_owned());
    let cold = names::pod_name("news-one", UID, 2);
    assert_eq!(
        told(&observed),
        format!("name {cold} as 2, create {cold}, dismiss {ONE}")
    );
    // Nor is one that says that it plays given up for an answer that was lost.
    observed.polled.status = Some(job(1, JobPhase::Live));
    assert_eq!(told(&observed), "");
}

#[test]
fn a_pod_that_was_taken_and_ends_or_goes_costs_an_attempt_like_any_other() {
    let mut ended = taken();
    let message = "OOMKilled".to_owned();
    ended.pods[0].state = PodState::Ended { message };
    assert_eq!(
        told(&ended),
        format!("name {OTHER} as 2, take {OTHER} 2, dismiss {ONE}")
    );
    let mut gone = taken();
    gone.recollection.given = Some("pod-uid-1".to_owned());
    gone.stream.status = plan(&gone, now()).status;
    gone.pods.clear();
    assert_eq!(told(&gone), format!("name {OTHER} as 2, take {OTHER} 2"));
}

#[test]
fn what_cannot_have_one_says_why() {
    let said = |observed: &Observed| {
        let status = plan(observed, now()).status;
        assert!(told(observed).contains("create"));
        let kind = ConditionType::Provisioned;
        find_condition(&status.conditions, kind)
            .unwrap()
            .message
            .clone()
    };
    let mut empty = warm(observed());
    empty.warm.waiting.clear();
    assert!(said(&empty).contains("none is ready"), "{}", said(&empty));
    let mut no_key = warm(observed());
    no_key.warm.pool.as_mut().unwrap().template = Err("no key".to_owned());
    assert!(said(&no_key).contains("no key"));
    let mut stale = warm(observed());
    for pod in &mut stale.warm.waiting {
        pod.template = Some("before".to_owned());
    }
    assert!(said(&stale).contains("none is ready"));
    let without = said(&observed());
    assert_eq!(without, "the pod is being started");
}

#[test]
fn the_attempts_of_pods_that_waited_are_kept_as_long_as_playlists_may_name_them() {
    let mut observed = warm(observed());
    for attempt in 1..=6 {
        observed.stream.status = plan(&observed, now()).status;
        assert_eq!(observed.stream.status.last_attempt, attempt);
        observed.stream.status.pod = None;
    }
    let attempts = observed.stream.status.warm_attempts.iter();
    let attempts: Vec<_> = attempts.map(|one| one.attempt).collect();
    assert_eq!(attempts, [3, 4, 5, 6]);
}
