//! How long a cold start takes on a cluster: the first complete segment against what physics asks for, and against a bare pod with the
//! same mount. Both take turns; each start is a channel that nobody has watched before. Leaves neither streams nor pods behind.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use e2e::suite::{Listed, Suite, TOKEN};
use e2e::viewer::Viewer;
use e2e::wait::{Seen, until};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tokio::time::timeout;

use crate::course::{Start, channels, starts};
use crate::figure::{Figure, median};
use crate::standalone::first_segment;

/// Longest time a start may take, until all nodes have the images and all gateways the catalog.
const FIRST: Duration = Duration::from_secs(120);

/// Longest time any other start may take before the bench gives up.
const LIMIT: Duration = Duration::from_secs(60);

/// Longest time until what was started has ended.
const END: Duration = Duration::from_secs(60);

/// Longer than a gateway makes a stream again that is deleted just after its last viewer.
const WISH: Duration = Duration::from_secs(8);

/// Goal for the first segment over its physical limit and the start of a bare pod, in seconds.
const OVER_BARE: f64 = 0.5;

/// Seconds from key to key: a longer GOP would tell no more about the cluster.
const GOPS: [u32; 2] = [1, 2];

/// The class of the channels.
const CLASS: &str = "copy";

/// Label of the bare pods.
const BARE: (&str, &str) = ("app.kubernetes.io/part-of", "headend-bench");

/// What a bare pod runs; not for longer than any run takes.
const IDLE_COMMAND: [&str; 4] = ["timeout", "600", "sleep", "600"];

/// One turn of each. Seconds: those of the product since the viewer's first request, that of the bare pod since its creation.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    start: Start,
    created: f64,
    running: f64,
    segment: f64,
    bare: f64,
}

impl Sample {
    /// What the product took after its container ran and the source allowed a first segment.
    fn after_running(&self) -> f64 {
        self.segment - self.running - self.start.first_cut()
    }
}

/// The installed product, and what bare pods are made after.
struct Cluster {
    suite: Suite,
    /// Begins the name of every channel and pod: a catalog that remembers an earlier run must not help this one.
    run: String,
    starts: Vec<Start>,
}

/// Measures so many rounds.
pub(crate) async fn measure(rounds: usize) -> Result<Vec<Figure>> {
    let cluster = Cluster::install(rounds).await?;
    let measured = cluster.turns().await;
    let tidied = cluster.tidy().await;
    let figures = figures(&measured?);
    tidied?;
    Ok(figures)
}

