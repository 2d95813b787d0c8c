//! Learns that files changed: from the kernel at once, and by looking now and then in case it says nothing.
//! Decides nothing about what changed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::FilesCatalog;

/// Changes come in bursts: several files, or a file in several writes.
const SETTLE: Duration = Duration::from_millis(100);
/// Network file systems tell nothing, and a watched directory can be replaced as a whole.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

pub(super) async fn follow(catalog: Arc<FilesCatalog>) {
    let changed = Arc::new(Notify::new());
    let _watcher = watcher(&catalog, &changed);
    // Something may have changed before the watch began.
    changed.notify_one();
    loop {
        if tokio::time::timeout(LOOK_ANYWAY, changed.notified())
            .await
            .is_ok()
        {
            tokio::time::sleep(SETTLE).await;
        }
        let catalog = catalog.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || catalog.refresh()).await {
            tracing::error!(%error, "failed to reload the catalog");
        }
    }
}

fn watcher(catalog: &FilesCatalog, changed: &Arc<Notify>) -> Option<impl Watcher + use<>> {
    let changed = changed.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Reading the files is an event too.
        if !matches!(
            event,
            Ok(Event {
                kind: EventKind::Access(_),
                ..
            })
        ) {
            changed.notify_one();
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "failed to watch the catalog; looking every {LOOK_ANYWAY:?}");
            return None;
        }
    };
    for directory in catalog.directories() {
        let directory = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            let path = directory.display();
            tracing::warn!(%path, %error, "failed to watch a part of the catalog; looking every {LOOK_ANYWAY:?}");
        }
    }
    Some(watcher)
}
