//! What tests start from. The stream's name differs from every label value, so that swaps are caught.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::condition::Reason;
use api::control::{JobPhase, JobStatus, MediaMode, MediaStatus, SourceStatus};
use api::job::{ResumeFloor, StreamIdentity};
use api::live_stream::{PodIntent, Source};
use api::{LiveStreamSpec, LiveStreamStatus, names};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use presence::{Fence, StoreTime, StreamPresence};

use super::collect::{PresenceFacts, PresenceView};
use super::memory::Recollection;
use super::observed::{Observed, Polled, StreamFacts};
use super::plan::plan;
use super::pod::Fleet;
use super::pods::{PodFacts, PodState};
use super::warm::WarmView;
use crate::class::{ClassState, effective, idle_rule};
use crate::provider::Providers;
use crate::settings::TranscoderSettings;

pub(crate) const NAME: &str = "news-one";
pub(crate) const UID: &str = "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4";
pub(crate) const NAMESPACE: &str = "tv";

pub(crate) fn identity() -> StreamIdentity {
    StreamIdentity {
        namespace: NAMESPACE.to_owned(),
        name: NAME.to_owned(),
        uid: UID.to_owned(),
    }
}

pub(crate) fn spec() -> LiveStreamSpec {
    LiveStreamSpec {
        class_name: "default".to_owned(),
        sources: vec![Source {
            url: Some("http://source.example/one.ts".to_owned()),
            ..Source::default()
        }],
        replicas: 1,
        ..LiveStreamSpec::default()
    }
}

pub(crate) fn fleet() -> Fleet {
    Fleet {
        instance: "release".to_owned(),
        transcoder: TranscoderSettings {
            image: "localhost/headend-transcoder:1".to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            output_claim: "output-claim".to_owned(),
            output_affinity: false,
        },
        log_filter: "info".to_owned(),
        log_format: "json",
        job_key: None,
        otlp_endpoint: None,
    }
}

/// The moment at which tests happen: 2026-03-01T10:00:00Z.
pub(crate) const NOW: i64 = 1_772_359_200;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn now() -> Timestamp {
    at(NOW)
}

/// A stream that is wanted and for which nothing has been done yet.
pub(crate) fn observed() -> Observed {
    let class = ClassState::Missing;
    let owner = OwnerReference {
        api_version: "headend.dev/v1alpha1".to_owned(),
        kind: "LiveStream".to_owned(),
        name: NAME.to_owned(),
        uid: UID.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    Observed {
        stream: StreamFacts {
            identity: identity(),
            owner,
            object: ObjectReference::default(),
            generation: Some(4),
            resource_version: "77".to_owned(),
            created: at(NOW - 10_000),
            deleting: false,
            suspend: false,
            replicas: 1,
            hold: None,
            trace: None,
            idle: idle_rule(&spec(), &class),
            status: LiveStreamStatus::default(),
        },
        effective: effective(&spec(), &class, &Providers::new()),
        accounts: BTreeMap::new(),
        is_waited_for: false,
        pods: Vec::new(),
        warm: WarmView::default(),
        polled: Polled::default(),
        successor: None,
        has_turn: false,
        halted_by: None,
        blind: false,
        mount_trouble: None,
        presence: watched(5, 3),
        gateways: vec!["gateway-1".to_owned()],
        collects: true,
        recollection: Recollection::default(),
        fleet: Arc::new(fleet()),
    }
}

/// A store that knows of a touch so many seconds ago.
pub(crate) fn watched(seconds_ago: u64, viewers: u32) -> PresenceView {
    let now = StoreTime(1_000_000_000);
    PresenceView::Known(PresenceFacts {
        stream: StreamPresence {
            now,
            last: Some(StoreTime(now.0 - seconds_ago * 1000)),
            fence: Fence::Open,
            viewers,
        },
        flushes: BTreeMap::new(),
    })
}

/// A pod of the stream, running and ready.
pub(crate) fn pod(attempt: i32) -> PodFacts {
    PodFacts {
        name: names::pod_name(NAME, UID, attempt),
        uid: format!("pod-uid-{attempt}"),
        stream: NAME.to_owned(),
        stream_uid: UID.to_owned(),
        owner_uid: Some(UID.to_owned()),
        attempt,
        order_hash: None,
        provider: None,
        revision: None,
        provider_revisions: BTreeMap::new(),
        terminating: false,
        address: Some("10.0.0.7".parse().unwrap()),
        state: PodState::Running,
        unready_since: None,
        scheduled_since: Some(at(NOW - 100)),
    }
}

pub(crate) fn intent(attempt: i32, seen: bool) -> PodIntent {
    PodIntent {
        name: names::pod_name(NAME, UID, attempt),
        uid: seen.then(|| format!("pod-uid-{attempt}")),
        attempt,
        endpoint: seen.then(|| "10.0.0.7:8080".to_owned()),
    }
}

/// What a pod says of itself.
pub(crate) fn job(attempt: i32, phase: JobPhase) -> JobStatus {
    JobStatus {
        version: 1000,
        stream_uid: UID.to_owned(),
        attempt,
        phase,
        ready: false,
        source: SourceStatus {
            index: 0,
            since_unix_milliseconds: (NOW - 50) * 1000,
            healthy: Some(true),
            reason: Reason::Receiving,
            message: "receiving from source.example".to_owned(),
            connected: true,
        },
        account: None,
        media: Some(MediaStatus {
            video: Some("h264 High@4.0 1920x1080 25.000".to_owned()),
            audio: Some("aac LC 48000 Hz 2 ch".to_owned()),
            mode: MediaMode::Copy,
            reason: "players can take it as it is".to_owned(),
            renditions: vec!["source".to_owned()],
        }),
        first_segment_milliseconds: Some(1800),
        start: None,
        next: ResumeFloor {
            media_sequence: 500,
            discontinuity_sequence: 2,
        },
        troubles: Vec::new(),
    }
}

/// A stream whose first attempt is live, and whose status says so.
pub(crate) fn live() -> Observed {
    let mut observed = observed();
    observed.stream.status.pod = Some(intent(1, true));
    observed.stream.status.last_attempt = 1;
    observed.stream.status.started_time = Some(Time(at(NOW - 1000)));
    observed.pods = vec![pod(1)];
    observed.polled.status = Some(job(1, JobPhase::Live));
    observed.stream.status = plan(&observed, at(NOW - 900)).status;
    observed
}
