//! The last step of a start: the pod that the status names is created, or taken from those that wait and given its job.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::live_stream::backoff::{Failure, Failures};
use crate::live_stream::observed::StreamFacts;
use crate::live_stream::warm::{self, Assigning};
use crate::live_stream::{Context, Error};

/// Does what of both is planned; false where another pod is to be named.
pub(super) async fn start(
    context: &Context,
    stream: &StreamFacts,
    create: Option<&Pod>,
    assign: Option<&Assigning>,
    now: Timestamp,
) -> Result<bool, Error> {
    if let Some(pod) = create {
        create_pod(context, stream, pod, now).await?;
    }
    match assign {
        Some(assigning) => warm::assign(context, stream, assigning, now).await,
        None => Ok(true),
    }
}

/// A pod of this name may be there already: a create whose answer was lost. Anybody else's is a failure of the attempt.
async fn create_pod(
    context: &Context,
    stream: &StreamFacts,
    pod: &Pod,
    now: Timestamp,
) -> Result<(), Error> {
    if context.cluster.create_pod(pod).await? {
        return Ok(());
    }
    let name = pod.name_any();
    let there = context.cluster.pod(&name).await?;
    let owner = |there: &Pod| {
        there
            .owner_references()
            .first()
            .map(|owner| owner.uid.clone())
    };
    let owned = there.as_ref().and_then(owner).as_ref() == Some(&stream.identity.uid);
    if there.is_some() && !owned {
        let failure = Failure {
            reason: api::condition::Reason::PodFailed,
            message: format!("the pod name {name} is taken by another owner"),
        };
        context.memory.update(&stream.identity.uid, |recollection| {
            let attempt = stream.status.last_attempt.max(attempt_of(pod));
            let before = recollection.failures.as_ref();
            let failures = Failures::counting(before, attempt, failure, Duration::ZERO, now);
            recollection.failures = Some(failures);
        });
    }
    if owned {
        return Ok(());
    }
    Err(Error::Changed {
        stream: stream.identity.name.clone(),
    })
}

fn attempt_of(pod: &Pod) -> i32 {
    let label = pod.labels().get(api::names::LABEL_ATTEMPT);
    label.and_then(|attempt| attempt.parse().ok()).unwrap_or(0)
}
