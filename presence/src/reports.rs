//! What gateways report for people to look at: who watches, since when and from where, how they are, and how much they sent. A fourth port of
//! the same stores, with the same adapters. Each gateway reports for itself, of its sessions what changed only, and counts while it does
//! ([`crate::GATEWAY_STALE_AFTER`]). The other way round every gateway hears which sessions somebody ended. Knows nothing of what the
//! texts say, and nothing is decided by them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

use crate::{PresenceError, StoreTime};

/// How long a session that somebody ended is told of: longer than a session lives.
pub const OVER_TIME_TO_LIVE: Duration = Duration::from_hours(25);

/// Bytes of a text at most; a longer one is not kept, nor is an empty one.
pub const TEXT_MAXIMUM: usize = 4 * 1024;

/// Days that are kept of what was sent, and months.
pub const PERIODS_MAXIMUM: usize = 62;

/// What tells a session from every other one, the same at all gateways. Written as 32 hexadecimal digits, and ordered like those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

/// A text that is no id of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a session is 32 hexadecimal digits in small letters")]
pub struct NoSessionId;

/// What a gateway says of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is in use here, and this is said of it.
    Began(SessionId, String),
    /// It is no longer in use here.
    Left(SessionId),
}

/// What a gateway reports.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// All that it reported before is forgotten first.
    pub anew: bool,
    /// How the gateway is.
    pub status: &'a str,
    /// What is different since.
    pub changes: &'a [Change],
    /// The store's clock when it last answered.
    pub since: StoreTime,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The store's clock at the answer: what to give as `since` the next time.
    pub now: StoreTime,
    /// How many sessions the store has of this gateway. Where that is another number than it reported, it reports anew.
    pub sessions: u64,
    /// Sessions that somebody ended since then.
    pub over: Vec<SessionId>,
}

/// A session that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// What tells it from every other one.
    pub id: SessionId,
    /// The gateways where it is in use, by name.
    pub gateways: Vec<String>,
    /// What the first of them says of it.
    pub text: String,
}

/// The port. Every method is one atomic step in the store, bounded in time, and may be repeated.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Says which sessions are in use at a gateway, and hears which ones are over.
    async fn report(&self, gateway: &str, report: Report<'_>) -> Result<Heard, PresenceError>;

    /// Sessions in use behind that id, by id: at most so many.
    async fn sessions(
        &self,
        after: Option<SessionId>,
        most: usize,
    ) -> Result<Vec<Reported>, PresenceError>;

    /// One session, if it is in use.
    async fn session(&self, id: SessionId) -> Result<Option<Reported>, PresenceError>;

    /// How each gateway is, by name.
    async fn statuses(&self) -> Result<BTreeMap<String, String>, PresenceError>;

    /// Adds to what was sent in these periods: days and months, written so that later ones come later (`2026-11-22`, `2026-11`). Of those that are
    /// written with as many letters the last [`PERIODS_MAXIMUM`] are kept. What is added twice counts twice.
    async fn add_traffic(&self, periods: &[String], bytes: u64) -> Result<(), PresenceError>;

    /// How many bytes were sent in each period.
    async fn traffic(&self) -> Result<BTreeMap<String, u64>, PresenceError>;

    /// Tells every gateway that the session is over, for [`OVER_TIME_TO_LIVE`].
    async fn end(&self, id: SessionId) -> Result<(), PresenceError>;
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = NoSessionId;

    fn from_str(text: &str) -> Result<Self, NoSessionId> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_one = text.len() == 32 && text.bytes().all(is_digit);
        let number = is_one.then(|| u128::from_str_radix(text, 16));
        number.and_then(Result::ok).map(Self).ok_or(NoSessionId)
    }
}

/// Whether a text is kept.
pub(crate) fn is_kept(text: &str) -> bool {
    (1..=TEXT_MAXIMUM).contains(&text.len())
}

/// What each gateway says, as sessions by id: the first ones.
pub(crate) fn merged(mut said: Vec<(SessionId, String, String)>, most: usize) -> Vec<Reported> {
    said.sort();
    let mut sessions: Vec<Reported> = Vec::new();
    for (id, gateway, text) in said {
        let count = sessions.len();
        match sessions.last_mut() {
            Some(last) if last.id == id => last.gateways.push(gateway),
            _ if count >= most => break,
            _ => sessions.push(Reported {
                id,
                gateways: vec![gateway],
                text,
            }),
        }
    }
    sessions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_and_read_as_thirty_two_digits() {
        for number in [0, 1, 0xdead_beef << 64, u128::MAX] {
            let id = SessionId(number);
            assert_eq!(id.to_string().len(), 32);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let zeros = "0".repeat(31);
        for text in ["", "x", &zeros, &format!("{zeros}A"), &format!("+{zeros}")] {
            assert_eq!(text.parse::<SessionId>(), Err(NoSessionId), "{text}");
        }
    }

    #[test]
    fn what_several_gateways_say_of_a_session_is_one_session() {
        let said = |id, gateway: &str| (SessionId(id), gateway.to_owned(), format!("by {gateway}"));
        let all = vec![said(2, "b"), said(1, "a"), said(3, "a"), said(2, "a")];
        let found: Vec<_> = merged(all, 2)
            .into_iter()
            .map(|one| (one.id.0, one.gateways, one.text))
            .collect();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = vec![
            (1, names(&["a"]), "by a".to_owned()),
            (2, names(&["a", "b"]), "by a".to_owned()),
        ];
        assert_eq!(found, expected);
    }
}
