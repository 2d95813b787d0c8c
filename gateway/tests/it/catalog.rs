//! The catalog in Redis by hand: filled from files, backed up, restored.

use std::path::PathBuf;

use catalog::{Catalog, TokenKey};
use gateway::admin::{Command, StoreSettings, run};
use redis_support::testing::RedisServer;

fn store(server: &RedisServer) -> StoreSettings {
    StoreSettings {
        redis: server.settings(),
        namespace: "tv".to_owned(),
        instance: "tv-one".to_owned(),
    }
}

/// Carries a command out as the process does, away from the test's own runtime.
async fn outcome(command: Command, input: &str) -> Result<String, String> {
    let input = input.to_owned();
    let task = tokio::task::spawn_blocking(move || {
        let mut output = Vec::new();
        run(&command, &mut input.as_bytes(), &mut output).map_err(|error| error.message())?;
        Ok(String::from_utf8(output).unwrap())
    });
    task.await.unwrap()
}

async fn slugs(server: &RedisServer) -> Vec<String> {
    let catalog = catalog::redis::open(&server.settings(), "tv/tv-one").await;
    let snapshot = catalog.unwrap().snapshot();
    snapshot.channels().map(|one| one.slug.clone()).collect()
}

#[tokio::test]
async fn files_fill_the_catalog_and_a_backup_brings_it_back() {
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let hash = TokenKey::new(&[3; 32]).unwrap().hash(b"alice-token");
    let users = format!("users: [{{ name: alice, tokenHash: '{hash}', channels: all }}]\n");
    let files = vec![
        file("users.yaml", &users),
        file("a.m3u", "#EXTM3U\n#EXTINF:-1,News\nhttp://a.example/1\n"),
        file("b.txt", "sport|Sport|http://a.example/2\nbroken\n"),
    ];
    let import = |files: &[PathBuf]| Command::ImportCatalog {
        store: store(&server),
        files: files.to_vec(),
    };
    let said = outcome(import(&files), "").await.unwrap();
    assert!(
        said.contains("b.txt:2: the row has no id")
            && said.ends_with("3 rows changed: 2 channels, 1 users\n"),
        "{said}"
    );
    let again = outcome(import(&files), "").await.unwrap();
    assert!(
        again.ends_with("0 rows changed: 2 channels, 1 users\n"),
        "{again}"
    );

    let backup = Command::BackupCatalog {
        store: store(&server),
    };
    let backup = outcome(backup, "").await.unwrap();
    assert!(!backup.contains("alice-token"));
    let more = file(
        "c.txt",
        "film|Film|http://a.example/3\nnews|Other|http://a.example/4\n",
    );
    outcome(import(&[more]), "").await.unwrap();
    assert_eq!(slugs(&server).await.len(), 3);

    let restore = || Command::RestoreCatalog {
        store: store(&server),
    };
    let broken = format!("{backup}{{\n");
    let error = outcome(restore(), &broken).await.unwrap_err();
    assert!(
        error.contains("nothing is changed: standard input:5: "),
        "{error}"
    );
    assert_eq!(slugs(&server).await.len(), 3);
    let said = outcome(restore(), &backup).await.unwrap();
    assert!(said.contains("rows changed: 2 channels, 1 users"), "{said}");
    assert_eq!(slugs(&server).await.len(), 2);
    let backed_up = Command::BackupCatalog {
        store: store(&server),
    };
    assert_eq!(outcome(backed_up, "").await.unwrap(), backup);
}
