//! Removes from the output volume what pods that are gone have left. Lists and watches the cluster, never writes to it.
//! A directory is removed only after the API server itself has said, since the directory was read, that its pod is gone:
//! so nothing younger than what is known is ever touched.

mod disk;
mod verdict;

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use api::LiveStream;
use api::names::{COMPONENT_TRANSCODER, LABEL_COMPONENT};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use runtime::admin::Readiness;
use runtime::shutdown::Tasks;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use self::disk::Disk;
use self::verdict::{Known, PodDirectory, Verdict, judge, stream_digits};
use crate::settings::SweepSettings;

/// What a sweeper needs to do its work.
pub(crate) const CONDITIONS: [&str; 3] = ["output volume", "watch of livestreams", "watch of pods"];

/// How often everything is compared.
const COMPARE: Duration = Duration::from_secs(600);
/// The shortest time between two passes, so that many deletions make few.
const GAP: Duration = Duration::from_secs(1);
/// How often the volume is measured.
const MEASURE: Duration = Duration::from_secs(60);
/// How soon a pass that did not get through is repeated.
const RETRY: Duration = Duration::from_secs(30);
/// How long the API server may take to say whether a pod is there.
const LIMIT: Duration = Duration::from_secs(10);

type Metadata<K> = PartialObjectMeta<K>;

/// Starts the sweeper.
pub(crate) fn start(
    tasks: &mut Tasks,
    client: &Client,
    settings: &SweepSettings,
    readiness: &Readiness,
    registry: &mut Registry,
) -> std::io::Result<()> {
    let namespace = &settings.release.namespace;
    let deletions = Arc::new(Notify::new());
    let streams: Api<Metadata<LiveStream>> = Api::namespaced(client.clone(), namespace);
    let config = watcher::Config::default();
    let watch = Watch::new(CONDITIONS[1], readiness, &deletions);
    let streams = watch.start(tasks, streams, config.clone());
    let pods: Api<Metadata<Pod>> = Api::namespaced(client.clone(), namespace);
    let labels = format!("{LABEL_COMPONENT}={COMPONENT_TRANSCODER}");
    let watch = Watch::new(CONDITIONS[2], readiness, &deletions);
    let pods = watch.start(tasks, pods, config.labels(&labels));
    let sweeper = Sweeper {
        disk: Disk::new(&settings.output_directory)?,
        retention: settings.retention,
        known: Reflected { pods, streams },
        pods: Api::namespaced(client.clone(), namespace),
        readiness: readiness.clone(),
        counts: Counts::new(registry),
        gone: HashMap::new(),
    };
    let token = tasks.token();
    tasks.spawn("sweeper", async move {
        token.run_until_cancelled(sweeper.run(&deletions)).await;
        Ok::<_, Infallible>(())
    });
    Ok(())
}

/// One watch, and what it tells.
struct Watch {
    condition: &'static str,
    readiness: Readiness,
    deletions: Arc<Notify>,
}

impl Watch {
    fn new(condition: &'static str, readiness: &Readiness, deletions: &Arc<Notify>) -> Self {
        Self {
            condition,
            readiness: readiness.clone(),
            deletions: deletions.clone(),
        }
    }

    fn start<K>(
        self,
        tasks: &mut Tasks,
        api: Api<Metadata<K>>,
        config: watcher::Config,
    ) -> Store<Metadata<K>>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let (store, writer) = reflector::store();
        let mut events = watcher(api, config)
            .default_backoff()
            .modify(|object| {
                object.managed_fields_mut().clear();
                object.annotations_mut().clear();
            })
            .reflect(writer)
            .boxed();
        let token = tasks.token();
        tasks.spawn(self.condition, async move {
            while let Some(Some(event)) = token.run_until_cancelled(events.next()).await {
                self.take(&event);
            }
            Ok::<_, Infallible>(())
        });
        store
    }

    fn take<K>(&self, event: &watcher::Result<Event<K>>) {
        match event {
            Ok(Event::InitDone) => {
                self.readiness.set(self.condition, true);
                self.deletions.notify_one();
            }
            Ok(Event::Delete(_)) => self.deletions.notify_one(),
            Ok(Event::Init | Event::InitApply(_) | Event::Apply(_)) => {}
            Err(error) => tracing::warn!(task = self.condition, %error, "failed to watch"),
        }
    }
}

/// The cluster as the watches have seen it.
struct Reflected {
    pods: Store<Metadata<Pod>>,
    streams: Store<Metadata<LiveStream>>,
}

impl Reflected {
    async fn complete(&self) {
        // A watch that is gone went with the process.
        let _ = self.pods.wait_until_ready().await;
        let _ = self.streams.wait_until_ready().await;
    }

    fn now(&self) -> Known {
        let pods = self.pods.state().into_iter();
        let streams = self.streams.state().into_iter();
        Known {
            pods: pods.map(|pod| pod.name_any()).collect(),
            streams: streams
                .filter_map(|stream| stream.uid())
                .map(|uid| stream_digits(&uid))
                .collect(),
        }
    }
}

struct Counts {
    removed: Counter,
    failed: Counter,
    directories: Gauge,
    volume_size: Gauge<u64, AtomicU64>,
    volume_available: Gauge<u64, AtomicU64>,
}

