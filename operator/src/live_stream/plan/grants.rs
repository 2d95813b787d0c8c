//! Which connection of which provider an attempt gets, which it gives back, and what it waits for. Pure.
//! An attempt has sources of one account at a time: an account that only stands by would keep others from it. One that runs may ask for
//! another (`wishes`).

use std::collections::{BTreeMap, BTreeSet};

use api::condition::Reason;
use api::control::JobPhase;

use super::course::Course;
use super::rollout;
use super::wishes::{self, Wish};
use crate::class::{Effective, Refusal, provider_of};
use crate::live_stream::observed::{Account, Observed};
use crate::live_stream::pods::PodFacts;
use crate::live_stream::slots::{self, Claim, Holder};
use crate::text::clipped;

/// What an attempt may be made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grant {
    /// With a connection of this Provider, or without one.
    Now(Option<String>),
    /// With one that an earlier attempt of the same stream still has.
    AfterOwn { provider: String, attempt: i32 },
    /// Others have all of them.
    Refused(Refusal),
}

/// A connection that is entered before its pod is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claiming {
    pub(crate) provider: String,
    pub(crate) attempt: i32,
    /// The request of that attempt that it answers, 0 for what the attempt is made with.
    pub(crate) request: i32,
    /// Attempts of the stream whose entries go with it.
    pub(crate) closed: BTreeSet<i32>,
    /// The pod that is told that it has it, since it asked for it.
    pub(crate) told: Option<PodFacts>,
}

/// Attempts of the stream that have no connection any more, by Provider.
pub(crate) type Released = BTreeMap<String, BTreeSet<i32>>;

/// The first account, in the order of the sources, that an attempt can have a connection of. After a failure of its sources the search
/// begins behind the account that failed.
pub(super) fn choose(
    observed: &Observed,
    effective: &Effective,
    attempt: i32,
    after_failure: bool,
) -> Grant {
    let mut accounts = effective.accounts();
    if after_failure {
        let failed = failed_account(observed, effective, &accounts);
        let behind = failed.map_or(0, |failed| failed + 1) % accounts.len().max(1);
        accounts.rotate_left(behind);
    }
    let claims = accounts.iter().map(|account| match account {
        None => (None, Claim::Held),
        Some(provider) => (Some(*provider), claim(observed, provider, attempt, 0)),
    });
    let claims: Vec<_> = claims.collect();
    // What was entered for this attempt already is what it was meant to have.
    let entered = claims
        .iter()
        .find(|(provider, claim)| provider.is_some() && *claim == Claim::Held);
    let usable = claims.iter().find(|(_, claim)| *claim != Claim::Full);
    match entered.or(usable) {
        None => Grant::Refused(exhausted(observed, &accounts)),
        Some((Some(provider), Claim::AfterOwn(attempt))) => Grant::AfterOwn {
            provider: (*provider).to_owned(),
            attempt: *attempt,
        },
        Some((provider, _)) => Grant::Now(provider.map(str::to_owned)),
    }
}

/// What an attempt can have at once beside the one that plays: a connection of this Provider, or none where it needs none. `None` where
/// it would have to wait.
pub(super) fn beside(observed: &Observed, attempt: i32) -> Option<Option<String>> {
    let effective = observed.effective.as_ref().ok()?;
    match choose(observed, effective, attempt, false) {
        Grant::Now(provider) => Some(provider),
        Grant::AfterOwn { .. } | Grant::Refused(_) => None,
    }
}

/// Where the account stands of the source that was in use.
fn failed_account(
    observed: &Observed,
    effective: &Effective,
    accounts: &[Option<&str>],
) -> Option<usize> {
    let index = observed.stream.status.source.as_ref()?.index;
    let source = effective
        .sources
        .iter()
        .find(|source| source.index == index)?;
    accounts
        .iter()
        .position(|account| *account == provider_of(source))
}

pub(super) fn claim(observed: &Observed, provider: &str, attempt: i32, request: i32) -> Claim {
    // A Provider that is not there any more has been refused before.
    let Some(account) = observed.accounts.get(provider) else {
        return Claim::Full;
    };
    let identity = &observed.stream.identity;
    let holder = Holder {
        stream: &identity.name,
        stream_uid: &identity.uid,
        attempt,
        request,
    };
    let closed = closed(observed, account, attempt);
    slots::claim(&account.slots, account.limit, holder, &closed)
}

fn exhausted(observed: &Observed, accounts: &[Option<&str>]) -> Refusal {
    let accounts: Vec<&str> = accounts.iter().copied().flatten().collect();
    let message = format!(
        "{}; it starts as soon as one of them is given up",
        who_has(observed, &accounts)
    );
    Refusal {
        reason: Reason::ProviderSlotsExhausted,
        message: clipped(&message),
    }
}

