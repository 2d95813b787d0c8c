//! The product as the tests find it: one release of the chart in a namespace of its own, a live source, and clients.
//! Every test starts from the same installed release and cleans up its streams; none depends on what another left.

pub mod placement;
mod prepare;
pub mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use api::LiveStream;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use testkit::source::{ChannelSettings, LiveSource, SourceSettings};

use crate::fence::{self, Fence};
use crate::helm;
use crate::viewer::{Viewer, wish_is_fresh};
use crate::wait::{Seen, until};

/// The namespace of the tests.
pub const NAMESPACE: &str = "headend-e2e";
/// The release's name.
pub const RELEASE: &str = "tv";
/// The shortest idle timeout that there is, in seconds.
pub const IDLE_SECONDS: u64 = 15;
/// The token of the user that may watch everything.
pub const TOKEN: &str = "e2e-token-of-everybody";
/// The token of a user that may watch `plain` only.
pub const NARROW_TOKEN: &str = "e2e-token-of-one-channel";
/// The key that token hashes are made with, in a Secret of the tests.
const TOKEN_KEY: &[u8] = b"e2e: a key that everybody may know";
/// How long streams may take to end with their pods.
const CLEAN: Duration = Duration::from_secs(90);
/// Where the live source listens: in the cluster's network, on this machine's own address.
const SOURCE_PORT: u16 = 18080;

/// Channels of the catalog: name, class, and what the live source plays (see `headend-testkit source --help`).
pub const CHANNELS: &[(&str, &str, &str)] = &[
    ("plain", "quick", "gop=2"),
    ("second", "quick", "gop=1"),
    ("ladder", "ladder", "gop=2,size=1280x720,bitrate=2500"),
    ("missing", "quick", "fault-status=404"),
    ("page", "quick", "fault-malformed=html"),
    ("no-access", "quick", "rai=never"),
    ("all-access", "quick", "rai=always"),
    ("recovery", "quick", "access=recovery"),
    ("late-audio", "quick", "audio-late=1200"),
    ("clock-apart", "quick", "pcr-pid=true"),
    ("burst", "quick", "fault-burst=6"),
    ("long-gop", "patient", "gop=40"),
    ("old-audio", "quick", "audio=mp2"),
    ("wrap", "quick", "wrap=20"),
    ("local", "local", "gop=2"),
    ("wrong-class", "no-such-class", "gop=2"),
];

/// A channel of the catalog: where the live source plays it is its own affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its slug, which is the name of its stream.
    pub slug: String,
    /// Its class.
    pub class: String,
    /// Path and query at the live source.
    pub path: String,
}

/// The installed product.
pub struct Suite {
    /// The cluster, as its administrator.
    pub client: Client,
    /// The live source; its counts say how often it is asked.
    pub source: LiveSource,
    /// Where the gateway answers.
    pub gateway: String,
    /// What is set in the chart.
    values: Value,
}

impl Suite {
    /// Installs the release if it is not there, starts the source with all of [`CHANNELS`], and waits until the gateway answers.
    ///
    /// # Errors
    /// When anything of that fails; the error says what.
    pub async fn start() -> Result<Self> {
        Self::start_as(&json!({})).await
    }

    /// The same with other values of the chart, which go on top of those of every test.
    ///
    /// # Errors
    /// When anything of that fails; the error says what.
    pub async fn start_as(others: &Value) -> Result<Self> {
        let played = CHANNELS
            .iter()
            .map(|(name, _, settings)| format!("{name}:{settings}").parse::<ChannelSettings>());
        let listed = CHANNELS.iter().map(|(name, class, _)| Listed {
            slug: (*name).to_owned(),
            class: (*class).to_owned(),
            path: format!("{name}.ts"),
        });
        let listed = listed.collect::<Vec<_>>();
        Self::install(played.collect::<Result<_, _>>()?, &listed, others).await
    }

    /// The same with other channels: what the live source plays, and what the catalog lists.
    ///
    /// # Errors
    /// When anything of that fails; the error says what.
    pub async fn start_with(played: Vec<ChannelSettings>, listed: &[Listed]) -> Result<Self> {
        Self::install(played, listed, &json!({})).await
    }

    async fn install(
        played: Vec<ChannelSettings>,
        listed: &[Listed],
        others: &Value,
    ) -> Result<Self> {
        let client = Client::try_default()
            .await
            .context("failed to find a cluster: run through `cargo xtask`")?;
        let source = start_source(played).await?;
        prepare::namespace(&client).await?;
        prepare::volumes(&client).await?;
        prepare::secrets(&client).await?;
        let mut values = values::of(&values::source_address()?, listed);
        values::merge(&mut values, others);
        helm::install(NAMESPACE, RELEASE, &helm::chart(), &values).await?;
        prepare::classes(&client).await?;
        let gateway = gateway_address(&client).await?;
        let suite = Self {
            client,
            source,
            gateway,
            values,
        };
        suite.clean().await?;
        Ok(suite)
    }

    /// Upgrades the release to another chart, with other values on top of those that it has.
    ///
    /// # Errors
    /// When helm fails.
    pub async fn upgrade(&self, chart: &Path, others: &Value) -> Result<()> {
        let mut values = self.values.clone();
        values::merge(&mut values, others);
        helm::install(NAMESPACE, RELEASE, chart, &values).await
    }

