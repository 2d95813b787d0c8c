//! Who watches, as administrators see it: each session in use here is reported to the store that all gateways share, and one that somebody
//! ended is refused. Nothing here is asked for on the way of a request but this gateway's memory, and nothing of it proves anything: the id
//! under which a session is shown leads to no address of its own.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use presence::StoreTime;
use presence::reports::{Change, OVER_TIME_TO_LIVE, Report, SessionId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::Gateway;
use crate::keys::Signature;
use crate::session::Session;

/// Changes that are reported at once.
const PORTION: usize = 1000;

/// Sessions that are reported at most; more watch unseen.
const REPORTED_MAXIMUM: usize = 50_000;

/// Characters of what a player calls itself at most.
const AGENT_MAXIMUM: usize = 200;

/// Bytes of an id.
const ID_BYTES: usize = 16;

/// What is said of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    /// Id of the user.
    pub(crate) user: String,
    /// Slug of the channel.
    pub(crate) channel: String,
    /// When it began, Unix seconds.
    pub(crate) since: u64,
    /// Where it was asked from first.
    pub(crate) address: IpAddr,
    /// What the player calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
}

/// Sessions that somebody ended.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    over: RwLock<HashMap<SessionId, Instant>>,
}

/// What a session is shown as: nothing that signs it can be told from that.
pub(crate) fn shown_id(session: &Signature) -> SessionId {
    let mut hash = Sha256::new();
    hash.update(b"shown session");
    hash.update(session);
    let hash: [u8; 32] = hash.finalize().into();
    let (half, _) = hash.split_at(ID_BYTES);
    SessionId(
        half.iter()
            .fold(0, |id, byte| (id << 8) | u128::from(*byte)),
    )
}

/// What a player calls itself, short and in one line.
fn agent(sent: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(sent);
    let plain = text.chars().filter(|letter| !letter.is_control());
    let plain: String = plain.take(AGENT_MAXIMUM).collect();
    (!plain.is_empty()).then_some(plain)
}

impl About {
    /// A session of a player that asks from there, and calls itself so.
    pub(crate) fn new(session: &Session, address: IpAddr, player: &[u8]) -> Self {
        Self {
            user: session.user.clone(),
            channel: session.channel.clone(),
            since: session.issued_at,
            address,
            agent: agent(player),
        }
    }
}

impl Audience {
    /// Whether somebody ended the session.
    pub(crate) fn is_over(&self, session: &Signature) -> bool {
        let over = self.over.read().unwrap_or_else(PoisonError::into_inner);
        !over.is_empty() && over.contains_key(&shown_id(session))
    }

    /// The same of one that is shown.
    pub(crate) fn is_shown_over(&self, id: SessionId) -> bool {
        let over = self.over.read().unwrap_or_else(PoisonError::into_inner);
        over.contains_key(&id)
    }

    /// These were ended.
    pub(crate) fn end(&self, ids: &[SessionId], now: Instant) {
        if ids.is_empty() {
            return;
        }
        let mut over = self.over.write().unwrap_or_else(PoisonError::into_inner);
        over.retain(|_, heard| now.saturating_duration_since(*heard) < OVER_TIME_TO_LIVE);
        for id in ids {
            over.entry(*id).or_insert(now);
        }
    }
}

/// Where the reporting stands.
#[derive(Debug)]
pub(crate) struct Reporting {
    /// What the store has been told of.
    told: HashSet<SessionId>,
    /// The store may have something else.
    is_in_doubt: bool,
    /// The store's clock when it last answered.
    since: StoreTime,
}

impl Default for Reporting {
    fn default() -> Self {
        Self {
            told: HashSet::new(),
            // Another process of the same name may have been here before.
            is_in_doubt: true,
            since: StoreTime(0),
        }
    }
}

impl Reporting {
    /// Reports how the gateway is and what is different since the last time, and hears which sessions are over.
    ///
    /// # Errors
    /// When the store does not take it, with its words: everything is reported anew then.
    pub(crate) async fn report(&mut self, gateway: &Gateway, status: &str) -> Result<(), String> {
        let current = gateway.viewers.described();
        let outcome = self.tell(gateway, status, &current).await;
        self.is_in_doubt |= outcome.is_err();
        outcome
    }