impl Cluster {
    async fn install(rounds: usize) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let run = format!("cold-{:x}", now.as_secs());
        let starts = starts(&GOPS, rounds);
        let mut listed = vec![listed(&run, "first", &starts[0])];
        listed.extend(
            starts
                .iter()
                .map(|start| self::listed(&run, &start.slug(), start)),
        );
        let suite = Suite::start_with(channels(&GOPS), &listed).await?;
        Ok(Self { suite, run, starts })
    }

    async fn turns(&self) -> Result<Vec<Sample>> {
        let (model, segment) = self.first().await?;
        let bare = self.bare_running(&model, "first").await?;
        eprintln!("first, not counted: segment {segment:.3} s; bare pod {bare:.3} s");
        let mut samples = Vec::new();
        for start in &self.starts {
            let slug = start.slug();
            let (ours, theirs) = (self.cold(&slug), self.bare_running(&model, &slug));
            // One after the other, and not always in the same order.
            let ((created, running, segment), bare) = if samples.len().is_multiple_of(2) {
                (ours.await?, theirs.await?)
            } else {
                let bare = theirs.await?;
                (ours.await?, bare)
            };
            let sample = Sample {
                start: *start,
                created,
                running,
                segment,
                bare,
            };
            eprintln!(
                "{slug}: pod {created:.3} s, Running {running:.3} s, segment {segment:.3} s, {:.3} s over key wait + 1 s; bare pod {bare:.3} s",
                segment - start.first_cut()
            );
            samples.push(sample);
        }
        Ok(samples)
    }

    /// One start that does not count, seen by every gateway: after it all of them have the catalog. The pod that ran it, and seconds until
    /// a first segment.
    async fn first(&self) -> Result<(Pod, f64)> {
        let slug = self.name("first");
        let begun = Instant::now();
        let mut segment = None;
        for gateway in self.suite.gateways().await? {
            let viewer = Viewer::new(&gateway, &slug, Some(TOKEN));
            first_segment(&viewer, FIRST).await?;
            segment.get_or_insert_with(|| begun.elapsed().as_secs_f64());
        }
        let pods = self.suite.transcoders(Some(&slug)).await?;
        let pod = pods.into_iter().next().context("no pod runs the stream")?;
        self.suspend(&slug).await?;
        Ok((pod, segment.context("no gateway runs")?))
    }

    /// Seconds from a viewer's first request until a pod is there, its container runs, and a first segment is there whole.
    async fn cold(&self, slug: &str) -> Result<(f64, f64, f64)> {
        let slug = self.name(slug);
        let viewer = self.suite.viewer(&slug);
        let started = async { first_segment(&viewer, LIMIT).await };
        let (segment, (created, running)) =
            tokio::try_join!(started, self.stages(&slug, Instant::now()))?;
        self.suspend(&slug).await?;
        Ok((
            created.as_secs_f64(),
            running.as_secs_f64(),
            segment.as_secs_f64(),
        ))
    }

    /// When a watch shows the stream's pod, and when it shows it running.
    async fn stages(&self, slug: &str, begun: Instant) -> Result<(Duration, Duration)> {
        let labels = format!("{}={slug}", api::names::LABEL_STREAM);
        let config = watcher::Config::default().labels(&labels);
        let mut pods = watcher(self.suite.pods(), config).applied_objects().boxed();
        let mut created = None;
        let watching = async {
            while let Some(pod) = pods.try_next().await? {
                let created = *created.get_or_insert_with(|| begun.elapsed());
                if is_running(&pod) {
                    return Ok((created, begun.elapsed()));
                }
            }
            bail!("the watch of pods ended");
        };
        let seen = timeout(LIMIT, watching).await;
        seen.with_context(|| format!("no pod of {slug} runs within {LIMIT:?}"))?
    }

    /// Takes a stream's pod away. A stream that were deleted at once would be made again by gateways that had a viewer just now.
    async fn suspend(&self, slug: &str) -> Result<()> {
        let suspend = Patch::Merge(json!({ "spec": { "suspend": true } }));
        let streams = self.suite.streams();
        streams
            .patch(slug, &PatchParams::default(), &suspend)
            .await?;
        until(&format!("the end of the pod of {slug}"), END, || async {
            let pods = self.suite.transcoders(Some(slug)).await?.len();
            Ok(Seen::when(pods == 0, pods))
        })
        .await
        .map(drop)
    }

    /// Seconds from the creation of a bare pod until a watch shows it running.
    async fn bare_running(&self, model: &Pod, name: &str) -> Result<f64> {
        let name = format!("{}-bare", self.name(name));
        let pod = bare(model, &name)?;
        let pods = self.suite.pods();
        let mut seen = watcher::watch_object(pods.clone(), &name).boxed();
        let begun = Instant::now();
        pods.create(&PostParams::default(), &pod).await?;
        let running = async {
            while let Some(pod) = seen.try_next().await? {
                if pod.as_ref().is_some_and(is_running) {
                    return Ok(begun.elapsed());
                }
            }
            bail!("the watch of a bare pod ended");
        };
        let running = timeout(LIMIT, running).await;
        let running =
            running.with_context(|| format!("{name} does not run within {LIMIT:?}"))??;
        pods.delete(&name, &DeleteParams::default()).await?;
        until(&format!("the end of {name}"), END, || async {
            let left = pods.get_opt(&name).await?.is_some();
            Ok(Seen::when(!left, left))
        })
        .await?;
        Ok(running.as_secs_f64())
    }

    /// Removes every stream and every pod that was started.
    async fn tidy(self) -> Result<()> {
        let bare = ListParams::default().labels(&format!("{}={}", BARE.0, BARE.1));
        let pods = self.suite.pods();
        pods.delete_collection(&DeleteParams::default(), &bare)
            .await?;
        let since = Cell::new(Instant::now());
        until("streams to stay away", END, || async {
            if self.suite.nothing_left(Duration::ZERO).await.is_err() {
                self.suite.clean().await?;
                since.set(Instant::now());
            }
            let quiet = since.get().elapsed();
            Ok(Seen::when(quiet > WISH, quiet))
        })
        .await?;
        self.suite.source.shutdown().await;
        Ok(())
    }

    fn name(&self, rest: &str) -> String {
        name(&self.run, rest)
    }
}

fn name(run: &str, rest: &str) -> String {
    format!("{run}-{rest}")
}

fn listed(run: &str, slug: &str, start: &Start) -> Listed {
    Listed {
        slug: name(run, slug),
        class: CLASS.to_owned(),
        path: start.path(),
    }
}

fn is_running(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Running")
}

