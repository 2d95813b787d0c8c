//! The pod as text, compared whole; and what must hold of every pod.

use std::path::Path;
use std::{env, fs};

use api::job::TranscodeJob;
use api::live_stream::{SecretKeyReference, Source};

use super::*;
use crate::class::{ClassState, effective};
use crate::live_stream::fixtures;
use crate::provider::Providers;

fn order(effective: &Effective) -> Order<'_> {
    Order {
        standby: false,
        stream: fixtures::identity(),
        owner: OwnerReference {
            api_version: "headend.dev/v1alpha1".to_owned(),
            kind: "LiveStream".to_owned(),
            name: fixtures::NAME.to_owned(),
            uid: fixtures::UID.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        },
        attempt: 3,
        resume: ResumeFloor {
            media_sequence: 1_790_000_000,
            discontinuity_sequence: 2,
        },
        provider: None,
        effective,
    }
}

fn with_secrets() -> Effective {
    let key = |name: &str, key: &str| SecretKeyReference {
        name: name.to_owned(),
        key: key.to_owned(),
    };
    let mut spec = fixtures::spec();
    spec.sources.push(Source {
        url_secret_ref: Some(key("headend-source-backup", "address")),
        headers_secret_ref: Some(key("headend-source-headers", "lines")),
        ..Source::default()
    });
    effective(&spec, &ClassState::Found(Box::default()), &Providers::new()).unwrap()
}

#[test]
fn the_pod_is_the_golden_one() {
    let mut fleet = fixtures::fleet();
    fleet.transcoder.output_affinity = true;
    fleet.transcoder.image_pull_secrets = vec!["registry".to_owned()];
    let effective = with_secrets();
    let pod = build(&fleet, &order(&effective));
    let fresh = serde_saphyr::to_string(&pod).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/live_stream/pod/golden.yaml");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(fresh, golden, "to take the new form over: UPDATE=1");
}

#[test]
fn the_transcoder_can_read_the_job_it_is_given() {
    let effective = with_secrets();
    let pod = build(&fixtures::fleet(), &order(&effective));
    let container = &pod.spec.unwrap().containers[0];
    let variables = container.env.as_ref().unwrap();
    let variable = variables.iter().find(|one| one.name == "HEADEND_JOB");
    let document = variable.unwrap().value.as_ref().unwrap();
    let read = TranscodeJob::from_json(document).unwrap();
    assert_eq!(read, job(&order(&effective)));
}

#[test]
fn a_pod_without_secrets_has_no_volume_for_them() {
    let spec = fixtures::spec();
    let effective = effective(&spec, &ClassState::Missing, &Providers::new()).unwrap();
    let spec = build(&fixtures::fleet(), &order(&effective)).spec.unwrap();
    let volumes: Vec<_> = spec.volumes.unwrap().into_iter().map(|v| v.name).collect();
    assert_eq!(volumes, ["output", "scratch"]);
    assert_eq!(spec.affinity, None);
    assert_eq!(spec.image_pull_secrets, None);
}

#[test]
fn dollars_in_an_address_survive_the_kubelet() {
    let mut spec = fixtures::spec();
    spec.sources[0].url = Some("http://source.example/$(HEADEND_LOG)/$$".to_owned());
    let effective = effective(&spec, &ClassState::Missing, &Providers::new()).unwrap();
    let pod = build(&fixtures::fleet(), &order(&effective));
    let container = &pod.spec.unwrap().containers[0];
    let document = container.env.as_ref().unwrap()[0].value.as_ref().unwrap();
    assert!(
        document.contains("http://source.example/$$(HEADEND_LOG)/$$$$"),
        "{document}"
    );
}
