//! Which source is next, and when: what failed is named here, what follows is decided by `media::failover`.
//! What the encoder does wrong never comes here.

use std::collections::BTreeSet;
use std::time::Duration;

use api::condition::Reason;
use api::job::{JobSource, TranscodeJob};
use media::failover::{self, Decision, Failure, History};
use media::front_end::Stage;
use upstream::failure::SourceFailure;

use super::plan::Unusable;

/// A source may ask to be left alone for so long at most.
const RETRY_AFTER_MAXIMUM: Duration = Duration::from_secs(60);

/// A source that was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    /// The reason, for the condition.
    pub(super) reason: Reason,
    /// One sentence, without secrets.
    pub(super) message: String,
    /// How it failed, for the decision.
    pub(super) failure: Failure,
    /// How long it asks to be left alone.
    pub(super) retry_after: Duration,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The current source is connected after a while.
    Connect {
        /// How long a while.
        after: Duration,
    },
    /// Nothing has worked for too long.
    GiveUp,
}

/// The sources of a job and what has happened to them.
#[derive(Debug)]
pub(super) struct Sources {
    /// Those that may be opened.
    sources: Vec<JobSource>,
    /// Those of accounts that it has no connection of.
    reserve: Vec<JobSource>,
    history: History,
    /// The accounts that it had before, since something was delivered last.
    tried: BTreeSet<String>,
}

impl Sources {
    /// Nothing has happened; the first one is current.
    pub(super) fn new(job: &TranscodeJob, give_up_after: Duration) -> Self {
        Self {
            history: History::new(accounts(&job.sources), give_up_after),
            sources: job.sources.clone(),
            reserve: job.reserve.clone(),
            tried: BTreeSet::new(),
        }
    }

    /// The accounts of which it would take a connection, now that all its sources have failed: those that it has not had meanwhile.
    pub(super) fn wants(&self) -> Vec<String> {
        match self.history.is_exhausted() {
            true => self.untried(),
            false => Vec::new(),
        }
    }

    fn untried(&self) -> Vec<String> {
        let mut untried: Vec<String> = Vec::new();
        for account in accounts(&self.reserve).into_iter().flatten() {
            if !self.tried.contains(&account) && !untried.contains(&account) {
                untried.push(account);
            }
        }
        untried
    }

    /// It has a connection of this account instead of what it had: the account's sources come first, then those that need none. False
    /// where it has no source of the account.
    pub(super) fn take(&mut self, provider: &str) -> bool {
        let is_of = |source: &JobSource| account(source) == Some(provider);
        if !self.reserve.iter().any(is_of) {
            return false;
        }
        let before = self.sources.iter().find_map(account);
        self.tried.extend(before.map(str::to_owned));
        let mut all = std::mem::take(&mut self.sources);
        all.append(&mut self.reserve);
        all.sort_by_key(|source| source.index);
        let (mut granted, reserve): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|source| source.grant.is_none() || is_of(source));
        granted.sort_by_key(|source| source.grant.is_none());
        self.history = self.history.in_place(accounts(&granted));
        (self.sources, self.reserve) = (granted, reserve);
        true
    }

    /// The one in use or being tried.
    pub(super) fn current(&self) -> Option<&JobSource> {
        self.sources.get(self.history.current())
    }

    /// Its place in the stream's list.
    pub(super) fn index(&self) -> i32 {
        self.current().map_or(0, |source| source.index)
    }

    /// It delivers.
    pub(super) fn delivers(&mut self, now: Duration) {
        self.history.delivers(now);
        self.tried.clear();
    }

    /// It is lost.
    pub(super) fn lost(&mut self, lost: &Lost, now: Duration) -> Next {
        let others = !self.untried().is_empty();
        self.history.others_may_come(others);
        let decision = failover::next(&self.history, lost.failure, now);
        let before = self.history.current();
        self.history.record(decision, now);
        match decision {
            Decision::GiveUp => Next::GiveUp,
            Decision::Reconnect { at } => wait(at, now, lost.retry_after),
            Decision::Switch { source, at } if source == before => wait(at, now, lost.retry_after),
            Decision::Switch { at, .. } => wait(at, now, Duration::ZERO),
        }
    }
}

fn account(source: &JobSource) -> Option<&str> {
    source.grant.as_ref().map(|grant| grant.provider.as_str())
}

fn accounts(sources: &[JobSource]) -> Vec<Option<String>> {
    let accounts = sources.iter().map(account);
    accounts.map(|account| account.map(str::to_owned)).collect()
}

/// Waits as long as decided, or as long as the source asks for.
fn wait(at: Duration, now: Duration, asked: Duration) -> Next {
    Next::Connect {
        after: at.saturating_sub(now).max(asked.min(RETRY_AFTER_MAXIMUM)),
    }
}

/// What a failed connection means.
pub(super) fn named(failure: &SourceFailure) -> Lost {
    let kind = match failure {
        SourceFailure::InvalidRequest { .. } | SourceFailure::ConnectFailed { .. } => {
            Failure::Connect
        }
        SourceFailure::EgressRefused { .. }
        | SourceFailure::EgressUnpinned { .. }
        | SourceFailure::FilesRefused { .. } => Failure::EgressRefused,
        // Like the answer of a server that has no such thing.
        SourceFailure::FileUnavailable { .. } => Failure::Http(404),
        SourceFailure::HttpStatus { status, .. } => Failure::Http(*status),
        SourceFailure::AccountRefused { .. } => Failure::AccountRefused,
        SourceFailure::NoFreeConnection { .. } => Failure::NoFreeConnection,
        // Like the answer of a server that is broken.
        SourceFailure::BadAnswer { .. } => Failure::Http(500),
        SourceFailure::Silent { .. } => Failure::Silent,
        SourceFailure::Stalled { .. } => Failure::Stalled,
        SourceFailure::Unsupported { .. } => Failure::UnsupportedMedia,
        SourceFailure::EndOfStream { .. } => Failure::EndOfStream,
    };
    Lost {
        reason: failure.reason(),
        message: failure.to_string(),
        failure: kind,
        retry_after: failure.retry_after().unwrap_or_default(),
    }
}

