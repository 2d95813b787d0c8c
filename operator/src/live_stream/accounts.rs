//! What the status of a Provider says besides its entries: whether it can be used, and who has its connections. The decision is pure;
//! the task writes it where a Provider was made or changed, and nothing while nothing changes.

use std::sync::Arc;

use api::Provider;
use api::condition::{ConditionStatus, ConditionType, Finding, Reason, set_condition};
use api::provider::{ProviderSlot, ProviderStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::mpsc;

use super::providers::slots_of;
use super::{Context, slots};
use crate::provider::obstacle;
use crate::text::clipped;

/// The status of a Provider with these entries.
pub(super) fn status(
    provider: &Provider,
    slots: Vec<ProviderSlot>,
    now: Timestamp,
) -> ProviderStatus {
    let mut status = provider.status.clone().unwrap_or_default();
    let generation = provider.metadata.generation;
    status.observed_generation = generation;
    status.used = i32::try_from(slots.len()).unwrap_or(i32::MAX);
    // Whole seconds are what the API keeps: more would differ from what is read back.
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    for finding in [ready(provider), available(provider, &slots)] {
        set_condition(&mut status.conditions, &finding, generation, &now);
    }
    status.slots = slots;
    status
}

fn ready(provider: &Provider) -> Finding {
    let obstacle = obstacle(&provider.spec);
    let (status, reason, message) = match obstacle {
        None => (
            ConditionStatus::True,
            Reason::Usable,
            "its channels can be played".to_owned(),
        ),
        Some(obstacle) => (
            ConditionStatus::False,
            Reason::InvalidSpec,
            format!("the Provider {obstacle}"),
        ),
    };
    Finding {
        kind: ConditionType::Ready,
        status,
        reason,
        message,
    }
}

fn available(provider: &Provider, slots: &[ProviderSlot]) -> Finding {
    let limit = provider.spec.maximum_connections;
    let used = i32::try_from(slots.len()).unwrap_or(i32::MAX);
    let (status, reason) = match used < limit {
        true => (ConditionStatus::True, Reason::ProviderSlotFree),
        false => (ConditionStatus::False, Reason::ProviderSlotsExhausted),
    };
    let holders = slots::holders(slots).join(", ");
    let by = if slots.is_empty() { "" } else { ", by " };
    let message = format!("{used} of {limit} connections are in use{by}{holders}");
    Finding {
        kind: ConditionType::Available,
        status,
        reason,
        message: clipped(&message),
    }
}

/// Tells of each Provider that was changed, and of all of them after a change of the leader. Runs until it is dropped.
pub(super) async fn run(context: Arc<Context>, mut changed: mpsc::UnboundedReceiver<String>) {
    let mut leadership = context.leadership.clone();
    loop {
        tokio::select! {
            name = changed.recv() => match name {
                Some(name) if leadership.leads() => tell(&context, &name).await,
                // Whoever leads tells it.
                Some(_) => {}
                None => return,
            },
            leads = leadership.changed() => if leads {
                for provider in context.providers.all() {
                    tell(&context, &provider.name_any()).await;
                }
            },
        }
    }
}

async fn tell(context: &Context, name: &str) {
    let Some(Ok(provider)) = context.providers.get(name) else {
        return;
    };
    let status = status(&provider, slots_of(&provider).to_vec(), Timestamp::now());
    if provider.status.as_ref() == Some(&status) {
        return;
    }
    let written = context
        .cluster
        .write_provider_status(&provider, &status)
        .await;
    match written {
        Ok(Some(written)) => {
            context.providers.learn(&written);
        }
        // Whoever has changed it brings it here again.
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(provider.name = name, %error, "failed to tell what is known of a Provider");
        }
    }
}

#[cfg(test)]
mod tests {
    use api::condition::find_condition;
    use serde_json::json;

    use super::*;

    fn provider(spec: serde_json::Value) -> Provider {
        let mut provider = Provider::new("panel", serde_json::from_value(spec).unwrap());
        provider.metadata.generation = Some(3);
        provider
    }

    fn slot(stream: &str) -> ProviderSlot {
        ProviderSlot {
            stream_uid: format!("uid-{stream}"),
            attempt: 1,
            stream: stream.to_owned(),
            request: 0,
        }
    }

    fn said(status: &ProviderStatus, kind: ConditionType) -> (String, String, String) {
        let condition = find_condition(&status.conditions, kind).unwrap();
        (
            condition.status.clone(),
            condition.reason.clone(),
            condition.message.clone(),
        )
    }

    #[test]
    fn the_status_says_who_has_the_connections_and_changes_only_with_them() {
        let spec = json!({ "type": "Xtream", "url": "http://a.example", "secretName": "headend-source-a", "maximumConnections": 2 });
        let mut panel = provider(spec);
        let at = |second| Timestamp::from_second(second).unwrap();
        for (holders, expected) in [
            (
                &[][..],
                ("True", "ProviderSlotFree", "0 of 2 connections are in use"),
            ),
            (
                &["news"],
                (
                    "True",
                    "ProviderSlotFree",
                    "1 of 2 connections are in use, by news",
                ),
            ),
            (
                &["sport", "news"],
                (
                    "False",
                    "ProviderSlotsExhausted",
                    "2 of 2 connections are in use, by news, sport",
                ),
            ),
        ] {
            let slots: Vec<_> = holders.iter().map(|stream| slot(stream)).collect();
            let told = status(&panel, slots.clone(), at(10));
            let (value, reason, message) = said(&told, ConditionType::Available);
            assert_eq!((&value[..], &reason[..], &message[..]), expected);
            assert_eq!(usize::try_from(told.used), Ok(holders.len()));
            panel.status = Some(told.clone());
            assert_eq!(status(&panel, slots, at(20)), told, "nothing is news");
        }
    }

    #[test]
    fn a_provider_that_cannot_be_used_says_what_to_do() {
        let spec = json!({ "type": "Xtream", "url": "http://a.example" });
        let told = status(&provider(spec), Vec::new(), Timestamp::UNIX_EPOCH);
        let (value, reason, message) = said(&told, ConditionType::Ready);
        assert_eq!((&value[..], &reason[..]), ("False", "InvalidSpec"));
        assert!(message.contains("spec.secretName"), "{message}");
    }
}
