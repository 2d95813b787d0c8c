//! Keeps as many pods waiting as the classes say: makes those that are missing, and removes what is over, ended, or made of something else
//! by now. Never touches a pod that a stream has taken, and remembers nothing but when to try again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::stream_class::WarmPods;
use api::{StreamClass, StreamClassSpec, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::WaitingPod;
use crate::class::{self, ClassState, Effective};
use crate::leader::Leadership;
use crate::live_stream::backoff::error_delay;
use crate::live_stream::pod::{self, Pool};
use crate::live_stream::{Context, Error, watches};
use crate::provider::Providers;

/// How often pods are compared with classes without any reason.
const COMPARE: Duration = Duration::from_secs(60);
/// How soon a pass that did not get through is repeated.
const RETRY: Duration = Duration::from_secs(5);

/// What a class says of pods that wait, if it wants any.
pub(crate) fn of_class(class: &ClassState) -> Option<(&StreamClassSpec, &WarmPods)> {
    match class {
        ClassState::Found(class) => {
            let wanted = class.warm_pods.as_ref().filter(|warm| warm.count > 0);
            Some((class, wanted?))
        }
        ClassState::Missing | ClassState::Malformed(_) => None,
    }
}

/// What pods that wait for streams of a class are given; or why there can be none.
pub(crate) fn effective(
    context: &Context,
    class: &StreamClassSpec,
    wanted: &WarmPods,
) -> Result<Effective, String> {
    let provider = wanted.provider.as_deref();
    let known = provider.and_then(|name| Some((name, context.providers.get(name)?)));
    let known = known.map(|(name, found)| {
        let spec = found.map(|provider| provider.spec.clone());
        (name.to_owned(), spec)
    });
    class::pooled(class, provider, &Providers::from_iter(known))
}

/// What they are made of.
pub(crate) fn template(context: &Context, effective: &Effective) -> Result<String, String> {
    let template = pod::template(&context.fleet, effective);
    template.ok_or_else(|| "the operator has no key to sign their jobs with".to_owned())
}

/// The pods that are to wait for streams of one class.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    count: usize,
    /// Uid of the class.
    owner_uid: String,
    /// What they are made of, or why there can be none.
    template: Result<String, String>,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Step {
    delete: Vec<WaitingPod>,
    /// How many, by class.
    create: BTreeMap<String, usize>,
    /// Classes of which pods have ended by themselves.
    ended: BTreeSet<String>,
}

/// Decides for all classes. `unread` are classes of which nothing is known: theirs are left alone.
fn decide(
    wanted: &BTreeMap<String, Wanted>,
    unread: &BTreeSet<String>,
    pods: &[WaitingPod],
) -> Step {
    let mut step = Step::default();
    let mut good: BTreeMap<&str, Vec<&WaitingPod>> = BTreeMap::new();
    for pod in pods {
        if pod.terminating || unread.contains(&pod.class) {
            continue;
        }
        let of_class = wanted.get(&pod.class);
        let is_current = of_class.is_some_and(|wanted| {
            let template = wanted.template.as_ref().ok();
            template == pod.template.as_ref() && pod.owner_uid.as_ref() == Some(&wanted.owner_uid)
        });
        match is_current && !pod.ended() {
            true => good.entry(&pod.class).or_default().push(pod),
            false => step.delete.push(pod.clone()),
        }
        if is_current && pod.ended() {
            step.ended.insert(pod.class.clone());
        }
    }
    for (class, wanted) in wanted {
        let mut there = good.remove(class.as_str()).unwrap_or_default();
        // Those that could take a job are kept first.
        there.sort_by_key(|pod| (!pod.is_available(), &pod.name));
        let over = there.iter().skip(wanted.count);
        step.delete.extend(over.map(|pod| (*pod).clone()));
        let missing = wanted.count.saturating_sub(there.len());
        if missing > 0 && wanted.template.is_ok() {
            step.create.insert(class.clone(), missing);
        }
    }
    step
}

/// Pods of a class that could not be made, or ended by themselves: how often in a row, and when to try again.
#[derive(Debug, Clone, Copy)]
struct Setback {
    count: u32,
    until: Instant,
}

#[derive(Default)]
struct Pools {
    setbacks: BTreeMap<String, Setback>,
    made: u64,
}

/// Runs until it is dropped.
pub(crate) async fn run(context: Arc<Context>, synced: Vec<watch::Receiver<bool>>) {
    watches::all(synced).await;
    let mut leadership = context.leadership.clone();
    let mut compare = interval(COMPARE);
    compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pools = Pools::default();
    loop {
        let again = pools.look(&context, &leadership).await;
        let due = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = context.pods.waiting_changed.notified() => {}
            _ = leadership.changed() => pools.setbacks.clear(),
            _ = compare.tick() => {}
            () = due => {}
        }
    }
}