/// Who has the connections of these Providers.
pub(super) fn who_has(observed: &Observed, providers: &[&str]) -> String {
    let accounts = providers.iter().filter_map(|provider| {
        let account = observed.accounts.get(*provider)?;
        let holders = slots::holders(&account.slots).join(", ");
        let (used, limit) = (account.slots.len(), account.limit);
        Some(format!(
            "{used} of {limit} connections of Provider {provider} are in use, by {holders}"
        ))
    });
    accounts.collect::<Vec<_>>().join("; ")
}

/// The connection that has to be entered for this course, if any.
pub(super) fn claiming(observed: &Observed, course: &Course) -> Option<Claiming> {
    let (provider, attempt, request, told) = match course {
        Course::Start {
            attempt,
            grant: Grant::Now(Some(provider)),
            ..
        }
        | Course::Prepare {
            attempt,
            provider: Some(provider),
            ..
        } => (provider.as_str(), *attempt, 0, None),
        Course::Create(Some(provider)) => {
            let intent = observed.stream.status.pod.as_ref()?;
            (provider.as_str(), intent.attempt, 0, None)
        }
        Course::Keep(pod) if !is_closed(observed, pod) => {
            match (wishes::lost(observed, pod), wishes::wish(observed, pod)) {
                (Some((provider, request)), _) => (provider, pod.attempt, request, None),
                (None, Wish::Grant { provider, request }) => {
                    (provider, pod.attempt, request, Some(pod.clone()))
                }
                (None, Wish::Nothing | Wish::Wait(_)) => return None,
            }
        }
        _ => return None,
    };
    let account = observed.accounts.get(provider)?;
    Some(Claiming {
        provider: provider.to_owned(),
        attempt,
        request,
        closed: closed(observed, account, attempt),
        told,
    })
}

/// The entries that go, those left out that go with a claim.
pub(super) fn released(
    observed: &Observed,
    course: &Course,
    claiming: Option<&Claiming>,
) -> Released {
    let next = match course {
        Course::Start { attempt, .. } | Course::Prepare { attempt, .. } => Some(*attempt),
        Course::Create(_) => observed.stream.status.pod.as_ref().map(|pod| pod.attempt),
        _ => None,
    };
    let accounts = observed.accounts.iter();
    let accounts =
        accounts.filter(|(name, _)| claiming.is_none_or(|claiming| claiming.provider != **name));
    let released = accounts.map(|(name, account)| {
        let mut closed = closed(observed, account, next.unwrap_or(i32::MAX));
        closed.retain(|attempt| Some(*attempt) != next);
        (name.clone(), closed)
    });
    released.filter(|(_, closed)| !closed.is_empty()).collect()
}

/// The Providers that the stream waits for a connection of.
pub(super) fn waits_for(observed: &Observed, course: &Course) -> Vec<String> {
    if let Course::Keep(pod) = course
        && let Wish::Wait(providers) = wishes::wish(observed, pod)
    {
        let providers = providers.into_iter().map(str::to_owned);
        // What nobody watches takes nothing from others.
        let is_watched = rollout::is_watched(observed);
        return providers.filter(|_| is_watched).collect();
    }
    match (course, &observed.effective) {
        (Course::Refused(refusal), Ok(effective))
            if refusal.reason == Reason::ProviderSlotsExhausted =>
        {
            let accounts = effective.accounts().into_iter().flatten();
            accounts.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// Earlier attempts of the stream that have an entry and no connection.
fn closed(observed: &Observed, account: &Account, attempt: i32) -> BTreeSet<i32> {
    let mut attempts = slots::attempts(&account.slots, &observed.stream.identity.uid);
    let last = observed.stream.status.last_attempt;
    // An entry of a later attempt than the status knows of says that the status is out of date.
    attempts.retain(|one| *one < attempt && *one <= last && !is_connected(observed, *one));
    attempts
}

fn is_connected(observed: &Observed, attempt: i32) -> bool {
    let mut pods = observed.pods.iter();
    let pod = pods.find(|pod| observed.owns(pod) && pod.attempt == attempt);
    pod.is_some_and(|pod| !is_closed(observed, pod))
}

/// Whether a pod that is still there has no connection and will have none: it said so, or nothing of it runs any more.
fn is_closed(observed: &Observed, pod: &PodFacts) -> bool {
    let jobs = [&observed.polled.status, &observed.successor];
    let says = jobs.into_iter().flatten().any(|job| {
        let over = matches!(job.phase, JobPhase::Finished | JobPhase::Failed);
        job.attempt == pod.attempt && over && !job.source.connected
    });
    pod.ended() || says || observed.recollection.closed.contains(&pod.uid)
}
