//! The four watches behind the controller (LiveStreams, StreamClasses, Providers, pods), and everything of this module that runs.
//! Objects are trimmed before they are kept; no watch ends on an error, and none retries hot.

use std::sync::Arc;

use api::LiveStream;
use api::names::{COMPONENT_GATEWAY, COMPONENT_TRANSCODER, LABEL_COMPONENT, LABEL_INSTANCE};
use futures::stream::{BoxStream, Stream};
use futures::{StreamExt, TryStreamExt, future};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use prometheus_client::registry::Registry;
use runtime::admin::Readiness;
use runtime::shutdown::Tasks;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::classes::{Concerns, GuardedClass};
use super::gauges;
use super::intake::Intake;
use super::orphans::{self, Gone};
use super::pods::Belongs;
use super::providers::{GuardedProvider, News};
use super::warm::pool;
use super::{Context, Guarded, Triggers, accounts, control_streams, resync, takeover};

/// What the process is ready for once each is complete.
pub(crate) const WATCHES: [&str; 4] = [
    "watch of livestreams",
    "watch of pods",
    "watch of streamclasses",
    "watch of providers",
];

/// The LiveStreams: those that change, and all of them.
pub(crate) struct Streams {
    pub(super) changes: BoxStream<'static, Result<Guarded, watcher::Error>>,
    pub(super) store: Store<Guarded>,
}

/// What every watch tells its news to.
#[derive(Clone)]
struct Listener {
    context: Arc<Context>,
    triggers: Triggers,
    readiness: Readiness,
}

/// Starts the watches, the controller and the clearing up of what has no LiveStream any more.
pub(crate) fn start(
    tasks: &mut Tasks,
    client: &Client,
    context: &Arc<Context>,
    (triggers, triggered): (Triggers, mpsc::UnboundedReceiver<ObjectRef<Guarded>>),
    readiness: &Readiness,
    registry: &mut Registry,
) {
    let namespace = context.cluster.namespace();
    let listener = Listener {
        context: context.clone(),
        triggers: triggers.clone(),
        readiness: readiness.clone(),
    };
    let (gone, gone_streams) = mpsc::unbounded_channel();
    let (left, left_streams) = mpsc::unbounded_channel();
    let (changed, changed_providers) = mpsc::unbounded_channel();
    let [
        streams_synced,
        pods_synced,
        classes_synced,
        providers_synced,
    ] = [(); 4].map(|()| watch::Sender::new(false));
    let for_controller = vec![
        pods_synced.subscribe(),
        classes_synced.subscribe(),
        providers_synced.subscribe(),
    ];
    let mut for_orphans = for_controller.clone();
    for_orphans.push(streams_synced.subscribe());
    let streams = streams(
        Api::namespaced(client.clone(), namespace),
        (gone, triggers.clone()),
        readiness.clone(),
        streams_synced,
    );
    gauges::register(registry, &streams.store, context);
    let pods = Api::namespaced(client.clone(), namespace);
    let pods = listener.clone().watch_pods(pods, left, pods_synced);
    let classes = Api::namespaced(client.clone(), namespace);
    let store = streams.store.clone();
    let classes = listener
        .clone()
        .watch_classes(classes, store.clone(), classes_synced);
    let providers = Api::namespaced(client.clone(), namespace);
    let providers = listener.watch_providers(providers, store.clone(), changed, providers_synced);
    let accounts = accounts::run(context.clone(), changed_providers);
    let gone = (gone_streams, left_streams);
    let orphans = orphans::run(context.clone(), store, gone, for_orphans);
    let takeover = takeover::run(context.clone(), streams.store.clone(), triggers.clone());
    let resync = resync::run(streams.store.clone(), triggers);
    let token = tasks.token();
    tasks.spawn("resync", until(token.clone(), resync));
    tasks.spawn("takeover", until(token.clone(), takeover));
    tasks.spawn("watch of pods", until(token.clone(), pods));
    tasks.spawn("watch of streamclasses", until(token.clone(), classes));
    tasks.spawn("watch of providers", until(token.clone(), providers));
    tasks.spawn("accounts", until(token.clone(), accounts));
    tasks.spawn("orphans", until(token.clone(), orphans));
    let pools = pool::run(context.clone(), for_controller.clone());
    tasks.spawn("pods that wait", until(token, pools));
    control(tasks, for_controller, (streams, triggered), context.clone());
}

fn control(
    tasks: &mut Tasks,
    synced: Vec<watch::Receiver<bool>>,
    (streams, triggered): (Streams, mpsc::UnboundedReceiver<ObjectRef<Guarded>>),
    context: Arc<Context>,
) {
    let token = tasks.token();
    tasks.spawn("controller", async move {
        // Reconciles only with pods and classes known, so that nothing is judged by what has not been read yet.
        if token.run_until_cancelled(all(synced)).await.is_some() {
            control_streams(streams, triggered, context, token).await;
        }
        Ok::<_, std::convert::Infallible>(())
    });
}

async fn until(
    token: CancellationToken,
    task: impl Future<Output = ()>,
) -> Result<(), std::convert::Infallible> {
    token.run_until_cancelled(task).await;
    Ok(())
}

