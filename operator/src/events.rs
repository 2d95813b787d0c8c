//! Kubernetes events: what happened to a stream, for `kubectl describe`. Reasons are stable. Publishing never holds a reconcile up;
//! an event that cannot be published is dropped and logged.

use std::time::Duration;

use api::LiveStreamStatus;
use api::condition::{ConditionStatus, Reason};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::text::clipped;

/// Events that may wait to be published.
const QUEUE: usize = 1024;
/// After so many the recorder begins anew: it keeps each for six minutes, some 4 kB, to count those that come again.
const REMEMBERED: usize = 128;
/// How long publishing one may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) warning: bool,
    pub(crate) reason: String,
    pub(crate) action: &'static str,
    pub(crate) note: String,
    /// The pod it is about, besides the stream: what happens to another pod is another event.
    pub(crate) pod: Option<String>,
}

/// Where events are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<(ObjectReference, Notice)>,
}

/// Where they come out.
pub(crate) struct Publisher {
    client: Client,
    receiver: mpsc::Receiver<(ObjectReference, Notice)>,
}

impl Events {
    pub(crate) fn new(client: Client) -> (Self, Publisher) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender }, Publisher { client, receiver })
    }

    /// Tells what the change of a status means.
    pub(crate) fn changed(
        &self,
        stream: &ObjectReference,
        old: &LiveStreamStatus,
        new: &LiveStreamStatus,
    ) {
        for notice in notices(old, new) {
            self.tell(stream, notice);
        }
    }

    /// Tells that nobody watches a stream any more; whether it gave way to one that waited for its connection.
    pub(crate) fn collected(&self, stream: &ObjectReference, timeout: Duration, gives_way: bool) {
        let seconds = timeout.as_secs();
        let note = match gives_way {
            true => "nobody watches it, and another stream waited for its connection of a provider"
                .to_owned(),
            false => format!("nobody has watched for {seconds} s"),
        };
        self.tell(
            stream,
            Notice {
                warning: false,
                reason: "Collected".to_owned(),
                action: "Collect",
                note,
                pod: None,
            },
        );
    }

    /// Tells that an object cannot be read.
    pub(crate) fn malformed(&self, stream: &ObjectReference, error: &str) {
        self.tell(
            stream,
            Notice {
                warning: true,
                reason: "Malformed".to_owned(),
                action: "Reconcile",
                note: clipped(&format!(
                    "the object cannot be read and is left alone: {error}"
                )),
                pod: None,
            },
        );
    }

    fn tell(&self, stream: &ObjectReference, notice: Notice) {
        if let Err(error) = self.sender.try_send((stream.clone(), notice)) {
            tracing::warn!(stream.name = stream.name, %error, "event dropped");
        }
    }
}

impl Publisher {
    /// Publishes until the end.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let anew = || Recorder::new(self.client.clone(), "headend-operator".into());
        let (mut recorder, mut recorded) = (anew(), 0);
        while let Some(Some((stream, notice))) =
            shutdown.run_until_cancelled(self.receiver.recv()).await
        {
            if recorded == REMEMBERED {
                (recorder, recorded) = (anew(), 0);
            }
            recorded += 1;
            let event = event(&notice, &stream);
            let publish = recorder.publish(&event, &stream);
            match tokio::time::timeout(LIMIT, publish).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(stream.name = stream.name, %error, "failed to publish an event");
                }
                Err(_) => tracing::warn!(stream.name = stream.name, "event not published in time"),
            }
        }
    }
}

fn event(notice: &Notice, stream: &ObjectReference) -> Event {
    let pod = notice.pod.as_ref().map(|name| ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(name.clone()),
        namespace: stream.namespace.clone(),
        ..ObjectReference::default()
    });
    Event {
        type_: if notice.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: notice.reason.clone(),
        note: Some(notice.note.clone()),
        action: notice.action.to_owned(),
        secondary: pod,
    }
}

