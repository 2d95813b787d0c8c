//! Connections of providers: who gets one, who waits, who gives way, and that never a pod is created without one.

use api::control::AccountStatus;
use api::live_stream::{ProviderChannel, Source};
use api::provider::ProviderSlot;
use serde_json::json;

use super::*;
use crate::class::{ClassState, effective};
use crate::live_stream::fixtures::{self, UID};
use crate::live_stream::observed::Account;
use crate::provider::Providers;

fn channel(provider: &str) -> Source {
    Source {
        provider: Some(ProviderChannel {
            name: provider.to_owned(),
            channel: "101".to_owned(),
        }),
        ..Source::default()
    }
}

fn address() -> Source {
    Source {
        url: Some("http://source.example/one.ts".to_owned()),
        ..Source::default()
    }
}

/// `me1' b1`: `me` is the stream that is planned; as many strokes as the number of the request.
pub(super) fn slots(text: &str) -> Vec<ProviderSlot> {
    let words = text.split_whitespace();
    let slots = words.map(|word| {
        let digit = word.find(|character: char| character.is_ascii_digit());
        let (stream, attempt) = word.split_at(digit.unwrap());
        let stream_uid = if stream == "me" { UID } else { stream };
        ProviderSlot {
            stream_uid: stream_uid.to_owned(),
            attempt: attempt.trim_end_matches('\'').parse().unwrap(),
            stream: stream.to_owned(),
            request: attempt.matches('\'').count().try_into().unwrap(),
        }
    });
    slots.collect()
}

/// A stream of these sources, with accounts `one` and `two` of one connection each.
fn with(mut observed: Observed, sources: Vec<Source>, one: &str, two: &str) -> Observed {
    let spec = json!({ "type": "Xtream", "url": "http://panel.example", "secretName": "headend-source-a" });
    let provider = || Ok(serde_json::from_value(spec.clone()).unwrap());
    let providers = Providers::from([
        ("one".to_owned(), provider()),
        ("two".to_owned(), provider()),
    ]);
    let mut stream = fixtures::spec();
    stream.sources = sources;
    observed.effective = effective(&stream, &ClassState::Missing, &providers);
    let account = |text: &str| Account {
        limit: 1,
        slots: slots(text),
    };
    observed.accounts = [("one", one), ("two", two)]
        .map(|(name, text)| (name.to_owned(), account(text)))
        .into();
    for pod in &mut observed.pods {
        pod.provider = Some("one".to_owned());
    }
    observed
}

/// What a plan does about connections and pods, in one line.
fn told(plan: &Plan) -> String {
    let mut words = Vec::new();
    for (provider, attempts) in &plan.release {
        words.push(format!("release {provider}{attempts:?}"));
    }
    if let Some(leave) = &plan.leave {
        let providers = leave.providers.join(" ");
        let request = leave.request;
        words.push(format!("leave {providers} {} to {request}", leave.attempt));
    }
    if let Some(claim) = &plan.claim {
        let closed = match claim.closed.is_empty() {
            true => String::new(),
            false => format!(" for {:?}", claim.closed),
        };
        words.push(format!(
            "claim {} {}{closed}",
            claim.provider, claim.attempt
        ));
        if claim.told.is_some() {
            words.push(format!("grant {}", claim.request));
        }
    }
    words.push(summary(plan));
    if !plan.waits_for.is_empty() {
        words.push(format!("waits for {}", plan.waits_for.join(" ")));
    }
    words.join(", ")
}

fn sources_of(plan: &Plan) -> Vec<i32> {
    let container = &plan
        .create
        .as_ref()
        .unwrap()
        .spec
        .as_ref()
        .unwrap()
        .containers[0];
    let document = container.env.as_ref().unwrap()[0].value.as_ref().unwrap();
    let job = TranscodeJob::from_json(document).unwrap();
    job.sources.iter().map(|source| source.index).collect()
}