/// Waits until every watch has been complete once.
pub(super) async fn all(synced: Vec<watch::Receiver<bool>>) {
    for mut one in synced {
        // A sender that is gone went with the process.
        let _ = one.wait_for(|complete| *complete).await;
    }
}

fn streams(
    api: Api<Guarded>,
    (gone, triggers): (mpsc::UnboundedSender<Gone>, Triggers),
    readiness: Readiness,
    synced: watch::Sender<bool>,
) -> Streams {
    let (store, mut intake) = Intake::new(triggers);
    let changes = watcher(api, paged())
        .default_backoff()
        .modify(trim)
        .try_filter_map(move |event| {
            let is_complete = matches!(event, Event::InitDone);
            if let Event::Delete(stream) = &event {
                // Nobody listens only while the process ends.
                let _ = gone.send(Gone::of(stream));
            }
            let changed = intake.take(event);
            // Behind the store, which itself would wake only one of those who wait for it.
            if is_complete {
                readiness.set(WATCHES[0], true);
                synced.send_replace(true);
            }
            future::ready(Ok(changed))
        })
        .boxed();
    Streams { changes, store }
}

/// Lists come in pages of this many objects: what of a page is not kept is taken up by the next one, and what of the last one, by nobody.
const PAGE: u32 = 25;

fn paged() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

fn trim(object: &mut impl Resource) {
    object.meta_mut().managed_fields = None;
    let annotations = object.annotations_mut();
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
}

impl Listener {
    async fn watch_pods(
        self,
        api: Api<Pod>,
        left: mpsc::UnboundedSender<Belongs>,
        synced: watch::Sender<bool>,
    ) {
        let instance = &self.context.fleet.instance;
        let labels = format!(
            "{LABEL_INSTANCE}={instance},{LABEL_COMPONENT} in ({COMPONENT_TRANSCODER},{COMPONENT_GATEWAY})"
        );
        let config = paged().labels(&labels);
        let events = watcher(api, config).default_backoff();
        each(events, "pods", |event| {
            for belongs in self.context.pods.take(&event) {
                self.triggers.send(&belongs.stream);
                let context = &self.context;
                // Its stream may be gone, and then nobody else gives its connections back. Nobody listens only while the process ends.
                if context.pods.of_stream(&belongs.stream_uid).is_empty()
                    && !context.providers.held_by(&belongs.stream_uid).is_empty()
                {
                    let _ = left.send(belongs);
                }
            }
            if matches!(event, Event::InitDone) {
                self.readiness.set(WATCHES[1], true);
                synced.send_replace(true);
            }
        })
        .await;
    }

    async fn watch_classes(
        self,
        api: Api<GuardedClass>,
        streams: Store<Guarded>,
        synced: watch::Sender<bool>,
    ) {
        let events = watcher(api, paged()).default_backoff();
        each(events, "streamclasses", |event| {
            let concerned = concerned(&self.context.classes.take(&event), &streams);
            self.context.pods.waiting_changed.notify_one();
            concerned
                .iter()
                .for_each(|stream| self.triggers.send(stream));
            if matches!(event, Event::InitDone) {
                self.readiness.set(WATCHES[2], true);
                synced.send_replace(true);
            }
        })
        .await;
    }
}

impl Listener {
    async fn watch_providers(
        self,
        api: Api<GuardedProvider>,
        streams: Store<Guarded>,
        changed: mpsc::UnboundedSender<String>,
        synced: watch::Sender<bool>,
    ) {
        let events = watcher(api, paged()).default_backoff().modify(trim);
        each(events, "providers", |event| {
            let News {
                changed: new,
                woken,
            } = self.context.providers.take(&event);
            if !new.is_empty() {
                let names = |stream: &LiveStream| {
                    let mut sources = stream.spec.sources.iter();
                    let mut named = sources.by_ref().filter_map(|one| one.provider.as_ref());
                    named.any(|channel| new.contains(&channel.name))
                };
                for stream in those_that(&streams, names) {
                    self.triggers.send(&stream);
                }
            }
            self.context.pods.waiting_changed.notify_one();
            for stream in woken {
                self.triggers.send(&stream);
            }
            for provider in new {
                // Nobody listens only while the process ends.
                let _ = changed.send(provider);
            }
            if matches!(event, Event::InitDone) {
                self.readiness.set(WATCHES[3], true);
                synced.send_replace(true);
            }
        })
        .await;
    }
}

async fn each<K>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    what: &str,
    mut take: impl FnMut(Event<K>),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(event),
            Err(error) => tracing::warn!(resource = what, %error, "failed to watch"),
        }
    }
}

fn concerned(concerns: &Concerns, streams: &Store<Guarded>) -> Vec<String> {
    let of_class = |stream: &LiveStream| match concerns {
        Concerns::Nobody => false,
        Concerns::Class(class) => stream.spec.class_name == *class,
        Concerns::Everybody => true,
    };
    match concerns {
        Concerns::Nobody => Vec::new(),
        Concerns::Class(_) | Concerns::Everybody => those_that(streams, of_class),
    }
}

fn those_that(streams: &Store<Guarded>, are_meant: impl Fn(&LiveStream) -> bool) -> Vec<String> {
    let streams = streams.state().into_iter();
    let streams = streams.filter(|stream| stream.0.as_ref().is_ok_and(&are_meant));
    streams.map(|stream| stream.name_any()).collect()
}
