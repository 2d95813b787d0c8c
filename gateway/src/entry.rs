//! From a catalog's channel to the stream that is made for it. Pure, and the same on every replica.

use api::LiveStreamSpec;
use api::live_stream::{RequestHeader, Source, WhenIdle};
use api::stream_class::DEFAULT_CLASS;
use catalog::{Channel, ChannelSource, SourceAddress};
use sha2::{Digest, Sha256};

use crate::directory::Entry;

/// Hexadecimal digits of a revision.
const REVISION_DIGITS: usize = 16;

/// What a channel's stream is made from.
#[must_use]
pub fn of(channel: &Channel) -> Entry {
    let spec = LiveStreamSpec {
        class_name: channel
            .class
            .clone()
            .unwrap_or_else(|| DEFAULT_CLASS.to_owned()),
        display_name: Some(channel.name.clone()),
        preset: channel.preset,
        audio_language: channel.audio_language.clone(),
        sources: channel.sources.iter().map(source).collect(),
        suspend: false,
        replicas: 1,
        when_idle: WhenIdle::Delete,
        idle_timeout_seconds: None,
    };
    // A spec has no map and no float: it always becomes the same text.
    let text = serde_json::to_vec(&spec).unwrap_or_default();
    let mut revision = hex::encode(Sha256::digest(text));
    revision.truncate(REVISION_DIGITS);
    Entry { spec, revision }
}

fn source(source: &ChannelSource) -> Source {
    let (url, provider) = match &source.address {
        SourceAddress::Url(url) => (Some(url.clone()), None),
        SourceAddress::Provider(channel) => (None, Some(channel.clone())),
    };
    Source {
        url,
        provider,
        user_agent: source.user_agent.clone(),
        headers: source.headers.iter().map(header).collect(),
        ..Source::default()
    }
}

fn header((name, value): &(String, String)) -> RequestHeader {
    RequestHeader {
        name: name.clone(),
        value: value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use api::live_stream::ProviderChannel;

    use super::*;

    fn channel() -> Channel {
        Channel {
            slug: "news-one".to_owned(),
            name: "News One".to_owned(),
            sources: vec![ChannelSource {
                user_agent: Some("VLC".to_owned()),
                headers: vec![("Referer".to_owned(), "http://portal.example/".to_owned())],
                ..ChannelSource::at("http://source.example/one.ts")
            }],
            ..Channel::default()
        }
    }

    #[test]
    fn a_channel_becomes_a_stream_that_runs_and_is_deleted_when_idle() {
        let spec = serde_json::to_value(of(&channel()).spec).unwrap();
        assert_eq!(
            spec,
            serde_json::json!({
                "className": "default", "displayName": "News One", "replicas": 1, "suspend": false, "whenIdle": "Delete",
                "sources": [{ "url": "http://source.example/one.ts", "userAgent": "VLC", "headers": [{ "name": "Referer", "value": "http://portal.example/" }] }]
            })
        );
    }

    #[test]
    fn a_channel_of_a_provider_becomes_a_source_of_it() {
        let provider = ProviderChannel {
            name: "panel".to_owned(),
            channel: "1234".to_owned(),
        };
        let mut channel = channel();
        channel.sources[0].address = SourceAddress::Provider(provider);
        let sources = serde_json::to_value(of(&channel).spec.sources).unwrap();
        assert_eq!(
            sources[0]["provider"],
            serde_json::json!({ "name": "panel", "channel": "1234" })
        );
        assert_eq!(sources[0].get("url"), None);
    }

    #[test]
    fn the_revision_changes_with_what_the_stream_is_made_from_and_with_nothing_else() {
        let revision = of(&channel()).revision;
        assert_eq!(revision.len(), 16);
        let listed = Channel {
            number: Some("7".to_owned()),
            group: Some("News".to_owned()),
            ..channel()
        };
        assert_eq!(of(&listed).revision, revision);
        let edited = Channel {
            audio_language: Some("eng".to_owned()),
            ..channel()
        };
        assert_ne!(of(&edited).revision, revision);
    }
}
