//! What can happen, and what comes of it. Decisions are those of the real `plan`, steps of the fence those of the real store; this file
//! adds in which order gateways and operator do things, which is that of their code.

use std::collections::HashMap;

use api::live_stream::WhenIdle;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::state::{Flight, Gateway, Operator, Planned, State, Step};
use super::store::{
    Answer, Ask, GATEWAYS, IDLE_TIMEOUT, OLD, Stand, Stores, TICK, View, clip, facts,
};
use crate::live_stream::collect::{Collect, PresenceView};
use crate::live_stream::fixtures::{NOW, at, live, observed};
use crate::live_stream::plan::plan;

/// Something that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Tick,
    /// A viewer asks a gateway.
    Touch(usize),
    /// A gateway puts a flush together, and sends it.
    Gather(usize),
    /// It arrives; the answer does too, or is lost.
    Arrive(usize, bool),
    /// It is lost.
    Lose(usize),
    /// A gateway wakes the stream for its viewer.
    Wake(usize),
    /// A gateway ends at once.
    Leave(usize),
    /// Another one comes under its name.
    Come(usize),
    /// An operator looks at the stream.
    Look(usize),
    /// It reads the store, and decides.
    Decide(usize),
    /// It writes the status.
    Write(usize),
    /// It takes its step.
    Act(usize),
    /// It removes a sealed stream.
    Remove(usize),
    /// It is killed.
    Kill(usize),
    /// The store loses everything.
    Empty,
    /// The fence outlives its time.
    Expire,
}

/// A way to break the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Seals without waiting for the gateways.
    Impatient,
    /// Removes whatever the stream has become since.
    NoPrecondition,
    /// A touch does not open a closing fence.
    NoReopening,
    /// Seals whatever fence stands by now.
    AnyFence,
    /// A flush counts from when it arrives.
    LateFlush,
    /// Nobody goes on with what was sealed.
    ForgetsSealed,
    /// Goes on with removing what was sealed, whatever became of it since.
    ResumesSealed,
    /// Opens a fence without changing the stream, so that who has sealed it still removes it.
    OpensOnly,
    /// Opens whatever fence stands by now.
    OpensAny,
}

/// Who takes part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cast {
    pub(super) gateways: usize,
    pub(super) operators: usize,
    /// Gateways come and go.
    pub(super) moves: bool,
    /// The store loses everything now and then.
    pub(super) empties: bool,
    pub(super) mutation: Option<Mutation>,
}

/// A stream was collected that counted as watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsafe;

type Plans = HashMap<(u16, bool, Option<u8>, [bool; 2]), Planned>;

pub(super) struct Model {
    pub(super) cast: Cast,
    pub(super) stores: Stores,
    plans: Plans,
}

impl Model {
    pub(super) fn new(cast: Cast) -> Self {
        Self {
            cast,
            stores: Stores::default(),
            plans: Plans::default(),
        }
    }

    /// A stream that runs, and was watched a moment ago.
    pub(super) fn beginning(&mut self) -> State {
        let flushed = [0, 1].map(|gateway| (gateway < self.cast.gateways).then_some(0));
        let view = View {
            last: Some(0),
            fence: Stand::Open,
            flushed,
        };
        State {
            store: self.stores.number(view),
            wanted: true,
            named: Some(0),
            gateways: [0, 1].map(|gateway| Gateway::new(gateway < self.cast.gateways)),
            operators: [Operator::Idle; 2],
        }
    }

    /// Everything that could happen.
    pub(super) fn actions(&self) -> Vec<Action> {
        let mut actions = vec![Action::Tick, Action::Expire];
        if self.cast.empties {
            actions.push(Action::Empty);
        }
        for gateway in 0..self.cast.gateways {
            actions.extend([
                Action::Touch(gateway),
                Action::Gather(gateway),
                Action::Arrive(gateway, true),
                Action::Arrive(gateway, false),
                Action::Lose(gateway),
                Action::Wake(gateway),
            ]);
            if self.cast.moves {
                actions.extend([Action::Leave(gateway), Action::Come(gateway)]);
            }
        }
        for operator in 0..self.cast.operators {
            actions.extend([
                Action::Look(operator),
                Action::Decide(operator),
                Action::Write(operator),
                Action::Act(operator),
                Action::Remove(operator),
                Action::Kill(operator),
            ]);
        }
        actions
    }

