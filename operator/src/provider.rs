//! What a channel of a Provider comes to as a source of a job, and the files of the Provider's Secret that it needs. Pure.
//! Never reads a Secret: its keys are mounted as files, and nothing of them stands in a pod or a status.

use std::collections::BTreeMap;

use api::condition::Reason;
use api::connection::{JobProxy, SourceTimeouts, StalkerChannel, XtreamChannel};
use api::job::{JobSource, SlotGrant, SourceAddress};
use api::live_stream::ProviderChannel;
use api::names::SOURCES_MOUNT;
use api::provider::{ProviderSpec, ProviderType};

use crate::class::{Refusal, SecretFile, invalid};

/// The Providers that a stream names, as far as there are any: what their objects say, or why they cannot be read.
pub(crate) type Providers = BTreeMap<String, Result<ProviderSpec, String>>;

/// The keys of a login that a Stalker portal may ask for besides the box's address.
const OF_BOX: [&str; 6] = [
    "serial",
    "device-id",
    "device-id-2",
    "signature",
    "username",
    "password",
];
const OF_PROXY: [&str; 2] = ["proxy-username", "proxy-password"];

/// A channel as if a connection of its Provider were granted, and the files of its login.
pub(crate) fn source(
    index: i32,
    channel: &ProviderChannel,
    provider: Option<&Result<ProviderSpec, String>>,
) -> Result<(JobSource, Vec<SecretFile>), Refusal> {
    let name = &channel.name;
    let spec = match provider {
        None => {
            return Err(Refusal {
                reason: Reason::ReferenceNotFound,
                message: format!(
                    "there is no Provider {name:?}: create it, or change spec.sources[{index}]"
                ),
            });
        }
        Some(Err(error)) => {
            let message = format!("the Provider {name:?} cannot be read: {error}");
            return Err(invalid(message));
        }
        Some(Ok(spec)) => spec,
    };
    if let Some(obstacle) = obstacle(spec) {
        return Err(invalid(format!("the Provider {name:?} {obstacle}")));
    }
    let directory = format!("{SOURCES_MOUNT}/{}", directory(name));
    let proxy = spec.proxy.as_ref().map(|proxy| JobProxy {
        url: proxy.url.clone(),
        resolves: proxy.resolves,
        login_directory: Some(directory.clone()),
    });
    let job = JobSource {
        user_agent: spec.user_agent.clone(),
        timeouts: spec.timeouts,
        egress: Some(spec.egress),
        proxy,
        grant: Some(SlotGrant {
            provider: name.clone(),
        }),
        ..JobSource::new(index, address(spec, channel, directory))
    };
    Ok((job, login(name, spec)))
}

fn directory(provider: &str) -> String {
    format!("providers/{provider}")
}

/// Why no channel of a Provider can be played, whichever it is.
pub(crate) fn obstacle(spec: &ProviderSpec) -> Option<&'static str> {
    match (spec.kind, &spec.secret_name) {
        (ProviderType::M3u, _) => Some(
            "is a playlist, whose channels are not imported yet: name the channel's address in the source's url",
        ),
        (ProviderType::Xtream, None) => {
            Some("needs spec.secretName: a Secret with the keys username and password")
        }
        (ProviderType::Stalker, None) => Some("needs spec.secretName: a Secret with the key mac"),
        (ProviderType::Xtream | ProviderType::Stalker, Some(_)) => None,
    }
}

fn address(spec: &ProviderSpec, channel: &ProviderChannel, directory: String) -> SourceAddress {
    let url = spec.url.clone();
    match spec.kind {
        ProviderType::Stalker => SourceAddress::Stalker(StalkerChannel {
            url,
            command: channel.channel.clone(),
            login_directory: directory,
        }),
        ProviderType::M3u | ProviderType::Xtream => SourceAddress::Xtream(XtreamChannel {
            url,
            stream_id: channel.channel.clone(),
            login_directory: directory,
            output: spec.output,
        }),
    }
}

/// The files of a Provider's login.
pub(crate) fn login(provider: &str, spec: &ProviderSpec) -> Vec<SecretFile> {
    let Some(secret) = &spec.secret_name else {
        return Vec::new();
    };
    let directory = directory(provider);
    let file = |key: &str, optional: bool| SecretFile {
        secret: secret.clone(),
        key: key.to_owned(),
        path: format!("{directory}/{key}"),
        provider: Some(provider.to_owned()),
        optional,
    };
    let (needed, possible): (&[&str], &[&str]) = match spec.kind {
        ProviderType::Stalker => (&["mac"], &OF_BOX),
        ProviderType::M3u | ProviderType::Xtream => (&["username", "password"], &[]),
    };
    let needed = needed.iter().map(|key| file(key, false));
    let possible = possible.iter().map(|key| file(key, true));
    let of_proxy = spec.proxy.iter().flat_map(|_| OF_PROXY);
    let of_proxy = of_proxy.map(|key| file(key, true));
    needed.chain(possible).chain(of_proxy).collect()
}

