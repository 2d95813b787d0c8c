//! Catalogs that can be changed: what the port promises, shown on each adapter, and what each of them survives.

mod conformance;
mod crash;
mod outage;
mod scale;
mod world;

use std::time::Duration;

use catalog::store::{Change, StoreCatalog};
use catalog::{Catalog, Channel, ChannelSource, Group, Row, RowKey, Snapshot, User, UserToken};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::key;

const SOON: Duration = Duration::from_secs(60);

fn channel(slug: &str) -> Channel {
    Channel {
        slug: slug.to_owned(),
        name: format!("Channel {slug}"),
        sources: vec![ChannelSource::at(format!("http://source.example/{slug}"))],
        ..Channel::default()
    }
}

fn group(id: &str, order: u32) -> Group {
    Group {
        id: id.to_owned(),
        name: id.to_owned(),
        order,
    }
}

/// A user with one token: `<id>-token`.
fn user(id: &str, name: &str) -> User {
    User {
        id: id.to_owned(),
        name: name.to_owned(),
        tokens: vec![UserToken::of_hash(
            key().hash(format!("{id}-token").as_bytes()),
        )],
        ..User::default()
    }
}

fn put_channel(slug: &str) -> Change {
    Change::put(Row::Channel(channel(slug)))
}

fn put_group(id: &str, order: u32) -> Change {
    Change::put(Row::Group(group(id, order)))
}

fn put_user(id: &str, name: &str) -> Change {
    Change::put(Row::User(user(id, name)))
}

fn group_key(id: &str) -> RowKey {
    RowKey::Group(id.to_owned())
}

/// A catalog that takes in what others change.
struct Followed {
    catalog: Arc<StoreCatalog>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Followed {
    fn new(catalog: StoreCatalog) -> Self {
        let catalog = Arc::new(catalog);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(catalog.clone().follow(async move {
            let _ = stopped.await;
        }));
        Self {
            catalog,
            stop,
            task,
        }
    }

    /// Waits until the snapshot is as wished.
    async fn until(&self, wished: impl Fn(&Snapshot) -> bool) {
        let mut versions = self.catalog.versions();
        let waiting = async {
            while !wished(&self.catalog.snapshot()) {
                versions.changed().await.unwrap();
            }
        };
        tokio::time::timeout(SOON, waiting).await.unwrap();
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}
