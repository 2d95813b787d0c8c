//! Looks at every stream once in a while without any reason, each at its own time, in case that something was missed. One walk for all of
//! them: an appointment of each with the controller would keep its name four times.

use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use tokio::time::{MissedTickBehavior, interval};

use super::{Guarded, Triggers};

/// How many steps a round has; the streams are spread over them.
const STEPS: u64 = 90;
const STEP: Duration = Duration::from_secs(5);
/// How often each stream is looked at.
pub(crate) const ROUND: Duration = Duration::from_secs(STEP.as_secs() * STEPS);

/// Runs until it is dropped.
pub(super) async fn run(streams: Store<Guarded>, triggers: Triggers) {
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for step in (0..STEPS).cycle() {
        steps.tick().await;
        for stream in streams.state() {
            let name = stream.name_any();
            if is_due(&name, step) {
                triggers.send(&name);
            }
        }
    }
}

/// Follows from the name, so that it needs no dice.
fn is_due(name: &str, step: u64) -> bool {
    let sum = name.bytes().fold(0_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    sum % STEPS == step
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use tokio::time::sleep;

    use super::*;
    use crate::live_stream::fixtures::{NAMESPACE, spec};

    #[tokio::test(start_paused = true)]
    async fn every_stream_is_looked_at_once_in_a_round_and_not_all_together() {
        let (store, mut writer) = reflector::store();
        let names: Vec<_> = (0..100)
            .map(|number| format!("stream-{number:05}"))
            .collect();
        for name in &names {
            let stream = api::LiveStream::new(name, spec());
            let stream = kube::core::DeserializeGuard(Ok(stream));
            writer.apply_watcher_event(&Event::Apply(stream));
        }
        let (triggers, mut triggered) = Triggers::new(NAMESPACE);
        let walk = tokio::spawn(run(store, triggers));
        let mut seen = Vec::new();
        for _ in 0..STEPS {
            sleep(STEP - Duration::from_millis(1)).await;
            let before = seen.len();
            while let Ok(stream) = triggered.try_recv() {
                seen.push(stream.name);
            }
            assert!(seen.len() - before < 20, "they come together");
        }
        walk.abort();
        seen.sort();
        assert_eq!(seen, names);
    }
}
