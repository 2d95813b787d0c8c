//! The one container of a transcoder pod: image, environment, port, probes, mounts.

use api::names;
use k8s_openapi::api::core::v1::{Container, ContainerPort, EnvVar, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Fleet, GRACE_SECONDS, Order, job, resources, security, volumes};

/// Name of the control port; network policies and scrape settings go by it.
const CONTROL_PORT: &str = "control";

pub(super) fn container(fleet: &Fleet, order: &Order<'_>, pod_name: &str) -> Container {
    Container {
        name: names::COMPONENT_TRANSCODER.to_owned(),
        image: Some(fleet.transcoder.image.clone()),
        image_pull_policy: Some(fleet.transcoder.image_pull_policy.clone()),
        env: Some(environment(fleet, order)),
        ports: Some(vec![ContainerPort {
            name: Some(CONTROL_PORT.to_owned()),
            container_port: i32::from(names::CONTROL_PORT),
            ..ContainerPort::default()
        }]),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        resources: Some(resources::resources(order.effective)),
        security_context: Some(security::container()),
        volume_mounts: Some(volumes::mounts(order, pod_name)),
        ..Container::default()
    }
}

fn environment(fleet: &Fleet, order: &Order<'_>) -> Vec<EnvVar> {
    let document = serde_json::to_string(&job(order)).expect("a job has only text as keys");
    [
        (names::JOB_VARIABLE, document),
        ("HEADEND_GRACE_SECONDS", GRACE_SECONDS.to_string()),
        ("HEADEND_LOG", fleet.log_filter.clone()),
        ("HEADEND_LOG_FORMAT", fleet.log_format.to_owned()),
    ]
    .map(|(name, value)| EnvVar {
        name: name.to_owned(),
        // The kubelet would read `$(…)` as the name of another variable.
        value: Some(value.replace('$', "$$")),
        value_from: None,
    })
    .into()
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
