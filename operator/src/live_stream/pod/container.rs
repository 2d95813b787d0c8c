//! The one container of a transcoder pod: image, environment, port, probes, mounts.

use api::names;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, Probe,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Fleet, GRACE_SECONDS, Order, job, resources, security, volumes};
use crate::class::Effective;

/// Name of the control port; network policies and scrape settings go by it.
const CONTROL_PORT: &str = "control";

pub(super) fn container(
    fleet: &Fleet,
    effective: &Effective,
    environment: Vec<EnvVar>,
    pod_name: &str,
) -> Container {
    Container {
        name: names::COMPONENT_TRANSCODER.to_owned(),
        image: Some(fleet.transcoder.image.clone()),
        image_pull_policy: Some(fleet.transcoder.image_pull_policy.clone()),
        env: Some(environment),
        ports: Some(vec![ContainerPort {
            name: Some(CONTROL_PORT.to_owned()),
            container_port: i32::from(names::CONTROL_PORT),
            ..ContainerPort::default()
        }]),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        resources: Some(resources::resources(effective)),
        security_context: Some(security::container()),
        volume_mounts: Some(volumes::mounts(effective, pod_name)),
        ..Container::default()
    }
}

pub(super) fn environment(fleet: &Fleet, order: &Order<'_>) -> Vec<EnvVar> {
    let document = serde_json::to_string(&job(order)).expect("a job has only text as keys");
    let mut environment = vec![variable(names::JOB_VARIABLE, &document)];
    environment.extend(common(fleet));
    environment
}

/// The environment of a pod that waits for its job: how it knows the job that is meant for it.
pub(super) fn waiting(fleet: &Fleet, job_key: &str) -> Vec<EnvVar> {
    let field = ObjectFieldSelector {
        field_path: "metadata.uid".to_owned(),
        api_version: None,
    };
    let pod_uid = EnvVar {
        name: names::POD_UID_VARIABLE.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(field),
            ..EnvVarSource::default()
        }),
    };
    let mut environment = vec![variable(names::JOB_KEY_VARIABLE, job_key), pod_uid];
    environment.extend(common(fleet));
    environment
}

fn common(fleet: &Fleet) -> impl Iterator<Item = EnvVar> {
    let always = [
        variable("HEADEND_GRACE_SECONDS", &GRACE_SECONDS.to_string()),
        variable("HEADEND_LOG", &fleet.log_filter),
        variable("HEADEND_LOG_FORMAT", fleet.log_format),
    ];
    let collector = fleet.otlp_endpoint.as_ref();
    let collector = collector.map(|endpoint| variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
    always.into_iter().chain(collector)
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        // The kubelet would read `$(…)` as the name of another variable.
        value: Some(value.replace('$', "$$")),
        value_from: None,
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(CONTROL_PORT.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}
