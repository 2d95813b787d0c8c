//! What a gateway keeps of a LiveStream: a fraction of the object, and what it means for viewers. Pure.

use std::sync::Arc;

use api::LiveStream;
use api::condition::{ConditionType, Reason, find_condition};
use api::job::StreamIdentity;
use api::live_stream::Phase;
use api::names;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

use crate::directory::{OwnChannel, PodView, Refusal, StreamPhase, StreamSummary, StreamView};

/// What is known of one LiveStream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Which one it is.
    pub(super) identity: Arc<StreamIdentity>,
    /// Grows with each change; 0 when the server's is no number.
    pub(super) version: u64,
    /// A gateway made it.
    pub(super) gateway_made: bool,
    /// The catalog entry it was made from.
    pub(super) revision: Option<String>,
    /// When a gateway woke it last.
    pub(super) woken_at: Option<Timestamp>,
    /// The name that people read.
    pub(super) display_name: Option<String>,
    /// What the operator says it does.
    pub(super) told: Phase,
    /// What followers see.
    pub(super) view: Arc<StreamView>,
}

/// The resource version as a number. Servers promise that later ones are greater since Kubernetes 1.35, and never did otherwise.
pub(super) fn version(metadata: &ObjectMeta) -> u64 {
    let text = metadata.resource_version.as_deref().unwrap_or_default();
    text.parse().unwrap_or(0)
}

impl Record {
    /// Reads an object; `None` when it lacks what every object in a cluster has.
    pub(super) fn read(object: &LiveStream) -> Option<Self> {
        let metadata = &object.metadata;
        let identity = Arc::new(StreamIdentity {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
        });
        let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).cloned();
        let origin = metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(names::LABEL_ORIGIN));
        Some(Self {
            version: version(metadata),
            gateway_made: origin.is_some_and(|origin| origin == names::ORIGIN_GATEWAY),
            revision: annotation(names::ANNOTATION_CHANNEL_REVISION),
            woken_at: annotation(names::ANNOTATION_WOKEN_AT).and_then(|text| text.parse().ok()),
            display_name: object.spec.display_name.clone(),
            told: told(object),
            view: Arc::new(view(object, &identity)),
            identity,
        })
    }

    /// The stream as administrators see it.
    pub(super) fn summary(&self) -> StreamSummary {
        StreamSummary {
            identity: self.identity.clone(),
            display_name: self.display_name.clone(),
            phase: self.told,
            refusal: self.view.refusal.clone(),
        }
    }

    /// The channel that a hand-made stream is.
    pub(super) fn own_channel(&self) -> Option<OwnChannel> {
        (!self.gateway_made && self.view.phase != StreamPhase::Ending).then(|| OwnChannel {
            slug: self.identity.name.clone(),
            display_name: self.display_name.clone(),
        })
    }
}

fn view(object: &LiveStream, identity: &Arc<StreamIdentity>) -> StreamView {
    let status = object.status.as_ref();
    let pod = status.and_then(|status| status.pod.as_ref());
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    let warm = status.map_or(&[][..], |status| &status.warm_attempts);
    StreamView {
        phase: phase(object),
        identity: Some(identity.clone()),
        pod: pod.map(|pod| PodView {
            attempt: pod.attempt,
            endpoint: pod.endpoint.clone(),
        }),
        warm_attempts: warm.to_vec(),
        refusal: refusal(conditions),
    }
}

/// The operator's word; before it has one, what is wished for.
fn told(object: &LiveStream) -> Phase {
    let told = object.status.as_ref().and_then(|status| status.phase);
    told.unwrap_or(match phase(object) {
        StreamPhase::Ending => Phase::Stopping,
        StreamPhase::Suspended => Phase::Suspended,
        StreamPhase::Stopped | StreamPhase::Absent => Phase::Idle,
        StreamPhase::Wanted => Phase::Pending,
    })
}

fn phase(object: &LiveStream) -> StreamPhase {
    if object.metadata.deletion_timestamp.is_some() {
        return StreamPhase::Ending;
    }
    match (object.spec.suspend, object.spec.replicas) {
        (true, _) => StreamPhase::Suspended,
        (false, 0) => StreamPhase::Stopped,
        (false, _) => StreamPhase::Wanted,
    }
}

/// What keeps the stream from being played, if its conditions say so for certain.
fn refusal(conditions: &[Condition]) -> Option<Refusal> {
    const SPEAKING: [ConditionType; 2] = [ConditionType::Provisioned, ConditionType::SourceHealthy];
    SPEAKING.into_iter().find_map(|kind| {
        let condition = find_condition(conditions, kind)?;
        let idle = [
            Reason::NotWanted,
            Reason::Suspended,
            Reason::PodPending,
            Reason::Connecting,
        ];
        let at_rest = idle
            .iter()
            .any(|reason| reason.as_str() == condition.reason);
        (condition.status == "False" && !at_rest)
            .then(|| Refusal::told(&condition.reason, &condition.message))
    })
}

