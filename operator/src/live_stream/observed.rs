//! What a plan is made from, as plain data. Reads nothing and decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::LiveStreamStatus;
use api::control::JobStatus;
use api::job::StreamIdentity;
use api::provider::ProviderSlot;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use runtime::trace::TraceContext;

use super::collect::PresenceView;
use super::memory::Recollection;
use super::pod::Fleet;
use super::pods::PodFacts;
use super::warm::WarmView;
use crate::class::{Effective, IdleRule, Refusal};

/// How long readiness and poll must both have been bad before a pod counts as lost.
pub(crate) const UNREACHABLE_AFTER: Duration = Duration::from_secs(15);

/// A pod that takes longer than this from node to container has its mounts looked into.
pub(crate) const MOUNTS_SUSPECT_AFTER: Duration = Duration::from_secs(10);

/// Everything a plan is made from.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) stream: StreamFacts,
    /// How it runs, or why it cannot.
    pub(crate) effective: Result<Effective, Refusal>,
    /// The accounts that it has, or may have, connections of.
    pub(crate) accounts: BTreeMap<String, Account>,
    /// Another stream waits for a connection of an account that this one has one of.
    pub(crate) is_waited_for: bool,
    /// The transcoder pods labelled for it, and the one its status names.
    pub(crate) pods: Vec<PodFacts>,
    /// Pods that wait for a stream, as far as it may take one.
    pub(crate) warm: WarmView,
    /// What the named pod says of itself.
    pub(crate) polled: Polled,
    /// What the pod that is to take over says of itself.
    pub(crate) successor: Option<JobStatus>,
    /// Its pod is the one to be replaced now, where class, sources or Provider have changed.
    pub(crate) has_turn: bool,
    /// The stream whose pod should have been replaced by now, and plays nothing yet: it is waited for.
    pub(crate) halted_by: Option<String>,
    /// So many pods are silent at once that the fault is not theirs.
    pub(crate) blind: bool,
    /// Why the named pod's volumes cannot be mounted.
    pub(crate) mount_trouble: Option<Refusal>,
    pub(crate) presence: PresenceView,
    /// Gateways that may have viewers.
    pub(crate) gateways: Vec<String>,
    /// Whether the release collects at all.
    pub(crate) collects: bool,
    pub(crate) recollection: Recollection,
    pub(crate) fleet: Arc<Fleet>,
}

/// An account at a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Connections that it allows.
    pub(crate) limit: usize,
    /// Who has them.
    pub(crate) slots: Vec<ProviderSlot>,
}

/// The LiveStream.
#[derive(Debug, Clone)]
pub(crate) struct StreamFacts {
    pub(crate) identity: StreamIdentity,
    pub(crate) owner: OwnerReference,
    /// What its events are about.
    pub(crate) object: ObjectReference,
    pub(crate) generation: Option<i64>,
    pub(crate) resource_version: String,
    pub(crate) created: Timestamp,
    pub(crate) deleting: bool,
    pub(crate) suspend: bool,
    pub(crate) replicas: i32,
    /// Why a person wants it left as it is, if one does.
    pub(crate) hold: Option<String>,
    /// The trace of the start that a gateway began.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) idle: IdleRule,
    pub(crate) status: LiveStreamStatus,
}

/// What a pod says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Polled {
    /// Its last word.
    pub(crate) status: Option<JobStatus>,
    /// For how long it has not answered; zero while it does, and before it is asked.
    pub(crate) unreachable_for: Duration,
}

impl Observed {
    /// Whether a pod belongs to this very LiveStream, not to one of the same name.
    pub(crate) fn owns(&self, pod: &PodFacts) -> bool {
        pod.owner_uid.as_ref() == Some(&self.stream.identity.uid)
    }
}

/// How long ago, never negative.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
