//! Which addresses may be connected to: the guard against sources that point into our own network.
//! Every connection goes to an address that was checked here; a name is never looked up a second time after its check.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower::{BoxError, Service};
use url::{Host, Url};

use crate::milestones::{Milestone, Milestones};

/// Addresses of one name that are looked at; the rest is ignored.
const ADDRESSES_MAXIMUM: usize = 32;

/// Metadata services of clouds that do not lie in a link-local range: they hand out credentials to whoever asks.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

/// What a source may be connected to besides public addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct EgressPolicy {
    /// Private and otherwise reserved addresses.
    pub allow_private: bool,
    /// Loopback addresses: for one process on one machine, never in a cluster.
    pub allow_loopback: bool,
}

/// What an address is, as far as the policy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Public.
    Global,
    /// Private, shared, documentation, benchmark or reserved for the future.
    Private,
    /// This machine.
    Loopback,
    /// Link-local, a metadata service, multicast, broadcast or unspecified: nothing a source can have.
    Forbidden,
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Global => "public",
            Self::Private => "private or reserved",
            Self::Loopback => "loopback",
            Self::Forbidden => "link-local, multicast or unspecified",
        })
    }
}

/// An address that the policy refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} is a {scope} address")]
pub struct Refused {
    /// The host as the source names it.
    pub host: String,
    /// What its address is.
    pub scope: Scope,
}

impl EgressPolicy {
    /// Whether the policy lets an address be connected to.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        match scope(address) {
            Scope::Global => true,
            Scope::Private => self.allow_private,
            Scope::Loopback => self.allow_loopback,
            Scope::Forbidden => false,
        }
    }

    /// The addresses of `host` that may be connected to.
    ///
    /// # Errors
    /// When there are addresses and every one is refused.
    pub fn admit(
        self,
        host: &str,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Refused> {
        let (admitted, refused): (Vec<_>, Vec<_>) = addresses
            .take(ADDRESSES_MAXIMUM)
            .partition(|address| self.allows(address.ip()));
        match refused.first() {
            Some(first) if admitted.is_empty() => Err(Refused {
                host: host.to_owned(),
                scope: scope(first.ip()),
            }),
            _ => Ok(admitted),
        }
    }

    /// Checks an address that stands in the URL itself, which is connected to without a lookup.
    ///
    /// # Errors
    /// When it is refused.
    pub fn check_literal(self, url: &Url) -> Result<(), Refused> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        let port = url.port_or_known_default().unwrap_or(0);
        self.admit(
            &address.to_string(),
            std::iter::once(SocketAddr::new(address, port)),
        )
        .map(drop)
    }
}

/// Where names are looked up.
#[derive(Clone, Default)]
pub(crate) enum Names {
    /// As the system does.
    #[default]
    System,
    /// As a test says.
    #[cfg(test)]
    Told(std::sync::Arc<Told>),
}

#[cfg(test)]
type Told = dyn Fn(&str) -> Vec<SocketAddr> + Send + Sync;

impl Names {
    #[cfg(test)]
    pub(crate) fn from_fn(tell: impl Fn(&str) -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        Self::Told(std::sync::Arc::new(tell))
    }

    async fn look_up(&self, name: &str) -> std::io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((name, 0)).await?.collect()),
            #[cfg(test)]
            Self::Told(tell) => Ok(tell(name)),
        }
    }
}

/// Looks names up and hands out only addresses that the policy allows, so that a connection cannot go anywhere else.
#[derive(Clone)]
pub(crate) struct CheckedResolver {
    pub(crate) policy: EgressPolicy,
    pub(crate) names: Names,
    pub(crate) milestones: Milestones,
}

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self {
            policy,
            names,
            milestones,
        } = self.clone();
        Box::pin(async move {
            let found = names.look_up(name.as_str()).await?;
            milestones.reach(Milestone::Resolved);
            Ok(policy.admit(name.as_str(), found.into_iter())?.into_iter())
        })
    }
}

/// What an address is. An IPv6 address that carries an IPv4 one is at least what that one is.
#[must_use]
pub fn scope(address: IpAddr) -> Scope {
    match address {
        IpAddr::V4(address) => scope_v4(address),
        IpAddr::V6(address) => scope_v6(address),
    }
}

fn scope_v4(address: Ipv4Addr) -> Scope {
    let [first, second, third, _] = address.octets();
    if address.is_loopback() {
        return Scope::Loopback;
    }
    if first == 0
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA_V4.contains(&address)
    {
        return Scope::Forbidden;
    }
    let private = address.is_private()
        || address.is_documentation()
        || first >= 240
        || (first == 100 && (64..128).contains(&second))
        || (first == 198 && (18..20).contains(&second))
        || (first, second, third) == (192, 0, 0)
        || (first, second, third) == (192, 88, 99);
    if private {
        Scope::Private
    } else {
        Scope::Global
    }
}

