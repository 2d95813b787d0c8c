//! What winning and losing the leadership means for LiveStreams: nothing is remembered over it, and every stream is looked at anew.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::Store;

use super::{Context, Guarded, Triggers};

/// Runs until it is dropped.
pub(super) async fn run(context: Arc<Context>, streams: Store<Guarded>, triggers: Triggers) {
    let mut leadership = context.leadership.clone();
    loop {
        let leads = leadership.changed().await;
        // Somebody else has gone on, or goes on from here: what is known of pods and attempts is not the last word any more.
        context.polls.clear();
        context.memory.clear();
        context.providers.forget_waiting();
        context.rollout.clear();
        context.removals.clear();
        if leads {
            for stream in streams.state() {
                triggers.send(&stream.name_any());
            }
        }
    }
}