/// The stream's own limits first, then its Provider's.
pub(crate) fn own_first(own: SourceTimeouts, of_provider: SourceTimeouts) -> SourceTimeouts {
    SourceTimeouts {
        connect_seconds: own.connect_seconds.or(of_provider.connect_seconds),
        first_byte_seconds: own.first_byte_seconds.or(of_provider.first_byte_seconds),
        silence_seconds: own.silence_seconds.or(of_provider.silence_seconds),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn provider(spec: &Value) -> Result<ProviderSpec, String> {
        Ok(serde_json::from_value(spec.clone()).unwrap())
    }

    fn channel() -> ProviderChannel {
        ProviderChannel {
            name: "panel".to_owned(),
            channel: "101".to_owned(),
        }
    }

    #[test]
    fn a_channel_of_a_panel_has_its_login_in_files_and_everything_else_in_the_job() {
        let spec = json!({
            "type": "Xtream", "url": "http://panel.example:8080", "output": "m3u8",
            "secretName": "headend-source-panel", "userAgent": "box/1",
            "timeouts": { "silenceSeconds": 9 }, "egress": { "allowPrivateAddresses": true },
            "proxy": { "url": "socks5://10.0.0.1:1080", "resolves": true },
        });
        let (job, files) = source(2, &channel(), Some(&provider(&spec))).unwrap();
        assert_eq!(
            serde_json::to_value(&job).unwrap(),
            json!({
                "index": 2,
                "address": { "xtream": {
                    "url": "http://panel.example:8080", "streamId": "101", "output": "m3u8",
                    "loginDirectory": "/etc/headend/sources/providers/panel",
                }},
                "userAgent": "box/1",
                "timeouts": { "silenceSeconds": 9 },
                "egress": { "allowPrivateAddresses": true, "allowUnpinned": false },
                "proxy": {
                    "url": "socks5://10.0.0.1:1080", "resolves": true,
                    "loginDirectory": "/etc/headend/sources/providers/panel",
                },
                "grant": { "provider": "panel" },
            })
        );
        let files: Vec<_> = files
            .iter()
            .map(|file| (file.path.as_str(), file.optional))
            .collect();
        assert_eq!(
            files,
            [
                ("providers/panel/username", false),
                ("providers/panel/password", false),
                ("providers/panel/proxy-username", true),
                ("providers/panel/proxy-password", true),
            ]
        );
    }

    #[test]
    fn a_channel_of_a_portal_needs_the_address_of_the_box_and_may_have_more() {
        let spec = json!({ "type": "Stalker", "url": "http://portal.example/c/", "secretName": "headend-source-box" });
        let (job, files) = source(0, &channel(), Some(&provider(&spec))).unwrap();
        let SourceAddress::Stalker(channel) = job.address else {
            panic!("{job:?}");
        };
        assert_eq!(channel.command, "101");
        let needed: Vec<_> = files.iter().filter(|file| !file.optional).collect();
        assert_eq!((needed.len(), needed[0].key.as_str()), (1, "mac"));
        assert_eq!(files.len(), 7);
    }

    #[test]
    fn a_provider_that_cannot_be_played_from_is_named() {
        let without_login = provider(&json!({ "type": "Xtream", "url": "http://a.example" }));
        let list = provider(&json!({ "type": "M3u", "url": "http://a.example" }));
        for (provider, reason, words) in [
            (
                None,
                Reason::ReferenceNotFound,
                "there is no Provider \"panel\"",
            ),
            (
                Some(Err("missing field".to_owned())),
                Reason::InvalidSpec,
                "missing field",
            ),
            (Some(without_login), Reason::InvalidSpec, "spec.secretName"),
            (Some(list), Reason::InvalidSpec, "not imported"),
        ] {
            let refusal = source(0, &channel(), provider.as_ref()).unwrap_err();
            assert_eq!(refusal.reason, reason, "{refusal:?}");
            assert!(refusal.message.contains(words), "{refusal:?}");
        }
    }

    #[test]
    fn the_streams_own_limits_come_first() {
        let limits = |connect_seconds, silence_seconds| SourceTimeouts {
            connect_seconds,
            silence_seconds,
            ..SourceTimeouts::default()
        };
        let both = own_first(limits(Some(1), None), limits(Some(2), Some(3)));
        assert_eq!(both, limits(Some(1), Some(3)));
    }
}
