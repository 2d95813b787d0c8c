//! What tests start from. The stream's name differs from every label value, so that swaps are caught.

use api::LiveStreamSpec;
use api::job::StreamIdentity;
use api::live_stream::Source;

use super::pod::Fleet;
use crate::settings::TranscoderSettings;

pub(crate) const NAME: &str = "news-one";
pub(crate) const UID: &str = "0f9c2a41-7b1e-4c55-9d6a-d0c5a1b2c3d4";
pub(crate) const NAMESPACE: &str = "tv";

pub(crate) fn identity() -> StreamIdentity {
    StreamIdentity {
        namespace: NAMESPACE.to_owned(),
        name: NAME.to_owned(),
        uid: UID.to_owned(),
    }
}

pub(crate) fn spec() -> LiveStreamSpec {
    LiveStreamSpec {
        class_name: "default".to_owned(),
        sources: vec![Source {
            url: Some("http://source.example/one.ts".to_owned()),
            ..Source::default()
        }],
        replicas: 1,
        ..LiveStreamSpec::default()
    }
}

pub(crate) fn fleet() -> Fleet {
    Fleet {
        instance: "release".to_owned(),
        transcoder: TranscoderSettings {
            image: "localhost/headend-transcoder:1".to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            output_claim: "output-claim".to_owned(),
            output_affinity: false,
        },
        log_filter: "info".to_owned(),
        log_format: "json",
    }
}