    /// What comes of it; `None` where it cannot happen.
    pub(super) fn act(
        &mut self,
        mut state: State,
        action: Action,
    ) -> Result<Option<State>, Unsafe> {
        let happens = match action {
            Action::Tick => self.tick(&mut state),
            Action::Empty => {
                !is_removing(&state) && self.ask(&mut state, Ask::Empty) == Answer::Done
            }
            Action::Expire => self.expire(&mut state),
            Action::Touch(gateway) => touch(&mut state.gateways[gateway]),
            Action::Gather(gateway) => self.gather(&mut state, gateway),
            Action::Arrive(gateway, acknowledged) => self.arrive(&mut state, gateway, acknowledged),
            Action::Lose(gateway) => state.gateways[gateway].flight.take().is_some(),
            Action::Wake(gateway) => wake(&mut state, gateway),
            Action::Leave(gateway) => leave(&mut state.gateways[gateway]),
            Action::Come(gateway) => !std::mem::replace(&mut state.gateways[gateway].runs, true),
            Action::Look(operator) => look(&mut state, operator),
            Action::Decide(operator) => self.decide(&mut state, operator),
            Action::Write(operator) => write(&mut state, operator),
            Action::Act(operator) => self.step(&mut state, operator),
            Action::Remove(operator) => self.remove(&mut state, operator)?,
            Action::Kill(operator) => {
                let before = std::mem::replace(&mut state.operators[operator], Operator::Idle);
                before != Operator::Idle
            }
        };
        Ok(happens.then_some(state))
    }

    fn ask(&mut self, state: &mut State, ask: Ask) -> Answer {
        let before = self.stores.view(state.store);
        let (mut store, answer) = self.stores.step(state.store, ask);
        let mut after = self.stores.view(store);
        let touches = matches!(ask, Ask::Flush { touch: Some(_), .. });
        if touches && self.cast.mutation == Some(Mutation::NoReopening) {
            if let Stand::Closing(_) = before.fence {
                after = View {
                    last: before.last,
                    fence: before.fence,
                    ..after
                };
            }
            store = self.stores.number(after);
        }
        state.store = store;
        let stands = |view: View| matches!(view.fence, Stand::Closing(_));
        if std::mem::discriminant(&before.fence) != std::mem::discriminant(&after.fence) {
            state.fence_changes(after.fence == Stand::Closed);
        }
        if !stands(before) && stands(after) {
            // Who was there before it was set must be heard before it is sealed.
            for gateway in &mut state.gateways {
                gateway.counts |= gateway.is_watched();
            }
        }
        answer
    }

    fn tick(&mut self, state: &mut State) -> bool {
        let fence = match self.stores.view(state.store).fence {
            Stand::Closing(age) => Some(age + 1),
            Stand::Open | Stand::Closed => None,
        };
        self.ask(state, Ask::Tick);
        let older = |age: u8| (age + 1).min(OLD);
        state.named = state.named.map(older);
        for gateway in &mut state.gateways {
            gateway.touch = older(gateway.touch);
            if !gateway.is_watched() {
                let flight = gateway.flight;
                *gateway = Gateway {
                    flight,
                    ..Gateway::new(gateway.runs)
                };
            }
            if let Some(flight) = &mut gateway.flight {
                flight.gathered = clip(flight.gathered + 1, fence);
            }
        }
        for operator in &mut state.operators {
            if let Operator::Looked { named, .. } = operator {
                *named = named.map(older);
            }
        }
        true
    }

    fn expire(&mut self, state: &mut State) -> bool {
        let old = match self.stores.view(state.store).fence {
            Stand::Open => false,
            Stand::Closing(age) => age > OLD,
            Stand::Closed => true,
        };
        // Nothing that an operator does takes minutes.
        let rests = state.operators == [Operator::Idle; 2];
        old && rests && self.ask(state, Ask::Expire) == Answer::Done
    }

    /// One flush is on its way at a time.
    fn gather(&self, state: &mut State, gateway: usize) -> bool {
        let mut gateways = state.gateways.iter();
        gateways.all(|gateway| gateway.flight.is_none()) && gather(&mut state.gateways[gateway])
    }

