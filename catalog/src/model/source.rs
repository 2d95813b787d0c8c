//! Where a channel can be had. Addresses and headers may hold logins: no printed form repeats them.

use std::fmt;

use api::live_stream::ProviderChannel;
use serde::{Deserialize, Serialize};

/// One place where a channel can be had.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelSource {
    /// Where.
    pub address: SourceAddress,
    /// What people call its quality, such as `HD`: 1 to 32 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
    /// The User-Agent to ask with: 1 to 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Further headers to ask with: at most 16, each one line of at most 1024 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// Where a source is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceAddress {
    /// An address of at most 2048 characters, of one of [`api::live_stream::SOURCE_SCHEMES`].
    Url(String),
    /// A channel of a Provider, whose connections are counted.
    Provider(ProviderChannel),
}

impl ChannelSource {
    /// The source at an address, asked without further ado.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            address: SourceAddress::Url(url.into()),
            quality: None,
            user_agent: None,
            headers: Vec::new(),
        }
    }
}

impl fmt::Debug for ChannelSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        formatter
            .debug_struct("ChannelSource")
            .field("address", &self.address)
            .field("quality", &self.quality)
            .field("user_agent", &self.user_agent)
            .field("headers", &headers)
            .finish()
    }
}

impl fmt::Debug for SourceAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(text) => {
                let url = url::Url::parse(text).ok();
                let scheme = url.as_ref().map_or("?", url::Url::scheme);
                let host = url.as_ref().and_then(url::Url::host_str).unwrap_or("?");
                write!(formatter, "{scheme}://{host}/…")
            }
            Self::Provider(ProviderChannel { name, channel: _ }) => {
                write!(formatter, "a channel of {name}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_in_addresses_and_headers_are_in_no_printed_form() {
        let source = ChannelSource {
            headers: vec![("Cookie".to_owned(), "hunter2".to_owned())],
            ..ChannelSource::at("http://alice:hunter2@panel.example/hunter2?p=hunter2")
        };
        let text = format!("{source:?}");
        assert!(
            !text.contains("hunter2") && !text.contains("alice"),
            "{text}"
        );
        assert!(
            text.contains("http://panel.example/…") && text.contains("Cookie"),
            "{text}"
        );
    }
}
