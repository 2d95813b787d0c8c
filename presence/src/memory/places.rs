//! Places in memory: the plain statement of what that port means.

use std::collections::{BTreeMap, HashMap};

use super::elapsed;
use crate::places::{
    Change, Claimed, ENDED_TIME_TO_LIVE, Held, Limit, OverLimit, PLACE_TIME_TO_LIVE, Place,
};
use crate::{GATEWAY_STALE_AFTER, StoreTime};

/// Every place that a gateway claimed and has not left, and those that were taken.
#[derive(Default)]
pub(super) struct Taken {
    places: HashMap<Place, BTreeMap<String, Claim>>,
    ended: BTreeMap<Place, Ending>,
}

#[derive(Clone, Copy)]
struct Claim {
    issued_at: u64,
    since: StoreTime,
}

#[derive(Clone, Copy)]
struct Ending {
    issued_at: u64,
    at: StoreTime,
}

impl Taken {
    pub(super) fn expire(&mut self, now: StoreTime) {
        let is_fresh = |at| elapsed(at, now) < PLACE_TIME_TO_LIVE;
        self.ended.retain(|_, ending| is_fresh(ending.at));
        self.places.retain(|_, gateways| {
            gateways.retain(|_, claim| is_fresh(claim.since));
            !gateways.is_empty()
        });
    }

    /// `is_here` tells whether a gateway still says who is watching.
    pub(super) fn claim(
        &mut self,
        gateway: &str,
        session: &Held,
        limit: Limit,
        now: StoreTime,
        is_here: impl Fn(&str) -> bool,
    ) -> Claimed {
        if self.is_ended(session) {
            return Claimed::Ended;
        }
        let in_use = self.in_use(&session.place.user, now, |name| {
            name == gateway || is_here(name)
        });
        let places = u32::try_from(in_use.len()).unwrap_or(u32::MAX);
        let is_free = limit.places.is_none_or(|most| places < most);
        if in_use.iter().any(|(place, _)| *place == session.place) || is_free {
            self.hold(gateway, session, now);
            return Claimed::Taken { ended: None };
        }
        let own = in_use
            .iter()
            .find(|(place, _)| place.client == session.place.client);
        let oldest = in_use
            .first()
            .filter(|_| limit.over == OverLimit::NewestWins);
        let Some((victim, claim)) = own.or(oldest).cloned() else {
            return Claimed::Refused { in_use: places };
        };
        self.places.remove(&victim);
        let issued_at = claim.issued_at;
        let ending = Ending { issued_at, at: now };
        self.ended.insert(victim.clone(), ending);
        self.hold(gateway, session, now);
        let ended = Some(Held {
            place: victim,
            issued_at,
        });
        Claimed::Taken { ended }
    }

    pub(super) fn settle(
        &mut self,
        gateway: &str,
        since: StoreTime,
        changes: &[Change],
        now: StoreTime,
    ) -> Vec<Held> {
        let mut lost = Vec::new();
        for change in changes {
            match change {
                Change::Left(place) => {
                    if let Some(gateways) = self.places.get_mut(place) {
                        gateways.remove(gateway);
                    }
                }
                Change::Kept(session) if self.is_ended(session) => lost.push(session.clone()),
                Change::Kept(session) => self.hold(gateway, session, now),
            }
        }
        let is_told = |at| at >= since && elapsed(at, now) < ENDED_TIME_TO_LIVE;
        let ended = self.ended.iter().filter(|(_, ending)| is_told(ending.at));
        let ended = ended.map(|(place, ending)| Held {
            place: place.clone(),
            issued_at: ending.issued_at,
        });
        ended.chain(lost).collect()
    }

    fn is_ended(&self, session: &Held) -> bool {
        let ending = self.ended.get(&session.place);
        ending.is_some_and(|ending| session.issued_at <= ending.issued_at)
    }

    fn hold(&mut self, gateway: &str, session: &Held, now: StoreTime) {
        let gateways = self.places.entry(session.place.clone()).or_default();
        let before = gateways.get(gateway);
        if before.is_none_or(|before| before.issued_at < session.issued_at) {
            let claim = Claim {
                issued_at: session.issued_at,
                since: now,
            };
            gateways.insert(gateway.to_owned(), claim);
        }
    }

    /// The user's places with when each was claimed first and its last session, the oldest first.
    fn in_use(
        &self,
        user: &str,
        now: StoreTime,
        is_here: impl Fn(&str) -> bool,
    ) -> Vec<(Place, Claim)> {
        let of_user = self.places.iter().filter(|(place, _)| place.user == user);
        let merged = of_user.filter_map(|(place, gateways)| {
            // A claim is a word of that gateway, too.
            let is_fresh = |claim: &Claim| elapsed(claim.since, now) < GATEWAY_STALE_AFTER;
            let here = gateways
                .iter()
                .filter(|(name, claim)| is_fresh(claim) || is_here(name));
            let claim = here.map(|(_, claim)| *claim).reduce(|one, other| Claim {
                issued_at: one.issued_at.max(other.issued_at),
                since: one.since.min(other.since),
            });
            Some((place.clone(), claim?))
        });
        let mut in_use: Vec<_> = merged.collect();
        in_use.sort_by(|one, other| (one.1.since, &one.0).cmp(&(other.1.since, &other.0)));
        in_use
    }
}