impl Pools {
    /// One pass, if this operator leads; answers when to look again at the latest, where something is to be tried again.
    async fn look(&mut self, context: &Context, leadership: &Leadership) -> Option<Instant> {
        if !leadership.leads() {
            return None;
        }
        match leadership.clone().while_leading(self.pass(context)).await? {
            Ok(again) => again,
            Err(error) => {
                tracing::warn!(%error, "failed to look after the pods that wait");
                Some(Instant::now() + RETRY)
            }
        }
    }

    /// Looks at what the watch has seen; only where that asks for something the API server is asked, which has the last word.
    async fn pass(&mut self, context: &Context) -> Result<Option<Instant>, Error> {
        let (mut wanted, mut unread) = (BTreeMap::new(), BTreeSet::new());
        let mut pools = BTreeMap::new();
        for (name, class) in context.classes.all() {
            let Ok(spec) = &class.spec else {
                unread.insert(name);
                continue;
            };
            let Some(warm) = spec.warm_pods.as_ref().filter(|warm| warm.count > 0) else {
                continue;
            };
            let effective = effective(context, spec, warm);
            let template = effective.and_then(|effective| {
                let template = template(context, &effective)?;
                pools.insert(name.clone(), pool(context, &name, &class.uid, effective));
                Ok(template)
            });
            let count = usize::try_from(warm.count).unwrap_or(0);
            let owner_uid = class.uid;
            wanted.insert(
                name,
                Wanted {
                    count,
                    owner_uid,
                    template,
                },
            );
        }
        let now = Instant::now();
        let seen = context.pods.waiting();
        let has_one = |class: &String| {
            let mut pods = seen.iter().filter(|pod| pod.class == *class);
            pods.any(WaitingPod::is_available)
        };
        self.setbacks
            .retain(|class, _| pools.contains_key(class) && !has_one(class));
        let step = decide(&wanted, &unread, &seen);
        if self.is_settled(&step, now) {
            return Ok(self.next_try(&step, now));
        }
        let pods = context
            .cluster
            .waiting_pods(&context.fleet.instance)
            .await?;
        let step = decide(&wanted, &unread, &pods);
        for class in &step.ended {
            self.set_back(class, now);
        }
        for pod in &step.delete {
            // One that a stream has taken meanwhile is not the one that was meant.
            let _ = context.cluster.delete_waiting_pod(pod).await?;
            tracing::info!(pod.name, class = pod.class, "warm pod removed");
        }
        for (class, pool) in &pools {
            let missing = step.create.get(class).copied().unwrap_or(0);
            if missing > 0 && self.is_due(class, now) {
                self.make(context, class, pool, missing).await;
            }
        }
        Ok(self.next_try(&step, now))
    }

    /// Whether nothing is to be done before the next try.
    fn is_settled(&self, step: &Step, now: Instant) -> bool {
        let mut short = step.create.keys();
        step.delete.is_empty() && !short.any(|class| self.is_due(class, now))
    }

    fn is_due(&self, class: &str, now: Instant) -> bool {
        let setback = self.setbacks.get(class);
        setback.is_none_or(|setback| setback.until <= now)
    }

    /// When pods are made that were not yet due to be made then.
    fn next_try(&self, step: &Step, now: Instant) -> Option<Instant> {
        let short = step.create.keys().filter(|class| !self.is_due(class, now));
        let setbacks = short.filter_map(|class| self.setbacks.get(class));
        setbacks.map(|setback| setback.until).min()
    }

    async fn make(&mut self, context: &Context, class: &str, pool: &Pool, missing: usize) {
        for _ in 0..missing {
            self.made = self.made.wrapping_add(1);
            let name = name(&pool.owner.uid, self.made);
            let Some(pod) = pod::waiting(&context.fleet, pool, &name) else {
                return;
            };
            match context.cluster.create_pod(&pod).await {
                Ok(_) => tracing::info!(pod.name = name, class, "warm pod made"),
                Err(error) => {
                    tracing::warn!(class, %error, "failed to make a warm pod");
                    self.set_back(class, Instant::now());
                    return;
                }
            }
        }
    }

    fn set_back(&mut self, class: &str, now: Instant) {
        let count = self.setbacks.get(class).map_or(0, |before| before.count) + 1;
        let until = now + error_delay(count);
        self.setbacks
            .insert(class.to_owned(), Setback { count, until });
    }
}

fn pool(context: &Context, class: &str, uid: &str, effective: Effective) -> Pool {
    Pool {
        class: class.to_owned(),
        namespace: context.cluster.namespace().to_owned(),
        owner: OwnerReference {
            api_version: StreamClass::api_version(&()).into_owned(),
            kind: StreamClass::kind(&()).into_owned(),
            name: class.to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        },
        effective,
    }
}

