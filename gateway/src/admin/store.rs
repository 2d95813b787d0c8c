//! Tasks on the catalog in Redis: fill it from files, back it up, restore it. Reads and checks everything before it changes anything.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};

use catalog::draft::Problems;
use catalog::redis::OpenError;
use catalog::store::{Change, StoreCatalog};
use catalog::transfer::{
    Import, additions, apply_all, read_backup, read_m3u, read_pipe, replacement, write_backup,
};
use catalog::{Catalog, Row};
use presence::redis::RedisSettings;
use runtime::exit::ProcessError;

/// Bytes of a list or a backup at most.
const INPUT_MAXIMUM: u64 = 1024 * 1024 * 1024;

/// Which catalog: the variables are those of a gateway, so in its pod nothing has to be said.
#[derive(Debug, clap::Args)]
pub struct StoreSettings {
    /// Redis.
    #[command(flatten)]
    pub redis: RedisSettings,
    /// Namespace of the release.
    #[arg(long, env = "HEADEND_NAMESPACE")]
    pub namespace: String,
    /// The release.
    #[arg(long, env = "HEADEND_INSTANCE")]
    pub instance: String,
}

#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error("failed to read {path:?}: {reason}")]
    Read { path: PathBuf, reason: String },
    #[error("failed to read the backup: it is longer than {INPUT_MAXIMUM} bytes")]
    TooLong,
    #[error("failed to restore the catalog, and nothing is changed: {0}")]
    Problems(Problems),
}

impl StoreSettings {
    fn open(&self) -> Result<(tokio::runtime::Runtime, StoreCatalog), ProcessError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let prefix = format!("{}/{}", self.namespace, self.instance);
        let opened = runtime.block_on(catalog::redis::open(&self.redis, &prefix));
        match opened {
            Ok(catalog) => Ok((runtime, catalog)),
            Err(OpenError::Settings(error)) => Err(ProcessError::input(error)),
            Err(OpenError::Store(error)) => Err(error.into()),
        }
    }

    fn change(
        &self,
        changes: impl FnOnce(&StoreCatalog) -> Vec<Change>,
        output: &mut impl Write,
    ) -> Result<(), ProcessError> {
        let (runtime, catalog) = self.open()?;
        let changes = changes(&catalog);
        let changed = runtime.block_on(apply_all(&catalog, changes))?;
        let snapshot = catalog.snapshot();
        let (channels, users) = (snapshot.channel_count(), snapshot.user_count());
        writeln!(
            output,
            "{changed} rows changed: {channels} channels, {users} users"
        )?;
        Ok(())
    }
}

pub(super) fn import(
    settings: &StoreSettings,
    files: &[PathBuf],
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    // Of rows with one key the last one counts.
    let mut rows = BTreeMap::new();
    for path in files {
        let Import {
            rows: read,
            problems,
        } = read_file(path)?;
        for problem in &problems.kept {
            writeln!(output, "warning: {problem}")?;
        }
        if problems.left_out > 0 {
            writeln!(output, "warning: and {} more", problems.left_out)?;
        }
        rows.extend(read.into_iter().map(|row| (row.key(), row)));
    }
    let rows: Vec<Row> = rows.into_values().collect();
    let changes = |catalog: &StoreCatalog| additions(&catalog.snapshot(), rows);
    settings.change(changes, output)
}

fn read_file(path: &Path) -> Result<Import, ProcessError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let read = match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
        "m3u" | "m3u8" => read_m3u,
        "txt" => read_pipe,
        _ => {
            let loaded = catalog::files::load(&[path.to_owned()]);
            let (snapshot, problems) = loaded.map_err(ProcessError::input)?;
            let rows = snapshot.rows().collect();
            return Ok(Import { rows, problems });
        }
    };
    let bytes = std::fs::read(path).map_err(|error| {
        ProcessError::input(TransferError::Read {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    })?;
    Ok(read(&path.display().to_string(), &bytes))
}

pub(super) fn backup(
    settings: &StoreSettings,
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    let (_runtime, catalog) = settings.open()?;
    let mut output = std::io::BufWriter::new(output);
    write_backup(&catalog.snapshot(), &mut output)?;
    output.flush()?;
    Ok(())
}

pub(super) fn restore(
    settings: &StoreSettings,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<(), ProcessError> {
    let mut bytes = Vec::new();
    input.take(INPUT_MAXIMUM + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > INPUT_MAXIMUM {
        return Err(ProcessError::input(TransferError::TooLong));
    }
    let Import { rows, problems } = read_backup("standard input", &bytes);
    if !problems.is_empty() {
        return Err(ProcessError::input(TransferError::Problems(problems)));
    }
    let changes = |catalog: &StoreCatalog| replacement(&catalog.snapshot(), rows);
    settings.change(changes, output)
}
