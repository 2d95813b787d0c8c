//! Breadth-first through every state of a model: what is unsafe, and from where a stream would never be collected, or never run. Bounded
//! by the states there are.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::state::{Operator, State};
use super::transitions::{Action, Model, Unsafe};

/// States of a model at most: more take too long to look at.
const MOST: usize = 1_000_000;
/// Rounds after which everything has come to where it belongs.
const ROUNDS: usize = 12;
/// Rounds after which a stream that is watched runs.
const SOON: usize = 3;

/// What was found, with the way there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It holds, in so many states.
    Nothing { states: usize },
    /// Nobody knows: there are too many states.
    TooMuch,
    /// A watched stream was collected.
    Unsafe(Vec<Action>),
    /// An idle stream stays.
    Stranded(Vec<Action>),
    /// A stream that is watched does not run, or does not go on running.
    Starved(Vec<Action>),
}

struct Explored {
    states: Vec<(State, u32, Option<Action>)>,
    known: HashMap<u64, u32>,
}

impl Explored {
    fn insert(&mut self, model: &mut Model, state: State, from: u32, by: Option<Action>) {
        let number = u32::try_from(self.states.len()).unwrap();
        // Which gateway is which does not matter.
        let mirrored = state.mirrored(model.stores.mirrored(state.store));
        let key = state.pack().min(mirrored.pack());
        if let Entry::Vacant(new) = self.known.entry(key) {
            new.insert(number);
            self.states.push((state, from, by));
        }
    }

    fn way(&self, to: usize, last: Option<Action>) -> Vec<Action> {
        let mut way: Vec<_> = last.into_iter().collect();
        let mut at = to;
        while let (_, from, Some(by)) = self.states[at] {
            way.push(by);
            at = from as usize;
        }
        way.reverse();
        way
    }
}

/// Looks at every state that can be reached.
pub(super) fn explore(model: &mut Model) -> Found {
    let mut explored = Explored {
        states: Vec::new(),
        known: HashMap::new(),
    };
    let beginning = model.beginning();
    explored.insert(model, beginning, 0, None);
    let actions = model.actions();
    let (mut ends, mut runs) = (HashSet::new(), HashSet::new());
    let mut at = 0;
    while at < explored.states.len() {
        if explored.states.len() > MOST {
            return Found::TooMuch;
        }
        let state = explored.states[at].0;
        for action in &actions {
            match model.act(state, *action) {
                Err(Unsafe) => return Found::Unsafe(explored.way(at, Some(*action))),
                Ok(Some(next)) => {
                    explored.insert(model, next, u32::try_from(at).unwrap(), Some(*action));
                }
                Ok(None) => {}
            }
        }
        let way = || explored.way(at, None);
        match is_collected_in_time(model, state, &mut ends) {
            Ok(true) => {}
            Ok(false) => return Found::Stranded(way()),
            Err(Unsafe) => return Found::Unsafe(way()),
        }
        match runs_while_watched(model, state, &mut runs) {
            Ok(true) => {}
            Ok(false) => return Found::Starved(way()),
            Err(Unsafe) => return Found::Unsafe(way()),
        }
        at += 1;
    }
    Found::Nothing { states: at }
}

/// With losses over and nobody watching, the stream ends.
fn is_collected_in_time(
    model: &mut Model,
    mut state: State,
    known: &mut HashSet<u64>,
) -> Result<bool, Unsafe> {
    let mut way = Vec::new();
    for _ in 0..ROUNDS {
        if !state.wanted && state.named.is_none() || known.contains(&state.pack()) {
            known.extend(way);
            return Ok(true);
        }
        way.push(state.pack());
        state = round(model, state, false)?;
    }
    Ok(false)
}

/// With losses over and somebody watching, the stream soon runs, and goes on.
fn runs_while_watched(
    model: &mut Model,
    mut state: State,
    known: &mut HashSet<u64>,
) -> Result<bool, Unsafe> {
    if !state.gateways.iter().any(|gateway| gateway.runs) {
        return Ok(true);
    }
    let mut rounds = 0;
    // What has been watched for a while is as good as any other that has.
    while rounds < SOON || known.insert(state.pack()) {
        state = round(model, state, true)?;
        rounds += 1;
        if rounds >= SOON && !(state.wanted && state.named.is_some()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A tick of a release that is well, with one operator.
fn round(model: &mut Model, mut state: State, watched: bool) -> Result<State, Unsafe> {
    state.operators[1] = Operator::Idle;
    let first = state.gateways.iter().position(|gateway| gateway.runs);
    let mut act = |state: &mut State, action| {
        if let Some(next) = model.act(*state, action)? {
            *state = next;
        }
        Ok(())
    };
    for gateway in 0..2 {
        act(&mut state, Action::Arrive(gateway, true))?;
    }
    if let (true, Some(first)) = (watched, first) {
        act(&mut state, Action::Touch(first))?;
    }
    for gateway in 0..2 {
        act(&mut state, Action::Gather(gateway))?;
        act(&mut state, Action::Arrive(gateway, true))?;
        act(&mut state, Action::Wake(gateway))?;
    }
    // What it is in the middle of, and as often anew as anything comes of it.
    for _ in 0..4 {
        act(&mut state, Action::Write(0))?;
        act(&mut state, Action::Act(0))?;
        act(&mut state, Action::Remove(0))?;
        act(&mut state, Action::Write(0))?;
        act(&mut state, Action::Act(0))?;
        act(&mut state, Action::Look(0))?;
        act(&mut state, Action::Decide(0))?;
    }
    act(&mut state, Action::Tick)?;
    Ok(state)
}
