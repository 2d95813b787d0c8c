//! Where a request comes from: the connection's peer, or what a trusted proxy says. No other header is ever believed.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Hops that are looked at, from the nearest proxy back.
const HOPS_MAXIMUM: usize = 16;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The header in which trusted proxies tell where requests come from. There is exactly one: a proxy hands on what it does not write
/// itself, so that the other one is the viewer's own word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProxyHeader {
    /// What most proxies write.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// The proxies that are trusted to say where requests come from.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Their networks.
    pub networks: Vec<Network>,
    /// How they say it.
    pub header: ProxyHeader,
}

/// Who asks, as far as the connection and trusted proxies tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The last address on the way that no trusted proxy vouches for; where all of them do, the farthest.
    pub address: IpAddr,
    /// Whether that is a trusted proxy's own: who stands behind it is not known, nor how many.
    pub is_proxy: bool,
}

/// A network of addresses, such as `10.0.0.0/8`; a single address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// Why a text names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to read the network {0:?}: write an address or address/prefix length, such as 10.0.0.0/8"
)]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NetworkError(text.to_owned());
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => width,
        };
        if prefix > width {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        (ours ^ theirs)
            .checked_shr(width - self.prefix)
            .unwrap_or(0)
            == 0
    }
}

impl Proxies {
    /// Whether the address is a trusted proxy's.
    #[must_use]
    pub fn include(&self, address: IpAddr) -> bool {
        let mut networks = self.networks.iter();
        networks.any(|network| network.contains(address))
    }

    /// Who asks.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let peer = Client {
            address: peer.to_canonical(),
            is_proxy: self.include(peer.to_canonical()),
        };
        if !peer.is_proxy {
            return peer;
        }
        let mut client = peer;
        for hop in self.hops(headers) {
            let Some(address) = hop else {
                break;
            };
            let is_proxy = self.include(address);
            client = Client { address, is_proxy };
            if !is_proxy {
                break;
            }
        }
        client
    }

    /// What the header says, the nearest hop first; nothing where it names no address.
    fn hops(&self, headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            ProxyHeader::XForwardedFor => (X_FORWARDED_FOR, parse_hop),
            ProxyHeader::Forwarded => (FORWARDED, parse_element),
        };
        let values: Vec<&HeaderValue> = headers.get_all(name).into_iter().collect();
        // From the end, and by commas alone: whatever a viewer writes, an open quote for one, stands before what the proxies append.
        let texts = values.into_iter().rev().flat_map(|value| {
            let text = value.to_str().unwrap_or_default();
            text.rsplit(',').take(HOPS_MAXIMUM)
        });
        texts.take(HOPS_MAXIMUM).map(move |text| read(text.trim()))
    }
}

impl Client {
    /// What one subscriber has: an IPv4 address, or a /64 of IPv6, within which everybody may choose.
    #[must_use]
    pub fn subscriber(&self) -> IpAddr {
        subscriber(self.address)
    }
}

/// What one subscriber has, of which the address is.
#[must_use]
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

