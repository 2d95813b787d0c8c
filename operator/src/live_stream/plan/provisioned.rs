//! The condition `Provisioned`: whether the stream has what it needs to run, and if not, what is in the way. Pure.

use api::condition::{ConditionStatus, ConditionType, Finding, Reason};
use api::job::JobSource;

use super::course::{Course, Rest};
use super::describe::Case;
use super::findings::{finding, not_replaced, rest_message, rest_reason};
use super::warm::Choice;
use super::wishes::{self, Wish};
use super::{grants, rollout, warm};
use crate::class::provider_of;
use crate::live_stream::backoff::attempt_delay;
use crate::live_stream::pods::{PodFacts, PodState};
use crate::text::clipped;

impl Case<'_> {
    pub(super) fn provisioned(&self) -> Finding {
        let (status, reason, message) = match self.course {
            Course::Rest(rest) => self.provisioned_at_rest(*rest),
            Course::Refused(refusal) => (
                ConditionStatus::False,
                refusal.reason,
                refusal.message.clone(),
            ),
            Course::Start { .. } | Course::Create(_) | Course::Finish(_) => (
                ConditionStatus::False,
                Reason::PodPending,
                self.being_started(),
            ),
            Course::Wait(message) => (ConditionStatus::False, Reason::PodPending, message.clone()),
            Course::BackOff => (ConditionStatus::False, Reason::PodFailed, self.waiting()),
            Course::Held => (
                ConditionStatus::False,
                Reason::PodFailed,
                not_replaced(self.failures.map_or("", |failures| &failures.last.message)),
            ),
            Course::Prepare { old, .. } | Course::Await(old) => (
                ConditionStatus::True,
                Reason::PodRunning,
                format!(
                    "pod {} is being deleted and runs until another takes over",
                    old.name
                ),
            ),
            Course::Keep(pod) | Course::TakeOver(pod) => self.provisioned_by(pod),
        };
        finding(ConditionType::Provisioned, status, reason, message)
    }

    fn being_started(&self) -> String {
        let pool = self.observed.warm.pool.as_ref();
        match (warm::choice(self.observed, self.course), pool) {
            (Choice::Warm(pod), _) => format!("the pod {}, which waited, is taken", pod.name),
            (Choice::Cold(Some(reason)), Some(pool)) => clipped(&format!(
                "the pod is being started; none of the warm pods of StreamClass {} could be taken: {reason}",
                pool.class
            )),
            (Choice::Cold(_), _) => "the pod is being started".to_owned(),
        }
    }

    fn provisioned_by(&self, pod: &PodFacts) -> (ConditionStatus, Reason, String) {
        match (&pod.state, &self.observed.mount_trouble) {
            (PodState::Running, _) if rollout::is_outdated(self.observed, pod) => (
                ConditionStatus::True,
                Reason::PodRunning,
                self.outdated(pod),
            ),
            (PodState::Running | PodState::Ended { .. }, _) => (
                ConditionStatus::True,
                Reason::PodRunning,
                clipped(&format!("pod {} runs{}", pod.name, self.left_out(pod))),
            ),
            (PodState::Pending { .. }, Some(trouble)) => (
                ConditionStatus::False,
                trouble.reason,
                trouble.message.clone(),
            ),
            (PodState::Pending { reason, message }, None) => {
                (ConditionStatus::False, *reason, message.clone())
            }
        }
    }

    fn outdated(&self, pod: &PodFacts) -> String {
        let turn = match &self.observed.halted_by {
            None => "when its turn comes".to_owned(),
            Some(other) => format!(
                "after LiveStream {other}, whose turn it is and which does not play since: see kubectl describe livestream {other}"
            ),
        };
        format!(
            "pod {} runs; class, sources or Provider have changed since it was made, and it is replaced {turn}",
            pod.name
        )
    }

    /// Which sources the attempt goes without, and what is done about it where it needs them.
    fn left_out(&self, pod: &PodFacts) -> String {
        let Ok(effective) = &self.observed.effective else {
            return String::new();
        };
        match wishes::wish(self.observed, pod) {
            Wish::Nothing => {}
            Wish::Grant { provider, .. } => {
                return format!(
                    "; its sources fail, and it is given a connection of Provider {provider}"
                );
            }
            Wish::Wait(providers) => {
                let who = grants::who_has(self.observed, &providers);
                return format!(
                    "; its sources fail, and it needs a connection of another Provider: {who}"
                );
            }
        }
        let in_use = wishes::in_use(self.observed, pod);
        let needs = |source: &&JobSource| {
            let provider = provider_of(source);
            provider.is_some() && provider != in_use
        };
        let out: Vec<_> = effective.sources.iter().filter(needs).collect();
        if out.is_empty() {
            return String::new();
        }
        let has = |provider: &str| pod.provider_revisions.contains_key(provider);
        let then = match out
            .iter()
            .all(|source| provider_of(source).is_some_and(has))
        {
            true => "when these fail",
            false => "by the next one",
        };
        let out: Vec<_> = out
            .iter()
            .map(|source| format!("sources[{}]", source.index))
            .collect();
        format!(
            "; an attempt has a connection of one Provider at a time: {} will be tried {then}",
            out.join(", ")
        )
    }

    fn provisioned_at_rest(&self, rest: Rest) -> (ConditionStatus, Reason, String) {
        let reason = rest_reason(rest);
        if self.pods_left() {
            let message = "the pod is being stopped".to_owned();
            return (ConditionStatus::True, reason, message);
        }
        (
            ConditionStatus::False,
            reason,
            rest_message(rest).to_owned(),
        )
    }

    fn waiting(&self) -> String {
        let Some(failures) = self.failures else {
            return "the pod failed".to_owned();
        };
        let delay = attempt_delay(failures.count).as_secs();
        let (count, message) = (failures.count, &failures.last.message);
        format!("{message}; tried again {delay} s after that ({count} failures in a row)")
    }
}