#[cfg(test)]
mod tests {
    use api::condition::{ConditionStatus, Finding, set_condition};
    use api::live_stream::{LiveStreamStatus, PodIntent};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::directory::kubernetes::testing::object;

    fn read(object: &LiveStream) -> Record {
        Record::read(object).unwrap()
    }

    fn refused_by(kind: ConditionType, status: ConditionStatus, reason: Reason) -> Option<Refusal> {
        let mut object = object("news-one", "uid-1", 7);
        let finding = Finding {
            kind,
            status,
            reason,
            message: "so it is".to_owned(),
        };
        let mut status = LiveStreamStatus::default();
        let now = Time("2026-06-01T12:00:00Z".parse().unwrap());
        set_condition(&mut status.conditions, &finding, Some(1), &now);
        object.status = Some(status);
        read(&object).view.refusal.clone()
    }

    #[test]
    fn a_record_keeps_what_viewers_need() {
        let mut object = object("news-one", "uid-1", 7);
        object.status = Some(LiveStreamStatus {
            pod: Some(PodIntent {
                name: "news-one-x-3".to_owned(),
                uid: None,
                attempt: 3,
                endpoint: Some("198.18.1.10:8080".to_owned()),
            }),
            ..LiveStreamStatus::default()
        });
        let record = read(&object);
        assert_eq!(record.version, 7);
        assert!(record.gateway_made && record.own_channel().is_none());
        let expected = StreamView {
            phase: StreamPhase::Wanted,
            identity: Some(record.identity.clone()),
            pod: Some(PodView {
                attempt: 3,
                endpoint: Some("198.18.1.10:8080".to_owned()),
            }),
            warm_attempts: Vec::new(),
            refusal: None,
        };
        assert_eq!(*record.view, expected);
        assert_eq!(record.identity.uid, "uid-1");
    }

    #[test]
    fn a_stream_does_what_the_operator_says_and_before_that_what_is_wished_for() {
        let mut object = object("news-one", "uid-1", 7);
        assert_eq!(read(&object).summary().phase, Phase::Pending);
        object.spec.suspend = true;
        assert_eq!(read(&object).summary().phase, Phase::Suspended);
        object.status = Some(LiveStreamStatus {
            phase: Some(Phase::Stopping),
            ..LiveStreamStatus::default()
        });
        let summary = read(&object).summary();
        assert_eq!(summary.phase, Phase::Stopping);
        assert_eq!(summary.display_name.as_deref(), Some("News One"));
    }

    #[test]
    fn a_stream_made_by_hand_is_a_channel_of_its_own() {
        let mut object = object("news-one", "uid-1", 7);
        object.metadata.labels = None;
        let expected = OwnChannel {
            slug: "news-one".to_owned(),
            display_name: Some("News One".to_owned()),
        };
        assert_eq!(read(&object).own_channel(), Some(expected));
        object.metadata.deletion_timestamp = Some(Time("2026-06-01T12:00:00Z".parse().unwrap()));
        assert_eq!(read(&object).own_channel(), None);
    }

    #[test]
    fn only_what_is_known_to_be_wrong_refuses_viewers() {
        use ConditionStatus::{False, True, Unknown};
        use ConditionType::{Provisioned, Ready, SourceHealthy};
        let refused =
            |kind, status, reason| refused_by(kind, status, reason).map(|refusal| refusal.lasting);
        assert_eq!(refused(SourceHealthy, False, Reason::HttpError), Some(true));
        assert_eq!(
            refused(SourceHealthy, False, Reason::ConnectFailed),
            Some(false)
        );
        assert_eq!(
            refused(Provisioned, False, Reason::ClassNotFound),
            Some(true)
        );
        assert_eq!(
            refused(Provisioned, False, Reason::PodUnschedulable),
            Some(false)
        );
        assert_eq!(refused(Provisioned, False, Reason::NotWanted), None);
        assert_eq!(refused(Provisioned, False, Reason::PodPending), None);
        assert_eq!(refused(SourceHealthy, Unknown, Reason::Connecting), None);
        assert_eq!(refused(SourceHealthy, True, Reason::Receiving), None);
        assert_eq!(refused(Ready, False, Reason::Replacing), None);
        let refusal = refused_by(SourceHealthy, False, Reason::Silent).unwrap();
        assert_eq!(refusal, Refusal::passing(Reason::Silent, "so it is"));
    }
}