/// A name that nothing had before and nothing gets again.
fn name(owner_uid: &str, made: u64) -> String {
    let moment = Timestamp::now().as_nanosecond();
    let digest = Sha256::digest(format!("{owner_uid} {moment} {made}"));
    let digits = digest.iter().take(8);
    names::warm_pod_name(digits.fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::waiting;
    use super::*;
    use crate::live_stream::pods::PodState;

    fn sport(count: usize) -> BTreeMap<String, Wanted> {
        let wanted = Wanted {
            count,
            owner_uid: "uid-of-sport".to_owned(),
            template: Ok("template".to_owned()),
        };
        BTreeMap::from([("sport".to_owned(), wanted)])
    }

    fn with(name: &str, change: impl FnOnce(&mut WaitingPod)) -> WaitingPod {
        let mut pod = waiting(name);
        change(&mut pod);
        pod
    }

    /// Names of what goes, how many are made, and whether some ended.
    fn told(
        wanted: &BTreeMap<String, Wanted>,
        unread: &[&str],
        pods: &[WaitingPod],
    ) -> (String, usize, bool) {
        let unread = unread.iter().map(|name| (*name).to_owned()).collect();
        let Step {
            delete,
            create,
            ended,
        } = decide(wanted, &unread, pods);
        let names: Vec<_> = delete.into_iter().map(|pod| pod.name).collect();
        (names.join(" "), create.values().sum(), !ended.is_empty())
    }

    fn ended(name: &str) -> WaitingPod {
        let message = "OOMKilled".to_owned();
        with(name, |pod| pod.state = PodState::Ended { message })
    }

    #[test]
    fn as_many_wait_as_the_class_says() {
        let [ready, starting] = ["ready", "starting"].map(waiting);
        let starting = WaitingPod {
            ready: false,
            ..starting
        };
        let going = with("going", |pod| pod.terminating = true);
        for (case, count, pods, goes, made, some_ended) in [
            ("none yet", 2, vec![], "", 2, false),
            ("one starts", 2, vec![&ready, &starting], "", 0, false),
            ("one goes", 2, vec![&ready, &going], "", 1, false),
            // Those that could take a job stay.
            ("too many", 1, vec![&starting, &ready], "starting", 0, false),
            ("one ended", 1, vec![&ended("ended")], "ended", 1, true),
        ] {
            let pods: Vec<_> = pods.into_iter().cloned().collect();
            let expected = (goes.to_owned(), made, some_ended);
            assert_eq!(told(&sport(count), &[], &pods), expected, "{case}");
        }
    }

    #[test]
    fn what_is_made_of_something_else_or_for_nobody_goes() {
        let stale = with("stale", |pod| pod.template = Some("before".to_owned()));
        let orphan = with("orphan", |pod| pod.owner_uid = Some("another".to_owned()));
        let of_none = with("of-none", |pod| pod.class = "gone".to_owned());
        let ready = waiting("ready");
        let mut no_key = sport(2);
        if let Some(wanted) = no_key.get_mut("sport") {
            wanted.template = Err("no key".to_owned());
        }
        let none = BTreeMap::new();
        for (case, wanted, unread, pods, goes) in [
            (
                "another template",
                sport(1),
                &[][..],
                [&stale, &ready],
                "stale",
            ),
            (
                "a class of that name before",
                sport(1),
                &[],
                [&orphan, &ready],
                "orphan",
            ),
            (
                "no class",
                none.clone(),
                &[],
                [&of_none, &ready],
                "of-none ready",
            ),
            (
                "a class that cannot be read",
                none,
                &["gone"],
                [&of_none, &ready],
                "ready",
            ),
            ("no key", no_key, &[], [&ready, &stale], "ready stale"),
        ] {
            let pods = pods.map(Clone::clone);
            let expected = (goes.to_owned(), 0, false);
            assert_eq!(told(&wanted, unread, &pods), expected, "{case}");
        }
    }

    #[test]
    fn what_goes_wrong_again_waits_longer() {
        let (mut pools, now) = (Pools::default(), Instant::now());
        let short = decide(&sport(1), &BTreeSet::new(), &[]);
        assert!(!pools.is_settled(&short, now));
        assert_eq!(pools.next_try(&short, now), None);
        let mut pauses = Vec::new();
        for _ in 0..3 {
            pools.set_back("sport", now);
            assert!(pools.is_settled(&short, now));
            let next = pools.next_try(&short, now);
            pauses.extend(next.map(|next| next - now));
        }
        assert!(
            pauses.len() == 3 && pauses.is_sorted_by(|one, next| one < next),
            "{pauses:?}"
        );
        assert!(!pools.is_settled(&short, now + pauses[2]));
        assert!(pools.is_due("news", now), "others do not wait for it");
    }

    #[test]
    fn names_are_used_once() {
        let [one, other] = [1, 2].map(|made| name("uid", made));
        assert_ne!(one, other);
        assert!(names::is_warm_pod_name(&one), "{one}");
    }
}
