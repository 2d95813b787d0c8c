//! A model of the presence protocol, explored to the end: gateways that flush late or not at all, come and go; operators that are killed
//! or do everything twice; a store that loses everything. It decides and stores nothing by itself: the plan and the store are the real
//! ones. One stream: nothing of one touches another but the flush that tells of both, and that is one step of the store.
//!
//! *Safe*: no stream is collected while a viewer's last request is younger than the idle timeout, if it came before the fence was set, or
//! reached the store before the seal, or woke the stream. What comes later is told so and starts the stream anew: it takes a moment, and
//! no protocol could have known of it. *Live*: from every state, once losses are over, what nobody watches is collected, and what somebody
//! watches runs and goes on. Gateways' clocks are not in it: they tell ages, and what they know of the store's clock is of the store.

mod explore;
mod state;
mod store;
mod transitions;

use explore::{Found, explore};
use transitions::{Cast, Model, Mutation};

/// One of each, and everything that can befall them.
const SMALL: Cast = Cast {
    gateways: 1,
    operators: 1,
    moves: true,
    empties: true,
    mutation: None,
};
/// Gateways are cut off here for as long as they like.
const GATEWAYS: Cast = Cast {
    gateways: 2,
    moves: false,
    empties: false,
    ..SMALL
};
/// Both lead. That a store is emptied between them too is left out: then a viewer may have to wake a stream twice.
const OPERATORS: Cast = Cast {
    operators: 2,
    moves: false,
    empties: false,
    ..SMALL
};

fn explored(cast: Cast) -> Found {
    let mut model = Model::new(cast);
    let found = explore(&mut model);
    let asked = model.stores.asked();
    eprintln!("{cast:?}: {found:?}, {asked} steps of the store");
    found
}

fn holds(cast: Cast) {
    let found = explored(cast);
    assert!(matches!(found, Found::Nothing { .. }), "{found:?}");
}

#[test]
fn whatever_is_lost_no_viewer_is_and_no_idle_stream_stays() {
    holds(SMALL);
}

#[test]
fn with_two_gateways_no_viewer_is_lost_and_no_idle_stream_stays() {
    holds(GATEWAYS);
}

#[test]
fn with_two_operators_no_viewer_is_lost_and_no_idle_stream_stays() {
    holds(OPERATORS);
}

#[test]
fn a_protocol_that_is_broken_is_found_out() {
    for (cast, mutation) in [
        (SMALL, Mutation::Impatient),
        (SMALL, Mutation::NoPrecondition),
        (SMALL, Mutation::NoReopening),
        (SMALL, Mutation::LateFlush),
        (SMALL, Mutation::ResumesSealed),
        (OPERATORS, Mutation::AnyFence),
        (OPERATORS, Mutation::OpensOnly),
        (OPERATORS, Mutation::OpensAny),
    ] {
        let mutation = Some(mutation);
        let found = explored(Cast { mutation, ..cast });
        assert!(matches!(found, Found::Unsafe(_)), "{mutation:?}: {found:?}");
    }
    let mutation = Some(Mutation::ForgetsSealed);
    let found = explored(Cast { mutation, ..SMALL });
    assert!(matches!(found, Found::Stranded(_)), "{found:?}");
}