/// A pod that is started as that one was, with a directory of its own, and does nothing. No label says that it is part of a release.
fn bare(model: &Pod, name: &str) -> Result<Pod> {
    let mut spec = model.spec.clone().context("a pod without spec")?;
    spec.node_name = None;
    let container = spec.containers.first_mut();
    let container = container.context("a pod without container")?;
    // Ends when it is asked to, as `sleep` alone would not as the first process of a container.
    container.command = Some(IDLE_COMMAND.map(str::to_owned).into());
    let mounts = container.volume_mounts.iter_mut().flatten();
    for path in mounts.filter_map(|mount| mount.sub_path.as_mut()) {
        *path = format!("{}/{name}", api::names::PODS_DIRECTORY);
    }
    Ok(Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: model.namespace(),
            labels: Some(
                [BARE]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

fn figures(samples: &[Sample]) -> Vec<Figure> {
    let middle = |of: fn(&Sample) -> f64| median(&samples.iter().map(of).collect::<Vec<_>>());
    let bare = middle(|sample| sample.bare);
    let mut figures = Vec::new();
    for gop in GOPS {
        let mut over = |what: &str, limit: fn(&Start) -> f64| {
            let of_gop = samples.iter().filter(|sample| sample.start.gop == gop);
            let over = of_gop.map(|sample| sample.segment - limit(&sample.start));
            let over = median(&over.collect::<Vec<_>>());
            let case =
                format!("cluster, cold copy, gop {gop} s: first segment over {what} + bare pod, s");
            figures.push(Figure {
                peer: Some(bare),
                ..Figure::absolute("start", case, over - bare, OVER_BARE)
            });
        };
        over("key wait + GOP", Start::limit);
        if gop > 1 {
            // The first GOP is cut early, so the limit above would hide a second.
            over("key wait + 1 s", Start::first_cut);
        }
    }
    let of = |what: &str| format!("cluster, cold copy: {what}, s");
    let running = middle(|sample| sample.running - sample.created);
    figures.extend([
        Figure::told(
            "start",
            of("pod after the request"),
            middle(|sample| sample.created),
        ),
        Figure::relative("start", of("pod Running after that"), running, bare, None),
        Figure::told(
            "start",
            of("first segment over key wait + 1 s after that"),
            middle(Sample::after_running),
        ),
    ]);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_pod_is_the_stream_s_but_for_what_it_runs_and_whose_it_is() {
        let model = json!({
            "metadata": {
                "name": "one-0f9c2a41-1", "namespace": "tv", "uid": "u", "resourceVersion": "7",
                "labels": {"app.kubernetes.io/component": "transcoder"},
                "ownerReferences": [{"apiVersion": "headend.dev/v1alpha1", "kind": "LiveStream", "name": "one", "uid": "u"}],
            },
            "spec": {
                "nodeName": "node-1", "terminationGracePeriodSeconds": 30, "securityContext": {"runAsUser": 65532},
                "containers": [{
                    "name": "transcoder", "image": "localhost/headend-transcoder:dev",
                    "resources": {"requests": {"cpu": "100m"}},
                    "volumeMounts": [
                        {"name": "output", "mountPath": "/output", "subPath": "pods/one-0f9c2a41-1"},
                        {"name": "scratch", "mountPath": "/tmp"},
                    ],
                }],
            },
            "status": {"phase": "Running"},
        });
        let bare = bare(&serde_json::from_value(model).unwrap(), "x-bare").unwrap();
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "x-bare", "namespace": "tv", "labels": {"app.kubernetes.io/part-of": "headend-bench"}},
            "spec": {
                "terminationGracePeriodSeconds": 30, "securityContext": {"runAsUser": 65532},
                "containers": [{
                    "name": "transcoder", "image": "localhost/headend-transcoder:dev", "command": ["timeout", "600", "sleep", "600"],
                    "resources": {"requests": {"cpu": "100m"}},
                    "volumeMounts": [
                        {"name": "output", "mountPath": "/output", "subPath": "pods/x-bare"},
                        {"name": "scratch", "mountPath": "/tmp"},
                    ],
                }],
            },
        });
        assert_eq!(serde_json::to_value(bare).unwrap(), expected);
    }

    #[test]
    fn a_channel_s_name_is_short_enough_for_a_stream() {
        let slug = Start {
            round: 254,
            gop: 2,
            phase: 0.9,
        }
        .slug();
        assert!(name("cold-ffffffff", &slug).len() <= 44);
    }

    #[test]
    fn figures_tell_what_is_over_the_limit_and_a_bare_pod_in_the_middle() {
        let sample = |start: Start, noise: f64| Sample {
            start,
            created: 0.25,
            running: 1.5,
            segment: 1.5 + start.first_cut() + 0.5 + noise,
            bare: 1.0 + noise,
        };
        let noisy = |start| [0.0, 8.0, 0.0].map(|noise| sample(start, noise));
        let samples = starts(&GOPS, 1)
            .into_iter()
            .flat_map(noisy)
            .collect::<Vec<_>>();
        let hundredths = |value: f64| (value * 100.0).round();
        let figures = figures(&samples);
        let told = figures.iter().map(|figure| {
            (
                hundredths(figure.value),
                figure.peer.map(hundredths),
                figure.holds,
            )
        });
        let expected = [
            (100.0, Some(100.0), Some(false)),
            (0.0, Some(100.0), Some(true)),
            (100.0, Some(100.0), Some(false)),
            (25.0, None, None),
            (125.0, Some(100.0), None),
            (50.0, None, None),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
