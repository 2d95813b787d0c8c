//! What to do when a source fails: connect again, take the next one, or give up. A pure decision over what has happened;
//! what an encoder does wrong never comes here.

use std::time::Duration;

/// Delays before a provider's source is connected again: panels hold a closed slot for seconds.
const PROVIDER_DELAYS: [u64; 5] = [0, 1, 2, 4, 8];
/// Delays before any other source is connected again.
const PLAIN_DELAYS: [u64; 3] = [0, 1, 2];
/// Pauses between rounds through all sources.
const ROUND_DELAYS: [u64; 6] = [1, 2, 4, 8, 15, 30];
/// A source that delivered for this long was healthy: its failures before that are forgotten.
const HEALTHY: Duration = Duration::from_secs(10);

/// How a source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Address lookup or connection failed.
    Connect,
    /// The egress policy refuses the address.
    EgressRefused,
    /// The provider refuses the account, which no other try changes.
    AccountRefused,
    /// The account's connections are all in use.
    NoFreeConnection,
    /// It answered with this HTTP status.
    Http(u16),
    /// It closed the stream.
    EndOfStream,
    /// No bytes for longer than allowed.
    Silent,
    /// It answers as ever, and has nothing new: asking it again changes nothing.
    Stalled,
    /// What it sends is not MPEG-TS.
    NotTransportStream,
    /// It has neither video nor audio.
    NoTracks,
    /// No key came within the deadline.
    NoKeyframe,
    /// Its codec cannot be used.
    UnsupportedMedia,
}

impl Failure {
    /// Whether the same source may well work a moment later.
    fn is_transient(self, has_account: bool) -> bool {
        match self {
            Self::Connect | Self::EndOfStream | Self::Silent | Self::NoFreeConnection => true,
            // Panels answer 4xx while they hold the slot of the connection before.
            Self::Http(status) => status >= 500 || matches!(status, 408 | 429) || has_account,
            Self::AccountRefused
            | Self::EgressRefused
            | Self::Stalled
            | Self::NotTransportStream
            | Self::NoTracks
            | Self::NoKeyframe
            | Self::UnsupportedMedia => false,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Connect the current source again at that time, on the caller's monotonic clock.
    Reconnect {
        /// When.
        at: Duration,
    },
    /// Connect this source at that time; the health of sources is counted anew. After a whole round it may be the current one.
    Switch {
        /// Which source.
        source: usize,
        /// When.
        at: Duration,
    },
    /// Every source was tried and nothing was delivered for too long.
    GiveUp,
}

/// What has happened so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The account of each source that belongs to one.
    accounts: Vec<Option<String>>,
    give_up_after: Duration,
    current: usize,
    /// Failures of the current source in a row.
    failures: usize,
    /// Sources that have failed in this round.
    failed: Vec<bool>,
    rounds: usize,
    delivering_since: Option<Duration>,
    failing_since: Option<Duration>,
    last_good: Option<usize>,
    /// Sources of another account may be had when all of these have failed.
    has_others: bool,
}

impl History {
    /// Nothing has happened. `accounts` has one entry per source, in the order to try them; sources of one account share its slots.
    /// When nothing was delivered for `give_up_after` and every source was tried, the stream is given up.
    #[must_use]
    pub fn new(accounts: Vec<Option<String>>, give_up_after: Duration) -> Self {
        Self {
            failed: vec![false; accounts.len()],
            accounts,
            give_up_after,
            current: 0,
            failures: 0,
            rounds: 0,
            delivering_since: None,
            failing_since: None,
            last_good: None,
            has_others: false,
        }
    }

    /// Nothing has happened to these sources, which take the place of others that have failed: they are given up when those would be.
    #[must_use]
    pub fn in_place(&self, accounts: Vec<Option<String>>) -> Self {
        Self {
            failing_since: self.failing_since,
            ..Self::new(accounts, self.give_up_after)
        }
    }

    /// Whether sources of another account may be had when all of these have failed: an account whose slots are held is not waited
    /// for as long then.
    pub fn others_may_come(&mut self, may_come: bool) {
        self.has_others = may_come;
    }

    /// Whether every source has failed since one was healthy.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.rounds > 0
    }

    /// The source in use or being tried.
    #[must_use]
    pub fn current(&self) -> usize {
        self.current
    }

    /// The source that delivered last.
    #[must_use]
    pub fn last_good(&self) -> Option<usize> {
        self.last_good
    }

    /// The current source delivers media. May be said again and again.
    pub fn delivers(&mut self, now: Duration) {
        self.delivering_since.get_or_insert(now);
        self.failing_since = None;
        self.last_good = Some(self.current);
    }

    /// Remembers a failure and what was decided upon it.
    pub fn record(&mut self, decision: Decision, now: Duration) {
        if self.was_healthy(now) {
            (self.failures, self.rounds) = (0, 0);
            self.failed.fill(false);
        }
        self.failing_since.get_or_insert(now);
        self.delivering_since = None;
        self.failures += 1;
        if let Decision::Switch { source, .. } = decision {
            self.switch(source);
        }
    }