/// What happened between two statuses, each thing once.
pub(crate) fn notices(old: &LiveStreamStatus, new: &LiveStreamStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    notices.extend(of_pod(old, new));
    notices.extend(of_successor(old, new));
    for condition in &new.conditions {
        let before = old
            .conditions
            .iter()
            .find(|one| one.type_ == condition.type_);
        let same = before.is_some_and(|before| {
            (&before.status, &before.reason) == (&condition.status, &condition.reason)
        });
        let told = |notices: &[Notice]| notices.iter().any(|one| one.reason == condition.reason);
        if !same && !told(&notices) {
            let pod = old.pod.as_ref().or(new.pod.as_ref());
            let pod = pod.map(|pod| pod.name.clone());
            notices.extend(of_condition(condition, new, pod));
        }
    }
    notices
}

fn of_pod(old: &LiveStreamStatus, new: &LiveStreamStatus) -> Option<Notice> {
    let attempt = |status: &LiveStreamStatus| status.pod.as_ref().map(|pod| pod.attempt);
    if attempt(old) == attempt(new) {
        return None;
    }
    let took_over = old.successor.as_ref().map(|pod| pod.attempt) == attempt(new);
    let (reason, note) = match (&old.pod, &new.pod) {
        (Some(before), Some(pod)) if took_over => (
            "TookOver",
            format!("pod {} goes on from {}", pod.name, before.name),
        ),
        (_, Some(pod)) => (
            "Starting",
            format!("attempt {} is pod {}", pod.attempt, pod.name),
        ),
        (Some(pod), None) => ("Stopped", format!("pod {} is gone", pod.name)),
        (None, None) => return None,
    };
    Some(Notice {
        warning: false,
        reason: reason.to_owned(),
        action: "Run",
        note,
        pod: new.pod.as_ref().map(|pod| pod.name.clone()),
    })
}

/// A pod is being deleted, and another is made to go on from it.
fn of_successor(old: &LiveStreamStatus, new: &LiveStreamStatus) -> Option<Notice> {
    let (pod, next) = (new.pod.as_ref()?, new.successor.as_ref()?);
    let is_news = old.successor.as_ref() != Some(next);
    is_news.then(|| Notice {
        warning: false,
        reason: "HandingOver".to_owned(),
        action: "Run",
        note: format!(
            "pod {} is being deleted; {} takes over once it is ready",
            pod.name, next.name
        ),
        pod: Some(next.name.clone()),
    })
}

fn of_condition(
    condition: &Condition,
    new: &LiveStreamStatus,
    pod: Option<String>,
) -> Option<Notice> {
    let is = |reason: Reason| condition.reason == reason.as_str();
    let is_bad = is(Reason::Unrecognised) && condition.status == ConditionStatus::False.as_str();
    let warning = is_bad || WARNINGS.into_iter().any(is);
    let (streaming, held) = (is(Reason::Streaming), is(Reason::Held));
    if !warning && !streaming && !held {
        return None;
    }
    let took = new.first_segment_milliseconds.filter(|_| streaming);
    let note = match took {
        Some(took) => format!("{}; the first came after {took} ms", condition.message),
        None => condition.message.clone(),
    };
    Some(Notice {
        warning,
        reason: condition.reason.clone(),
        action: "Run",
        note: clipped(&note),
        pod,
    })
}

/// Reasons that somebody may want to know of.
const WARNINGS: [Reason; 25] = [
    Reason::OutputStalled,
    Reason::EncoderTooSlow,
    Reason::TranscoderFailed,
    Reason::TranscoderUnreachable,
    Reason::PodUnschedulable,
    Reason::ImageUnavailable,
    Reason::PodFailed,
    Reason::ClassNotFound,
    Reason::ReferenceNotFound,
    Reason::InvalidSpec,
    Reason::ProviderSlotsExhausted,
    Reason::ConnectFailed,
    Reason::EgressRefused,
    Reason::FileUnavailable,
    Reason::AccountRefused,
    Reason::NoFreeConnection,
    Reason::HttpError,
    Reason::EndOfStream,
    Reason::Silent,
    Reason::NotTransportStream,
    Reason::NoTracks,
    Reason::NoKeyframe,
    Reason::UnsupportedMedia,
    Reason::SourceTooLargeToTranscode,
    Reason::CollectionPaused,
];

