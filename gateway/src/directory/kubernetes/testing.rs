//! LiveStreams and channels for the tests of this directory. Nothing outside tests may use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::live_stream::{Source, WhenIdle};
use api::names;
use api::{LiveStream, LiveStreamSpec};

use crate::directory::{Channel, Entry};

/// A catalog's channel.
pub(super) fn channel(slug: &str) -> Channel {
    Channel {
        slug: slug.to_owned(),
        entry: Some(Arc::new(Entry {
            spec: spec(),
            revision: "revision-1".to_owned(),
        })),
    }
}

/// A stream that a gateway made of [`channel`] and that is wanted.
pub(super) fn object(name: &str, uid: &str, version: u64) -> LiveStream {
    let mut object = LiveStream::new(name, spec());
    let metadata = &mut object.metadata;
    metadata.namespace = Some("tv".to_owned());
    metadata.uid = Some(uid.to_owned());
    metadata.resource_version = Some(version.to_string());
    metadata.labels = Some(BTreeMap::from([(
        names::LABEL_ORIGIN.to_owned(),
        names::ORIGIN_GATEWAY.to_owned(),
    )]));
    metadata.annotations = Some(BTreeMap::from([(
        names::ANNOTATION_CHANNEL_REVISION.to_owned(),
        "revision-1".to_owned(),
    )]));
    object
}

fn spec() -> LiveStreamSpec {
    LiveStreamSpec {
        class_name: "default".to_owned(),
        display_name: Some("News One".to_owned()),
        sources: vec![Source {
            url: Some("http://source.example/one.ts".to_owned()),
            ..Source::default()
        }],
        replicas: 1,
        when_idle: WhenIdle::Delete,
        ..LiveStreamSpec::default()
    }
}