    fn switch(&mut self, source: usize) {
        if let Some(failed) = self.failed.get_mut(self.current) {
            *failed = true;
        }
        if self.failed.iter().all(|&failed| failed) {
            self.failed.fill(false);
            self.rounds += 1;
        }
        self.current = source;
        self.failures = 0;
    }

    fn was_healthy(&self, now: Duration) -> bool {
        self.delivering_since
            .is_some_and(|since| now.saturating_sub(since) >= HEALTHY)
    }

    /// Delays before the current source is connected again. The patience of providers is spent only where nothing else is
    /// left but the same account, whose slot is then needed.
    fn delays(&self) -> &'static [u64] {
        let account = self.account(self.current);
        let other_account = self
            .next_untried()
            .is_some_and(|source| self.account(source) != account);
        if account.is_none() || other_account || self.has_others {
            &PLAIN_DELAYS
        } else {
            &PROVIDER_DELAYS
        }
    }

    fn account(&self, source: usize) -> Option<&String> {
        self.accounts.get(source).and_then(Option::as_ref)
    }

    /// The next source in order that has not failed in this round.
    fn next_untried(&self) -> Option<usize> {
        self.untried().next()
    }

    /// The same, of another account where there is one: what an account is refused it is refused for all its channels.
    fn next_untried_elsewhere(&self) -> Option<usize> {
        let account = self.account(self.current);
        let elsewhere = self
            .untried()
            .find(|&source| self.account(source) != account);
        elsewhere.or_else(|| self.next_untried())
    }

    fn untried(&self) -> impl Iterator<Item = usize> {
        let count = self.accounts.len();
        (1..count)
            .map(move |step| (self.current + step) % count)
            .filter(|&source| self.failed.get(source) == Some(&false))
    }
}

