//! What operator and sweeper expose is what `docs/metrics.md` says, all of it and nothing else.

use tempfile::TempDir;
use testkit::metrics::{documented, exposed};

use crate::api_server::ApiServer;
use crate::sweep;
use crate::world::{World, metrics};

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
