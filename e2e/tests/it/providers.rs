//! Channels of a provider's account that allows one connection: who has it, who waits for it, and that the panel never sees two.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use api::live_stream::Phase;
use api::{LiveStream, Provider, StreamClass};
use e2e::suite::{NAMESPACE, Suite};
use e2e::wait::{Seen, until};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testkit::panel::{Panel, PanelSettings};

use crate::{SOON, START, phase};

/// Where the panel listens.
const PANEL_PORT: u16 = 18081;
const NAME: &str = "panel";
const SECRET: &str = "headend-source-panel";

async fn apply<K>(suite: &Suite, name: &str, object: &Value) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let mut object = object.clone();
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    object["metadata"] = json!({ "name": name });
    let api: Api<K> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let parameters = PatchParams::apply("e2e").force();
    api.patch(name, &parameters, &Patch::Apply(&object)).await?;
    Ok(())
}

/// A panel with one connection in front of the live source, its Provider, and a class whose streams are never idle for long enough.
async fn prepare(suite: &Suite) -> Result<Panel> {
    let settings = PanelSettings::default();
    let login =
        json!({ "stringData": { "username": settings.username, "password": settings.password } });
    apply::<Secret>(suite, SECRET, &login).await?;
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PANEL_PORT));
    let panel = Panel::start_at(listen, &suite.source, settings)?;
    let url = format!("http://{}", SocketAddr::new(suite.machine()?, PANEL_PORT));
    let provider = json!({ "spec": {
        "type": "Xtream", "url": url, "secretName": SECRET, "maximumConnections": 1,
        "egress": { "allowPrivateAddresses": true },
    }});
    apply::<Provider>(suite, NAME, &provider).await?;
    let class = json!({ "spec": { "idleTimeoutSeconds": 3600 } });
    apply::<StreamClass>(suite, "patient-idle", &class).await?;
    for (stream, channel) in [("panel-one", "plain"), ("panel-two", "second")] {
        let source = json!({ "provider": { "name": NAME, "channel": channel } });
        let spec = json!({ "className": "patient-idle", "sources": [source] });
        suite.apply_stream(stream, spec).await?;
    }
    Ok(panel)
}

async fn remove(suite: &Suite) -> Result<()> {
    suite.clean().await?;
    let parameters = DeleteParams::default();
    let providers: Api<Provider> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let given_back = until("every connection to be given back", SOON, || async {
        let status = providers.get(NAME).await?.status.unwrap_or_default();
        Ok(Seen::when(
            status.slots.is_empty() && status.used == 0,
            status,
        ))
    })
    .await;
    providers.delete(NAME, &parameters).await?;
    let classes: Api<StreamClass> = Api::namespaced(suite.client.clone(), NAMESPACE);
    classes.delete("patient-idle", &parameters).await?;
    let secrets: Api<Secret> = Api::namespaced(suite.client.clone(), NAMESPACE);
    secrets.delete(SECRET, &parameters).await?;
    given_back.map(drop)
}

async fn holders(suite: &Suite) -> Result<Vec<String>> {
    let providers: Api<Provider> = Api::namespaced(suite.client.clone(), NAMESPACE);
    let status = providers.get(NAME).await?.status.unwrap_or_default();
    Ok(status.slots.into_iter().map(|slot| slot.stream).collect())
}

fn is_refused(stream: &LiveStream) -> bool {
    let conditions = stream.status.iter().flat_map(|status| &status.conditions);
    let mut refused = conditions.filter(|one| one.reason == "ProviderSlotsExhausted");
    phase(stream) == Some(Phase::Pending)
        && refused.any(|one| one.type_ == "Provisioned" && one.message.contains("panel-one"))
}

#[tokio::test]
async fn a_connection_that_is_watched_is_refused_to_others_and_taken_over_when_its_viewer_leaves()
-> Result<()> {
    let suite = Suite::start().await?;
    let panel = prepare(&suite).await?;
    let first = suite.viewer("panel-one");
    let playlist = first.start(START).await?;
    ensure!(holders(&suite).await? == ["panel-one"]);
    // Somebody goes on watching while another one asks for the second channel.
    let second = suite.viewer("panel-two");
    let (watched, refused) = tokio::join!(first.play(&playlist, 8, START), async {
        let answer = second.master().await?;
        anyhow::Ok((answer.status(), answer.text().await?))
    });
    watched.context("the first viewer was cut off")?;
    let (status, body) = refused?;
    ensure!(status == 503, "{status}: {body}");
    ensure!(
        body.contains("ProviderSlotsExhausted") && body.contains("panel-one"),
        "{body}"
    );
    suite
        .stream_when("panel-two", "is refused", SOON, is_refused)
        .await?;
    // Nobody watches the first channel any more, and its own idle timeout is an hour.
    let playlist = second.start(START * 2).await?;
    ensure!(holders(&suite).await? == ["panel-two"]);
    second.play(&playlist, 3, START).await?;
    suite
        .stream_when("panel-one", "has given way", SOON, |stream| {
            phase(stream) == Some(Phase::Idle)
        })
        .await?;
    let stats = panel.stats();
    ensure!((stats.peak, stats.refused) == (1, 0), "{stats:?}");
    remove(&suite).await
}
