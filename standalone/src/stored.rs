//! A catalog in a file of its own, for those who change it by the admin API. It is filled from lists and files once, when it is new, and never
//! takes anything over from them later.

use std::path::{Path, PathBuf};

use catalog::embedded::EmbeddedStore;
use catalog::store::StoreCatalog;
use catalog::transfer::{additions, apply_all};
use catalog::{Catalog, Row};
use runtime::exit::ProcessError;

use crate::guest::Guest;
use crate::settings::ChannelSettings;
use crate::sources::Playlist;

/// Opens the catalog, or makes it. The guest is a user of it, with the token of this start.
pub(crate) async fn open(
    file: &Path,
    settings: &ChannelSettings,
    directory: &Path,
    guest: Option<&Guest>,
) -> Result<StoreCatalog, ProcessError> {
    let store = EmbeddedStore::open(file).map_err(ProcessError::input)?;
    let catalog = store.catalog().await?;
    let snapshot = catalog.snapshot();
    if snapshot.rows().next().is_none() {
        let rows = listed(settings, directory).await?;
        apply_all(&catalog, additions(&snapshot, rows)).await?;
    }
    let guest = guest.map(|guest| Row::User(guest.user.clone()));
    let changes = additions(&catalog.snapshot(), guest.into_iter().collect());
    apply_all(&catalog, changes).await?;
    Ok(catalog)
}

/// What lists and files say now.
async fn listed(settings: &ChannelSettings, directory: &Path) -> Result<Vec<Row>, ProcessError> {
    let mut paths: Vec<PathBuf> = settings.catalog.clone();
    if let Some(playlist) = &settings.playlist {
        let playlist = Playlist::parse(playlist, directory);
        paths.push(playlist.file().to_owned());
        if let Playlist::Web(list) = playlist {
            list.fetch().await.map_err(ProcessError::input)?;
        }
    }
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let (snapshot, warnings) = catalog::files::load(&paths).map_err(ProcessError::input)?;
    if !warnings.is_empty() {
        tracing::warn!(%warnings, "rows of the catalog are left out or doubtful");
    }
    Ok(snapshot.rows().collect())
}