impl Counts {
    fn new(registry: &mut Registry) -> Self {
        let counts = Self {
            removed: Counter::default(),
            failed: Counter::default(),
            directories: Gauge::default(),
            volume_size: Gauge::default(),
            volume_available: Gauge::default(),
        };
        let Self {
            removed,
            failed,
            directories,
            volume_size,
            volume_available,
        } = &counts;
        let help = "Directories of pods that were removed";
        registry.register("headend_sweeper_removed", help, removed.clone());
        let help = "Requests to the output volume that failed";
        registry.register("headend_sweeper_failures", help, failed.clone());
        let help = "Directories of pods on the output volume";
        registry.register("headend_sweeper_directories", help, directories.clone());
        let (name, help) = ("headend_sweeper_volume_size", "Size of the output volume");
        registry.register_with_unit(name, help, Unit::Bytes, volume_size.clone());
        let name = "headend_sweeper_volume_available";
        let help = "What is left of the output volume";
        registry.register_with_unit(name, help, Unit::Bytes, volume_available.clone());
        counts
    }
}

struct Sweeper {
    disk: Disk,
    retention: Duration,
    known: Reflected,
    pods: Api<Pod>,
    readiness: Readiness,
    counts: Counts,
    /// Since when the pods of these directories have been found gone. Lost with the process: a restart removes late, never early.
    gone: HashMap<PodDirectory, Instant>,
}

impl Sweeper {
    async fn run(mut self, deletions: &Notify) {
        self.known.complete().await;
        loop {
            let began = Instant::now();
            let next = self.pass().await;
            // Deletions that come meanwhile are kept by the notifier.
            sleep_until(began + GAP).await;
            self.wait(next, deletions).await;
        }
    }

    /// Waits for a deletion, at most so long, and measures the volume now and then meanwhile.
    async fn wait(&self, longest: Duration, deletions: &Notify) {
        let end = Instant::now() + longest;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let notified = timeout(left.min(MEASURE), deletions.notified()).await;
            if notified.is_ok() || left <= MEASURE {
                return;
            }
            self.measure().await;
        }
    }

    async fn measure(&self) {
        match self.disk.measure().await {
            Ok(room) => {
                self.counts.volume_size.set(room.size);
                self.counts.volume_available.set(room.available);
            }
            // Whether it can be used is said by the next pass.
            Err(error) => {
                self.counts.failed.inc();
                tracing::warn!(%error, "failed to measure the volume");
            }
        }
    }

    /// Measures the volume and compares everything once; answers when to do so again at the latest.
    async fn pass(&mut self) -> Duration {
        self.measure().await;
        let directories = match self.disk.list().await {
            Ok(directories) => directories,
            Err(error) => {
                self.fail(&error);
                return RETRY;
            }
        };
        self.readiness.set(CONDITIONS[0], true);
        self.counts
            .directories
            .set(i64::try_from(directories.len()).unwrap_or(i64::MAX));
        // Read after the directories: a pod is created before its directory.
        let known = self.known.now();
        let there: HashSet<_> = directories.iter().collect();
        self.gone.retain(|directory, _| there.contains(directory));
        let mut next = COMPARE;
        for directory in &directories {
            next = next.min(self.treat(directory, &known).await);
        }
        next
    }

    async fn treat(&mut self, directory: &PodDirectory, known: &Known) -> Duration {
        let since = self.gone.get(directory).copied();
        let gone_for = since.map_or(Duration::ZERO, |since| since.elapsed());
        match judge(directory, known, gone_for, self.retention) {
            Verdict::Keep => {
                self.gone.remove(directory);
                COMPARE
            }
            Verdict::Retain(left) => {
                self.gone
                    .entry(directory.clone())
                    .or_insert_with(Instant::now);
                left
            }
            Verdict::Remove => self.remove(directory).await,
        }
    }

    async fn remove(&mut self, directory: &PodDirectory) -> Duration {
        match self.is_gone(directory).await {
            Ok(true) => {}
            Ok(false) => return RETRY,
            Err(error) => {
                tracing::warn!(pod.name = directory.name(), %error, "failed to look for a pod");
                return RETRY;
            }
        }
        match self.disk.remove(directory).await {
            Ok(()) => {
                tracing::info!(pod.name = directory.name(), "directory removed");
                self.counts.removed.inc();
                self.gone.remove(directory);
                COMPARE
            }
            Err(error) => {
                self.fail(&error);
                RETRY
            }
        }
    }

    /// Whether the API server itself, not the watch, says that the pod is gone.
    async fn is_gone(&self, directory: &PodDirectory) -> Result<bool, NotAsked> {
        let name = directory.name();
        let of_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let listed = timeout(LIMIT, self.pods.list_metadata(&of_name)).await;
        let listed = listed
            .map_err(|_| NotAsked::Slow)?
            .map_err(NotAsked::Refused)?;
        Ok(listed.items.is_empty())
    }

    fn fail(&self, error: &disk::DiskError) {
        self.counts.failed.inc();
        self.readiness.set(CONDITIONS[0], false);
        tracing::warn!(%error, "volume");
    }
}

/// Why it is not known whether a pod is there.
#[derive(Debug, thiserror::Error)]
enum NotAsked {
    #[error("the API server did not answer in time")]
    Slow,
    #[error("the API server refused: {0}")]
    Refused(#[source] kube::Error),
}
