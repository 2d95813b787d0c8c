//! How a source is connected to. Schema and rules; connects to nothing.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest that any of the limits may be, in seconds.
pub const LIMIT_MAXIMUM_SECONDS: i32 = 300;

/// How long a source may take for what. What is absent is as for every other source.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourceTimeouts {
    /// For address lookup, connection and TLS, in seconds; 10 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub connect_seconds: Option<i32>,
    /// From the request to the first byte, redirects included, in seconds; what the class has as startDeadlineSeconds when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub first_byte_seconds: Option<i32>,
    /// Without a byte, once there were some, in seconds; 4 when absent. A source that is an HLS playlist is judged by its target duration instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub silence_seconds: Option<i32>,
}

impl SourceTimeouts {
    /// Whether each limit is one that the schema allows.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let limits = [
            self.connect_seconds,
            self.first_byte_seconds,
            self.silence_seconds,
        ];
        let mut said = limits.into_iter().flatten();
        said.all(|seconds| (1..=LIMIT_MAXIMUM_SECONDS).contains(&seconds))
    }
}

/// A proxy through which everything of a provider is asked for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProviderProxy {
    /// `http://host:port` or `socks5://host:port`, without login. It may have a private address. An HTTP proxy is asked to CONNECT,
    /// to ports such as 80 and 8080 too; where it resolves, it is sent requests for plain HTTP as they are.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^(http|socks5)://[^/@?#]+/?$')").message("must be http://host:port or socks5://host:port, without login"))]
    pub url: String,
    /// The proxy looks names up. Else that is done here: only addresses that the provider's egress allows are handed to the proxy,
    /// which is the safe way; with this, only addresses that stand in a URL are checked, and the proxy has to refuse the others.
    #[serde(default)]
    pub resolves: bool,
}

/// The proxy of a source.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobProxy {
    /// `http://host:port` or `socks5://host:port`.
    pub url: String,
    /// The proxy looks names up.
    #[serde(default)]
    pub resolves: bool,
    /// Directory of the mounted Secret with its login, if it has one: files `proxy-username` and `proxy-password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_directory: Option<String>,
}

/// A live channel of an Xtream panel.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct XtreamChannel {
    /// Base address of the panel, without login.
    pub url: String,
    /// The channel's `stream_id`.
    pub stream_id: String,
    /// Directory of the mounted Secret with the account's login: files `username` and `password`.
    pub login_directory: String,
    /// As what the channel is asked for.
    #[serde(default)]
    pub output: XtreamOutput,
}

/// As what a panel's channel is asked for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum XtreamOutput {
    /// One transport stream without end.
    #[default]
    Ts,
    /// An HLS playlist.
    M3u8,
}

/// A live channel of a Stalker portal.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StalkerChannel {
    /// Address of the portal: as boxes are given it (`…/c/`), or that of its `.php`.
    pub url: String,
    /// The channel's `cmd`, as the portal lists it.
    pub command: String,
    /// Directory of the mounted Secret with what the portal knows the box by: file `mac`, and where it asks for them `serial`,
    /// `device-id`, `device-id-2`, `signature`, `username` and `password`.
    pub login_directory: String,
}
