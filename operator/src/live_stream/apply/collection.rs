//! A step of the collection: of the fence in the presence store, and at its end the removal of the stream. Who opens a fence changes the
//! stream first: another operator may have sealed it and be about to remove what it has looked at, while gateways are not told any more
//! that it is closed.

use std::time::Duration;

use api::live_stream::WhenIdle;
use presence::{CloseStart, Fence, PresenceError, StoreTime};
use tokio::time::Instant;

use super::super::cluster::Removal;
use super::super::collect::{Collect, PresenceView};
use super::super::observed::Observed;
use super::super::{Context, Error};
use super::AT_ONCE;

/// How soon a fence that was just set is looked at.
const FENCE_FIRST: Duration = Duration::from_secs(1);

/// What came of a step of the collection.
pub(super) enum Collected {
    /// The stream goes.
    Removed,
    /// Look again then, if that is sooner than planned.
    Waits(Option<Duration>),
}

/// One step of the fence; `names_pod` where the status was written before. A store that fails is a reason to wait, never an error of the
/// stream.
pub(super) async fn step(
    context: &Context,
    observed: &Observed,
    collect: &Collect,
    names_pod: bool,
) -> Result<Collected, Error> {
    let stream = &observed.stream;
    let uid = &stream.identity.uid;
    if let Some(decision) = collect.decision() {
        context.metrics.decided(decision);
    }
    if !collect.is_on_the_way() {
        context.removals.leave(uid);
    }
    let waits = |outcome: Result<Duration, PresenceError>| match outcome {
        Ok(soon) => Collected::Waits(Some(soon)),
        Err(error) => {
            context.metrics.presence_failed();
            tracing::warn!(stream.name = stream.identity.name, %error, "collection waits");
            Collected::Waits(Some(Duration::from_secs(15)))
        }
    };
    match collect {
        Collect::Begin { timeout } => {
            let begun = context.presence.begin_close(uid, *timeout).await;
            Ok(waits(begun.map(|start| match start {
                CloseStart::Closing { .. } => FENCE_FIRST,
                CloseStart::InUse { remaining } => remaining,
                CloseStart::Adopted => *timeout,
            })))
        }
        Collect::Open => {
            // A status that names a pod is a change already.
            if !names_pod {
                context.cluster.keep_stream(stream).await?;
            }
            let opened = context.presence.open(uid, seen(observed)).await;
            Ok(waits(opened.map(|()| stream.idle.timeout)))
        }
        Collect::Seal { since } => {
            if let Err(turn) = turn(context, observed) {
                return Ok(Collected::Waits(Some(turn)));
            }
            match context.presence.seal(uid, *since).await {
                Ok(true) => remove(context, observed, *since).await,
                // A viewer came back.
                Ok(false) => Ok(Collected::Waits(Some(AT_ONCE))),
                Err(error) => Ok(waits(Err(error))),
            }
        }
        Collect::Nothing
        | Collect::Spared(_)
        | Collect::Wait(_)
        | Collect::Flushing
        | Collect::Paused { .. }
        | Collect::Away { .. } => Ok(Collected::Waits(None)),
    }
}

/// Whether it is the stream's turn to be removed, or when to ask again. Where another one waits for its connection, somebody waits.
fn turn(context: &Context, observed: &Observed) -> Result<(), Duration> {
    let uid = &observed.stream.identity.uid;
    if observed.is_waited_for {
        context.removals.leave(uid);
        return Ok(());
    }
    context.removals.ask(uid, Instant::now())
}

/// Removes a sealed stream, unless anybody has changed it since it was observed: a wake-up always does.
async fn remove(
    context: &Context,
    observed: &Observed,
    since: StoreTime,
) -> Result<Collected, Error> {
    let stream = &observed.stream;
    let removal = match stream.idle.when_idle {
        WhenIdle::Delete => context.cluster.delete_stream(stream).await?,
        WhenIdle::ScaleToZero => context.cluster.scale_to_zero(stream).await?,
        WhenIdle::KeepRunning => Removal::Changed,
    };
    context.metrics.collected(removal == Removal::Done);
    if removal == Removal::Done {
        let timeout = stream.idle.timeout;
        let gives_way = observed.is_waited_for;
        context.events.collected(&stream.object, timeout, gives_way);
        return Ok(Collected::Removed);
    }
    context.cluster.keep_stream(stream).await?;
    let sealed = Fence::Closed { since };
    if let Err(error) = context.presence.open(&stream.identity.uid, sealed).await {
        tracing::warn!(stream.name = stream.identity.name, %error, "the fence stays closed for now");
    }
    Ok(Collected::Waits(Some(FENCE_FIRST)))
}

/// The fence that was decided about.
fn seen(observed: &Observed) -> Fence {
    match &observed.presence {
        PresenceView::Known(facts) => facts.stream.fence,
        PresenceView::NotAsked | PresenceView::Away(_) => Fence::Open,
    }
}