/// What media that cannot be used mean.
pub(super) fn rejected(unusable: Unusable) -> Lost {
    let failure = match unusable.reason {
        Reason::NotTransportStream => Failure::NotTransportStream,
        Reason::NoTracks => Failure::NoTracks,
        Reason::NoKeyframe => Failure::NoKeyframe,
        _ => Failure::UnsupportedMedia,
    };
    Lost {
        reason: unusable.reason,
        message: unusable.message,
        failure,
        retry_after: Duration::ZERO,
    }
}

/// What is missing when the deadline has passed.
pub(super) fn overdue(stage: Stage, seconds: i32) -> Unusable {
    let (reason, missing) = match stage {
        Stage::AwaitingPackets => (Reason::NotTransportStream, "transport stream packets"),
        Stage::AwaitingTables => (Reason::NoTracks, "programme tables"),
        Stage::AwaitingRandomAccessPoint | Stage::Open => (Reason::NoKeyframe, "keyframe"),
    };
    Unusable {
        reason,
        message: format!("no {missing} came within {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use api::job::SlotGrant;

    use super::*;
    use crate::fixtures;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn http(status: u16, retry_after: Option<Duration>) -> Lost {
        named(&SourceFailure::HttpStatus {
            origin: "http://a.example".to_owned(),
            status,
            retry_after,
        })
    }

    /// A job of these sources.
    fn job(sources: Vec<JobSource>) -> TranscodeJob {
        TranscodeJob {
            sources,
            ..fixtures::job("/nowhere")
        }
    }

    fn of_account(index: i32, provider: &str) -> JobSource {
        let provider = provider.to_owned();
        JobSource {
            grant: Some(SlotGrant { provider }),
            ..fixtures::source(index, "http://a")
        }
    }

    fn indices(sources: &Sources) -> Vec<i32> {
        sources.sources.iter().map(|source| source.index).collect()
    }

    /// Everything that may be opened fails once more.
    fn all_fail(sources: &mut Sources) -> Vec<String> {
        let rejected = Lost {
            reason: Reason::NoTracks,
            message: String::new(),
            failure: Failure::NoTracks,
            retry_after: Duration::ZERO,
        };
        for _ in 0..sources.sources.len() {
            assert_ne!(sources.lost(&rejected, at(0)), Next::GiveUp);
        }
        sources.wants()
    }

    #[test]
    fn other_accounts_are_asked_for_when_all_sources_have_failed_each_once_until_one_delivers() {
        let job = TranscodeJob {
            reserve: vec![
                of_account(1, "two"),
                of_account(3, "three"),
                of_account(4, "two"),
            ],
            ..job(vec![of_account(0, "one"), fixtures::source(2, "http://b")])
        };
        let mut sources = Sources::new(&job, at(60));
        assert_eq!(sources.wants(), [""; 0]);
        assert_eq!(all_fail(&mut sources), ["two", "three"]);
        assert!(!sources.take("one") && !sources.take("four"));
        assert!(sources.take("two"));
        assert_eq!((indices(&sources), sources.index()), (vec![1, 4, 2], 1));
        assert_eq!(sources.wants(), [""; 0]);
        assert_eq!(all_fail(&mut sources), ["three"]);
        assert!(sources.take("three"));
        assert_eq!(all_fail(&mut sources), [""; 0]);
        sources.delivers(at(1));
        assert_eq!(all_fail(&mut sources), ["one", "two"]);
        assert!(sources.take("one"));
        assert_eq!(indices(&sources), [0, 2]);
    }

    #[test]
    fn a_source_that_is_gone_gives_way_to_the_next_and_all_of_them_are_given_up_in_bounded_time() {
        let both = [
            fixtures::source(0, "http://a"),
            fixtures::source(1, "http://b"),
        ];
        let mut sources = Sources::new(&job(both.to_vec()), at(60));
        let gone = http(404, None);
        assert_eq!(sources.lost(&gone, at(0)), Next::Connect { after: at(0) });
        assert_eq!(sources.index(), 1);
        let mut now = at(0);
        for _ in 0..100 {
            match sources.lost(&gone, now) {
                Next::GiveUp => break,
                Next::Connect { after } => now += after,
            }
        }
        assert!((at(60)..at(120)).contains(&now), "{now:?}");
    }

    #[test]
    fn a_source_that_asks_for_time_gets_it() {
        let mut sources = Sources::new(&job(vec![fixtures::source(0, "http://a")]), at(60));
        let busy = http(503, Some(at(7)));
        assert_eq!(sources.lost(&busy, at(0)), Next::Connect { after: at(7) });
    }

    #[test]
    fn what_is_missing_at_the_deadline_is_named() {
        let named = |stage| overdue(stage, 20).reason;
        assert_eq!(named(Stage::AwaitingPackets), Reason::NotTransportStream);
        assert_eq!(named(Stage::AwaitingTables), Reason::NoTracks);
        assert_eq!(named(Stage::AwaitingRandomAccessPoint), Reason::NoKeyframe);
    }
}
