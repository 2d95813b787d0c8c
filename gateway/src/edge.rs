//! Who may ask, and how often: decided before anything is looked up for a request. Knows addresses, users and the time,
//! and of a channel only whether it runs.
//!
//! What is remembered of addresses and users has a fixed number of places ([`table`]), and every replica counts for itself.

mod brute;
pub(crate) mod connections;
pub mod rate;
mod seldom;
mod table;
pub mod tls;

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use self::brute::Guesses;
use self::rate::{Limiter, RateLimits, Who};
use self::seldom::Seldom;
use crate::Gateway;
use crate::access::Admitted;
use crate::client::Client;
use crate::directory::StreamPhase;
use crate::http::error::Error;
use crate::metrics::{Limit, Surface};

/// A line of the log says at most this often that requests are refused: who asks too much would write the log else.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// What this gateway remembers of those who ask.
#[derive(Debug)]
pub(crate) struct Edge {
    limiter: Limiter,
    guesses: Guesses,
    told: Seldom,
}

impl Edge {
    /// Nobody asked yet.
    pub(crate) fn new(rates: RateLimits, now: Instant) -> Self {
        Self {
            limiter: Limiter::new(rates, now),
            guesses: Guesses::new(now),
            told: Seldom::new(TOLD_EVERY, now),
        }
    }
}

impl Gateway {
    /// Lets a request in by where it comes from. A proxy that tells no address speaks for many viewers, and is not limited as one.
    ///
    /// # Errors
    /// When that address asks too often.
    pub(crate) fn meter(&self, surface: Surface, client: &Client) -> Result<(), Error> {
        if client.is_proxy {
            return Ok(());
        }
        let who = Who::Address(client.subscriber());
        self.judge(surface, who, Limit::Address, client.address)
    }

    /// Lets a request in by whose it is.
    ///
    /// # Errors
    /// When that user asks too often.
    pub(crate) fn meter_user(
        &self,
        surface: Surface,
        client: &Client,
        user: &str,
    ) -> Result<(), Error> {
        self.judge(surface, Who::User(user), Limit::User, client.address)
    }

    /// The user whose token it is.
    ///
    /// # Errors
    /// When there is no token, it is nobody's, or address or user ask too often.
    pub(crate) fn authenticate(
        &self,
        surface: Surface,
        client: &Client,
        token: Option<&str>,
    ) -> Result<Admitted, Error> {
        let admitted = self.prove(surface, client, token, |token, now| {
            self.access.by_token(token, now)
        })?;
        self.meter_user(surface, client, &admitted.user.id)?;
        Ok(admitted)
    }

    /// Who it is whose token it is, as `whose` finds them. Whoever comes with one wrong token after the other waits, with the right one, too.
    ///
    /// # Errors
    /// Those of `whose`, or that the address asks too often.
    pub(crate) fn prove<T>(
        &self,
        surface: Surface,
        client: &Client,
        token: Option<&str>,
        whose: impl FnOnce(Option<&str>, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.meter(surface, client)?;
        let moment = Instant::now();
        if let Some(wait) = self.guessed(client, moment) {
            self.metrics.limited(surface, Limit::WrongTokens);
            let limit = Limit::WrongTokens;
            return Err(Error::TooMany { limit, wait });
        }
        let (now, _) = self.now();
        let found = whose(token, now);
        if let (Err(Error::WrongToken), Some(token)) = (&found, token) {
            self.wrong_token(client, token, moment);
        }
        found
    }

    /// Lets a user start a channel that does not run: whoever zaps through channels that nobody watches must not start them all. A viewer
    /// who stays has its turn within the hold, and one who zaps on has started nothing.
    ///
    /// # Errors
    /// When the user's turn is too far away, or too many requests are held.
    pub(crate) async fn start_in_turn(
        &self,
        surface: Surface,
        slug: &str,
        user: &str,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + self.streams.hold_time();
        while !self.is_started(slug) {
            let now = Instant::now();
            let Err(wait) = self.edge.limiter.start(user, now) else {
                return Ok(());
            };
            if now + wait > deadline {
                let limit = Limit::ColdStarts;
                self.metrics.limited(surface, limit);
                return Err(Error::TooMany { limit, wait });
            }
            self.streams.hold_until(now + wait).await?;
        }
        Ok(())
    }

    fn is_started(&self, slug: &str) -> bool {
        let is_wanted = || self.directory.follow(slug).borrow().phase == StreamPhase::Wanted;
        self.streams.is_asked_for(slug) || is_wanted()
    }

    fn guessed(&self, client: &Client, now: Instant) -> Option<Duration> {
        let address = (!client.is_proxy).then(|| client.subscriber())?;
        self.edge.guesses.wait(address, now)
    }

    fn wrong_token(&self, client: &Client, token: &str, now: Instant) {
        self.metrics.wrong_tokens.inc();
        let is_limited = !client.is_proxy;
        if is_limited && self.edge.guesses.wrong(client.subscriber(), token, now) {
            tracing::warn!(
                client.address = %client.address,
                "one wrong token after the other from one address: it has to wait before each further one"
            );
        }
    }

    fn judge(
        &self,
        surface: Surface,
        who: Who<'_>,
        limit: Limit,
        address: IpAddr,
    ) -> Result<(), Error> {
        let now = Instant::now();
        let Err(wait) = self.edge.limiter.admit(who, surface, now) else {
            return Ok(());
        };
        self.metrics.limited(surface, limit);
        if self.edge.told.is_due(now) {
            tracing::warn!(
                client.address = %address,
                ?surface,
                ?who,
                "requests are refused because too many come from one address or user; if many viewers share it, raise the limit, \
                 and if it is a proxy, name it among the trusted ones"
            );
        }
        Err(Error::TooMany { limit, wait })
    }
}