#[test]
fn a_start_takes_the_first_account_that_has_a_connection() {
    let both = || vec![channel("one"), channel("two"), channel("one")];
    let mixed = || vec![channel("one"), address()];
    for (sources, one, two, expected, indices) in [
        (
            both(),
            "",
            "",
            "claim one 1, name 1, create 1, open → Pending",
            &[0, 2][..],
        ),
        (
            both(),
            "b1",
            "",
            "claim two 1, name 1, create 1, open → Pending",
            &[1],
        ),
        (
            mixed(),
            "",
            "",
            "claim one 1, name 1, create 1, open → Pending",
            &[0, 1],
        ),
        // What needs no connection is played without one.
        (mixed(), "b1", "", "name 1, create 1, open → Pending", &[1]),
        (
            vec![address(), channel("one")],
            "",
            "",
            "name 1, create 1, open → Pending",
            &[0],
        ),
    ] {
        let plan = plan(&with(observed(), sources, one, two), now());
        assert_eq!(told(&plan), expected, "{one:?} {two:?}");
        assert_eq!(sources_of(&plan), indices, "{one:?} {two:?}");
    }
}

#[test]
fn without_a_connection_nothing_is_named_and_the_condition_says_who_has_them() {
    let observed = with(observed(), vec![channel("one"), channel("two")], "b1", "c4");
    let plan = plan(&observed, now());
    assert_eq!(told(&plan), "nothing → Pending, waits for one two");
    for kind in [ConditionType::Provisioned, ConditionType::Ready] {
        let condition = find_condition(&plan.status.conditions, kind).unwrap();
        assert_eq!(condition.reason, "ProviderSlotsExhausted");
        assert_eq!(
            condition.message,
            "1 of 1 connections of Provider one are in use, by b; 1 of 1 connections of Provider two are in use, by c; it starts as soon as one of them is given up"
        );
    }
    assert!(plan.requeue >= Duration::from_secs(5), "{:?}", plan.requeue);
}

type Case = (&'static str, fn(&mut Observed), &'static str, &'static str);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn an_attempt_that_is_named_goes_on_from_what_is_entered() {
    let table: [Case; 9] = [
        (
            "nobody has it",
            |_| {},
            "",
            "claim one 1, create 1 → Degraded",
        ),
        (
            "it has it",
            |_| {},
            "me1",
            "claim one 1, create 1 → Degraded",
        ),
        (
            "another has it",
            |_| {},
            "b1",
            "nothing → Pending, waits for one",
        ),
        (
            "the attempt before has it, and is gone",
            |observed| observed.stream.status.last_attempt = 2,
            "me0",
            "claim one 1 for {0}, create 1 → Degraded",
        ),
        (
            "the attempt before has it, and may play",
            |observed| observed.pods = vec![before()],
            "me0",
            "if unnamed stop delete 0 → Degraded",
        ),
        (
            "the attempt before has it, and said that it closed it",
            |observed| {
                observed.pods = vec![before()];
                observed.recollection.closed.insert(before().uid);
            },
            "me0",
            "claim one 1 for {0}, if unnamed stop delete 0, create 1 → Degraded",
        ),
        (
            "the attempt before has it, and has ended",
            |observed| {
                observed.pods = vec![before()];
                observed.pods[0].state = PodState::Ended {
                    message: "exit code 0".to_owned(),
                };
            },
            "me0",
            "claim one 1 for {0}, if unnamed delete 0, create 1 → Degraded",
        ),
        (
            "a later attempt than the status knows of has it",
            |_| {},
            "me7",
            "nothing → Degraded",
        ),
        (
            "scaled to 0",
            |observed| observed.stream.replicas = 0,
            "me1",
            "release one{1}, nothing → Idle",
        ),
    ];
    for (case, change, one, expected) in table {
        let mut observed = with(live(), vec![channel("one")], one, "");
        observed.stream.status.pod = Some(intent(1, false));
        observed.pods.clear();
        observed.polled = Default::default();
        change(&mut observed);
        assert_eq!(told(&plan(&observed, now())), expected, "{case}");
    }
}

