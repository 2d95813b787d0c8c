//! A proxy between us and the addresses of a provider: HTTP or SOCKS5. The proxy is handed checked addresses, unless it is the one that
//! looks names up; nothing here shows its login.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{BoxError, Service, ServiceExt, service_fn};
use url::Url;

use crate::egress::{CheckedResolver, EgressPolicy};
use crate::failure::SourceFailure;
use crate::xtream::Login;

/// Addresses of one name that are tried, each over a connection of its own to the proxy.
const TRIES: usize = 3;

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Socks5,
}

/// A proxy. Shows its address and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    protocol: Protocol,
    /// Host and port, as an address that can be connected to.
    address: Url,
    resolves: bool,
    login: Option<Login>,
    policy: EgressPolicy,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Proxy({self})")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.address.host_str().unwrap_or_default();
        let port = self.address.port_or_known_default().unwrap_or_default();
        write!(formatter, "{host}:{port}")
    }
}

/// A connection through a proxy that failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("through its proxy {proxy}: {detail}")]
pub(crate) struct ProxyFailure {
    proxy: String,
    detail: String,
}

impl Proxy {
    /// A proxy at `http://host:port` or `socks5://host:port`, whose own address is under a policy of its own. Where it `resolves`, it
    /// is given names as they are, and only addresses that stand in a URL are checked.
    ///
    /// # Errors
    /// When the address is another, or is refused.
    pub fn new(
        address: &str,
        resolves: bool,
        login: Option<Login>,
        policy: EgressPolicy,
    ) -> Result<Self, SourceFailure> {
        let invalid = |detail: &str| SourceFailure::InvalidRequest {
            detail: format!("the proxy's address is not {detail}"),
        };
        let (scheme, rest) = address.trim().split_once("://").unwrap_or_default();
        let (protocol, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Protocol::Http, 80),
            "socks5" | "socks5h" => (Protocol::Socks5, 1080),
            _ => return Err(invalid("http://host:port or socks5://host:port")),
        };
        // As that of an HTTP server, whichever it is: then an address of digits is one in every spelling.
        let mut address = Url::parse(&format!("http://{rest}")).map_err(|_| invalid("a URL"))?;
        if address.port().is_none() && !rest.trim_end_matches('/').ends_with(":80") {
            let _ = address.set_port(Some(port));
        }
        if !address.username().is_empty() || address.password().is_some() {
            return Err(invalid(
                "without login: that belongs in the provider's Secret",
            ));
        }
        if address.path() != "/" || address.query().is_some() {
            return Err(invalid("host and port alone"));
        }
        let proxy = Self {
            protocol,
            address,
            resolves,
            login,
            policy,
        };
        proxy
            .policy
            .check_literal(&proxy.address)
            .map_err(|refused| SourceFailure::EgressRefused {
                origin: proxy.to_string(),
                refused,
            })?;
        Ok(proxy)
    }

    /// The policy of its own address.
    pub(crate) fn policy(&self) -> EgressPolicy {
        self.policy
    }

    /// Whether it is sent requests for such an address instead of being asked to CONNECT, which many do for port 443 alone. A request
    /// names the host once (RFC 9112, 3.2.2), so that no address can be handed over beside it.
    fn forwards(&self, scheme: Option<&str>) -> bool {
        self.protocol == Protocol::Http && self.resolves && scheme == Some("http")
    }

    /// What a request that it forwards carries for it, where there is anything.
    pub(crate) fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        let login = self.login.as_ref()?;
        let forwards = self.forwards(Some(url.scheme()));
        let mut value = basic(login).ok().filter(|_| forwards)?;
        value.set_sensitive(true);
        Some(value)
    }

    /// What its answer to a request that it should forward means, where that is not the source's own.
    pub(crate) fn refusal(&self, url: &Url, status: StatusCode) -> Option<String> {
        let is_its_own = status == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        (is_its_own && self.forwards(Some(url.scheme())))
            .then(|| self.failure("proxy authorization required").to_string())
    }

    /// A connection to what a URI names, and whether the proxy forwards requests on it.
    /// Where the proxy does not resolve, `names` does, and hands out checked addresses only.
    pub(crate) async fn connect(
        &self,
        own: HttpConnector<CheckedResolver>,
        names: CheckedResolver,
        uri: Uri,
    ) -> Result<(TokioIo<TcpStream>, bool), BoxError> {
        if self.forwards(uri.scheme_str()) {
            return Ok((self.reach(own).await?, true));
        }
        let connected = self.beyond(own, names, uri).await?;
        Ok((connected, false))
    }

    async fn beyond(
        &self,
        own: HttpConnector<CheckedResolver>,
        names: CheckedResolver,
        uri: Uri,
    ) -> Result<TokioIo<TcpStream>, BoxError> {
        let host = uri.host().ok_or("the address has no host")?.to_owned();
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let is_literal = host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
        if self.resolves || is_literal {
            return self.tunnel(own, format!("{host}:{port}")).await;
        }
        let addresses = names.oneshot(host.parse()?).await?;
        let mut failed = BoxError::from("the name has no address");
        for address in addresses.take(TRIES) {
            let target = SocketAddr::new(address.ip(), port).to_string();
            match self.tunnel(own.clone(), target).await {
                Ok(stream) => return Ok(stream),
                Err(failure) => failed = failure,
            }
        }
        Err(failed)
    }

    async fn reach(
        &self,
        mut own: HttpConnector<CheckedResolver>,
    ) -> Result<TokioIo<TcpStream>, BoxError> {
        let connected = own.call(uri(self.to_string())?).await;
        connected.map_err(|error| self.failed(&error, "not reached"))
    }

    async fn tunnel(
        &self,
        own: HttpConnector<CheckedResolver>,
        target: String,
    ) -> Result<TokioIo<TcpStream>, BoxError> {
        let (proxy, destination) = (uri(self.to_string())?, uri(target.clone())?);
        let mut connected = Some(self.reach(own).await?);
        // The connection is there already; those who speak over it ask for it once.
        let once = service_fn(move |_: Uri| {
            let connected = connected.take();
            std::future::ready(
                connected.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)),
            )
        });
        match self.protocol {
            Protocol::Http => {
                let mut tunnel = Tunnel::new(proxy, once);
                if let Some(login) = &self.login {
                    tunnel = tunnel.with_auth(basic(login)?);
                }
                let tunnelled = tunnel.call(destination).await;
                tunnelled.map_err(|error| self.failed(&error, &format!("CONNECT {target}")))
            }
            Protocol::Socks5 => {
                let mut socks = SocksV5::new(proxy, once);
                if let Some(Login { username, password }) = &self.login {
                    socks = socks.with_auth(username.clone(), password.clone());
                }
                let tunnelled = socks.call(destination).await;
                tunnelled.map_err(|error| self.failed(&error, &target))
            }
        }
    }

    fn failed(&self, error: &dyn std::error::Error, asked: &str) -> BoxError {
        let detail = crate::failure::innermost(error);
        Box::new(self.failure(&format!("{detail} ({asked})")))
    }

    fn failure(&self, detail: &str) -> ProxyFailure {
        ProxyFailure {
            proxy: self.to_string(),
            detail: detail.to_owned(),
        }
    }
}

fn uri(authority: String) -> Result<Uri, http::Error> {
    Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query("/")
        .build()
}

fn basic(Login { username, password }: &Login) -> Result<HeaderValue, BoxError> {
    let login = BASE64_STANDARD.encode(format!("{username}:{password}"));
    Ok(HeaderValue::from_str(&format!("Basic {login}"))?)
}

#[cfg(test)]
mod tests;
