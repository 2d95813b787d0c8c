//! Every state of a pod against everything that can be wanted, as one table; beside it, what the table is too coarse for.

mod attempts;
mod exchange;
mod grants;
mod status;
mod warm;

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use api::condition::{ConditionStatus, ConditionType, Reason, find_condition};
use api::control::{FinishAnswer, Trouble};
use api::job::{ResumeFloor, TranscodeJob};
use api::live_stream::{Phase, WhenIdle};
use api::playlists::Playlists;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::class::Refusal;
use crate::live_stream::backoff::Failure;
use crate::live_stream::collect::PresenceView;
use crate::live_stream::fixtures::{NOW, UID, at, intent, job, live, now, observed, pod, watched};
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
    let finished = |answer: Option<FinishAnswer>| {
        with(&|observed| {
            observed.pods[0].terminating = true;
            finish(observed, answer.clone());
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
            finished(Some(answer(job(1, JobPhase::Live).next))),
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

/// The named pod was told to finish.
fn finish(observed: &mut Observed, answer: Option<FinishAnswer>) {
    let pod_uid = observed.pods[0].uid.clone();
    observed.recollection.finish = Some(Finish { pod_uid, answer });
}

fn answer(next: ResumeFloor) -> FinishAnswer {
    FinishAnswer { next, listed: None }
}

/// The pod that takes over, in every state it can be in, beside the one that is being deleted.
#[expect(clippy::too_many_lines, reason = "a table")]
fn successions() -> Vec<(&'static str, Observed)> {
    let with = |change: &dyn Fn(&mut Observed)| {
        let mut observed = live();
        observed.pods[0].terminating = true;
        observed.stream.status.successor = Some(intent(2, false));
        observed.stream.status.last_attempt = 2;
        observed.pods.push(pod(2));
        observed.successor = Some(job(2, JobPhase::Standby));
        change(&mut observed);
        observed
    };
    let ready = |change: &dyn Fn(&mut Observed)| {
        with(&|observed| {
            let mut job = job(2, JobPhase::Standby);
            job.ready = true;
            observed.successor = Some(job);
            change(observed);
        })
    };
    let named = |change: &dyn Fn(&mut Observed)| {
        with(&|observed| {
            observed.stream.status.pod = Some(intent(2, true));
            observed.stream.status.successor = None;
            observed.polled.status = observed.successor.take();
            change(observed);
        })
    };
    vec![
        (
            "a successor, not created",
            with(&|observed| {
                observed.pods.pop();
                observed.successor = None;
            }),
        ),
        (
            "a successor, pending",
            with(&|observed| {
                let message = "as the cluster says".to_owned();
                let reason = Reason::PodPending;
                observed.pods[1].state = PodState::Pending { reason, message };
                observed.pods[1].address = None;
                observed.successor = None;
            }),
        ),
        ("a successor, waiting", with(&|_| {})),
        (
            "a successor, failed",
            with(&|observed| observed.successor = Some(job(2, JobPhase::Failed))),
        ),
        ("a successor, ready", ready(&|_| {})),
        (
            "a successor of a version without standby",
            with(&|observed| observed.successor = Some(job(2, JobPhase::Live))),
        ),
        (
            "a successor, ready, the other one told to finish",
            ready(&|observed| finish(observed, Some(answer(job(1, JobPhase::Live).next)))),
        ),
        (
            "a successor, ready, the other one deaf",
            ready(&|observed| finish(observed, None)),
        ),
        (
            "a successor, waiting, the other one ended",
            with(&|observed| {
                let message = "its grace is over".to_owned();
                observed.pods[0].state = PodState::Ended { message };
            }),
        ),
        (
            "a successor, failed, the other one gone",
            with(&|observed| {
                observed.pods.remove(0);
                observed.successor = Some(job(2, JobPhase::Failed));
            }),
        ),
        (
            "named as the successor, not told to publish",
            named(&|observed| finish(observed, Some(answer(job(1, JobPhase::Live).next)))),
        ),
        (
            "named as the successor, nobody knows what was told",
            named(&|_| {}),
        ),
        (
            "named as the successor, the other one gone",
            named(&|observed| drop(observed.pods.remove(0))),
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
            "idle, held",
            with(&|observed| {
                observed.presence = watched(301, 0);
                observed.stream.hold = Some("being looked into".to_owned());
            }),
        ),
        (
            "idle, off",
            with(&|observed| {
                observed.presence = watched(301, 0);
                observed.collects = false;
            }),
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
    let named = match &plan.status.successor {
        Some(next) => format!("{named}, then {}", next.attempt),
        None => named.to_string(),
    };
    words.extend(plan.names_pod.then(|| format!("name {named}")));
    let published = plan.publish.iter();
    words.extend(published.map(|told| format!("publish {}", short(&told.pod.name))));
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
        Collect::Nothing | Collect::Spared(_) | Collect::Wait(_) => {}
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

fn all() -> impl Iterator<Item = (&'static str, Observed)> {
    states().into_iter().chain(successions())
}

fn table() -> String {
    let mut table = String::new();
    for (state, observed) in all() {
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

/// At most one pod lists segments: whoever is told to publish is the one that the status names, and no other was left publishing.
#[test]
fn nobody_is_told_to_publish_beside_another() {
    for (state, observed) in all() {
        for (demand, observed) in demands(&observed) {
            let plan = plan(&observed, now());
            let Some(told) = plan.publish else { continue };
            let named = plan.status.pod.map(|pod| pod.name);
            assert_eq!(named.as_ref(), Some(&told.pod.name), "{state}, {demand}");
            let finish = observed.recollection.finish.as_ref();
            let others = observed.pods.iter();
            let mut others = others.filter(|pod| pod.name != told.pod.name && pod.listens());
            let finished = |pod: &PodFacts| finish.is_some_and(|told| told.pod_uid == pod.uid);
            assert!(others.all(finished), "{state}, {demand}");
        }
    }
}

#[test]
fn no_plan_leaves_two_pods_that_are_not_ending() {
    for (state, observed) in all() {
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
fn a_stream_that_is_held_is_neither_replaced_nor_collected() {
    for (state, mut observed) in states() {
        observed.stream.hold = Some("being looked into".to_owned());
        observed.presence = watched(301, 0);
        let named = observed.stream.status.pod.is_some();
        let seen = observed.stream.status.pod.as_ref();
        let seen = seen.is_some_and(|pod| pod.uid.is_some());
        let plan = plan(&observed, now());
        assert!(!plan.names_pod || !named, "{state}: another attempt");
        assert!(plan.create.is_none() || !seen, "{state}: another pod");
        assert!(plan.finish.is_none(), "{state}: told to finish");
        let goes = |one: &Dismissal| one.delete && !one.unnamed;
        assert!(!plan.dismiss.iter().any(goes), "{state}: its pod goes");
        let waits = matches!(
            plan.collect,
            Collect::Nothing | Collect::Spared(_) | Collect::Open
        );
        assert!(waits, "{state}: {:?}", plan.collect);
    }
}

#[test]
fn a_status_that_was_written_is_planned_again_unchanged() {
    for (state, observed) in all() {
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
