//! A process that is killed while it writes to a file.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use catalog::Catalog;
use catalog::embedded::EmbeddedStore;
use catalog::store::CatalogStore;

use super::put_group;

/// Names the file for the process that writes.
const FILE: &str = "HEADEND_TEST_CATALOG_FILE";
const WRITER: &str = "store::crash::writes_until_it_is_killed";

/// Each batch writes one number in two rows; it is told once it is acknowledged.
#[tokio::test]
#[ignore = "run by the test that kills it"]
async fn writes_until_it_is_killed() {
    let file = std::env::var_os(FILE).unwrap();
    let store = EmbeddedStore::open(Path::new(&file)).unwrap();
    let catalog = store.catalog().await.unwrap();
    let mut number = catalog
        .snapshot()
        .group("left")
        .map_or(0, |group| group.order);
    loop {
        number += 1;
        let both = vec![put_group("left", number), put_group("right", number)];
        catalog.apply(both).await.unwrap();
        println!("acknowledged {number}");
    }
}

fn writer(file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", WRITER, "--ignored", "--nocapture"])
        .env(FILE, file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for the first acknowledged number, kills, and answers the last one.
fn kill_while_writing(file: &Path, delay: Duration) -> u32 {
    let mut child = writer(file);
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut last = None;
    let mut killed = false;
    for line in output.lines() {
        let Some(number) = line
            .unwrap()
            .split("acknowledged ")
            .nth(1)
            .map(str::to_owned)
        else {
            continue;
        };
        last = Some(number.parse().unwrap());
        if !killed {
            std::thread::sleep(delay);
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    last.unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_of_the_process_in_the_middle_of_writes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalog.redb");
    let mut before = 0;
    for round in 0..5 {
        let delay = Duration::from_millis(20 + 31 * round);
        let path = file.clone();
        let killed = tokio::task::spawn_blocking(move || kill_while_writing(&path, delay));
        let acknowledged = killed.await.unwrap();
        let store = EmbeddedStore::open(&file).unwrap();
        let snapshot = store.catalog().await.unwrap().snapshot();
        let order = |id: &str| snapshot.group(id).unwrap().order;
        assert_eq!(order("left"), order("right"));
        assert!(acknowledged > before);
        // The last one may have been written without being told.
        assert!((acknowledged..=acknowledged + 1).contains(&order("left")));
        before = order("left");
    }
}

#[tokio::test]
async fn a_file_is_its_owner_s_and_one_process_s() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalog.redb");
    let store = EmbeddedStore::open(&file).unwrap();
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = EmbeddedStore::open(&file).map(|_| ()).unwrap_err();
    assert!(second.to_string().contains("catalog.redb"), "{second}");
    drop(store);
    EmbeddedStore::open(&file).unwrap();
    let other = directory.path().join("other");
    std::fs::write(&other, "channels: []\n").unwrap();
    assert!(EmbeddedStore::open(&other).is_err());
}
