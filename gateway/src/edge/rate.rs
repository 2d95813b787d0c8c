//! How often an address and a user may ask, and how often a user may start a channel: a token bucket each, kept as the moment at which it
//! would be full (the generic cell rate algorithm of ATM Forum TM 4.0), so that one number is all there is to remember. Never waits and
//! never asks anybody.

use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::table::Table;
use crate::metrics::Surface;

/// Seconds of the rate that may come at once: a player that starts asks for several things in a row, and so do those behind one address.
const BURST_SECONDS: u32 = 3;

/// Channels that a user may start at once: whoever zaps finds a channel among the first few.
const STARTS_BURST: u64 = 5;

const SECOND: u64 = 1_000_000_000;

/// What is let in of each address and of each user; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests a second to the API, for master playlists and continuous streams: what begins something.
    pub starts_per_second: u32,
    /// Requests a second for media playlists, segments and the page: what goes on.
    pub media_per_second: u32,
    /// Channels a minute that one user has started which nobody watches.
    pub cold_starts_per_minute: u32,
}

impl RateLimits {
    /// No limit.
    pub const OFF: Self = Self {
        starts_per_second: 0,
        media_per_second: 0,
        cold_starts_per_minute: 0,
    };
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Who<'a> {
    /// A subscriber's, as `Client::subscriber` says it.
    Address(IpAddr),
    /// A user's, by id.
    User(&'a str),
}

/// A bucket's measures, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// What a request costs.
    interval: u64,
    /// What a full bucket has.
    depth: u64,
}

impl Rate {
    fn per_second(rate: u32) -> Option<Self> {
        let interval = SECOND.checked_div(u64::from(rate))?;
        let burst = u64::from(rate.saturating_mul(BURST_SECONDS));
        let depth = interval.saturating_mul(burst);
        Some(Self { interval, depth })
    }

    fn of_cold_starts(per_minute: u32) -> Option<Self> {
        let interval = (60 * SECOND).checked_div(u64::from(per_minute))?;
        let depth = interval * STARTS_BURST;
        Some(Self { interval, depth })
    }
}

/// Takes a request from a bucket that is full at `full`, or says after how long there is one.
fn take(full: &mut u64, rate: Rate, now: u64) -> Result<(), u64> {
    let next = (*full).max(now).saturating_add(rate.interval);
    let over = (next - now).saturating_sub(rate.depth);
    if over > 0 {
        return Err(over);
    }
    *full = next;
    Ok(())
}

/// The buckets of all addresses and users.
#[derive(Debug)]
pub(super) struct Limiter {
    epoch: Instant,
    starts: Option<Rate>,
    media: Option<Rate>,
    cold_starts: Option<Rate>,
    full: Table<u64>,
}

impl Limiter {
    pub(super) fn new(rates: RateLimits, now: Instant) -> Self {
        Self {
            epoch: now,
            starts: Rate::per_second(rates.starts_per_second),
            media: Rate::per_second(rates.media_per_second),
            cold_starts: Rate::of_cold_starts(rates.cold_starts_per_minute),
            full: Table::new(),
        }
    }

    /// Counts a request, or says after how long it is let in.
    pub(super) fn admit(
        &self,
        who: Who<'_>,
        surface: Surface,
        now: Instant,
    ) -> Result<(), Duration> {
        let is_start = matches!(surface, Surface::Live | Surface::Continuous | Surface::Api);
        let rate = if is_start { self.starts } else { self.media };
        let Some(rate) = rate else {
            return Ok(());
        };
        let now = self.since(now);
        let taken = self
            .full
            .update((who, is_start), |full| take(full, rate, now));
        taken.map_err(Duration::from_nanos)
    }

    /// Counts a start of a channel that does not run, or says after how long the user may have one.
    pub(super) fn start(&self, user: &str, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.cold_starts else {
            return Ok(());
        };
        let now = self.since(now);
        let taken = self
            .full
            .update(("cold start", user), |full| take(full, rate, now));
        taken.map_err(Duration::from_nanos)
    }

    fn since(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn limiter(starts_per_second: u32, media_per_second: u32) -> (Limiter, Instant) {
        let now = Instant::now();
        let rates = RateLimits {
            starts_per_second,
            media_per_second,
            cold_starts_per_minute: 10,
        };
        (Limiter::new(rates, now), now)
    }

    fn address(text: &str) -> Who<'static> {
        Who::Address(text.parse().unwrap())
    }

    #[test]
    fn a_bucket_gives_a_burst_at_once_and_then_its_rate() {
        let rate = Rate::per_second(10).unwrap();
        let mut full = 0;
        let now = 77 * SECOND;
        assert!((0..30).all(|_| take(&mut full, rate, now).is_ok()));
        assert_eq!(take(&mut full, rate, now), Err(100 * MILLISECOND));
        let soon = now + 60 * MILLISECOND;
        assert_eq!(take(&mut full, rate, soon), Err(40 * MILLISECOND));
        // A refusal costs nothing: whoever waits as long as it was told is let in.
        let then = now + 100 * MILLISECOND;
        assert_eq!(take(&mut full, rate, then), Ok(()));
        assert_eq!(take(&mut full, rate, then), Err(100 * MILLISECOND));
        let later = then + 3600 * SECOND;
        assert_eq!(
            (0..40)
                .filter(|_| take(&mut full, rate, later).is_ok())
                .count(),
            30
        );
    }

    #[test]
    fn a_steady_rate_is_never_refused() {
        let rate = Rate::per_second(30).unwrap();
        let mut full = 0;
        for request in 0..10_000_u64 {
            assert_eq!(take(&mut full, rate, request * SECOND / 30), Ok(()));
        }
    }

    #[test]
    fn addresses_users_and_kinds_of_requests_are_counted_apart() {
        let (limiter, now) = limiter(1, 2);
        let one = address("192.0.2.1");
        let times = |who: Who<'static>, surface| {
            let admitted = (0..10).filter(|_| limiter.admit(who, surface, now).is_ok());
            admitted.count()
        };
        assert_eq!(times(one, Surface::Live), 3);
        assert_eq!(times(one, Surface::Api), 0, "the same bucket");
        assert_eq!(times(one, Surface::Hls), 6);
        assert_eq!(times(one, Surface::Segment), 0);
        assert_eq!(times(address("192.0.2.2"), Surface::Live), 3);
        assert_eq!(times(Who::User("192.0.2.1"), Surface::Live), 3);
        let wait = limiter.admit(one, Surface::Live, now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(1));
    }

    #[test]
    fn a_user_has_a_few_channels_started_at_once_and_then_one_in_a_while() {
        let (limiter, now) = limiter(1, 1);
        assert!((0..5).all(|_| limiter.start("alice", now).is_ok()));
        let wait = Duration::from_secs(6);
        assert_eq!(limiter.start("alice", now), Err(wait));
        assert_eq!(limiter.start("bob", now), Ok(()));
        assert_eq!(limiter.start("alice", now + wait), Ok(()));
        assert_eq!(limiter.start("alice", now + wait), Err(wait));
        let unlimited = Limiter::new(RateLimits::OFF, now);
        assert!((0..1000).all(|_| unlimited.start("alice", now).is_ok()));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let (limiter, now) = limiter(0, 1);
        let one = address("192.0.2.1");
        assert!((0..10_000).all(|_| limiter.admit(one, Surface::Live, now).is_ok()));
        assert!((0..10).any(|_| limiter.admit(one, Surface::Hls, now).is_err()));
    }
}
