//! `Provider`: one upstream account. Schema only; logins live in Secrets, never here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::connection::{ProviderProxy, SourceTimeouts, XtreamOutput};
use crate::stream_class::EgressPolicy;

/// One upstream account: where it is, which Secret has its login, how many connections it allows.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "headend.dev",
    version = "v1alpha1",
    kind = "Provider",
    namespaced,
    status = "ProviderStatus",
    shortname = "prov",
    category = "headend",
    derive = "PartialEq",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Used", type_ = "integer", json_path = ".status.used"),
    printcolumn(
        name = "Limit",
        type_ = "integer",
        json_path = ".spec.maximumConnections"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Available\")].message",
        priority = 1
    )
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct ProviderSpec {
    /// What it speaks.
    #[serde(rename = "type")]
    pub kind: ProviderType,
    /// Base address of its portal, or of its list; without login.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https']").message("must be an http or https URL"))]
    pub url: String,
    /// As what an Xtream provider's channels are asked for.
    #[serde(default)]
    pub output: XtreamOutput,
    /// Name of the Secret with the login (keys `username`, `password`, `mac`, or `url` for a list whose address is the secret;
    /// for a Stalker portal that asks for them `serial`, `device-id`, `device-id-2`, `signature`, too).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.startsWith('headend-source-')").message("the name of a Secret that headend may read starts with headend-source-"))]
    pub secret_name: Option<String>,
    /// The User-Agent header that its channels are asked for with, unless a stream says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub user_agent: Option<String>,
    /// Connections that the account allows at once; never more of them are opened. A Stalker portal allows one box one connection.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 1000))]
    pub maximum_connections: i32,
    /// How often its channel list is imported, in seconds; 0 is never.
    #[serde(default)]
    #[schemars(range(min = 0, max = 604_800))]
    pub import_interval_seconds: i32,
    /// How long its channels may take for what, unless a stream says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<SourceTimeouts>,
    /// What everything of this provider is asked for through; its login are the keys `proxy-username` and `proxy-password` of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProviderProxy>,
    /// Which addresses it may send us to.
    #[serde(default)]
    pub egress: EgressPolicy,
}

fn default_connections() -> i32 {
    1
}

/// What a provider speaks.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderType {
    /// A playlist.
    M3u,
    /// The Xtream player API.
    Xtream,
    /// A Stalker portal.
    Stalker,
}

/// What is known of the account. Written by the operator only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: channels of it can be played. `Available`: a connection of it is free; the message says who has the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
    /// Connections in use.
    #[serde(default)]
    pub used: i32,
    /// Who holds them: each is entered before its pod is created, or goes on with it, and dropped once its connection is closed for certain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub slots: Vec<ProviderSlot>,
}

/// One connection of the account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSlot {
    /// The LiveStream's uid.
    pub stream_uid: String,
    /// The attempt that holds it.
    pub attempt: i32,
    /// The LiveStream's name, for the person who reads it.
    #[serde(default)]
    pub stream: String,
    /// Which of the attempt's requests for another account it answers; 0 where the attempt was made with it.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub request: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_host_and_port_and_has_no_login_in_it() {
        let of = |url: &str| {
            let spec = serde_json::json!({
                "type": "Xtream", "url": "http://panel.example:8080", "proxy": { "url": url }
            });
            Provider::new("one", serde_json::from_value(spec).unwrap()).validate_cel()
        };
        for good in ["http://proxy.example:3128", "socks5://10.0.0.1:1080/"] {
            of(good).unwrap();
        }
        for bad in [
            "https://proxy.example",
            "http://user:word@proxy.example",
            "socks5://proxy.example/path",
        ] {
            let message = of(bad).unwrap_err().to_string();
            assert!(message.contains("without login"), "{bad}: {message}");
        }
    }
}
