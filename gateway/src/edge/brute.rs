//! Wrong tokens, one after the other from one address: each further one is waited for, twice as long as the one before. Only counts; a
//! token is kept as a hash that nobody can turn back, and never told.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::table::Table;

/// Wrong tokens that cost nothing: people mistype, and a household has several devices.
const FREE: u32 = 5;

/// What the first one after those costs.
const FIRST_WAIT: u64 = 1_000;

/// What one costs at most.
const LONGEST_WAIT: u64 = 5 * 60 * 1_000;

/// After this long without a wrong token it begins anew.
const QUIET: u64 = 15 * 60 * 1_000;

/// What is known of an address; moments in milliseconds. Ordered by what is worth keeping: who has to wait before who is only counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    /// Until when nothing is looked at.
    until: u64,
    /// The last wrong token.
    last: u64,
    count: u32,
    /// The last ones, as hashes: a device that is left with an old token asks with it for ever, and guesses nothing by that. Counting it
    /// would shut out everybody who shares its address.
    known: [u32; 4],
}

impl Record {
    /// A wrong token; whether it is the first one that has to be waited for.
    fn note(&mut self, token: u32, now: u64) -> bool {
        if now.saturating_sub(self.last) > QUIET {
            *self = Self::default();
        }
        self.last = now;
        if self.known.contains(&token) {
            return false;
        }
        self.known.rotate_right(1);
        self.known[0] = token;
        self.count = self.count.saturating_add(1);
        let Some(over) = self.count.checked_sub(FREE + 1) else {
            return false;
        };
        let doublings = 2_u64.saturating_pow(over);
        let wait = FIRST_WAIT.saturating_mul(doublings).min(LONGEST_WAIT);
        self.until = now.saturating_add(wait);
        over == 0
    }
}

/// What every address guessed.
#[derive(Debug)]
pub(super) struct Guesses {
    epoch: Instant,
    records: Table<Record>,
}

impl Guesses {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            records: Table::new(),
        }
    }

    /// How long the address still has to wait before a token of it is looked at, right or wrong.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let record = self.records.get(address)?;
        let left = record.until.saturating_sub(self.since(now));
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// A wrong token of the address; whether it begins to wait with it.
    pub(super) fn wrong(&self, address: IpAddr, token: &str, now: Instant) -> bool {
        // Never 0, which is what an empty place has.
        let token = (self.records.hash(token) >> 32) as u32 | 1;
        let now = self.since(now);
        self.records
            .update(address, |record| record.note(token, now))
    }

    fn since(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> u64 {
        1_000_000 + seconds * 1_000
    }

    #[test]
    fn each_wrong_token_after_the_first_ones_is_waited_for_twice_as_long() {
        let mut record = Record::default();
        let waits: Vec<_> = (1..=16)
            .map(|token| {
                let began = record.note(token, at(0));
                (record.until.saturating_sub(at(0)) / 1_000, began)
            })
            .collect();
        let seconds = [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
        let expected: Vec<_> = seconds.into_iter().map(|wait| (wait, wait == 1)).collect();
        assert_eq!(waits, expected);
        record.count = u32::MAX;
        record.note(99, at(0));
        assert_eq!(record.until, at(300));
    }

    #[test]
    fn the_same_token_again_is_no_guess() {
        let mut record = Record::default();
        for second in 0..1000 {
            for token in [1, 2, 3] {
                record.note(token, at(second));
            }
        }
        assert_eq!((record.count, record.until), (3, 0));
    }

    #[test]
    fn it_begins_anew_after_a_while_without_any() {
        let mut record = Record::default();
        (1..=9).for_each(|token| _ = record.note(token, at(0)));
        assert_eq!(record.until, at(8));
        record.note(10, at(900));
        assert_eq!(record.count, 10);
        record.note(11, at(1801));
        assert_eq!((record.count, record.until), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_waits_and_no_other_one() {
        let guesses = Guesses::new(Instant::now());
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let wrong = |token: u32| guesses.wrong(one, &token.to_string(), Instant::now());
        let begins: Vec<bool> = (0..7).map(wrong).collect();
        assert_eq!(begins, [false, false, false, false, false, true, false]);
        let left = |address| guesses.wait(address, Instant::now());
        assert_eq!(
            (left(one), left(other)),
            (Some(Duration::from_secs(2)), None)
        );
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(left(one), Some(Duration::from_millis(500)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(left(one), None);
    }
}
