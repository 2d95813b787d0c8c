//! Gives and takes connections of providers in their status, on behalf of `apply` and of `orphans`: what a plan or `slots` decides, by
//! updates of the very version that was looked at. Decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use api::job::StreamIdentity;
use api::provider::ProviderSlot;
use api::{LiveStreamSpec, Provider};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::observed::{Account, Observed};
use super::plan::{Claiming, Leaving, Released};
use super::pods::PodFacts;
use super::providers::{Concerned, ProviderIndex, slots_of};
use super::slots::{self, Claim, Holder};
use super::{Context, Error, accounts};
use crate::provider::Providers;

/// How often the entries of a provider are tried to be written, each time on top of what somebody else has written meanwhile.
const TRIES: usize = 4;

/// The Providers that a stream names.
pub(super) fn named(index: &ProviderIndex, spec: &LiveStreamSpec) -> Providers {
    let names = spec
        .sources
        .iter()
        .filter_map(|source| source.provider.as_ref());
    let states = names.filter_map(|channel| {
        let state = index.get(&channel.name)?;
        let state = state.map(|provider| provider.spec.clone());
        Some((channel.name.clone(), state))
    });
    states.collect()
}

/// The accounts that a stream names, or has connections of.
pub(super) fn accounts(
    index: &ProviderIndex,
    named: &Providers,
    stream_uid: &str,
) -> BTreeMap<String, Account> {
    let named = named
        .keys()
        .filter_map(|name| index.get(name).and_then(Result::ok));
    let all = named.chain(index.held_by(stream_uid));
    let accounts = all.map(|provider| {
        let account = Account {
            limit: limit(&provider),
            slots: slots_of(&provider).to_vec(),
        };
        (provider.name_any(), account)
    });
    accounts.collect()
}

fn limit(provider: &Provider) -> usize {
    usize::try_from(provider.spec.maximum_connections).unwrap_or(0)
}

/// Enters a connection; with one that is entered already there is nothing to do. The Provider is read anew: the watch may be behind.
pub(super) async fn claim(
    context: &Context,
    observed: &Observed,
    claiming: &Claiming,
) -> Result<(), Error> {
    let identity = &observed.stream.identity;
    let changed = || Error::Changed {
        stream: identity.name.clone(),
    };
    let provider = context.cluster.provider(&claiming.provider).await?;
    let provider = provider.ok_or_else(changed)?;
    learn(context, &provider);
    let holder = Holder {
        stream: &identity.name,
        stream_uid: &identity.uid,
        attempt: claiming.attempt,
        request: claiming.request,
    };
    let closed = without_pod(context, identity, &observed.pods, &claiming.closed).await?;
    match slots::claim(slots_of(&provider), limit(&provider), holder, &closed) {
        Claim::Held => Ok(()),
        Claim::Take(slots) => match write(context, &provider, slots).await? {
            true => Ok(()),
            false => Err(changed()),
        },
        Claim::AfterOwn(_) | Claim::Full => Err(changed()),
    }
}

/// Drops entries of a stream.
pub(super) async fn release(
    context: &Context,
    identity: &StreamIdentity,
    pods: &[PodFacts],
    released: &Released,
) -> Result<(), Error> {
    for (name, attempts) in released {
        let attempts = without_pod(context, identity, pods, attempts).await?;
        if !attempts.is_empty() {
            let left = |slots: &[ProviderSlot]| slots::without(slots, &identity.uid, &attempts);
            drop_entries(context, name, left).await?;
        }
    }
    Ok(())
}

/// Drops entries of an attempt that has connections of another account by now.
pub(super) async fn leave(
    context: &Context,
    identity: &StreamIdentity,
    leaving: &Leaving,
) -> Result<(), Error> {
    let (attempt, request) = (leaving.attempt, leaving.request);
    let left =
        |slots: &[ProviderSlot]| slots::after_leaving(slots, &identity.uid, attempt, request);
    for name in &leaving.providers {
        drop_entries(context, name, left).await?;
    }
    Ok(())
}

async fn drop_entries(
    context: &Context,
    name: &str,
    left: impl Fn(&[ProviderSlot]) -> Vec<ProviderSlot>,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let Some(provider) = context.cluster.provider(name).await? else {
            return Ok(());
        };
        learn(context, &provider);
        let left = left(slots_of(&provider));
        if left.len() == slots_of(&provider).len() || write(context, &provider, left).await? {
            return Ok(());
        }
    }
    Err(Error::Changed {
        stream: name.to_owned(),
    })
}

/// Of these attempts those that have no pod, and those whose pod is known to be there and is therefore judged already. The watch may be
/// behind, so the API server has the last word on a pod that is not known.
async fn without_pod(
    context: &Context,
    identity: &StreamIdentity,
    pods: &[PodFacts],
    attempts: &BTreeSet<i32>,
) -> Result<BTreeSet<i32>, Error> {
    let mut gone = attempts.clone();
    for attempt in attempts {
        let is_known = pods.iter().any(|pod| pod.attempt == *attempt);
        if !is_known && context.cluster.has_pod(&identity.uid, *attempt).await? {
            gone.remove(attempt);
        }
    }
    Ok(gone)
}

/// Writes the entries of this very version of a Provider, with what they come to; false when it is not the current one.
async fn write(
    context: &Context,
    provider: &Provider,
    slots: Vec<ProviderSlot>,
) -> Result<bool, Error> {
    let status = accounts::status(provider, slots, Timestamp::now());
    let written = context
        .cluster
        .write_provider_status(provider, &status)
        .await?;
    if let Some(written) = &written {
        learn(context, written);
    }
    Ok(written.is_some())
}

fn learn(context: &Context, provider: &Provider) {
    for stream in context.providers.learn(provider) {
        context.triggers.send(&stream);
    }
}

/// Says of which Providers a stream waits for a connection, and wakes those who have one and perhaps nobody who watches.
pub(super) fn wait(context: &Context, identity: &StreamIdentity, providers: &[String]) {
    let waits = Concerned {
        stream: identity.name.clone(),
        stream_uid: identity.uid.clone(),
    };
    for stream in context.providers.wait(&waits, providers) {
        context.triggers.send(&stream);
    }
}

/// Drops the entries of a stream that is gone, as far as they have no connection: `closed` are uids of pods that said so.
pub(super) async fn release_gone(
    context: &Context,
    identity: &StreamIdentity,
    pods: &[PodFacts],
    closed: &BTreeSet<String>,
) -> Result<(), Error> {
    let is_open = |attempt: &i32| {
        let mut pods = pods.iter();
        let pod = pods.find(|pod| pod.attempt == *attempt);
        pod.is_some_and(|pod| !pod.ended() && !closed.contains(&pod.uid))
    };
    let held = context.providers.held_by(&identity.uid);
    let released = held.iter().map(|provider| {
        let mut attempts = slots::attempts(slots_of(provider), &identity.uid);
        attempts.retain(|attempt| !is_open(attempt));
        (provider.name_any(), attempts)
    });
    release(context, identity, pods, &released.collect()).await
}