    /// LiveStreams of the release's namespace.
    #[must_use]
    pub fn streams(&self) -> Api<LiveStream> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Pods of the release's namespace.
    #[must_use]
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Transcoder pods of a stream, or of all.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn transcoders(&self, stream: Option<&str>) -> Result<Vec<Pod>> {
        let mut labels = format!(
            "{}={}",
            api::names::LABEL_COMPONENT,
            api::names::COMPONENT_TRANSCODER
        );
        if let Some(stream) = stream {
            labels.push_str(&format!(",{}={stream}", api::names::LABEL_STREAM));
        }
        Ok(self
            .pods()
            .list(&ListParams::default().labels(&labels))
            .await?
            .items)
    }

    /// The address of each gateway, past the Service.
    ///
    /// # Errors
    /// When the API server does not answer, or a gateway has no address.
    pub async fn gateways(&self) -> Result<Vec<String>> {
        let labels = format!(
            "{}={}",
            api::names::LABEL_COMPONENT,
            api::names::COMPONENT_GATEWAY
        );
        let pods = self
            .pods()
            .list(&ListParams::default().labels(&labels))
            .await?;
        let running = pods
            .items
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        running
            .map(|pod| {
                let address = pod
                    .status
                    .and_then(|status| status.pod_ip)
                    .context("a gateway without address")?;
                Ok(format!("http://{address}:8080"))
            })
            .collect()
    }

    /// A viewer of a channel with the token of everybody.
    #[must_use]
    pub fn viewer(&self, channel: &str) -> Viewer {
        Viewer::new(&self.gateway, channel, Some(TOKEN))
    }

    /// Deletes every stream until none is left. One deletion is not enough: a gateway with a fresh viewer makes its stream again.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn clean(&self) -> Result<()> {
        let streams = self.streams();
        until("the end of all streams and their pods", CLEAN, || async {
            for stream in streams.list(&ListParams::default()).await? {
                streams
                    .delete(&stream.name_any(), &DeleteParams::default())
                    .await
                    .ok();
            }
            match self.left().await? {
                // One would be there again when the next test has begun.
                Seen::Yes(()) if wish_is_fresh() => Ok(Seen::NotYet("a fresh wish".to_owned())),
                seen => Ok(seen),
            }
        })
        .await
    }

    /// Waits until there is neither a stream nor a transcoder pod.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn nothing_left(&self, limit: Duration) -> Result<()> {
        until("the end of all streams and their pods", limit, || {
            self.left()
        })
        .await
    }

    async fn left(&self) -> Result<Seen<()>> {
        let streams = self
            .streams()
            .list(&ListParams::default())
            .await?
            .items
            .len();
        let pods = self.transcoders(None).await?.len();
        Ok(match streams + pods {
            0 => Seen::Yes(()),
            _ => Seen::NotYet(format!("{streams} streams and {pods} pods")),
        })
    }

    /// The stream, once `holds` says so.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn stream_when(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&LiveStream) -> bool,
    ) -> Result<LiveStream> {
        let api = self.streams();
        until(&format!("stream {name}: {what}"), limit, || async {
            let Some(stream) = api.get_opt(name).await? else {
                return Ok(Seen::NotYet("no such stream".to_owned()));
            };
            if holds(&stream) {
                return Ok(Seen::Yes(stream));
            }
            Ok(Seen::NotYet(serde_json::to_string(&stream.status)?))
        })
        .await
    }

    /// Waits until the collection of a stream stands at `wanted`.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn fence_when(
        &self,
        stream: &LiveStream,
        wanted: Fence,
        limit: Duration,
    ) -> Result<()> {
        let uid = stream.metadata.uid.as_deref().unwrap_or_default();
        let what = format!("the fence of {} to be {wanted:?}", stream.name_any());
        until(&what, limit, || async {
            let fence = fence::of(uid).await?;
            Ok(if fence == wanted {
                Seen::Yes(())
            } else {
                Seen::NotYet(format!("{fence:?}"))
            })
        })
        .await
    }

    /// Creates a stream by hand, as `kubectl apply` would.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply_stream(&self, name: &str, spec: Value) -> Result<LiveStream> {
        let object = json!({ "apiVersion": "headend.dev/v1alpha1", "kind": "LiveStream", "metadata": { "name": name }, "spec": spec });
        let parameters = PatchParams::apply("e2e").force();
        Ok(self
            .streams()
            .patch(name, &parameters, &Patch::Apply(&object))
            .await?)
    }

    /// The address of this machine, as transcoder pods see it.
    ///
    /// # Errors
    /// When this machine has no address in the cluster's network.
    pub fn machine(&self) -> Result<IpAddr> {
        Ok(values::source_address()?.ip())
    }

    /// Where the live source plays a channel, as transcoder pods see it.
    ///
    /// # Errors
    /// When this machine has no address in the cluster's network.
    pub fn source_url(&self, channel: &str) -> Result<String> {
        Ok(format!("http://{}/{channel}.ts", values::source_address()?))
    }
}

async fn start_source(channels: Vec<ChannelSettings>) -> Result<LiveSource> {
    let settings = SourceSettings {
        listen: SocketAddr::from(([0, 0, 0, 0], SOURCE_PORT)),
        cache: testkit::source::default_cache(),
        channels,
    };
    Ok(LiveSource::start(settings).await?)
}

async fn gateway_address(client: &Client) -> Result<String> {
    if let Ok(given) = std::env::var("HEADEND_E2E_GATEWAY") {
        return Ok(given);
    }
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let service = services.get(&format!("{RELEASE}-gateway")).await?;
    let address = service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("the gateway's Service has no address")?;
    Ok(format!("http://{address}"))
}