fn before() -> PodFacts {
    PodFacts {
        provider: Some("one".to_owned()),
        ..pod(0)
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_pod_keeps_its_connection_until_it_is_gone_or_says_that_it_has_none() {
    let says = |phase, connected| {
        let mut job = job(1, phase);
        job.source.connected = connected;
        Some(job)
    };
    for (case, change, expected) in [
        (
            "live",
            Box::new(|_: &mut Observed| {}) as Box<dyn Fn(&mut Observed)>,
            "nothing → Live",
        ),
        (
            "its entry is lost",
            Box::new(|observed: &mut Observed| {
                observed.accounts.get_mut("one").unwrap().slots.clear();
            }),
            "claim one 1, nothing → Live",
        ),
        (
            "its entry is lost, and another has it",
            Box::new(|observed: &mut Observed| {
                observed.accounts.get_mut("one").unwrap().slots = slots("b1");
            }),
            "nothing → Live",
        ),
        (
            "being stopped",
            Box::new(|observed: &mut Observed| {
                observed.stream.replicas = 0;
                observed.pods[0].terminating = true;
            }),
            "stop 1 → Stopping",
        ),
        (
            "stopped",
            Box::new(|observed: &mut Observed| {
                observed.stream.replicas = 0;
                observed.pods[0].terminating = true;
                observed.recollection.stopped.insert("pod-uid-1".to_owned());
                observed.recollection.closed.insert("pod-uid-1".to_owned());
            }),
            "release one{1}, nothing → Stopping",
        ),
        (
            "gave up",
            Box::new(move |observed: &mut Observed| {
                observed.polled.status = says(JobPhase::Failed, false);
            }),
            "claim one 2 for {1}, name 2, stop delete 1, create 2 → Degraded",
        ),
        (
            "gave up, and has not closed it yet",
            Box::new(move |observed: &mut Observed| {
                observed.polled.status = says(JobPhase::Failed, true);
            }),
            "name 2, stop delete 1 → Degraded",
        ),
        (
            "silent and unready",
            Box::new(|observed: &mut Observed| {
                observed.pods[0].unready_since = Some(at(NOW - 60));
                observed.polled.unreachable_for = Duration::from_secs(60);
            }),
            "name 2, stop delete 1 → Degraded",
        ),
        (
            "ending: its account has one connection, so nothing connects beside it",
            Box::new(|observed: &mut Observed| observed.pods[0].terminating = true),
            "finish 1 → Live",
        ),
        (
            "ending, told to finish",
            Box::new(|observed: &mut Observed| {
                observed.pods[0].terminating = true;
                let pod_uid = observed.pods[0].uid.clone();
                observed.recollection.closed.insert(pod_uid.clone());
                let answer = Some(answer(job(1, JobPhase::Live).next));
                observed.recollection.finish = Some(Finish { pod_uid, answer });
            }),
            "claim one 2 for {1}, name 2, create 2 → Degraded",
        ),
    ] {
        let mut observed = with(live(), vec![channel("one")], "me1", "");
        change(&mut observed);
        assert_eq!(told(&plan(&observed, now())), expected, "{case}");
    }
}

#[test]
fn what_ends_while_it_plays_gets_a_successor_where_its_account_has_another_connection() {
    let named_without_pod = |observed: &mut Observed| {
        observed.stream.status.successor = Some(intent(2, false));
        observed.stream.status.last_attempt = 2;
    };
    let failed = |observed: &mut Observed| {
        observed.stream.status.successor = Some(intent(2, false));
        observed.stream.status.last_attempt = 2;
        observed.pods.push(PodFacts {
            provider: Some("one".to_owned()),
            ..pod(2)
        });
        let mut job = job(2, JobPhase::Failed);
        job.source.connected = false;
        observed.successor = Some(job);
    };
    let nothing = |_: &mut Observed| {};
    type Row = (&'static str, usize, fn(&mut Observed), &'static str);
    let table: [Row; 6] = [
        ("me1", 1, nothing, "finish 1 → Live"),
        ("me1 b1", 2, nothing, "finish 1 → Live"),
        (
            "me1",
            2,
            nothing,
            "claim one 2, name 1, then 2, create 2 → Live",
        ),
        (
            "me1 me2",
            2,
            named_without_pod,
            "claim one 2, create 2 → Live",
        ),
        // Somebody else was faster.
        ("me1 b1", 2, named_without_pod, "finish 1 → Live"),
        ("me1 me2", 2, failed, "release one{2}, nothing → Live"),
    ];
    for (one, limit, change, expected) in table {
        let mut observed = with(live(), vec![channel("one")], one, "");
        observed.accounts.get_mut("one").unwrap().limit = limit;
        observed.pods[0].terminating = true;
        change(&mut observed);
        let plan = plan(&observed, now());
        assert_eq!(told(&plan), expected, "{one} of {limit}");
    }
}

#[test]
fn what_gave_its_sources_up_goes_on_with_the_next_account() {
    let sources = || vec![channel("one"), channel("two"), address()];
    let mut observed = with(live(), sources(), "me1", "");
    let mut gave_up = job(1, JobPhase::Failed);
    gave_up.source.connected = false;
    observed.polled.status = Some(gave_up);
    let first = plan(&observed, now());
    assert_eq!(
        told(&first),
        "release one{1}, claim two 2, name 2, stop delete 1, create 2 → Degraded"
    );
    assert_eq!(sources_of(&first), [1, 2]);
    // The other one is taken: what needs no connection is left.
    let taken = with(observed, sources(), "me1", "b1");
    let plan = plan(&taken, now());
    assert_eq!(
        told(&plan),
        "release one{1}, name 2, stop delete 1, create 2 → Degraded"
    );
    assert_eq!(sources_of(&plan), [2]);
}

/// A pod of account `one` whose sources fail, as it says, with everything of `two` in reserve.
pub(super) fn asks(one: &str, two: &str, account: &AccountStatus) -> Observed {
    let mut observed = with(live(), vec![channel("one"), channel("two")], one, two);
    let effective = observed.effective.as_ref().unwrap();
    observed.pods[0].revision = Some(effective.revision.clone());
    observed.pods[0].provider_revisions = effective.provider_revisions.clone();
    let mut job = job(1, JobPhase::Interrupted);
    job.source.connected = false;
    job.account = Some(account.clone());
    observed.polled.status = Some(job);
    observed
}

pub(super) fn account(provider: &str, request: i32, wants: &[&str]) -> AccountStatus {
    AccountStatus {
        provider: Some(provider.to_owned()),
        request,
        wants: wants.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_pod_whose_sources_fail_is_granted_another_account_and_leaves_what_it_had_when_it_says_so() {
    for (one, two, account, expected) in [
        // It asks for nothing yet.
        ("me1", "", account("one", 0, &[]), "nothing"),
        (
            "me1",
            "",
            account("one", 1, &["two"]),
            "claim two 1, grant 1, nothing",
        ),
        // It is entered, and perhaps not told.
        (
            "me1",
            "me1'",
            account("one", 1, &["two"]),
            "claim two 1, grant 1, nothing",
        ),
        (
            "me1",
            "b1",
            account("one", 1, &["two"]),
            "nothing, waits for two",
        ),
        // It delivers again, and does not know of the request that was entered.
        (
            "me1",
            "me1'",
            account("one", 1, &[]),
            "leave two 1 to 1, nothing",
        ),
        ("me1", "me1'", account("one", 0, &[]), "nothing"),
        ("me1", "me1''", account("one", 1, &[]), "nothing"),
        // It has taken it.
        (
            "me1",
            "me1'",
            account("two", 1, &[]),
            "leave one 1 to 1, nothing",
        ),
        ("", "me1'", account("two", 1, &[]), "nothing"),
        ("b1", "me1'", account("two", 1, &[]), "nothing"),
        // And back: what it was made with is not what it asks for.
        (
            "",
            "me1'",
            account("two", 2, &["one"]),
            "claim one 1, grant 2, nothing",
        ),
        (
            "me1",
            "me1'",
            account("two", 2, &["one"]),
            "leave one 1 to 1, nothing, waits for one",
        ),
        (
            "me1''",
            "me1'",
            account("one", 2, &[]),
            "leave two 1 to 2, nothing",
        ),
        // Its entry was lost.
        (
            "me1",
            "",
            account("two", 1, &[]),
            "leave one 1 to 1, claim two 1, nothing",
        ),
    ] {
        let plan = plan(&asks(one, two, &account), now());
        let told = told(&plan);
        let (done, phase) = told.split_once(" → ").unwrap();
        let waits = phase.find(',').map_or("", |at| &phase[at..]);
        let told = format!("{done}{waits}");
        assert_eq!(told, expected, "{one:?} {two:?} {account:?}");
        let is_soon = plan.requeue <= TOLD_RECHECK;
        let is_told = expected.contains("grant") || expected.contains("leave");
        assert!(is_soon || !is_told, "{expected}: {:?}", plan.requeue);
    }
}

#[test]
fn nothing_is_granted_that_a_pod_has_otherwise_than_people_want_it_now() {
    type Row = (&'static str, fn(&mut Observed), &'static str);
    let table: [Row; 5] = [
        ("as it was made", |_| {}, "claim two 1, grant 1"),
        (
            "other sources",
            |observed| observed.pods[0].revision = Some("other".to_owned()),
            "",
        ),
        (
            "another way to the account",
            |observed| {
                let revisions = &mut observed.pods[0].provider_revisions;
                revisions.insert("two".to_owned(), "other".to_owned());
            },
            "",
        ),
        (
            "without its login, as one that waited",
            |observed| drop(observed.pods[0].provider_revisions.remove("two")),
            "",
        ),
        (
            "of another attempt",
            |observed| {
                let job = observed.polled.status.as_mut().unwrap();
                job.attempt = 7;
            },
            "",
        ),
    ];
    for (case, change, expected) in table {
        let mut observed = asks("me1", "", &account("one", 1, &["two"]));
        change(&mut observed);
        let told = told(&plan(&observed, now()));
        let told = told.split("nothing").next().unwrap();
        assert_eq!(told.trim_end_matches(", "), expected, "{case}");
    }
}

#[test]
fn the_condition_says_what_a_pod_waits_for_whose_sources_fail_and_it_waits_where_somebody_watches()
{
    let wants = account("one", 1, &["two"]);
    let message = |plan: &Plan| {
        let condition = find_condition(&plan.status.conditions, ConditionType::Provisioned);
        condition.unwrap().message.clone()
    };
    let granted = plan(&asks("me1", "", &wants), now());
    assert_eq!(
        message(&granted),
        "pod news-one-0f9c2a41-1 runs; its sources fail, and it is given a connection of Provider two"
    );
    let mut observed = asks("me1", "b1", &wants);
    assert_eq!(
        message(&plan(&observed, now())),
        "pod news-one-0f9c2a41-1 runs; its sources fail, and it needs a connection of another Provider: 1 of 1 connections of Provider two are in use, by b"
    );
    observed.presence = watched(5, 0);
    assert_eq!(plan(&observed, now()).waits_for, [""; 0]);
    let calm = asks("me1", "b1", &account("one", 0, &[]));
    assert_eq!(
        message(&plan(&calm, now())),
        "pod news-one-0f9c2a41-1 runs; an attempt has a connection of one Provider at a time: sources[1] will be tried when these fail"
    );
}

#[test]
fn a_pod_has_the_sources_of_other_accounts_in_reserve() {
    let sources = vec![channel("one"), address(), channel("two")];
    let plan = plan(&with(observed(), sources, "", ""), now());
    assert_eq!(sources_of(&plan), [0, 1]);
    let pod = plan.create.unwrap();
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let document = container.env.as_ref().unwrap()[0].value.as_ref().unwrap();
    let job = TranscodeJob::from_json(document).unwrap();
    let reserve: Vec<_> = job.reserve.iter().map(|source| source.index).collect();
    assert_eq!(reserve, [2]);
    let volumes = serde_json::to_value(&pod.spec.as_ref().unwrap().volumes).unwrap();
    let mounted = volumes.to_string();
    for (path, optional) in [
        ("providers/one/username", json!(null)),
        ("providers/two/username", json!(true)),
    ] {
        assert!(mounted.contains(path), "{mounted}");
        let mut volumes = volumes.as_array().unwrap().iter();
        let volume = volumes.find(|volume| volume["name"] == "sources").unwrap();
        let files = volume["projected"]["sources"].as_array().unwrap();
        let mut files = files.iter().map(|file| &file["secret"]);
        let file = files.find(|file| file["items"][0]["path"] == path).unwrap();
        assert_eq!(file["optional"], optional, "{path}");
    }
    let annotations = pod.metadata.annotations.unwrap();
    let revisions = &annotations["headend.dev/provider-revisions"];
    assert!(
        revisions.starts_with("one=") && revisions.contains(",two="),
        "{revisions}"
    );
}

#[test]
fn what_plays_is_replaced_when_the_way_to_its_provider_has_changed() {
    let made_of = |provider: &str, revision: &str| {
        let sources = vec![channel("one"), channel("two")];
        let mut observed = with(live(), sources, "me1", "");
        observed.has_turn = true;
        let revisions = observed.effective.as_ref().unwrap();
        observed.pods[0].revision = Some(revisions.revision.clone());
        let current = revisions.provider_revisions[provider].clone();
        let revision = revision.replace("current", &current);
        let revisions = [(provider.to_owned(), revision)];
        observed.pods[0].provider_revisions = revisions.into();
        plan(&observed, now())
    };
    for (provider, revision, expected) in [
        ("one", "current", "nothing → Live"),
        ("one", "other", "delete 1 → Live"),
        // It is not the one whose connection it has.
        ("two", "other", "nothing → Live"),
    ] {
        let plan = made_of(provider, revision);
        assert_eq!(told(&plan), expected, "{provider} {revision}");
    }
    let outdated = made_of("one", "other");
    assert_eq!(outdated.stand, Stand::Outdated { watched: true });
}

#[test]
fn the_condition_says_which_sources_an_attempt_goes_without() {
    for (sources, expected) in [
        (
            vec![channel("one"), address()],
            "pod news-one-0f9c2a41-1 runs",
        ),
        (
            vec![channel("one"), channel("two"), address(), channel("two")],
            "pod news-one-0f9c2a41-1 runs; an attempt has a connection of one Provider at a time: sources[1], sources[3] will be tried by the next one",
        ),
    ] {
        let observed = with(live(), sources, "me1", "");
        let plan = plan(&observed, now());
        let condition = find_condition(&plan.status.conditions, ConditionType::Provisioned);
        assert_eq!(condition.unwrap().message, expected);
    }
}

#[test]
fn what_nobody_watches_gives_way_to_what_waits() {
    let plan_of = |seconds_ago, viewers, waited_for| {
        let mut observed = with(live(), vec![channel("one")], "me1", "");
        observed.presence = watched(seconds_ago, viewers);
        observed.is_waited_for = waited_for;
        plan(&observed, now())
    };
    for (seconds_ago, viewers, waited_for, expected) in [
        (20, 0, false, Collect::Wait(Duration::from_secs(280))),
        (20, 1, true, Collect::Wait(Duration::from_secs(280))),
        (4, 0, true, Collect::Wait(Duration::from_secs(6))),
        (
            10,
            0,
            true,
            Collect::Begin {
                timeout: YIELD_AFTER,
            },
        ),
    ] {
        let plan = plan_of(seconds_ago, viewers, waited_for);
        assert_eq!(plan.collect, expected);
        assert!(!waited_for || plan.requeue <= WAITED_FOR_RECHECK);
    }
    let mut kept = with(live(), vec![channel("one")], "me1", "");
    kept.stream.idle.when_idle = WhenIdle::KeepRunning;
    kept.presence = watched(100, 0);
    kept.is_waited_for = true;
    assert_eq!(plan(&kept, now()).collect, Collect::Nothing);
}

fn attempt_of(pod: &Pod) -> i32 {
    let labels = pod.metadata.labels.as_ref().unwrap();
    labels[api::names::LABEL_ATTEMPT].parse().unwrap()
}

#[test]
fn no_pod_is_created_without_an_entry_whatever_the_others_have() {
    let entries = ["", "me1", "me0", "b1", "me0 b1", "me7"];
    let accounts = entries.map(|one| [(one, 1), (one, 2)]);
    for (one, limit) in accounts.into_iter().flatten() {
        for (state, observed) in all() {
            for (demand, observed) in demands(&observed) {
                let mut observed = with(observed, vec![channel("one")], one, "");
                observed.accounts.get_mut("one").unwrap().limit = limit;
                if demand == "invalid" {
                    observed.effective = Err(Refusal {
                        reason: Reason::ClassNotFound,
                        message: "no class".to_owned(),
                    });
                }
                let plan = plan(&observed, now());
                let claimed = plan.claim.as_ref().map(|claim| claim.attempt);
                let created = plan.create.as_ref().map(|pod| attempt_of(pod));
                let case = format!("{one} of {limit}, {state}, {demand}");
                assert!(created.is_none() || claimed == created, "{case}");
                let full = limit == 1 && one.contains('b');
                assert!(created.is_none() || !full, "{case}");
                let released = plan.release.get("one").into_iter().flatten();
                let mut released =
                    released.chain(plan.claim.iter().flat_map(|claim| &claim.closed));
                let open = |attempt: &&i32| {
                    let mut pods = observed.pods.iter();
                    pods.any(|pod| pod.attempt == **attempt && observed.owns(pod) && !pod.ended())
                };
                let says_closed = [
                    "gave up",
                    "finished by somebody",
                    "terminating, told to finish",
                ];
                let lost = released.find(open);
                assert!(
                    lost.is_none() || says_closed.contains(&state),
                    "{case}: {lost:?}"
                );
            }
        }
    }
}