    async fn tell(
        &mut self,
        gateway: &Gateway,
        status: &str,
        current: &HashMap<SessionId, Arc<About>>,
    ) -> Result<(), String> {
        if self.is_in_doubt {
            self.told.clear();
        }
        let mut anew = self.is_in_doubt;
        let changes = changes(&self.told, current);
        let nothing: &[Change] = &[];
        let portions = changes.chunks(PORTION);
        for portion in portions.chain(changes.is_empty().then_some(nothing)) {
            let report = Report {
                anew,
                status,
                changes: portion,
                since: self.since,
            };
            let heard = gateway.reports.report(&gateway.name, report).await;
            let heard = heard.map_err(|error| error.to_string())?;
            anew = false;
            self.since = heard.now;
            gateway.audience.end(&heard.over, Instant::now());
            self.take_in(portion);
            self.is_in_doubt = heard.sessions != self.told.len() as u64;
        }
        Ok(())
    }

    fn take_in(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Began(id, _) => self.told.insert(*id),
                Change::Left(id) => self.told.remove(id),
            };
        }
    }
}

/// What makes a store that was told of those have these, as many as may be reported.
fn changes(told: &HashSet<SessionId>, current: &HashMap<SessionId, Arc<About>>) -> Vec<Change> {
    let left = told.iter().filter(|id| !current.contains_key(id));
    let mut changes: Vec<Change> = left.map(|id| Change::Left(*id)).collect();
    let stay = told.len() - changes.len();
    let began = current.iter().filter(|(id, _)| !told.contains(id));
    let began = began.take(REPORTED_MAXIMUM.saturating_sub(stay));
    changes.extend(began.map(|(id, about)| {
        // A document of plain values always becomes text.
        Change::Began(*id, serde_json::to_string(about).unwrap_or_default())
    }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(user: &str) -> Arc<About> {
        Arc::new(About {
            user: user.to_owned(),
            channel: "news-one".to_owned(),
            since: 1_790_000_000,
            address: IpAddr::from([192, 0, 2, 7]),
            agent: None,
        })
    }

    fn ids(changes: &[Change]) -> (Vec<u128>, Vec<u128>) {
        let (mut began, mut left) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Began(id, text) => {
                    assert!(text.contains("\"channel\":\"news-one\""), "{text}");
                    began.push(id.0);
                }
                Change::Left(id) => left.push(id.0),
            }
        }
        began.sort_unstable();
        left.sort_unstable();
        (began, left)
    }

    #[test]
    fn only_what_is_different_is_told() {
        let current = [2, 3, 4].map(|id| (SessionId(id), about("anna"))).into();
        let told = [1, 2].map(SessionId).into();
        let (began, left) = ids(&changes(&told, &current));
        assert_eq!((began, left), (vec![3, 4], vec![1]));
        let same = current.keys().copied().collect();
        assert_eq!(changes(&same, &current), []);
    }

    #[test]
    fn no_more_sessions_are_told_than_may_be_and_those_that_are_known_stay() {
        let about = about("anna");
        let most = REPORTED_MAXIMUM as u128;
        let all = (0..most + 10).map(|id| (SessionId(id), about.clone()));
        let current = all.collect();
        let told = [0, 1].map(SessionId).into();
        let (began, left) = ids(&changes(&told, &current));
        assert_eq!((began.len(), left.len()), (REPORTED_MAXIMUM - 2, 0));
    }

    #[test]
    fn what_is_shown_of_a_session_is_not_what_signs_it() {
        let (one, two) = ([1; 16], [2; 16]);
        assert_ne!(shown_id(&one), shown_id(&two));
        assert_eq!(shown_id(&one), shown_id(&one));
        assert_ne!(shown_id(&one), SessionId(u128::from_be_bytes(one)));
    }

    #[test]
    fn a_session_that_was_ended_is_over_for_longer_than_it_lives() {
        let (audience, start) = (Audience::default(), Instant::now());
        assert!(!audience.is_over(&[1; 16]));
        audience.end(&[shown_id(&[1; 16])], start);
        assert!(audience.is_over(&[1; 16]) && !audience.is_over(&[2; 16]));
        audience.end(&[shown_id(&[2; 16])], start + OVER_TIME_TO_LIVE);
        assert!(!audience.is_over(&[1; 16]) && audience.is_over(&[2; 16]));
    }

    #[test]
    fn what_players_call_themselves_is_short_and_in_one_line() {
        assert_eq!(agent(b"VLC/3.0 \tx").as_deref(), Some("VLC/3.0 x"));
        assert_eq!(agent(b"\xff").as_deref(), Some("\u{fffd}"));
        assert_eq!(agent(b""), None);
        assert_eq!(agent(&[b'x'; 5000]).unwrap().len(), AGENT_MAXIMUM);
    }
}
