//! The catalog in files: YAML with `channels:` and `users:`, and M3U lists, as mounted from a ConfigMap and a Secret.
//! Never writes one, and never gives up a good catalog for a bad file.

pub(crate) mod playlist;
mod read;
mod watch;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use arc_swap::ArcSwap;
use tokio::sync::watch as channel;

use crate::draft::{Draft, Place, Problems};
use crate::{Catalog, Snapshot, User};
use read::Stamp;

/// The catalog of some files and directories, reloaded when they change.
pub struct FilesCatalog {
    paths: Vec<PathBuf>,
    own_users: Vec<User>,
    current: ArcSwap<Snapshot>,
    versions: channel::Sender<u64>,
    seen: Mutex<Stamp>,
}

/// Why there is no catalog.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No path was given.
    #[error("failed to load the catalog: no file or directory is named")]
    NoPath,
    /// A file or directory cannot be read.
    #[error("failed to read {path:?} of the catalog: {reason}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// What the files say is wrong.
    #[error("failed to load the catalog: {0}")]
    Problems(Problems),
}

/// Reads the files once: the catalog, and what is doubtful about it.
///
/// # Errors
/// When a file cannot be read, or what it says is wrong.
pub fn load(paths: &[PathBuf]) -> Result<(Snapshot, Problems), LoadError> {
    load_into(Draft::default(), paths)
}

fn load_into(mut draft: Draft, paths: &[PathBuf]) -> Result<(Snapshot, Problems), LoadError> {
    if paths.is_empty() {
        return Err(LoadError::NoPath);
    }
    for path in read::files(paths)? {
        let text = read::bounded(&path)?;
        let name = path.display().to_string();
        match read::Format::of(&path) {
            Some(read::Format::Yaml) => yaml::add(&mut draft, &name, &text),
            Some(read::Format::Playlist) => playlist::add(&mut draft, &name, &text),
            None => {
                let reason = "it is neither .yaml, .yml, .m3u nor .m3u8".to_owned();
                return Err(LoadError::Read { path, reason });
            }
        }
    }
    draft.finish().map_err(LoadError::Problems)
}

impl FilesCatalog {
    /// Loads the catalog of files and of the directories' files (`.yaml`, `.yml`, `.m3u`, `.m3u8`; others and hidden ones are left out).
    ///
    /// # Errors
    /// When a file cannot be read, or what it says is wrong: then there is no last good catalog to keep.
    pub fn open(paths: Vec<PathBuf>) -> Result<Self, LoadError> {
        Self::open_with(paths, Vec::new())
    }

    /// Like [`FilesCatalog::open`], with users that are in no file: whoever starts the process has them by another way.
    ///
    /// # Errors
    /// Like [`FilesCatalog::open`].
    pub fn open_with(paths: Vec<PathBuf>, own_users: Vec<User>) -> Result<Self, LoadError> {
        let seen = Mutex::new(Stamp::of(&paths));
        let (snapshot, warnings) = load_into(draft_of(&own_users), &paths)?;
        report(&snapshot, &warnings);
        Ok(Self {
            paths,
            own_users,
            current: ArcSwap::from_pointee(snapshot),
            versions: channel::Sender::new(0),
            seen,
        })
    }

    /// Reloads the catalog whenever a file changes, until `shutdown` resolves. A file that is wrong is said once and changes nothing.
    pub async fn follow(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = watch::follow(self) => {}
        }
    }

    fn directories(&self) -> Vec<&Path> {
        let (directories, files): (Vec<_>, Vec<_>) =
            self.paths.iter().partition(|path| path.is_dir());
        let around = files.into_iter().filter_map(|path| path.parent());
        directories
            .into_iter()
            .map(PathBuf::as_path)
            .chain(around)
            .collect()
    }

    /// Loads anew if the files are not what they were.
    fn refresh(&self) {
        let stamp = Stamp::of(&self.paths);
        {
            let mut seen = self.seen.lock().unwrap_or_else(|error| error.into_inner());
            if *seen == stamp {
                return;
            }
            *seen = stamp;
        }
        match load_into(draft_of(&self.own_users), &self.paths) {
            Ok((snapshot, warnings)) => {
                report(&snapshot, &warnings);
                self.current.store(Arc::new(snapshot));
                self.versions.send_modify(|version| *version += 1);
            }
            Err(error) => tracing::error!(%error, "keeping the last good catalog"),
        }
    }
}

impl Catalog for FilesCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    fn versions(&self) -> channel::Receiver<u64> {
        self.versions.subscribe()
    }
}

fn draft_of(own_users: &[User]) -> Draft {
    let place = Place {
        file: "settings".to_owned(),
        line: 1,
    };
    let mut draft = Draft::default();
    for user in own_users {
        draft.add_user(user.clone(), &place);
    }
    draft
}

fn report(snapshot: &Snapshot, warnings: &Problems) {
    let (channels, users) = (snapshot.channel_count(), snapshot.user_count());
    tracing::info!(channels, users, "catalog loaded");
    if !warnings.is_empty() {
        tracing::warn!(%warnings, "rows of the catalog are left out or doubtful");
    }
}
