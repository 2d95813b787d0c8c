//! Makes a pod that waits the pod of a stream, and gives it its job. Called by `apply` alone, once the status names pod and attempt.

use std::net::SocketAddr;

use api::job::TranscodeJob;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::super::control::{self, Target};
use super::super::observed::StreamFacts;
use super::super::{Context, Error};

/// A pod that waited, and what it is to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assigning {
    pub(crate) pod: String,
    pub(crate) pod_uid: String,
    /// Of its control HTTP.
    pub(crate) endpoint: SocketAddr,
    /// What makes it the stream's; `None` where it is.
    pub(crate) claim: Option<Claim>,
    pub(crate) job: TranscodeJob,
}

/// The change that takes a pod, if it is still as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claim {
    pub(crate) resource_version: String,
    pub(crate) metadata: Value,
}

/// Takes the pod and gives it its job; false where it is another's, or does not take it: another pod is to be named then.
pub(crate) async fn assign(
    context: &Context,
    stream: &StreamFacts,
    assigning: &Assigning,
    now: Timestamp,
) -> Result<bool, Error> {
    let Assigning { pod, claim, .. } = assigning;
    let name = &stream.identity.name;
    if let Some(claim) = claim
        && !context
            .cluster
            .claim_pod(pod, &claim.resource_version, &claim.metadata)
            .await?
    {
        tracing::info!(
            stream.name = name,
            pod.name = pod,
            "warm pod is not to be had any more"
        );
        context.metrics.warm_claimed("lost");
        context.memory.update(&stream.identity.uid, |recollection| {
            recollection.lost.insert(pod.clone());
        });
        return Ok(false);
    }
    let given = give(context, stream, assigning, now).await;
    let outcome = if given.is_ok() { "given" } else { "refused" };
    context.metrics.warm_claimed(outcome);
    let uid = assigning.pod_uid.clone();
    context.memory.update(&stream.identity.uid, |recollection| {
        let known = match given.is_ok() {
            true => &mut recollection.given,
            false => &mut recollection.refused,
        };
        *known = Some(uid);
        recollection.lost.clear();
    });
    match given {
        Ok(()) => {
            tracing::info!(stream.name = name, pod.name = pod, "warm pod has its job");
            Ok(true)
        }
        Err(reason) => {
            tracing::warn!(
                stream.name = name,
                pod.name = pod,
                reason,
                "warm pod did not take its job"
            );
            Ok(false)
        }
    }
}

async fn give(
    context: &Context,
    stream: &StreamFacts,
    assigning: &Assigning,
    now: Timestamp,
) -> Result<(), String> {
    let Assigning {
        pod_uid,
        endpoint,
        job,
        ..
    } = assigning;
    let signer = context
        .signer
        .as_ref()
        .ok_or("there is no key to sign it")?;
    let assignment = signer.assign(pod_uid, job, now);
    let assignment = assignment.map_err(|error| error.to_string())?;
    let target = Target {
        stream: stream.identity.name.clone(),
        stream_uid: stream.identity.uid.clone(),
        attempt: job.attempt,
        endpoint: *endpoint,
    };
    let given = control::give(&target, pod_uid, &assignment).await;
    given.map_err(|error| error.to_string())
}
