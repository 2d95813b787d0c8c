//! The exchange of accounts as a model: a pod that asks, withdraws and takes, two operators that do what followed from what they once saw,
//! grants that arrive late and twice, and a stream that takes whatever is free. What operators decide and enter is the real thing.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::grants::{account, asks};
use super::*;
use crate::live_stream::slots::{self, Holder};

const NAMES: [&str; 2] = ["one", "two"];
/// Requests that the pod makes at the most: there, and back again.
const REQUESTS: i32 = 2;

/// What the pod says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Said {
    /// Of whose connections it has one.
    provider: usize,
    request: i32,
    /// The request stands.
    asks: bool,
}

/// What is entered in both Providers, of which each has one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Entries {
    /// For which request of the pod.
    own: [Option<i32>; 2],
    /// Of another stream.
    others: [bool; 2],
}

/// What an operator is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Step {
    Leave { provider: usize, request: i32 },
    Claim { provider: usize, request: i32 },
    Grant { provider: usize, request: i32 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
struct Operator {
    /// The last word of the pod that it has heard, counted from its first.
    heard: usize,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Everything that the pod has said so far.
    said: Vec<Said>,
    entries: Entries,
    /// Provider and request of grants that are on their way, for ever.
    sent: BTreeSet<(usize, i32)>,
    operators: [Operator; 2],
}

impl Entries {
    /// Those of one Provider.
    fn of(&self, provider: usize) -> String {
        let own = self.own[provider].map(|request| {
            let strokes = "'".repeat(request.try_into().unwrap());
            format!("me1{strokes} ")
        });
        let other = if self.others[provider] { "b1" } else { "" };
        format!("{}{other}", own.unwrap_or_default())
    }

    fn set(&mut self, provider: usize, slots: &[api::provider::ProviderSlot]) {
        let own = slots.iter().find(|slot| slot.stream_uid == UID);
        self.own[provider] = own.map(|slot| slot.request);
    }
}

/// What an operator does that sees this.
fn steps(said: Said, entries: Entries) -> Vec<Step> {
    let place = |name: &str| NAMES.iter().position(|one| *one == name).unwrap();
    let wants = [NAMES[1 - said.provider]];
    let wants = if said.asks { &wants[..] } else { &[] };
    let account = account(NAMES[said.provider], said.request, wants);
    let plan = plan(&asks(&entries.of(0), &entries.of(1), &account), now());
    let mut steps = Vec::new();
    if let Some(leave) = plan.leave {
        let request = leave.request;
        let leaves = leave.providers.iter().map(|name| Step::Leave {
            provider: place(name),
            request,
        });
        steps.extend(leaves);
    }
    if let Some(claim) = plan.claim {
        let (provider, request) = (place(&claim.provider), claim.request);
        steps.push(Step::Claim { provider, request });
        if claim.told.is_some() {
            steps.push(Step::Grant { provider, request });
        }
    }
    steps
}

impl State {
    fn last(&self) -> Said {
        *self.said.last().unwrap()
    }

    fn saying(&self, said: Said) -> Self {
        let mut next = self.clone();
        next.said.push(said);
        next
    }

    /// What the pod may do.
    fn of_pod(&self) -> Vec<Self> {
        let last = self.last();
        let mut next = Vec::new();
        if last.asks {
            next.push(self.saying(Said {
                asks: false,
                ..last
            }));
        } else if last.request < REQUESTS {
            next.push(self.saying(Said {
                request: last.request + 1,
                asks: true,
                ..last
            }));
        }
        let is_asked_for = |(provider, request): &&(usize, i32)| {
            last.asks && *request == last.request && *provider != last.provider
        };
        let granted = self.sent.iter().filter(is_asked_for);
        next.extend(granted.map(|(provider, _)| {
            self.saying(Said {
                provider: *provider,
                asks: false,
                ..last
            })
        }));
        next
    }

    /// What the other stream may do.
    fn of_others(&self) -> Vec<Self> {
        let may = |provider: &usize| {
            self.entries.others[*provider] || self.entries.own[*provider].is_none()
        };
        let places = (0..2).filter(may);
        let next = places.map(|provider| {
            let mut next = self.clone();
            next.entries.others[provider] = !next.entries.others[provider];
            next
        });
        next.collect()
    }

    /// What an operator may do: look, which shows what is entered and some word of the pod, go on, or be lost.
    fn of_operator(
        &self,
        index: usize,
        known: &mut HashMap<(Said, Entries), Vec<Step>>,
    ) -> Vec<Self> {
        let with = |operator: Operator| {
            let mut next = self.clone();
            next.operators[index] = operator;
            next
        };
        let Operator { heard, steps } = self.operators[index].clone();
        let Some(step) = steps.first() else {
            let heard = heard..self.said.len();
            return heard
                .map(|heard| {
                    let seen = (self.said[heard], self.entries);
                    let steps = known.entry(seen);
                    let steps = steps.or_insert_with(|| self::steps(seen.0, seen.1)).clone();
                    with(Operator { heard, steps })
                })
                .collect();
        };
        let lost = with(Operator {
            heard,
            steps: Vec::new(),
        });
        let rest = steps[1..].to_vec();
        let mut next = with(Operator { heard, steps: rest });
        if !next.take(*step) {
            return vec![lost];
        }
        vec![next, lost]
    }

    /// Takes a step; false where it cannot be taken any more.
    fn take(&mut self, step: Step) -> bool {
        match step {
            Step::Leave { provider, request } => {
                let slots = grants::slots(&self.entries.of(provider));
                let left = slots::after_leaving(&slots, UID, 1, request);
                self.entries.set(provider, &left);
            }
            Step::Claim { provider, request } => {
                let slots = grants::slots(&self.entries.of(provider));
                let holder = Holder {
                    stream: "me",
                    stream_uid: UID,
                    attempt: 1,
                    request,
                };
                match slots::claim(&slots, 1, holder, &BTreeSet::new()) {
                    slots::Claim::Held => {}
                    slots::Claim::Take(slots) => self.entries.set(provider, &slots),
                    slots::Claim::AfterOwn(_) | slots::Claim::Full => return false,
                }
            }
            Step::Grant { provider, request } => {
                self.sent.insert((provider, request));
            }
        }
        true
    }

    /// Which of both operators is which makes no difference.
    fn in_order(mut self) -> Self {
        self.operators.sort();
        self
    }
}

#[test]
fn a_pod_never_has_a_connection_that_is_not_entered_whatever_is_late_or_lost() {
    let said = Said {
        provider: 0,
        request: 0,
        asks: false,
    };
    let first = State {
        said: vec![said],
        entries: Entries {
            own: [Some(0), None],
            others: [false; 2],
        },
        sent: BTreeSet::new(),
        operators: Default::default(),
    };
    let mut known = HashMap::new();
    let mut reached = HashSet::from([first.clone()]);
    let mut left = vec![first];
    let (mut exchanged, mut back) = (false, false);
    while let Some(state) = left.pop() {
        let last = state.last();
        assert!(state.entries.own[last.provider].is_some(), "{state:#?}");
        let both = (0..2).any(|one| state.entries.own[one].is_some() && state.entries.others[one]);
        assert!(!both, "{state:#?}");
        let has_left = state.entries.own[1 - last.provider].is_none();
        exchanged |= last.provider == 1 && has_left;
        back |= last.request == 2
            && last.provider == 0
            && state.said.contains(&Said {
                provider: 1,
                request: 1,
                asks: false,
            });
        let of_operators = (0..2).flat_map(|index| state.of_operator(index, &mut known));
        let of_operators: Vec<_> = of_operators.collect();
        let next = state.of_pod().into_iter().chain(state.of_others());
        for next in next.chain(of_operators).map(State::in_order) {
            if reached.insert(next.clone()) {
                left.push(next);
            }
        }
    }
    assert!(exchanged && back, "{} states", reached.len());
}