    fn arrive(&mut self, state: &mut State, gateway: usize, acknowledged: bool) -> bool {
        let Some(flight) = state.gateways[gateway].flight.take() else {
            return false;
        };
        let late = self.cast.mutation == Some(Mutation::LateFlush);
        let ask = Ask::Flush {
            gateway,
            touch: flight.touch,
            gathered: if late { 0 } else { flight.gathered },
        };
        let answer = self.ask(state, ask);
        let gateway = &mut state.gateways[gateway];
        if !gateway.runs || !gateway.is_watched() {
            return true;
        }
        let tells = flight.complete && flight.touch.is_some();
        gateway.counts |= tells && answer == Answer::Done;
        gateway.told |= acknowledged && flight.complete;
        gateway.fenced |= acknowledged && answer == Answer::Closed;
        true
    }

    fn decide(&mut self, state: &mut State, operator: usize) -> bool {
        let Operator::Looked {
            wanted,
            named,
            current,
        } = state.operators[operator]
        else {
            return false;
        };
        let gateways = state.gateways.map(|gateway| gateway.runs);
        let plan = self.plan(state.store, wanted, named, gateways);
        let nothing = !plan.writes() && plan.step == Step::Nothing;
        state.operators[operator] = match nothing {
            true => Operator::Idle,
            false => Operator::Decided { plan, current },
        };
        true
    }

    /// The real decision.
    pub(super) fn plan(
        &mut self,
        store: u16,
        wanted: bool,
        named: Option<u8>,
        gateways: [bool; 2],
    ) -> Planned {
        let key = (store, wanted, named, gateways);
        if let Some(planned) = self.plans.get(&key) {
            return *planned;
        }
        let mut seen = match named {
            Some(_) => live(),
            None => observed(),
        };
        let age = |age: u8| i64::from(age) * i64::try_from(TICK.as_secs()).unwrap();
        let since = named.map(|named| Time(at(NOW - age(named))));
        seen.stream.status.started_time = since;
        seen.stream.idle.when_idle = WhenIdle::ScaleToZero;
        seen.stream.idle.timeout = IDLE_TIMEOUT;
        seen.stream.replicas = i32::from(wanted);
        if !wanted {
            // The status goes on naming them until they are gone.
            seen.pods.clear();
        }
        let view = self.stores.view(store);
        seen.presence = match wanted {
            true => PresenceView::Known(facts(view)),
            false => PresenceView::NotAsked,
        };
        let running = GATEWAYS.iter().zip(gateways).filter(|(_, runs)| *runs);
        seen.gateways = running.map(|(name, _)| (*name).to_owned()).collect();
        let plan = plan(&seen, at(NOW));
        let step = self.step_of(&plan.collect, view, named);
        let planned = Planned {
            names: plan.names_pod,
            unnames: named.is_some() && plan.status.pod.is_none(),
            keeps: self.keeps(step) && !plan.names_pod,
            step,
        };
        self.plans.insert(key, planned);
        planned
    }

    fn keeps(&self, step: Step) -> bool {
        step == Step::Open && self.cast.mutation != Some(Mutation::OpensOnly)
    }

    fn step_of(&self, collect: &Collect, view: View, named: Option<u8>) -> Step {
        let is_old = (view.last, named) == (Some(OLD), Some(OLD));
        let breaks = |mutation| self.cast.mutation == Some(mutation);
        let is_sealed = view.fence == Stand::Closed;
        match collect {
            Collect::Begin { .. } => Step::Begin,
            Collect::Seal { .. } => Step::Seal,
            Collect::Flushing | Collect::Paused { .. } if breaks(Mutation::Impatient) => Step::Seal,
            Collect::Open if is_sealed && breaks(Mutation::ForgetsSealed) => Step::Nothing,
            Collect::Open if is_sealed && is_old && breaks(Mutation::ResumesSealed) => Step::Seal,
            Collect::Open => Step::Open,
            Collect::Nothing
            | Collect::Spared(_)
            | Collect::Wait(_)
            | Collect::Flushing
            | Collect::Paused { .. }
            | Collect::Away { .. } => Step::Nothing,
        }
    }

