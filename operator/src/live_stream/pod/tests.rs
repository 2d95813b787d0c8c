//! The pod as text, compared whole; and what must hold of every pod.

use std::path::Path;
use std::{env, fs};

use api::job::TranscodeJob;
use api::live_stream::{SecretKeyReference, Source};
use api::stream_class::FileSources;
use api::{LiveStreamSpec, StreamClassSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::*;
use crate::class::{ClassState, effective};
use crate::live_stream::fixtures;
use crate::provider::Providers;

fn order(effective: &Effective) -> Order<'_> {
    Order {
        standby: false,
        trace: None,
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

fn secrets() -> LiveStreamSpec {
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
    spec
}

/// A class whose streams may play files.
fn files() -> StreamClassSpec {
    let claim_name = "loops".to_owned();
    StreamClassSpec {
        files: Some(FileSources { claim_name }),
        ..StreamClassSpec::default()
    }
}

fn with_secrets_and_files() -> Effective {
    let class = ClassState::Found(Box::new(files()));
    effective(&secrets(), &class, &Providers::new()).unwrap()
}

#[test]
fn a_start_that_is_awaited_names_its_trace_and_is_the_same_pod_otherwise() {
    let effective = effective(&fixtures::spec(), &ClassState::Missing, &Providers::new());
    let effective = effective.unwrap();
    let plain = order(&effective);
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = Order {
        trace: text.parse().ok(),
        ..plain.clone()
    };
    let mut fleet = fixtures::fleet();
    assert_eq!(hash(&fleet, &traced), hash(&fleet, &plain));
    assert_eq!(job(&traced).traceparent.as_deref(), Some(text));
    fleet.otlp_endpoint = Some("http://collector:4318".to_owned());
    let pod = build(&fleet, &traced);
    let environment = pod.spec.unwrap().containers.remove(0).env.unwrap();
    let endpoint = environment.iter().find(|one| one.name.starts_with("OTEL"));
    let endpoint = endpoint.and_then(|one| one.value.as_deref());
    assert_eq!(endpoint, Some("http://collector:4318"));
}

#[test]
fn the_pod_is_the_golden_one() {
    let mut fleet = fixtures::fleet();
    fleet.transcoder.output_affinity = true;
    fleet.transcoder.image_pull_secrets = vec!["registry".to_owned()];
    let effective = with_secrets_and_files();
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
    let effective = with_secrets_and_files();
    let pod = build(&fixtures::fleet(), &order(&effective));
    let container = &pod.spec.unwrap().containers[0];
    let variables = container.env.as_ref().unwrap();
    let variable = variables.iter().find(|one| one.name == "HEADEND_JOB");
    let document = variable.unwrap().value.as_ref().unwrap();
    let read = TranscodeJob::from_json(document).unwrap();
    assert_eq!(read, job(&order(&effective)));
}

#[test]
fn a_pod_without_secrets_and_files_has_no_volume_for_them() {
    let spec = fixtures::spec();
    let effective = effective(&spec, &ClassState::Missing, &Providers::new()).unwrap();
    let spec = build(&fixtures::fleet(), &order(&effective)).spec.unwrap();
    let volumes: Vec<_> = spec.volumes.unwrap().into_iter().map(|v| v.name).collect();
    assert_eq!(volumes, ["output", "scratch"]);
    assert_eq!(spec.affinity, None);
    assert_eq!(spec.image_pull_secrets, None);
}

#[test]
fn a_pod_that_keeps_its_segments_has_nothing_of_the_volume() {
    let class = StreamClassSpec {
        output: OutputMode::PodLocal,
        output_limit_mebibytes: 64,
        ..StreamClassSpec::default()
    };
    let class = ClassState::Found(Box::new(class));
    let effective = effective(&fixtures::spec(), &class, &Providers::new()).unwrap();
    let mut fleet = fixtures::fleet();
    fleet.transcoder.output_affinity = true;
    let pod = build(&fleet, &order(&effective));
    assert!(
        !pod.metadata
            .labels
            .unwrap()
            .contains_key("headend.dev/output-volume")
    );
    let spec = pod.spec.unwrap();
    assert_eq!(spec.affinity, None);
    let output = spec.volumes.unwrap().swap_remove(0);
    assert_eq!(output.persistent_volume_claim, None);
    let memory = output.empty_dir.unwrap();
    assert_eq!(memory.medium.as_deref(), Some("Memory"));
    // Above the 64 MiB that the transcoder keeps to.
    assert_eq!(memory.size_limit, Some(Quantity("80Mi".to_owned())));
    let mounts = spec.containers[0].volume_mounts.as_ref().unwrap();
    assert_eq!(
        (mounts[0].mount_path.as_str(), &mounts[0].sub_path),
        ("/output", &None)
    );
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

#[test]
fn a_pod_that_waits_is_what_the_streams_own_would_be_but_for_its_job() {
    let mut fleet = fixtures::fleet();
    fleet.job_key = Some("ab".repeat(32));
    // Files are the class's, so pods that wait have them like any other.
    let class = files();
    let pool = Pool {
        class: "sport".to_owned(),
        namespace: fixtures::NAMESPACE.to_owned(),
        owner: order(&with_secrets_and_files()).owner,
        effective: crate::class::pooled(&class, None, &Providers::new()).unwrap(),
    };
    let found = ClassState::Found(Box::new(class));
    let of = |spec: &LiveStreamSpec| effective(spec, &found, &Providers::new()).unwrap();
    let plain = of(&fixtures::spec());
    let mut waits = waiting(&fleet, &pool, "news-one-0f9c2a41-3").unwrap();
    let own = build(&fleet, &order(&plain));
    let environment = |pod: &mut Pod| {
        let spec = pod.spec.as_mut().unwrap();
        let environment = spec.containers[0].env.take().unwrap();
        let names = environment.iter().map(|one| one.name.clone());
        (names.collect::<Vec<_>>(), spec.clone())
    };
    let (waits_for, spec) = environment(&mut waits);
    assert_eq!(
        (spec, &waits_for[0]),
        (
            environment(&mut own.clone()).1,
            &"HEADEND_JOB_KEY".to_owned()
        )
    );
    let labels = waits.metadata.labels.unwrap();
    assert_eq!(labels["headend.dev/warm-pool"], "sport");
    assert!(!labels.contains_key("headend.dev/stream-uid"));
    let claimed = claim(&fleet, &order(&plain));
    assert!(claimed["labels"]["headend.dev/warm-pool"].is_null());
    let own = serde_json::to_value(&own.metadata).unwrap();
    assert_eq!(claimed["annotations"], own["annotations"]);
    assert_eq!(claimed["ownerReferences"], own["ownerReferences"]);
    // What a stream has of its own makes another pod.
    let preset = LiveStreamSpec {
        preset: Some(api::stream_class::Preset::High),
        ..fixtures::spec()
    };
    let of_pool = template(&fleet, &pool.effective);
    assert_eq!(template(&fleet, &plain), of_pool);
    assert_ne!(template(&fleet, &of(&preset)), of_pool);
    assert_ne!(template(&fleet, &of(&secrets())), of_pool);
    assert_eq!(template(&fixtures::fleet(), &plain), None, "without a key");
}
