//! What becomes of a pod's wish for a connection of another account, when its sources have failed and its job has others in reserve: which
//! one it is given, and what it has left. Pure. A number of a request that the pod has not told of is never judged: see "Grants" in
//! `api::control`.

use api::control::AccountStatus;

use super::grants;
use crate::live_stream::observed::Observed;
use crate::live_stream::pods::PodFacts;
use crate::live_stream::slots::{self, Claim};

/// What follows from what a pod asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish<'a> {
    /// It asks for nothing that it could be given.
    Nothing,
    /// It gets a connection of this Provider.
    Grant {
        /// Name of the Provider.
        provider: &'a str,
        /// Which of its requests that answers.
        request: i32,
    },
    /// Others have all connections of these.
    Wait(Vec<&'a str>),
}

/// Entries that an attempt has no use for any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// Of these Providers.
    pub(crate) providers: Vec<String>,
    pub(crate) attempt: i32,
    /// For its requests up to this one.
    pub(crate) request: i32,
}

/// What the pod says of its account.
fn account<'a>(observed: &'a Observed, pod: &PodFacts) -> Option<&'a AccountStatus> {
    let job = observed.polled.status.as_ref();
    job.filter(|job| job.attempt == pod.attempt)?
        .account
        .as_ref()
}

/// The Provider of whose connections a pod has one: as it says, or as it was made.
pub(super) fn in_use<'a>(observed: &'a Observed, pod: &'a PodFacts) -> Option<&'a str> {
    match account(observed, pod) {
        Some(account) => account.provider.as_deref(),
        None => pod.provider.as_deref(),
    }
}

/// The last request of which it is known what came of it.
fn last_over(account: &AccountStatus) -> i32 {
    match account.wants.is_empty() {
        true => account.request,
        false => account.request.saturating_sub(1),
    }
}

/// What a pod is given. Only what its job has in reserve as people have it now: else the next attempt has it.
pub(super) fn wish<'a>(observed: &'a Observed, pod: &PodFacts) -> Wish<'a> {
    let Ok(effective) = &observed.effective else {
        return Wish::Nothing;
    };
    let asks = pod.listens() && pod.revision.as_ref() == Some(&effective.revision);
    let Some(account) = account(observed, pod).filter(|_| asks) else {
        return Wish::Nothing;
    };
    let is_current = |provider: &&str| {
        let made = pod.provider_revisions.get(*provider);
        made.is_some() && made == effective.provider_revisions.get(*provider)
    };
    let wanted = account.wants.iter().map(String::as_str);
    let wanted: Vec<_> = wanted.filter(is_current).collect();
    let find = |is_it: fn(&Claim) -> bool| {
        let mut wanted = wanted.iter().copied();
        wanted.find(|name| is_it(&grants::claim(observed, name, pod.attempt, account.request)))
    };
    let entered = find(|claim| *claim == Claim::Held);
    let provider = entered.or_else(|| find(|claim| matches!(claim, Claim::Take(_))));
    match provider {
        Some(provider) => Wish::Grant {
            provider,
            request: account.request,
        },
        None if wanted.is_empty() => Wish::Nothing,
        None => Wish::Wait(wanted),
    }
}

/// Whether a pod is told of a connection, which may not reach it, or leaves one, which may be the one that it asks for.
pub(super) fn is_underway(observed: &Observed, pod: &PodFacts) -> bool {
    let is_told = matches!(wish(observed, pod), Wish::Grant { .. });
    is_told || leaving(observed).is_some()
}

/// The Provider of whose connections a pod has one that is not entered, as with a Provider that was made anew, and the request for which it
/// is to be.
pub(super) fn lost<'a>(observed: &'a Observed, pod: &'a PodFacts) -> Option<(&'a str, i32)> {
    let provider = in_use(observed, pod)?;
    let said = account(observed, pod);
    // Before it is heard it may have any that is entered for it.
    let uid = &observed.stream.identity.uid;
    let mut accounts = observed.accounts.values();
    let has_other =
        accounts.any(|account| slots::attempts(&account.slots, uid).contains(&pod.attempt));
    if said.is_none() && has_other {
        return None;
    }
    let request = said.map_or(0, last_over);
    let claim = grants::claim(observed, provider, pod.attempt, request);
    matches!(claim, Claim::Take(_)).then_some((provider, request))
}

/// What the attempt that was heard last has left.
pub(super) fn leaving(observed: &Observed) -> Option<Leaving> {
    let job = observed.polled.status.as_ref()?;
    let account = job.account.as_ref()?;
    let request = last_over(account);
    let uid = &observed.stream.identity.uid;
    let others = observed
        .accounts
        .iter()
        .filter(|(name, _)| account.provider.as_ref() != Some(*name));
    let left = others.filter(|(_, other)| {
        let rest = slots::after_leaving(&other.slots, uid, job.attempt, request);
        rest.len() < other.slots.len()
    });
    let providers: Vec<_> = left.map(|(name, _)| name.clone()).collect();
    (!providers.is_empty()).then_some(Leaving {
        providers,
        attempt: job.attempt,
        request,
    })
}