#[cfg(test)]
mod tests {
    use api::condition::{ConditionType, Finding, set_condition};
    use api::live_stream::PodIntent;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn status(
        attempt: Option<i32>,
        findings: &[(ConditionType, ConditionStatus, Reason, &str)],
    ) -> LiveStreamStatus {
        let mut status = LiveStreamStatus {
            pod: attempt.map(|attempt| PodIntent {
                name: format!("news-one-{attempt}"),
                attempt,
                ..PodIntent::default()
            }),
            ..LiveStreamStatus::default()
        };
        for (kind, value, reason, message) in findings {
            let finding = Finding {
                kind: *kind,
                status: *value,
                reason: *reason,
                message: (*message).to_owned(),
            };
            let now = Time(Timestamp::UNIX_EPOCH);
            set_condition(&mut status.conditions, &finding, None, &now);
        }
        status
    }

    fn reasons(old: &LiveStreamStatus, new: &LiveStreamStatus) -> Vec<(bool, String)> {
        let notices = notices(old, new).into_iter();
        notices
            .map(|notice| (notice.warning, notice.reason))
            .collect()
    }

    #[test]
    fn a_failure_that_two_conditions_share_is_told_once() {
        let old = status(None, &[]);
        let refused = [
            (
                ConditionType::Ready,
                ConditionStatus::False,
                Reason::ClassNotFound,
                "no class",
            ),
            (
                ConditionType::Provisioned,
                ConditionStatus::False,
                Reason::ClassNotFound,
                "no class",
            ),
        ];
        let new = status(None, &refused);
        assert_eq!(
            notices(&old, &new),
            [Notice {
                warning: true,
                reason: "ClassNotFound".to_owned(),
                action: "Run",
                note: "no class".to_owned(),
                pod: None,
            }]
        );
        assert_eq!(notices(&new, &new), []);
    }

    #[test]
    fn a_reason_of_a_newer_pod_is_a_warning_where_something_does_not_hold() {
        let told = |value| {
            let finding = (
                ConditionType::SourceHealthy,
                value,
                Reason::Unrecognised,
                "MoonInTheWay: wait",
            );
            reasons(&status(None, &[]), &status(None, &[finding]))
        };
        let warning = (true, "Unrecognised".to_owned());
        assert_eq!(told(ConditionStatus::False), [warning]);
        assert_eq!(told(ConditionStatus::True), []);
    }

    #[test]
    fn a_hand_over_is_told_when_it_begins_and_when_it_has_happened() {
        let plays = status(Some(1), &[]);
        let mut hands_over = plays.clone();
        hands_over.successor = status(Some(2), &[]).pod;
        let after = status(Some(2), &[]);
        let told = |old, new| {
            let notices = notices(old, new).into_iter();
            let told: Vec<_> = notices.map(|notice| (notice.reason, notice.note)).collect();
            told
        };
        let begun = "pod news-one-1 is being deleted; news-one-2 takes over once it is ready";
        assert_eq!(
            told(&plays, &hands_over),
            [("HandingOver".to_owned(), begun.to_owned())]
        );
        assert_eq!(told(&hands_over, &hands_over), []);
        let done = "pod news-one-2 goes on from news-one-1";
        assert_eq!(
            told(&hands_over, &after),
            [("TookOver".to_owned(), done.to_owned())]
        );
    }

    #[test]
    fn a_life_is_told_from_start_to_stop() {
        let ready = |value, reason, message| (ConditionType::Ready, value, reason, message);
        let idle = status(None, &[]);
        let waits = ready(
            ConditionStatus::False,
            Reason::WaitingForFirstSegment,
            "none yet",
        );
        let starting = status(Some(1), &[waits]);
        let streams = ready(
            ConditionStatus::True,
            Reason::Streaming,
            "segments are published",
        );
        let mut live = status(Some(1), &[streams]);
        live.first_segment_milliseconds = Some(2100);
        assert_eq!(reasons(&idle, &starting), [(false, "Starting".to_owned())]);
        assert_eq!(
            notices(&starting, &live),
            [Notice {
                warning: false,
                reason: "Streaming".to_owned(),
                action: "Run",
                note: "segments are published; the first came after 2100 ms".to_owned(),
                pod: Some("news-one-1".to_owned()),
            }]
        );
        assert_eq!(reasons(&live, &idle), [(false, "Stopped".to_owned())]);
        let replaced = status(
            Some(2),
            &[ready(ConditionStatus::False, Reason::TranscoderFailed, "x")],
        );
        assert_eq!(
            reasons(&live, &replaced),
            [
                (false, "Starting".to_owned()),
                (true, "TranscoderFailed".to_owned())
            ]
        );
    }
}