    fn step(&mut self, state: &mut State, operator: usize) -> bool {
        let Operator::Decided { plan, current } = state.operators[operator] else {
            return false;
        };
        if plan.writes() {
            return false;
        }
        state.operators[operator] = Operator::Idle;
        let ask = match plan.step {
            Step::Nothing => return true,
            Step::Begin => Ask::Begin,
            Step::OpenGone if self.cast.mutation != Some(Mutation::OpensAny) => return true,
            Step::Open | Step::OpenGone => Ask::Open,
            Step::Seal => Ask::Seal { standing: true },
            Step::SealGone => Ask::Seal {
                standing: self.cast.mutation == Some(Mutation::AnyFence),
            },
        };
        if self.ask(state, ask) == Answer::Sealed(true) {
            state.operators[operator] = Operator::Sealed { current };
        }
        true
    }

    fn remove(&mut self, state: &mut State, operator: usize) -> Result<bool, Unsafe> {
        let Operator::Sealed { current } = state.operators[operator] else {
            return Ok(false);
        };
        if !current && self.cast.mutation != Some(Mutation::NoPrecondition) {
            let step = Step::Open;
            let plan = Planned {
                names: false,
                unnames: false,
                keeps: self.keeps(step),
                step,
            };
            state.operators[operator] = Operator::Decided { plan, current };
            return Ok(true);
        }
        if state.gateways.iter().any(|gateway| gateway.counts) {
            return Err(Unsafe);
        }
        state.operators[operator] = Operator::Idle;
        state.wanted = false;
        state.changes();
        Ok(true)
    }
}

/// Whether the stream is removed at any moment. That the store forgets the seal just then, and a viewer comes, is the one case that nobody
/// can know of in time: it takes that viewer another start.
fn is_removing(state: &State) -> bool {
    let removes = |operator: &Operator| *operator == Operator::Sealed { current: true };
    state.operators.iter().any(removes)
}

fn touch(gateway: &mut Gateway) -> bool {
    if !gateway.runs {
        return false;
    }
    let before = *gateway;
    (gateway.touch, gateway.told, gateway.counts) = (0, false, false);
    if let Some(flight) = &mut gateway.flight {
        flight.complete = false;
    }
    *gateway != before
}

fn gather(gateway: &mut Gateway) -> bool {
    if gateway.runs {
        gateway.flight = Some(Flight {
            touch: (!gateway.told).then_some(gateway.touch),
            gathered: 0,
            complete: true,
        });
    }
    gateway.runs
}

/// While somebody asks, every gateway makes the stream run; one that was told that it is closed changes it all the same.
fn wake(state: &mut State, gateway: usize) -> bool {
    let wanted = state.wanted;
    let waking = &mut state.gateways[gateway];
    let asks = waking.runs && waking.touch == 0;
    if !asks || (wanted && !waking.fenced) {
        return false;
    }
    waking.fenced = false;
    waking.counts = true;
    state.wanted = true;
    state.changes();
    true
}

/// What it has not told is lost; what is on its way is not.
fn leave(gateway: &mut Gateway) -> bool {
    let runs = gateway.runs;
    let flight = gateway.flight.map(|flight| Flight {
        complete: true,
        ..flight
    });
    *gateway = Gateway {
        flight,
        ..Gateway::new(false)
    };
    runs
}

fn look(state: &mut State, operator: usize) -> bool {
    if state.operators[operator] != Operator::Idle {
        return false;
    }
    state.operators[operator] = Operator::Looked {
        wanted: state.wanted,
        named: state.named,
        current: true,
    };
    true
}

/// Names a pod before anything else, or names none any more after everything else; what has changed meanwhile is looked at anew.
fn write(state: &mut State, operator: usize) -> bool {
    let Operator::Decided { mut plan, current } = state.operators[operator] else {
        return false;
    };
    if !plan.writes() {
        return false;
    }
    if !current && !plan.keeps {
        state.operators[operator] = Operator::Idle;
        return true;
    }
    if !plan.keeps {
        state.named = plan.names.then_some(0);
    }
    (plan.names, plan.unnames, plan.keeps) = (false, false, false);
    state.changes();
    let current = false;
    state.operators[operator] = match plan.step {
        Step::Nothing => Operator::Idle,
        _ => Operator::Decided { plan, current },
    };
    true
}
