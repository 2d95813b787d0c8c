//! The admin API through the router that viewers meet too, on a real embedded store.

mod catalog_rows;
mod commands;
mod description;
mod doors;
mod imports;
mod sessions;
mod streams;
mod users;

use std::sync::Arc;

use axum::body::Body;
use catalog::embedded::EmbeddedStore;
use catalog::store::StoreCatalog;
use catalog::{Catalog, TokenKey};
use gateway::administrators::Administrators;
use http::Request;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::world::{Answer, Replica, World};

/// The key of the test's gateways.
fn key() -> TokenKey {
    TokenKey::new(&[3; 32]).unwrap()
}

/// `root` may do everything; `ops` is an operator, `desk` is of the support. The token of each is `<name>-token`.
fn administrators() -> Administrators {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("administrators.yaml");
    let row = |(name, role): (&str, &str)| {
        let hash = key().hash(format!("{name}-token").as_bytes());
        format!("  - {{ name: {name}, role: {role}, tokenHash: '{hash}' }}\n")
    };
    let rows = [("root", "admin"), ("ops", "operator"), ("desk", "support")].map(row);
    std::fs::write(&path, format!("administrators:\n{}", rows.concat())).unwrap();
    Administrators::open(path, key()).unwrap()
}

/// A request with a JSON body, if there is one.
fn request(
    method: &str,
    uri: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let Some(body) = body else {
        return request.body(Body::empty()).unwrap();
    };
    let request = request.header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

/// A gateway with a catalog in a file.
struct Api {
    world: World,
    _folder: TempDir,
    replica: Replica,
    store: Arc<StoreCatalog>,
}

impl Api {
    async fn start() -> Self {
        let world = World::start().await;
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("catalog.redb")).unwrap();
        let store = Arc::new(store.catalog().await.unwrap());
        Self {
            replica: world.replica_on(store.clone(), administrators()),
            world,
            _folder: folder,
            store,
        }
    }

    /// As root.
    async fn ask(&self, method: &str, uri: &str, body: Option<&Value>) -> Answer {
        self.ask_with(method, uri, &[], body).await
    }

    async fn ask_with(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let request = request(method, uri, "root-token", headers, body);
        self.replica.send(request).await
    }

    async fn ask_as(&self, token: &str, method: &str, uri: &str, body: Option<&Value>) -> Answer {
        let request = request(method, uri, token, &[], body);
        self.replica.send(request).await
    }

    /// What is there, as root.
    async fn get(&self, uri: &str) -> Value {
        let answer = self.ask("GET", uri, None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        json(&answer)
    }

    fn slugs(&self) -> Vec<String> {
        let snapshot = self.store.snapshot();
        snapshot.channels().map(|one| one.slug.clone()).collect()
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

/// It is refused with that status and that word.
fn refused(answer: &Answer, status: u16, code: &str) {
    let body = json(answer);
    assert_eq!(
        (answer.status, body["code"].as_str()),
        (status, Some(code)),
        "{body}"
    );
}
