//! A state of the model: the stream as the API server has it, the store, what gateways and operators are in the middle of.
//! Only data; ages are in ticks.

use super::store::OLD;

/// Everything at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// The store, by its number.
    pub(super) store: u16,
    /// `replicas` is 1.
    pub(super) wanted: bool,
    /// A pod is named, since then.
    pub(super) named: Option<u8>,
    pub(super) gateways: [Gateway; 2],
    pub(super) operators: [Operator; 2],
}

/// A gateway, as far as one stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gateway {
    /// The cluster has it.
    pub(super) runs: bool,
    /// The age of the last request.
    pub(super) touch: u8,
    /// The store has acknowledged that.
    pub(super) told: bool,
    /// Nobody may collect the stream while that is younger than the idle timeout: it was there before the last fence was set, or the store
    /// knew of it before the seal, or the stream was woken for it.
    pub(super) counts: bool,
    /// The store has said that the stream is closed.
    pub(super) fenced: bool,
    pub(super) flight: Option<Flight>,
}

/// A flush on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    /// The age that it tells.
    pub(super) touch: Option<u8>,
    /// When it was gathered.
    pub(super) gathered: u8,
    /// There was no request since.
    pub(super) complete: bool,
}

/// What an operator is in the middle of. `current`: nobody has changed the stream since this operator looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Idle,
    /// It has looked at the stream.
    Looked {
        wanted: bool,
        named: Option<u8>,
        current: bool,
    },
    /// It has asked the store, and decided.
    Decided {
        plan: Planned,
        current: bool,
    },
    /// It has sealed the fence.
    Sealed {
        current: bool,
    },
}

/// What is left of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Planned {
    /// A pod is named first.
    pub(super) names: bool,
    /// The status names none any more.
    pub(super) unnames: bool,
    /// The stream is changed, so that nobody removes it who looked before.
    pub(super) keeps: bool,
    pub(super) step: Step,
}

/// A step of the collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Nothing,
    Begin,
    Open,
    /// The fence that was seen still stands.
    Seal,
    /// The fence that was seen is gone.
    SealGone,
    OpenGone,
}

impl Planned {
    /// Something is written before the step.
    pub(super) fn writes(self) -> bool {
        self.names || self.unnames || self.keeps
    }
}

impl Gateway {
    pub(super) fn new(runs: bool) -> Self {
        Self {
            runs,
            touch: OLD,
            told: true,
            counts: false,
            fenced: false,
            flight: None,
        }
    }

    /// Whether its last viewer was there within the idle timeout.
    pub(super) fn is_watched(&self) -> bool {
        self.touch < OLD
    }

    fn pack(&self) -> u64 {
        let touched = match self.touch {
            OLD.. => 0,
            age => {
                1 + pack(&[
                    (age, 2),
                    (self.told.into(), 2),
                    (self.counts.into(), 2),
                    (self.fenced.into(), 2),
                ])
            }
        };
        let flight = self.flight.map_or(0, |flight| {
            1 + pack(&[
                (flight.touch.map_or(0, |age| age + 1), 4),
                (flight.gathered, 4),
                (flight.complete.into(), 2),
            ])
        });
        (touched * 33 + flight) * 2 + u64::from(self.runs)
    }
}

impl Operator {
    fn pack(self) -> u64 {
        match self {
            Self::Idle => 0,
            Self::Sealed { current } => 2 + u64::from(current),
            Self::Looked {
                wanted,
                named,
                current,
            } => {
                let named = named.map_or(0, |age| age + 1);
                4 + pack(&[(wanted.into(), 2), (named, 4), (current.into(), 2)])
            }
            Self::Decided { plan, current } => {
                let Planned {
                    names,
                    unnames,
                    keeps,
                    step,
                } = plan;
                20 + pack(&[
                    (names.into(), 2),
                    (unnames.into(), 2),
                    (keeps.into(), 2),
                    (step as u8, 6),
                    (current.into(), 2),
                ])
            }
        }
    }
}

impl State {
    /// A number that no other state has.
    pub(super) fn pack(&self) -> u64 {
        let named = u64::from(self.named.map_or(0, |age| age + 1));
        let mut packed = (u64::from(self.store) * 2 + u64::from(self.wanted)) * 4 + named;
        for gateway in &self.gateways {
            packed = packed * 2048 + gateway.pack();
        }
        for operator in self.operators {
            packed = packed * 128 + operator.pack();
        }
        packed
    }

    /// Somebody changes the stream: who has looked at it before knows an old version.
    pub(super) fn changes(&mut self) {
        for operator in &mut self.operators {
            match operator {
                Operator::Looked { current, .. }
                | Operator::Decided { current, .. }
                | Operator::Sealed { current } => *current = false,
                Operator::Idle => {}
            }
        }
    }

    /// The fence changes, whoever has seen it; one that is sealed still is the one that was set.
    pub(super) fn fence_changes(&mut self, is_sealed: bool) {
        for operator in &mut self.operators {
            if let Operator::Decided { plan, .. } = operator {
                plan.step = match plan.step {
                    Step::Seal if !is_sealed => Step::SealGone,
                    Step::Open => Step::OpenGone,
                    step => step,
                };
            }
        }
    }

    /// The same with the gateways' places changed.
    pub(super) fn mirrored(mut self, store: u16) -> Self {
        self.gateways.swap(0, 1);
        Self { store, ..self }
    }
}

/// Numbers below their bounds as one.
fn pack(digits: &[(u8, u8)]) -> u64 {
    digits.iter().fold(0, |packed, (digit, below)| {
        assert!(digit < below, "{digits:?}");
        packed * u64::from(*below) + u64::from(*digit)
    })
}
