//! What people wrote that a running pod is to follow, as one hash. Never a word of what they left to the default: a release that
//! brings a new setting must not make every pod look outdated.

use api::connection::XtreamOutput;
use api::job::JobClass;
use api::live_stream::Source;
use api::provider::{ProviderSpec, ProviderType};
use api::stream_class::{EgressPolicy, OutputMode, PodSettings};
use api::{LiveStreamSpec, StreamClassSpec};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The hash for a stream of this class.
pub(super) fn revision(spec: &LiveStreamSpec, class: &StreamClassSpec) -> String {
    let untouched = JobClass::resolve(&LiveStreamSpec::default(), &StreamClassSpec::default());
    let source = |source: &Source| written(source, &Source::default());
    let mut document = json!({
        "class": written(&JobClass::resolve(spec, class), &untouched),
        "outputLimitMebibytes": class.output_limit_mebibytes,
        "pod": written(&class.pod, &PodSettings::default()),
        "sources": spec.sources.iter().map(source).collect::<Vec<_>>(),
    });
    if class.output != OutputMode::default() {
        document["output"] = json!(class.output);
    }
    if let Some(files) = &class.files {
        document["filesClaim"] = json!(files.claim_name);
    }
    hash(&document)
}

/// The hash of a Provider, for pods of its channels. How many connections its account allows, and what is imported of it, is no part
/// of it: it concerns no pod.
pub(super) fn of_provider(spec: &ProviderSpec) -> String {
    let untouched = ProviderSpec {
        kind: ProviderType::M3u,
        url: String::new(),
        output: XtreamOutput::default(),
        secret_name: None,
        user_agent: None,
        maximum_connections: spec.maximum_connections,
        import_interval_seconds: spec.import_interval_seconds,
        timeouts: None,
        proxy: None,
        egress: EgressPolicy::default(),
    };
    hash(&written(spec, &untouched))
}

fn hash(document: &Value) -> String {
    hex::encode(&Sha256::digest(document.to_string())[..8])
}

/// The fields that are not the default's.
fn written<T: Serialize>(value: &T, untouched: &T) -> Value {
    // Serialization of plain data into memory does not fail; if it did, revisions would merely look alike.
    let [mut value, untouched] =
        [value, untouched].map(|one| serde_json::to_value(one).unwrap_or_default());
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, field| untouched.get(name) != Some(field));
    }
    value
}

#[cfg(test)]
mod tests {
    use api::stream_class::{FileSources, Preset};

    use super::*;
    use crate::live_stream::fixtures;

    #[test]
    fn it_changes_with_what_a_pod_does_and_with_nothing_else() {
        let spec = fixtures::spec();
        let class = StreamClassSpec::default();
        let before = revision(&spec, &class);
        let of_stream = |change: &dyn Fn(&mut LiveStreamSpec)| {
            let mut spec = spec.clone();
            change(&mut spec);
            revision(&spec, &class) == before
        };
        let of_class = |change: &dyn Fn(&mut StreamClassSpec)| {
            let mut class = class.clone();
            change(&mut class);
            revision(&spec, &class) == before
        };
        assert!(of_stream(&|spec| spec.replicas = 0));
        assert!(of_stream(&|spec| spec.idle_timeout_seconds = Some(60)));
        assert!(of_class(&|class| class.idle_timeout_seconds = 60));
        assert!(!of_stream(&|spec| spec.preset = Some(Preset::Low)));
        assert!(!of_stream(&|spec| spec.sources[0].url = None));
        assert!(!of_class(&|class| class.preset = Preset::Low));
        assert!(!of_class(&|class| class.segment_duration_seconds += 1));
        assert!(!of_class(&|class| class.output = OutputMode::PodLocal));
        let of_claim = |claim_name: &str| {
            let claim_name = claim_name.to_owned();
            let files = Some(FileSources { claim_name });
            let class = StreamClassSpec {
                files,
                ..class.clone()
            };
            revision(&spec, &class)
        };
        assert!(of_claim("loops") != before && of_claim("loops") != of_claim("others"));
        assert!(!of_class(
            &|class| class.pod.priority_class_name = Some("tv".to_owned())
        ));
    }

    #[test]
    fn of_a_provider_it_is_what_leads_to_its_channels() {
        let revision = |changed: Value| {
            let mut spec = json!({
                "type": "Xtream", "url": "http://panel.example", "secretName": "headend-source-a",
            });
            for (name, value) in changed.as_object().unwrap() {
                spec[name] = value.clone();
            }
            of_provider(&serde_json::from_value(spec).unwrap())
        };
        let before = revision(json!({}));
        for no_part in [
            json!({"maximumConnections": 7}),
            json!({"importIntervalSeconds": 3600}),
            // Written out, and what it was before.
            json!({"output": "ts", "egress": {"allowPrivateAddresses": false}}),
        ] {
            assert_eq!(revision(no_part.clone()), before, "{no_part}");
        }
        for part in [
            json!({"type": "Stalker"}),
            json!({"url": "http://other.example"}),
            json!({"output": "m3u8"}),
            json!({"secretName": "headend-source-b"}),
            json!({"userAgent": "box/1"}),
            json!({"timeouts": {"silenceSeconds": 9}}),
            json!({"proxy": {"url": "socks5://10.0.0.1:1080"}}),
            json!({"egress": {"allowPrivateAddresses": true}}),
        ] {
            assert_ne!(revision(part.clone()), before, "{part}");
        }
    }

    #[test]
    fn what_is_left_to_the_default_is_no_part_of_it() {
        #[derive(Serialize)]
        struct Newer {
            set: i32,
            new: i32,
        }
        let untouched = Newer { set: 1, new: 1 };
        assert_eq!(
            written(&Newer { set: 2, new: 1 }, &untouched),
            json!({"set": 2})
        );
    }
}
