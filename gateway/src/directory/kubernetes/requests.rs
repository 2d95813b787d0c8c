//! The three calls a gateway makes to the API server, each bounded in time and never repeated by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use api::names;
use api::{LiveStream, LiveStreamSpec};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Status;
use serde_json::Value;

use crate::directory::EnsureError;

/// How long a call may take; a viewer waits for it.
const CALL_TIME: Duration = Duration::from_secs(4);

/// Who the changes are by, as `kubectl get --show-managed-fields` says.
const FIELD_MANAGER: &str = "headend-gateway";

/// Why a call did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is a stream of that name already.
    Exists,
    /// There is no stream of that name (any more).
    Gone,
    /// The server does not accept it.
    Rejected(String),
    /// It may work later.
    Passing(String),
}

impl Failure {
    /// The failure of a wish for that channel.
    pub(super) fn of(self, slug: &str) -> EnsureError {
        let slug = slug.to_owned();
        match self {
            Self::Rejected(reason) => EnsureError::Refused { slug, reason },
            Self::Passing(reason) => EnsureError::Unavailable { slug, reason },
            Self::Exists => EnsureError::Unavailable {
                slug,
                reason: "it exists".to_owned(),
            },
            Self::Gone => EnsureError::Unavailable {
                slug,
                reason: "it is gone".to_owned(),
            },
        }
    }
}

/// The calls.
pub(super) struct Requests {
    api: Api<LiveStream>,
    instance: String,
}

impl Requests {
    pub(super) fn new(api: Api<LiveStream>, instance: &str) -> Self {
        Self {
            api,
            instance: instance.to_owned(),
        }
    }

    pub(super) async fn create(
        &self,
        name: &str,
        spec: &LiveStreamSpec,
        annotations: &BTreeMap<String, String>,
    ) -> Result<LiveStream, Failure> {
        let mut object = LiveStream::new(name, spec.clone());
        object.metadata.annotations = Some(annotations.clone());
        object.metadata.labels = Some(BTreeMap::from([
            (
                names::LABEL_ORIGIN.to_owned(),
                names::ORIGIN_GATEWAY.to_owned(),
            ),
            (names::LABEL_INSTANCE.to_owned(), self.instance.clone()),
        ]));
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        bounded(self.api.create(&parameters, &object)).await
    }

    pub(super) async fn patch(&self, name: &str, patch: &Value) -> Result<LiveStream, Failure> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        bounded(self.api.patch(name, &parameters, &Patch::Merge(patch))).await
    }

    pub(super) async fn get(&self, name: &str) -> Result<LiveStream, Failure> {
        bounded(self.api.get(name)).await
    }
}

async fn bounded(
    call: impl Future<Output = kube::Result<LiveStream>>,
) -> Result<LiveStream, Failure> {
    match tokio::time::timeout(CALL_TIME, call).await {
        Ok(outcome) => outcome.map_err(|error| judge(&error)),
        Err(_) => Err(Failure::Passing(
            "the API server did not answer in time".to_owned(),
        )),
    }
}

fn judge(error: &kube::Error) -> Failure {
    let kube::Error::Api(status) = error else {
        return Failure::Passing(error.to_string());
    };
    match status.code {
        _ if status.is_already_exists() => Failure::Exists,
        404 => Failure::Gone,
        // Bad request, forbidden (an admission policy), unprocessable (the schema): the same again would be refused again.
        400 | 403 | 422 => Failure::Rejected(explain(status)),
        _ => Failure::Passing(explain(status)),
    }
}

/// What the server says without repeating values: the message of a wrong field quotes it, and a source's address may hold a login.
fn explain(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<&str> = causes
        .map(|cause| cause.field.as_str())
        .filter(|field| !field.is_empty())
        .collect();
    if fields.is_empty() {
        return status.message.clone();
    }
    format!("{} ({}): {}", status.reason, status.code, fields.join(", "))
}