/// The `for` of an element of `Forwarded` (RFC 7239 section 4).
fn parse_element(text: &str) -> Option<IpAddr> {
    let mut pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    let quoted = node
        .strip_prefix('"')
        .and_then(|node| node.strip_suffix('"'));
    parse_hop(quoted.unwrap_or(node))
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok();
    let with_port = || {
        text.parse()
            .ok()
            .map(|socket: std::net::SocketAddr| socket.ip())
    };
    address
        .or_else(with_port)
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngSeed};

    use super::*;

    fn told(header: ProxyHeader, peer: &str, forwarded: &[&str], trusted: &[&str]) -> Client {
        let mut headers = HeaderMap::new();
        let name = match header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => FORWARDED,
        };
        for value in forwarded {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        let networks = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Proxies { networks, header }.client(peer.parse().unwrap(), &headers)
    }

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let client = told(ProxyHeader::XForwardedFor, peer, forwarded, trusted);
        client.address.to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(seen("198.51.100.7", &["203.0.113.9"], &[]), "198.51.100.7");
        assert_eq!(
            seen("198.51.100.7", &["203.0.113.9"], &["10.0.0.0/8"]),
            "198.51.100.7"
        );
    }

    #[test]
    fn a_trusted_proxy_tells_the_last_address_that_is_not_its_own() {
        let trusted = ["10.0.0.0/8", "::1"];
        assert_eq!(seen("10.1.2.3", &["203.0.113.9"], &trusted), "203.0.113.9");
        assert_eq!(
            seen("::ffff:10.1.2.3", &["203.0.113.9:4711"], &trusted),
            "203.0.113.9"
        );
        assert_eq!(seen("::1", &["[2001:db8::1]:80"], &trusted), "2001:db8::1");
        assert_eq!(
            seen("10.1.2.3", &["192.0.2.1, 203.0.113.9, 10.9.9.9"], &trusted),
            "203.0.113.9"
        );
        assert_eq!(
            seen("10.1.2.3", &["192.0.2.1", "203.0.113.9"], &trusted),
            "203.0.113.9"
        );
    }

    #[test]
    fn nonsense_ends_the_way_back() {
        assert_eq!(
            seen("10.1.2.3", &["203.0.113.9, unknown"], &["10.0.0.0/8"]),
            "10.1.2.3"
        );
        assert_eq!(seen("10.1.2.3", &[""], &["10.0.0.0/8"]), "10.1.2.3");
        let many = vec!["10.0.0.1"; 1000].join(",");
        assert_eq!(seen("10.1.2.3", &[&many], &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_may_write_forwarded() {
        let seen = |values: &[&str]| {
            let trusted = ["10.0.0.0/8", "2001:db8:1::/48"];
            let client = told(ProxyHeader::Forwarded, "10.1.2.3", values, &trusted);
            client.address.to_string()
        };
        for (values, address) in [
            (&["for=203.0.113.9"][..], "203.0.113.9"),
            (
                &["For=\"203.0.113.9:4711\";proto=https;by=10.1.2.3"],
                "203.0.113.9",
            ),
            (&["proto=http; for=\"[2001:db8::9]:80\""], "2001:db8::9"),
            (
                &["for=192.0.2.1, for=203.0.113.9, for=10.9.9.9"],
                "203.0.113.9",
            ),
            (
                &["for=203.0.113.9", "for=\"[2001:db8:1::7]\""],
                "203.0.113.9",
            ),
            // What a viewer wrote, and what the proxy appended.
            (&["for=\"192.0.2.1, for=203.0.113.9"], "203.0.113.9"),
            (&["for=192.0.2.1;by=\"", "for=203.0.113.9"], "203.0.113.9"),
            (&["for=203.0.113.9, for=unknown"], "10.1.2.3"),
            (&["for=203.0.113.9, for=_hidden"], "10.1.2.3"),
            (&["proto=https"], "10.1.2.3"),
            (&[""], "10.1.2.3"),
        ] {
            assert_eq!(seen(values), address, "{values:?}");
        }
    }

    #[test]
    fn of_two_headers_the_one_that_the_proxies_write_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED, HeaderValue::from_static("for=192.0.2.1"));
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.2"));
        for (header, address) in [
            (ProxyHeader::Forwarded, "192.0.2.1"),
            (ProxyHeader::XForwardedFor, "192.0.2.2"),
        ] {
            let networks = vec!["10.0.0.0/8".parse().unwrap()];
            let client = Proxies { networks, header }.client("10.1.2.3".parse().unwrap(), &headers);
            assert_eq!(client.address.to_string(), address);
        }
    }

    #[test]
    fn a_proxy_that_names_nobody_is_told_from_a_viewer() {
        let is_proxy = |peer, forwarded: &[&str]| {
            told(ProxyHeader::XForwardedFor, peer, forwarded, &["10.0.0.0/8"]).is_proxy
        };
        assert!(is_proxy("10.1.2.3", &[]) && is_proxy("10.1.2.3", &["10.9.9.9"]));
        assert!(is_proxy("10.1.2.3", &["203.0.113.9, unknown"]));
        assert!(!is_proxy("10.1.2.3", &["203.0.113.9"]) && !is_proxy("203.0.113.9", &["10.1.2.3"]));
    }

    proptest! {
        #![proptest_config(Config {
            failure_persistence: None,
            rng_seed: match Config::default().rng_seed {
                RngSeed::Random => RngSeed::Fixed(1),
                fixed @ RngSeed::Fixed(_) => fixed,
            },
            ..Config::default()
        })]

        /// Whatever a viewer writes before what the proxy appends, the proxy's word counts.
        #[test]
        fn properties(written in "[ -~]{0,60}", header in prop::sample::select(ProxyHeader::value_variants())) {
            let appended = match header {
                ProxyHeader::XForwardedFor => "203.0.113.9",
                ProxyHeader::Forwarded => "for=203.0.113.9;proto=https",
            };
            let expected = Client { address: "203.0.113.9".parse().unwrap(), is_proxy: false };
            let one = format!("{written}, {appended}");
            for values in [&[one.as_str()][..], &[&written, appended]] {
                prop_assert_eq!(told(header, "10.1.2.3", values, &["10.0.0.0/8"]), expected);
            }
            let peer = told(header, "192.0.2.7", &[&written], &["10.0.0.0/8"]);
            prop_assert_eq!(peer.address.to_string(), "192.0.2.7");
        }
    }

    #[test]
    fn a_subscriber_has_an_address_or_a_network_of_ipv6() {
        let of = |text: &str| subscriber(text.parse().unwrap()).to_string();
        for (address, whose) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
            ("2001:db8:1:3::", "2001:db8:1:3::"),
        ] {
            assert_eq!(of(address), whose);
        }
    }

    #[test]
    fn networks_are_read_and_compared_by_prefix() {
        let network: Network = "192.0.2.128/25".parse().unwrap();
        assert!(network.contains("192.0.2.200".parse().unwrap()));
        assert!(!network.contains("192.0.2.1".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(
            all.contains("203.0.113.9".parse().unwrap()) && !all.contains("::1".parse().unwrap())
        );
        let everything: Network = "::/0".parse().unwrap();
        assert!(everything.contains("2001:db8::1".parse().unwrap()));
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "ten",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
