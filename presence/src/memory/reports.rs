//! Reports in memory: the plain statement of what that port means.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::elapsed;
use crate::reports::{
    Change, Heard, OVER_TIME_TO_LIVE, PERIODS_MAXIMUM, Report, SessionId, is_kept,
};
use crate::{GATEWAY_STALE_AFTER, StoreTime};

/// What each gateway reported, and what somebody ended.
#[derive(Default)]
pub(super) struct Reported {
    gateways: BTreeMap<String, Sessions>,
    over: HashMap<SessionId, StoreTime>,
    traffic: BTreeMap<String, u64>,
}

struct Sessions {
    at: StoreTime,
    status: String,
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
            status: String::new(),
            texts: BTreeMap::new(),
        };
        let sessions = self
            .gateways
            .entry(gateway.to_owned())
            .or_insert_with(empty);
        sessions.at = now;
        if is_kept(report.status) {
            report.status.clone_into(&mut sessions.status);
        }
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

    /// How gateways that are here are.
    pub(super) fn statuses(&self, is_here: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let said = |sessions: &Sessions| !sessions.status.is_empty();
        let gateways = self.gateways.iter();
        let gateways = gateways.filter(|(name, sessions)| is_here(name) && said(sessions));
        gateways
            .map(|(name, sessions)| (name.clone(), sessions.status.clone()))
            .collect()
    }

    pub(super) fn add_traffic(&mut self, periods: &[String], bytes: u64) {
        for period in periods {
            let sum = self.traffic.entry(period.clone()).or_default();
            *sum = sum.saturating_add(bytes);
            let alike = |other: &&String| other.len() == period.len();
            let alike: Vec<String> = self.traffic.keys().filter(alike).cloned().collect();
            let over = alike.len().saturating_sub(PERIODS_MAXIMUM);
            for old in alike.iter().take(over) {
                self.traffic.remove(old);
            }
        }
    }

    pub(super) fn traffic(&self) -> BTreeMap<String, u64> {
        self.traffic.clone()
    }

    pub(super) fn end(&mut self, id: SessionId, now: StoreTime) {
        self.over.insert(id, now);
    }
}
