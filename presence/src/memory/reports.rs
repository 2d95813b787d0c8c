//! Reports in memory: the plain statement of what that port means.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::elapsed;
use crate::reports::{Change, Heard, OVER_TIME_TO_LIVE, Report, SessionId, is_kept};
use crate::{GATEWAY_STALE_AFTER, StoreTime};

/// What each gateway reported, and what somebody ended.
#[derive(Default)]
pub(super) struct Reported {
    gateways: BTreeMap<String, Sessions>,
    over: HashMap<SessionId, StoreTime>,
}

struct Sessions {
    at: StoreTime,
    texts: BTreeMap<SessionId, String>,
}

impl Reported {
    pub(super) fn expire(&mut self, now: StoreTime) {
        self.gateways
            .retain(|_, sessions| elapsed(sessions.at, now) < GATEWAY_STALE_AFTER);
        self.over
            .retain(|_, at| elapsed(*at, now) < OVER_TIME_TO_LIVE);
    }

    pub(super) fn report(&mut self, gateway: &str, report: Report<'_>, now: StoreTime) -> Heard {
        let empty = || Sessions {
            at: now,
            texts: BTreeMap::new(),
        };
        let sessions = self
            .gateways
            .entry(gateway.to_owned())
            .or_insert_with(empty);
        sessions.at = now;
        if report.anew {
            sessions.texts.clear();
        }
        for change in report.changes {
            match change {
                Change::Began(id, text) if is_kept(text) => {
                    sessions.texts.insert(*id, text.clone());
                }
                Change::Began(id, _) | Change::Left(id) => {
                    sessions.texts.remove(id);
                }
            }
        }
        let over = self.over.iter().filter(|(_, at)| **at >= report.since);
        Heard {
            now,
            sessions: sessions.texts.len() as u64,
            over: over.map(|(id, _)| *id).collect(),
        }
    }

    /// What gateways that are here say of sessions within the bounds, each of at most so many.
    pub(super) fn said(
        &self,
        bounds: (Bound<SessionId>, Bound<SessionId>),
        most: usize,
        is_here: impl Fn(&str) -> bool,
    ) -> Vec<(SessionId, String, String)> {
        let gateways = self.gateways.iter().filter(|(name, _)| is_here(name));
        let said = gateways.flat_map(|(name, sessions)| {
            let texts = sessions.texts.range(bounds).take(most);
            texts.map(|(id, text)| (*id, name.clone(), text.clone()))
        });
        said.collect()
    }

    pub(super) fn end(&mut self, id: SessionId, now: StoreTime) {
        self.over.insert(id, now);
    }
}