/// Decides what follows upon a failure of the current source. Tell the decision to [`History::record`].
#[must_use]
pub fn next(history: &History, failure: Failure, now: Duration) -> Decision {
    let was_healthy = history.was_healthy(now);
    let failures = if was_healthy { 0 } else { history.failures };
    let has_account = history.account(history.current).is_some();
    if failure.is_transient(has_account)
        && let Some(&delay) = history.delays().get(failures)
    {
        return Decision::Reconnect {
            at: now + Duration::from_secs(delay),
        };
    }
    let untried = match failure {
        Failure::AccountRefused => history.next_untried_elsewhere(),
        _ => history.next_untried(),
    };
    if let Some(source) = untried {
        return Decision::Switch { source, at: now };
    }
    let failed_for = history
        .failing_since
        .map_or(Duration::ZERO, |since| now.saturating_sub(since));
    if failed_for >= history.give_up_after {
        return Decision::GiveUp;
    }
    let pause = ROUND_DELAYS[history.rounds.min(ROUND_DELAYS.len() - 1)];
    Decision::Switch {
        source: history.last_good.unwrap_or(0),
        at: now + Duration::from_secs(pause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: u64) -> Duration {
        Duration::from_secs(value)
    }

    fn history(accounts: &[&str]) -> History {
        let accounts = accounts
            .iter()
            .map(|account| (!account.is_empty()).then(|| (*account).to_owned()));
        History::new(accounts.collect(), seconds(60))
    }

    /// Lets a failure happen each time the decision's time has come; returns source and delay of each decision.
    fn run(history: &mut History, failure: Failure, count: usize) -> Vec<(usize, u64)> {
        let mut now = seconds(1000);
        let mut seen = Vec::new();
        for _ in 0..count {
            let decision = next(history, failure, now);
            history.record(decision, now);
            let at = match decision {
                Decision::Reconnect { at } | Decision::Switch { at, .. } => at,
                Decision::GiveUp => break,
            };
            seen.push((history.current(), (at - now).as_secs()));
            now = at;
        }
        seen
    }

    #[test]
    fn a_refused_account_gives_way_to_another_one_before_its_own_channels() {
        let mut sources = history(&["a", "a", "b"]);
        assert_eq!(
            run(&mut sources, Failure::AccountRefused, 3),
            [(2, 0), (1, 0), (0, 1)]
        );
    }

    #[test]
    fn each_failure_has_its_answer() {
        let reconnect = Decision::Reconnect { at: seconds(5) };
        let switch = Decision::Switch {
            source: 1,
            at: seconds(5),
        };
        let cases = [
            (Failure::Connect, reconnect, reconnect),
            (Failure::EndOfStream, reconnect, reconnect),
            (Failure::Silent, reconnect, reconnect),
            (Failure::Http(503), reconnect, reconnect),
            (Failure::Http(429), reconnect, reconnect),
            (Failure::Http(404), switch, reconnect),
            (Failure::Http(403), switch, reconnect),
            (Failure::NoFreeConnection, reconnect, reconnect),
            (Failure::AccountRefused, switch, switch),
            (Failure::EgressRefused, switch, switch),
            (Failure::Stalled, switch, switch),
            (Failure::NotTransportStream, switch, switch),
            (Failure::NoTracks, switch, switch),
            (Failure::NoKeyframe, switch, switch),
            (Failure::UnsupportedMedia, switch, switch),
        ];
        for (failure, plain, of_provider) in cases {
            assert_eq!(next(&history(&["", ""]), failure, seconds(5)), plain);
            assert_eq!(
                next(&history(&["a", "a"]), failure, seconds(5)),
                of_provider
            );
        }
    }

    #[test]
    fn a_plain_source_gets_three_chances_and_then_the_next_one_is_tried() {
        let mut history = history(&["", ""]);
        let expected = [
            (0, 0),
            (0, 1),
            (0, 2),
            (1, 0),
            (1, 0),
            (1, 1),
            (1, 2),
            (0, 1),
        ];
        assert_eq!(run(&mut history, Failure::EndOfStream, 8), expected);
    }

    #[test]
    fn a_slot_is_waited_for_before_another_source_of_the_same_account() {
        let mut history = history(&["a", "a"]);
        let expected = [(0, 0), (0, 1), (0, 2), (0, 4), (0, 8), (1, 0)];
        assert_eq!(run(&mut history, Failure::Http(403), 6), expected);
    }

    #[test]
    fn another_account_is_tried_sooner() {
        let mut history = history(&["a", "b"]);
        let expected = [(0, 0), (0, 1), (0, 2), (1, 0)];
        assert_eq!(run(&mut history, Failure::Connect, 4), expected);
    }

    #[test]
    fn an_account_is_not_waited_for_where_others_may_come_and_those_get_what_time_is_left() {
        let mut of_one = history(&["a", "a"]);
        of_one.others_may_come(true);
        let expected = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 0), (1, 1), (1, 2)];
        assert_eq!(run(&mut of_one, Failure::Connect, 7), expected);
        assert!(!of_one.is_exhausted());
        assert_eq!(run(&mut of_one, Failure::NoTracks, 1), [(0, 1)]);
        assert!(of_one.is_exhausted());
        let of_other = of_one.in_place(vec![Some("b".to_owned())]);
        assert!(!of_other.is_exhausted());
        let after = |passed: u64| next(&of_other, Failure::NoTracks, seconds(1000 + passed));
        assert_ne!(after(59), Decision::GiveUp);
        assert_eq!(after(60), Decision::GiveUp);
    }

    #[test]
    fn rounds_pause_longer_each_time_and_end() {
        let mut history = history(&["", "", ""]);
        let mut now = seconds(0);
        let mut pauses = Vec::new();
        loop {
            let decision = next(&history, Failure::NoTracks, now);
            history.record(decision, now);
            match decision {
                Decision::Switch { source: 0, at } => {
                    pauses.push((at - now).as_secs());
                    now = at;
                }
                Decision::Switch { at, .. } | Decision::Reconnect { at } => now = at,
                Decision::GiveUp => break,
            }
        }
        assert_eq!(pauses, [1, 2, 4, 8, 15, 30]);
        assert_eq!(now, seconds(60));
    }

    #[test]
    fn a_single_source_that_cannot_work_is_not_hammered() {
        let mut history = history(&[""]);
        let expected = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 15), (0, 30)];
        assert_eq!(run(&mut history, Failure::Http(404), 9), expected);
    }

    #[test]
    fn a_healthy_time_forgives_and_a_short_one_does_not() {
        let mut history = history(&["", ""]);
        run(&mut history, Failure::EndOfStream, 3);
        let mut brief = history.clone();
        brief.delivers(seconds(2000));
        assert_eq!(
            next(&brief, Failure::EndOfStream, seconds(2009)),
            Decision::Switch {
                source: 1,
                at: seconds(2009)
            }
        );
        history.delivers(seconds(2000));
        history.delivers(seconds(2005));
        assert_eq!(
            next(&history, Failure::EndOfStream, seconds(2010)),
            Decision::Reconnect { at: seconds(2010) }
        );
    }

    #[test]
    fn a_new_round_begins_with_the_source_that_delivered_last() {
        let mut history = history(&["", "", ""]);
        let now = seconds(100);
        run(&mut history, Failure::NoTracks, 1);
        history.delivers(now);
        let expected = [(2, 0), (0, 0), (1, 1), (2, 0), (0, 0), (1, 2)];
        assert_eq!(run(&mut history, Failure::NoTracks, 6), expected);
        assert_eq!(history.last_good(), Some(1));
    }

    #[test]
    fn a_source_that_still_delivers_now_and_then_is_never_given_up() {
        let mut history = history(&[""]);
        for round in 0..40 {
            let now = seconds(round * 10);
            history.delivers(now);
            let decision = next(&history, Failure::EndOfStream, now + seconds(5));
            assert_ne!(decision, Decision::GiveUp, "round {round}");
            history.record(decision, now + seconds(5));
        }
    }
}
