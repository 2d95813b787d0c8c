//! Where a request comes from: the connection's peer, or what a trusted proxy says. No other header is ever believed.

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;

/// Addresses in `X-Forwarded-For` that are looked at, from the nearest proxy back.
const HOPS_MAXIMUM: usize = 16;

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

/// The viewer's address: the last one on the way that no trusted proxy vouches for.
#[must_use]
pub fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut address = peer.to_canonical();
    for hop in forwarded(headers) {
        if !is_trusted(address) {
            break;
        }
        match hop {
            Some(before) => address = before,
            None => break,
        }
    }
    address
}

fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let values: Vec<_> = headers.get_all("x-forwarded-for").into_iter().collect();
    let texts = values.into_iter().rev().flat_map(|value| {
        let text = value.to_str().unwrap_or_default();
        text.rsplit(',').take(HOPS_MAXIMUM)
    });
    texts.take(HOPS_MAXIMUM).map(|text| parse_hop(text.trim()))
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
    use http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        address(peer.parse().unwrap(), &headers, &trusted).to_string()
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
