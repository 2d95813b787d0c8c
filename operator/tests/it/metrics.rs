//! What operator and sweeper expose is what `docs/metrics.md` says, all of it and nothing else.

use tempfile::TempDir;
use testkit::metrics::{documented, exposed};
use tokio::time::timeout;

use crate::api_server::ApiServer;
use crate::sweep;
use crate::world::{SOON, World, metrics};

#[tokio::test]
async fn the_table_of_metrics_has_what_the_operator_exposes() {
    let (_world, operator) = World::running().await;
    let exposed = exposed(&metrics(operator.admin).await);
    assert_eq!(exposed, documented("operator").unwrap());
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn the_table_of_metrics_has_what_the_sweeper_exposes() {
    let root = TempDir::new().unwrap();
    let sweeper = sweep::start(&ApiServer::new(), sweep::settings_of(root.path(), "600"));
    let exposed = exposed(&metrics(sweeper.admin).await);
    assert_eq!(exposed, documented("sweeper").unwrap());
    sweeper.stop().await;
}

#[tokio::test]
async fn the_room_on_the_volume_is_known_soon_after_the_start() {
    let (root, api) = (TempDir::new().unwrap(), ApiServer::new());
    sweep::directory(&root, "gone-00000000-1");
    let sweeper = sweep::start(&api, sweep::settings_of(root.path(), "600"));
    // By the time it asks for the pod of the first directory.
    let asks = api.until_asked("pods", "metadata.name=gone-00000000-1");
    timeout(SOON, asks).await.unwrap();
    let text = metrics(sweeper.admin).await;
    let [size, available] = ["size", "available"].map(|what| {
        let name = format!("headend_sweeper_volume_{what}_bytes ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap().parse::<u64>().unwrap()
    });
    assert!(size >= available && available > 0, "{text}");
    sweeper.stop().await;
}
