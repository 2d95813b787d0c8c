//! Sources that speak another protocol than HTTP, which FFmpeg opens: which one it is, and whether the policy lets their host be
//! asked. Looks names up; connects to nothing. FFmpeg looks up again, so this check is a help, not a guard.

use std::net::{IpAddr, SocketAddr};

use tokio::net::lookup_host;
use tokio::time::timeout;
use url::Url;

use crate::egress::{EgressPolicy, Refused, scope};
use crate::failure::SourceFailure;
use crate::milestones::{Milestone, Milestones};
use crate::source::Terms;

/// How a source that is not asked by HTTP is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
    /// RTSP, with its media over the same TCP connection.
    Rtsp,
    /// RTSP over TLS.
    Rtsps,
    /// SRT, which we call; nobody can call a pod.
    Srt,
    /// A transport stream in UDP datagrams, which we wait for.
    Udp,
    /// Media in RTP over UDP, which we wait for.
    Rtp,
}

impl Protocol {
    /// The protocol of an address, unless it is one that is asked by HTTP or not at all.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        Some(match url.scheme() {
            "rtmp" => Self::Rtmp,
            "rtmps" => Self::Rtmps,
            "rtsp" => Self::Rtsp,
            "rtsps" => Self::Rtsps,
            "srt" => Self::Srt,
            "udp" => Self::Udp,
            "rtp" => Self::Rtp,
            _ => return None,
        })
    }

    /// Nobody is connected to: what is sent to a port or a group is taken.
    fn listens(self) -> bool {
        matches!(self, Self::Udp | Self::Rtp)
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Rtmp => Some(1935),
            Self::Rtmps => Some(443),
            Self::Rtsp => Some(554),
            Self::Rtsps => Some(322),
            Self::Srt | Self::Udp | Self::Rtp => None,
        }
    }
}

/// Scheme, host and port: what of an address may be shown.
#[must_use]
pub fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    format!("{}://{host}{}", url.scheme(), port.unwrap_or_default())
}

/// Whether a source may be opened that FFmpeg resolves and connects to by itself. When its name was looked up, that is a milestone.
///
/// # Errors
/// When the class does not allow such sources, or the policy not the addresses that its host has now; when the address is incomplete.
pub async fn admit(
    terms: Terms,
    allow_unpinned: bool,
    protocol: Protocol,
    url: &Url,
    milestones: &Milestones,
) -> Result<(), SourceFailure> {
    let origin = origin(url);
    if !allow_unpinned {
        return Err(SourceFailure::EgressUnpinned { origin });
    }
    let Terms {
        policy,
        patience,
        proxy,
    } = terms;
    if proxy.is_some() {
        let detail = format!("{origin} cannot be asked for through a proxy");
        return Err(SourceFailure::InvalidRequest { detail });
    }
    let (host, port) = place(protocol, url)?;
    let failed = |detail: String| SourceFailure::ConnectFailed {
        origin: origin.clone(),
        detail,
    };
    let found = timeout(patience.connect, lookup_host((host.as_str(), port)))
        .await
        .map_err(|_| {
            failed(format!(
                "no address within {} s",
                patience.connect.as_secs()
            ))
        })?
        .map_err(|error| failed(error.to_string()))?;
    if host.parse::<IpAddr>().is_err() {
        milestones.reach(Milestone::Resolved);
    }
    check(policy, protocol, &host, found)
        .map_err(|refused| SourceFailure::EgressRefused { origin, refused })
}

