//! What Headend's components agree on: custom resources, conditions, the job document, control HTTP, playlists, names.
//! Types and pure functions; nothing here runs, opens or reads anything.

#![expect(
    unreachable_pub,
    reason = "kube's schema derive repeats the structs inside functions"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "most printer columns are of the same type"
)]

pub mod assignment;
pub mod condition;
pub mod connection;
pub mod control;
pub mod files;
pub mod job;
pub mod live_stream;
pub mod names;
pub mod playlists;
pub mod provider;
pub mod stream_class;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use live_stream::{LiveStream, LiveStreamSpec, LiveStreamStatus};
pub use provider::Provider;
pub use stream_class::{StreamClass, StreamClassSpec};

/// Every custom resource definition, for `crds/` and the chart.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![LiveStream::crd(), StreamClass::crd(), Provider::crd()]
}
