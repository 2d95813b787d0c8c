//! Which of several replicas reconciles: one Lease, written with its resourceVersion. Losing it pauses the work and never ends the
//! process. Advisory: every write of the operator is safe under two leaders, an election only keeps them from doing everything twice.

mod term;

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::term::Timing;
use self::term::{Step, held, released, step};
use crate::metrics::Metrics;

/// Whether this replica leads, now and from now on.
#[derive(Debug, Clone)]
pub(crate) struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// Leads always: there is nobody else.
    pub(crate) fn alone() -> Self {
        Self(watch::channel(true).1)
    }

    /// Whether it leads now.
    pub(crate) fn leads(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until leadership is won or lost, and says which. Does not return where there is no election.
    pub(crate) async fn changed(&mut self) -> bool {
        if self.0.changed().await.is_err() {
            return std::future::pending().await;
        }
        *self.0.borrow_and_update()
    }

    /// Does something as long as it leads: what is lost on the way ends like a process that is killed, which everything withstands.
    pub(crate) async fn while_leading<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut leads = self.0.clone();
        let lost = async {
            if leads.wait_for(|leads| !leads).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = lost => None,
            done = work => Some(done),
        }
    }
}

/// A candidate.
pub(crate) struct Election {
    leases: Api<Lease>,
    name: String,
    me: String,
    timing: Timing,
    leads: watch::Sender<bool>,
    metrics: Metrics,
    /// The lease as it was seen last, and since when it has been so.
    seen: Option<(Lease, Instant)>,
    /// When the request that made or kept it ours was sent.
    renewed: Option<Instant>,
    /// That the API server could not be asked has been logged.
    is_blind: bool,
}

impl Election {
    /// A candidate called `me`, for the Lease `name`; it does not lead yet.
    pub(crate) fn new(
        leases: Api<Lease>,
        (name, me): (&str, &str),
        timing: Timing,
        metrics: Metrics,
    ) -> (Self, Leadership) {
        let (leads, leadership) = watch::channel(false);
        let election = Self {
            leases,
            name: name.to_owned(),
            me: me.to_owned(),
            timing,
            leads,
            metrics,
            seen: None,
            renewed: None,
            is_blind: false,
        };
        (election, Leadership(leadership))
    }

    /// Campaigns, leads, loses and campaigns again until `shutdown`, then gives the lease up.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let patience = self.patience();
            let round = timeout(patience, self.round());
            match shutdown.run_until_cancelled(round).await {
                Some(Ok(Ok(()))) => self.sees(),
                Some(Ok(Err(error))) => self.fails(&error.to_string()),
                Some(Err(_)) => self.fails("the API server does not answer"),
                None => break,
            }
            self.judge();
            let pause = self.timing.retry.min(self.left());
            shutdown.run_until_cancelled(sleep(pause)).await;
            self.judge();
        }
        self.leave().await;
    }

    /// One look at the lease, and what follows from it.
    async fn round(&mut self) -> kube::Result<()> {
        let Some((lease, since)) = self.seen.clone().filter(|_| self.renewed.is_some()) else {
            return self.look().await;
        };
        match step(&lease, since.elapsed(), &self.me) {
            Step::Renew => self.write(&lease).await,
            Step::Take | Step::Wait => self.look().await,
        }
    }

    async fn look(&mut self) -> kube::Result<()> {
        let lease = self.leases.get(&self.name).await?;
        let is_news = self
            .seen
            .as_ref()
            .is_none_or(|(seen, _)| seen.spec != lease.spec);
        let since = match &self.seen {
            Some((_, since)) if !is_news => *since,
            _ => Instant::now(),
        };
        self.seen = Some((lease.clone(), since));
        match step(&lease, since.elapsed(), &self.me) {
            Step::Renew | Step::Take => self.write(&lease).await,
            Step::Wait => {
                self.renewed = None;
                Ok(())
            }
        }
    }

    /// Makes it ours, if nobody has changed it meanwhile.
    async fn write(&mut self, lease: &Lease) -> kube::Result<()> {
        let sent = Instant::now();
        let ours = held(lease, &self.me, self.timing, Timestamp::now());
        let written = self
            .leases
            .replace(&self.name, &PostParams::default(), &ours)
            .await;
        match written {
            Ok(lease) => {
                self.seen = Some((lease, sent));
                self.renewed = Some(sent);
                Ok(())
            }
            // Somebody was faster, or our own last answer was lost: look again before anything is said.
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                self.seen = None;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// How long a round may take: a leader never waits past the time when it has to stop.
    fn patience(&self) -> Duration {
        self.left().max(Duration::from_millis(1))
    }

    /// How long it may go on without another renewal; one that does not lead has the patience of a leader.
    fn left(&self) -> Duration {
        self.renewed.map_or(self.timing.renew, |renewed| {
            self.timing.renew.saturating_sub(renewed.elapsed())
        })
    }

    /// Says whether it leads, where that has changed.
    fn judge(&mut self) {
        if self.left().is_zero() {
            self.renewed = None;
        }
        let leads = self.renewed.is_some();
        let lease = &self.name;
        let changed = self
            .leads
            .send_if_modified(|led| std::mem::replace(led, leads) != leads);
        self.metrics.leads(leads);
        if changed && leads {
            tracing::info!(lease, identity = self.me, "leads");
        } else if changed {
            tracing::warn!(
                lease,
                identity = self.me,
                "leads no longer; reconciling pauses"
            );
        }
    }

    fn sees(&mut self) {
        if std::mem::take(&mut self.is_blind) {
            tracing::info!(lease = self.name, "the lease can be read again");
        }
    }

    /// Logged once, until it works again.
    fn fails(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_blind, true) {
            tracing::warn!(
                lease = self.name,
                error,
                "failed to read or renew the lease; without it this replica does not reconcile"
            );
        }
    }

    /// Gives up what it has: whoever comes next need not wait until it has expired.
    async fn leave(&mut self) {
        let led = self.renewed.take().is_some();
        self.leads.send_replace(false);
        let Some((lease, _)) = self.seen.take().filter(|_| led) else {
            return;
        };
        let left = released(&lease, Timestamp::now());
        let parameters = PostParams::default();
        let releasing = self.leases.replace(&self.name, &parameters, &left);
        match timeout(self.timing.retry, releasing).await {
            Ok(Ok(_)) => tracing::info!(lease = self.name, "lease given up"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, %error, "failed to give the lease up");
            }
            Err(_) => tracing::warn!(lease = self.name, "failed to give the lease up in time"),
        }
    }
}

#[cfg(test)]
mod tests;