/// Every address counts, not only one that would do: which of them FFmpeg takes is not known.
fn check(
    policy: EgressPolicy,
    protocol: Protocol,
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<(), Refused> {
    let takes_from = |address: IpAddr| {
        let is_group = address.is_multicast() && policy.allow_private;
        protocol.listens() && (is_group || address.is_unspecified())
    };
    let mut addresses = found.map(|address| address.ip());
    let refused = addresses.find(|&address| !policy.allows(address) && !takes_from(address));
    refused.map_or(Ok(()), |address| {
        Err(Refused {
            host: host.to_owned(),
            scope: scope(address),
        })
    })
}

/// Host and port, where the address has all that its protocol needs and asks for nothing but to receive.
fn place(protocol: Protocol, url: &Url) -> Result<(String, u16), SourceFailure> {
    let invalid = |detail: &str| SourceFailure::InvalidRequest {
        detail: format!("the {} address {detail}", url.scheme()),
    };
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| invalid("has no host"))?;
    let port = url.port().or_else(|| protocol.default_port());
    let port = port.ok_or_else(|| invalid("has no port"))?;
    let is_call = |(name, value): &(_, _)| name != "mode" || value == "caller";
    if protocol == Protocol::Srt && !url.query_pairs().all(|pair| is_call(&pair)) {
        return Err(invalid("has a mode besides caller, which is not supported"));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Ok((bare.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use api::condition::Reason;

    use super::*;
    use crate::source::Patience;

    const STRICT: EgressPolicy = EgressPolicy {
        allow_private: false,
        allow_loopback: false,
    };
    const PRIVATE: EgressPolicy = EgressPolicy {
        allow_private: true,
        ..STRICT
    };
    const LOOPBACK: EgressPolicy = EgressPolicy {
        allow_loopback: true,
        ..STRICT
    };

    async fn outcome(
        policy: EgressPolicy,
        allow_unpinned: bool,
        url: &str,
    ) -> Result<(), (Reason, String)> {
        let url = Url::parse(url).unwrap();
        let protocol = Protocol::of(&url).unwrap();
        let patience = Patience::default();
        let terms = Terms {
            policy,
            patience,
            proxy: None,
        };
        let admitted = admit(
            terms,
            allow_unpinned,
            protocol,
            &url,
            &Milestones::default(),
        )
        .await;
        admitted.map_err(|failure| (failure.reason(), failure.to_string()))
    }

    #[tokio::test]
    async fn a_class_must_allow_what_cannot_be_pinned_and_the_message_says_how() {
        let (reason, message) = outcome(STRICT, false, "rtmp://user:secret@a.example/secret")
            .await
            .unwrap_err();
        assert_eq!(reason, Reason::EgressRefused);
        assert!(message.contains("rtmp://a.example:"), "{message}");
        assert!(message.contains("egress.allowUnpinned"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }

    #[tokio::test]
    async fn nothing_goes_past_a_proxy() {
        let proxy = crate::proxy::Proxy::new("http://proxy.example", true, None, STRICT);
        let terms = Terms {
            policy: STRICT,
            patience: Patience::default(),
            proxy: Some(proxy.unwrap()),
        };
        let url = Url::parse("rtmp://1.1.1.1/live").unwrap();
        let protocol = Protocol::of(&url).unwrap();
        let failure = admit(terms, true, protocol, &url, &Milestones::default())
            .await
            .unwrap_err();
        assert!(failure.to_string().contains("through a proxy"), "{failure}");
    }

    #[tokio::test]
    async fn hosts_in_our_own_network_are_refused_as_the_policy_says() {
        for (url, policy, is_admitted) in [
            ("rtmp://1.1.1.1/live", STRICT, true),
            ("rtmp://10.0.0.1/live", STRICT, false),
            ("rtmp://10.0.0.1/live", PRIVATE, true),
            ("rtsp://169.254.169.254/x", PRIVATE, false),
            ("rtsps://[::1]/x", PRIVATE, false),
            ("rtsps://[::1]/x", LOOPBACK, true),
            ("srt://0x7f.1:9000", PRIVATE, false),
            (
                "srt://127.0.0.1:9000?mode=caller&streamid=x",
                LOOPBACK,
                true,
            ),
            ("srt://0.0.0.0:9000", PRIVATE, false),
            ("rtmp://239.1.1.1/live", PRIVATE, false),
            ("udp://@239.1.1.1:1234", PRIVATE, true),
            ("udp://@239.1.1.1:1234", STRICT, false),
            ("udp://0.0.0.0:1234", STRICT, true),
            ("rtp://[ff15::1]:1234", PRIVATE, true),
        ] {
            let refused = outcome(policy, true, url).await.err();
            let reason = refused.as_ref().map(|(reason, _)| *reason);
            let expected = (!is_admitted).then_some(Reason::EgressRefused);
            assert_eq!(reason, expected, "{url} {policy:?}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_was_looked_up_is_a_milestone_and_an_address_is_none() {
        for (url, is_name) in [
            ("rtmp://localhost/live", true),
            ("rtmp://127.0.0.1/live", false),
            ("rtmp://[::1]/live", false),
        ] {
            let url = Url::parse(url).unwrap();
            let terms = Terms {
                policy: LOOPBACK,
                patience: Patience::default(),
                proxy: None,
            };
            let milestones = Milestones::default();
            let admitted = admit(terms, true, Protocol::Rtmp, &url, &milestones).await;
            assert_eq!(admitted, Ok(()), "{url}");
            assert_eq!(milestones.reached().resolved.is_some(), is_name, "{url}");
        }
    }

    #[test]
    fn one_address_that_is_refused_is_enough() {
        let addresses = ["1.1.1.1:9", "10.0.0.1:9"].map(|text| text.parse().unwrap());
        let checked = check(
            STRICT,
            Protocol::Rtmp,
            "both.example",
            addresses.into_iter(),
        );
        assert_eq!(
            checked.unwrap_err().to_string(),
            "both.example is a private or reserved address"
        );
    }

    #[tokio::test]
    async fn what_is_missing_in_an_address_is_named() {
        for (url, named) in [
            ("udp://1.1.1.1", "the udp address has no port"),
            ("rtmp:///live", "the rtmp address has no host"),
            ("srt://1.1.1.1:9?mode=listener", "a mode besides caller"),
        ] {
            let (_, message) = outcome(STRICT, true, url).await.unwrap_err();
            assert!(message.contains(named), "{message}");
        }
    }
}
