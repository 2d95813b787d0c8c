//! One test, every adapter.

use catalog::embedded::EmbeddedStore;
use catalog::redis;
use catalog::store::StoreCatalog;
use redis_support::testing::RedisServer;
use tempfile::TempDir;

pub(super) struct World {
    pub(super) adapter: &'static str,
    place: Place,
}

enum Place {
    Redis(RedisServer),
    Embedded(TempDir, Option<EmbeddedStore>),
}

impl World {
    pub(super) async fn redis() -> Self {
        Self {
            adapter: "redis",
            place: Place::Redis(RedisServer::start().await),
        }
    }

    pub(super) fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&directory.path().join("catalog.redb")).unwrap();
        Self {
            adapter: "embedded",
            place: Place::Embedded(directory, Some(store)),
        }
    }

    /// One more catalog of the same store.
    pub(super) async fn catalog(&self) -> StoreCatalog {
        match &self.place {
            Place::Redis(server) => redis::open(&server.settings(), "test").await.unwrap(),
            Place::Embedded(_, store) => store.as_ref().unwrap().catalog().await.unwrap(),
        }
    }

    /// The store ends and starts again; nothing of it may be in use.
    pub(super) async fn restart(&mut self) {
        match &mut self.place {
            Place::Redis(server) => {
                server.kill();
                server.restart().await;
            }
            Place::Embedded(directory, store) => {
                *store = None;
                let path = directory.path().join("catalog.redb");
                *store = Some(EmbeddedStore::open(&path).unwrap());
            }
        }
    }
}

/// Runs a test once per adapter, naming the adapter when it fails.
pub(super) async fn each(test: impl AsyncFn(&mut World)) {
    for mut world in [World::embedded(), World::redis().await] {
        eprintln!("adapter: {}", world.adapter);
        test(&mut world).await;
    }
}