fn scope_v6(address: Ipv6Addr) -> Scope {
    let segments = address.segments();
    if address.is_loopback() {
        return Scope::Loopback;
    }
    if address.is_unspecified()
        || address.is_multicast()
        || segments[0] & 0xffc0 == 0xfe80
        || METADATA_V6.contains(&address)
    {
        return Scope::Forbidden;
    }
    match segments {
        // IPv4-mapped, and NAT64 with the well-known prefix
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            scope_v4(embedded(high, low))
        }
        // 6to4
        [0x2002, high, low, ..] => scope_v4(embedded(high, low)),
        // IPv4-compatible: long gone, so nothing public
        [0, 0, 0, 0, 0, 0, high, low] => scope_v4(embedded(high, low)).max(Scope::Private),
        // Teredo and other protocol assignments, benchmarks; documentation
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => Scope::Private,
        [0x3fff, second, ..] if second < 0x1000 => Scope::Private,
        [first, ..] if first & 0xe000 == 0x2000 => Scope::Global,
        // Unique local, site local, discard, local NAT64, unassigned
        _ => Scope::Private,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let [first, second] = high.to_be_bytes();
    let [third, fourth] = low.to_be_bytes();
    Ipv4Addr::new(first, second, third, fourth)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: EgressPolicy = EgressPolicy {
        allow_private: false,
        allow_loopback: false,
    };
    const PRIVATE: EgressPolicy = EgressPolicy {
        allow_private: true,
        ..STRICT
    };
    const STANDALONE: EgressPolicy = EgressPolicy {
        allow_private: true,
        allow_loopback: true,
    };

    fn scopes(addresses: &[&str]) -> Vec<Scope> {
        addresses
            .iter()
            .map(|text| scope(text.parse().unwrap()))
            .collect()
    }

    #[test]
    fn public_addresses_of_both_families_are_global() {
        let public = [
            "1.1.1.1",
            "93.184.216.34",
            "2606:2800:220:1::1",
            "2001:4860:4860::8888",
            "64:ff9b::101:101",
            "::ffff:9.9.9.9",
            "2002:909:909::1",
        ];
        assert_eq!(scopes(&public), [Scope::Global; 7]);
    }

    #[test]
    fn addresses_of_networks_and_of_the_future_are_private() {
        let private = [
            "10.0.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.7",
            "192.0.0.8",
            "240.0.0.1",
            "fd12::1",
            "fec0::1",
            "2001:db8::1",
            "2001:0::1",
            "3fff::1",
            "100::1",
            "64:ff9b:1::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "::1.1.1.1",
        ];
        assert_eq!(scopes(&private), [Scope::Private; 19]);
    }

    #[test]
    fn this_machine_in_every_spelling_is_loopback() {
        let loopback = [
            "127.0.0.1",
            "127.255.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ];
        assert_eq!(scopes(&loopback), [Scope::Loopback; 7]);
    }

    #[test]
    fn metadata_link_local_multicast_and_unspecified_are_forbidden() {
        let forbidden = [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "::",
        ];
        assert_eq!(scopes(&forbidden), [Scope::Forbidden; 14]);
    }

    #[test]
    fn each_policy_allows_what_it_says() {
        let addresses = ["1.1.1.1", "10.0.0.1", "127.0.0.1", "169.254.169.254"];
        let allowed = |policy: EgressPolicy| {
            addresses.map(|text| policy.allows(text.parse::<IpAddr>().unwrap()))
        };
        assert_eq!(allowed(STRICT), [true, false, false, false]);
        assert_eq!(allowed(PRIVATE), [true, true, false, false]);
        assert_eq!(allowed(STANDALONE), [true, true, true, false]);
    }

    #[test]
    fn of_several_addresses_only_the_allowed_ones_are_connected_to() {
        let addresses: Vec<SocketAddr> = ["10.0.0.1:0", "1.1.1.1:0"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(
            STRICT.admit("both.example", addresses.iter().copied()),
            Ok(vec![addresses[1]])
        );
        assert_eq!(
            STRICT.admit("inner.example", addresses[..1].iter().copied()),
            Err(Refused {
                host: "inner.example".to_owned(),
                scope: Scope::Private
            })
        );
    }

    #[test]
    fn literal_addresses_are_checked_however_they_are_written() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest",
        ] {
            assert!(
                PRIVATE.check_literal(&Url::parse(url).unwrap()).is_err(),
                "{url}"
            );
        }
        assert!(
            STRICT
                .check_literal(&Url::parse("http://1.1.1.1/").unwrap())
                .is_ok()
        );
    }
}
