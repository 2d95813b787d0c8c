//! Files that change while the catalog is in use.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use catalog::files::FilesCatalog;
use catalog::{Allowed, Catalog, User, UserToken};
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::{key, one_channel, write};

const SOON: Duration = Duration::from_secs(60);

struct Followed {
    catalog: Arc<FilesCatalog>,
    versions: watch::Receiver<u64>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn follow(directory: &Path) -> Followed {
    start(FilesCatalog::open(vec![directory.to_owned()]).unwrap())
}

fn start(catalog: FilesCatalog) -> Followed {
    let catalog = Arc::new(catalog);
    let versions = catalog.versions();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let task = tokio::spawn(catalog.clone().follow(shutdown));
    Followed {
        catalog,
        versions,
        stop,
        task,
    }
}

impl Followed {
    async fn next(&mut self) {
        tokio::time::timeout(SOON, self.versions.changed())
            .await
            .unwrap()
            .unwrap();
    }

    fn slugs(&self) -> Vec<String> {
        let snapshot = self.catalog.snapshot();
        let slugs = snapshot.channels().map(|channel| channel.slug.clone());
        slugs.collect()
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_changed_file_replaces_the_snapshot_and_readers_keep_theirs() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "channels.yaml", &one_channel("One"));
    let mut followed = follow(directory.path());
    let before = followed.catalog.snapshot();
    write(directory.path(), "more.yaml", &one_channel("Two"));
    followed.next().await;
    assert_eq!(followed.slugs(), ["one", "two"]);
    assert_eq!(before.channel_count(), 1);
    std::fs::remove_file(directory.path().join("channels.yaml")).unwrap();
    followed.next().await;
    assert_eq!(followed.slugs(), ["two"]);
    followed.end().await;
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_snapshot_until_it_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "channels.yaml", &one_channel("One"));
    let mut followed = follow(directory.path());
    write(directory.path(), "channels.yaml", "channels: [\n");
    write(directory.path(), "zz.yaml", "channels: {}\n");
    let early = tokio::time::timeout(Duration::from_millis(500), followed.versions.changed()).await;
    assert!(early.is_err(), "a bad file is no new version");
    assert_eq!(followed.slugs(), ["one"]);
    std::fs::remove_file(directory.path().join("zz.yaml")).unwrap();
    write(directory.path(), "channels.yaml", &one_channel("Mended"));
    followed.next().await;
    assert_eq!(followed.slugs(), ["mended"]);
    followed.end().await;
}

/// What the kubelet does: the files are links through `..data`, which is replaced as a whole.
fn mount(directory: &Path, version: &str, text: &str) {
    let data = format!("..{version}");
    std::fs::create_dir(directory.join(&data)).unwrap();
    write(&directory.join(&data), "channels.yaml", text);
    symlink(&data, directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
}

#[tokio::test]
async fn a_mounted_config_map_is_reloaded_when_its_links_are_swapped() {
    let directory = tempfile::tempdir().unwrap();
    mount(directory.path(), "2026_01", &one_channel("One"));
    symlink(
        "..data/channels.yaml",
        directory.path().join("channels.yaml"),
    )
    .unwrap();
    let mut followed = follow(directory.path());
    assert_eq!(followed.slugs(), ["one"]);
    mount(directory.path(), "2026_02", &one_channel("Two"));
    std::fs::remove_dir_all(directory.path().join("..2026_01")).unwrap();
    followed.next().await;
    assert_eq!(followed.slugs(), ["two"]);
    followed.end().await;
}

#[tokio::test]
async fn users_of_the_process_itself_survive_every_reload() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "channels.yaml", &one_channel("One"));
    let guest = User {
        id: "guest".to_owned(),
        name: "guest".to_owned(),
        tokens: vec![UserToken::of_hash(key().hash(b"generated"))],
        channels: Allowed::All,
        ..User::default()
    };
    let paths = vec![directory.path().to_owned()];
    let mut followed = start(FilesCatalog::open_with(paths, vec![guest.clone()]).unwrap());
    for name in ["Two", "Three"] {
        let user = followed
            .catalog
            .snapshot()
            .authenticate(&key(), "generated", Timestamp::now())
            .map(|(user, _)| user.clone());
        assert_eq!(user.as_deref(), Some(&guest));
        write(directory.path(), "channels.yaml", &one_channel(name));
        followed.next().await;
    }
    followed.end().await;
}
