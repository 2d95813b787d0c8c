//! How many connections an address may have open: decided before anything of one is read. A trusted proxy has as many as it likes, since all
//! its viewers come by it. What is remembered is as much as there are connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use runtime::serve::{Door, Guest};
use tokio::time::Instant;

use super::TOLD_EVERY;
use super::seldom::Seldom;
use crate::Gateway;
use crate::client::subscriber;

/// What one too many is told, by HTTP/1.1: it may have asked nothing yet.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\nretry-after: 5\r\ncache-control: no-store\r\n\
headend-reason: TooManyConnections\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 64\r\n\r\n\
TooManyConnections: too many connections come from this address\n";

/// Open connections by subscriber.
#[derive(Debug, Default)]
struct Open(Mutex<HashMap<IpAddr, usize>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, subscriber: IpAddr, limit: usize) -> bool {
        let mut open = self.lock();
        let count = open.entry(subscriber).or_default();
        let fits = *count < limit;
        *count += usize::from(fits);
        fits
    }

    fn remove(&self, subscriber: IpAddr) {
        let mut open = self.lock();
        if let Some(count) = open.get_mut(&subscriber) {
            *count -= 1;
            if *count == 0 {
                open.remove(&subscriber);
            }
        }
    }
}

/// The door of a gateway.
pub(crate) struct Connections {
    gateway: Arc<Gateway>,
    limit: usize,
    open: Arc<Open>,
    told: Seldom,
}

impl Connections {
    /// At most that many connections for each address; 0 is no limit.
    pub(crate) fn new(gateway: Arc<Gateway>, limit: usize) -> Self {
        Self {
            gateway,
            limit,
            open: Arc::default(),
            told: Seldom::new(TOLD_EVERY, Instant::now()),
        }
    }
}

impl Door for Connections {
    fn admit(&self, peer: IpAddr) -> Result<Guest, &'static [u8]> {
        let is_counted = self.limit > 0 && !self.gateway.proxies.include(peer.to_canonical());
        let subscriber = is_counted.then(|| subscriber(peer));
        if let Some(subscriber) = subscriber
            && !self.open.add(subscriber, self.limit)
        {
            self.gateway.metrics.refused_connections.inc();
            if self.told.is_due(Instant::now()) {
                tracing::warn!(
                    client.address = %peer,
                    limit = self.limit,
                    "connections are refused because an address has too many open; if many viewers share it, raise the limit, and if it is \
                     a proxy, name it among the trusted ones"
                );
            }
            return Err(TOO_MANY);
        }
        let connections = self.gateway.metrics.connections.clone();
        connections.inc();
        Ok(Box::new(Connection {
            subscriber,
            open: self.open.clone(),
            connections,
        }))
    }
}

/// A connection that is open, where it counts.
struct Connection {
    subscriber: Option<IpAddr>,
    open: Arc<Open>,
    connections: Gauge,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.dec();
        if let Some(subscriber) = self.subscriber {
            self.open.remove(subscriber);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_is_forgotten_with_the_last_one() {
        let (open, one) = (Open::default(), "192.0.2.1".parse().unwrap());
        assert_eq!([(); 3].map(|()| open.add(one, 2)), [true, true, false]);
        assert!(open.add("192.0.2.2".parse().unwrap(), 2));
        open.remove(one);
        assert!(open.add(one, 2) && !open.add(one, 2));
        open.remove(one);
        open.remove(one);
        assert_eq!(open.lock().len(), 1);
    }

    #[test]
    fn what_one_too_many_is_told_is_an_answer() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = format!("content-length: {}", body.len());
        assert!(head.lines().any(|line| line == length), "{}", body.len());
    }
}
