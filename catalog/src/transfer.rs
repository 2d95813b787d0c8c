//! Rows in and out of a catalog: channel lists (M3U and rows of fields between bars), and backups of everything. What is wrong with a row is
//! named by its line and costs that row only. A backup has hashes of tokens, and addresses of sources as they are: keep it like the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use iptv::m3u::{self, Entry, Limits};
use iptv::pipe;

use crate::draft::{Draft, Place, Problems};
use crate::files::playlist;
use crate::model::{Channel, ChannelSource, SourceAddress};
use crate::row::Row;
use crate::slug;
use crate::snapshot::Snapshot;
use crate::store::{BATCH_MAXIMUM, CatalogStore, Change, ROW_BYTES_MAXIMUM, StoreError};

/// Begins a backup.
const BACKUP: &str = r#"{"headend":"catalog backup","version":1}"#;

/// Sources of a channel; the best ones stay.
const SOURCES_MAXIMUM: usize = 16;

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// The rows, each of them checked.
    pub rows: Vec<Row>,
    /// What was left out, and why, by line.
    pub problems: Problems,
}

/// Reads an M3U list, `name` being what problems call it.
#[must_use]
pub fn read_m3u(name: &str, bytes: &[u8]) -> Import {
    let mut draft = Draft::default();
    playlist::add(&mut draft, name, bytes);
    draft.into_import()
}

/// Reads a list of [`iptv::pipe`]: an id that can be a slug is the channel's; sources of one id are ordered by quality, the best first.
#[must_use]
pub fn read_pipe(name: &str, bytes: &[u8]) -> Import {
    let place = |line: usize| Place {
        file: name.to_owned(),
        line,
    };
    let mut draft = Draft::default();
    let list = pipe::parse(bytes, Limits::default());
    for problem in list.problems {
        draft.warning(&place(problem.line), problem.fault.to_string());
    }
    draft.leave_out_warnings(list.problems_left_out);
    let mut order = BTreeMap::new();
    let mut channels: Vec<Vec<pipe::Row>> = Vec::new();
    for row in list.rows {
        let known = order.entry(row.id.clone()).or_insert_with(|| {
            channels.push(Vec::new());
            channels.len() - 1
        });
        if let Some(rows) = channels.get_mut(*known) {
            rows.push(row);
        }
    }
    for (index, mut rows) in channels.into_iter().enumerate() {
        let Some(first) = rows.first().cloned() else {
            continue;
        };
        rows.sort_by_key(|row| {
            let lines = row.quality.as_deref().map_or(0, pipe::lines_of);
            std::cmp::Reverse(lines)
        });
        if rows.len() > SOURCES_MAXIMUM {
            let fault = format!(
                "only the best {SOURCES_MAXIMUM} sources of {:?} stay",
                first.id
            );
            draft.warning(&place(first.line), fault);
            rows.truncate(SOURCES_MAXIMUM);
        }
        let at = place(first.line);
        let group = first.category.clone().zip(first.category_order);
        let order = first.order;
        let mut channel = channel(first, rows);
        playlist::leave_out_what_does_not_fit(&mut draft, &mut channel, &at);
        channel.order = order.unwrap_or_else(|| u32::try_from(index).unwrap_or(u32::MAX));
        draft.add_channel_in_place(channel, &at);
        if let Some((id, order)) = group {
            draft.order_group(&id, order);
        }
    }
    draft.into_import()
}

fn channel(first: pipe::Row, rows: Vec<pipe::Row>) -> Channel {
    let slug = if api::names::is_slug(&first.id) {
        first.id
    } else {
        slug::derive(&first.id, Some(&first.name))
    };
    let source = |row: pipe::Row| ChannelSource {
        quality: row.quality,
        ..ChannelSource::at(row.url)
    };
    Channel {
        slug,
        name: first.name,
        group: first.category,
        logo: first.logo,
        sources: rows.into_iter().map(source).collect(),
        ..Channel::default()
    }
}

/// Writes the channels as an M3U list, with the first address of each; channels of Providers alone have none and are left out.
///
/// # Errors
/// Those of `out`.
pub fn write_m3u(snapshot: &Snapshot, out: &mut impl fmt::Write) -> fmt::Result {
    m3u::write_header(out, None)?;
    for channel in snapshot.channels() {
        let mut sources = channel.sources.iter();
        let Some((source, url)) = sources.find_map(with_url) else {
            continue;
        };
        let mut attributes = BTreeMap::from([("headend-slug".to_owned(), channel.slug.clone())]);
        if let Some(class) = &channel.class {
            attributes.insert("headend-class".to_owned(), class.clone());
        }
        let entry = Entry {
            name: channel.name.clone(),
            guide_id: channel.guide_id.clone(),
            logo: channel.logo.clone(),
            number: channel.number.clone(),
            groups: group_name(snapshot, channel).into_iter().collect(),
            radio: channel.radio,
            user_agent: source.user_agent.clone(),
            headers: source.headers.clone(),
            url: url.to_owned(),
            attributes,
            ..Entry::default()
        };
        m3u::write_entry(out, &entry)?;
    }
    Ok(())
}

/// Writes the channels as a list of [`iptv::pipe`], one row for each source with an address.
///
/// # Errors
/// Those of `out`.
pub fn write_pipe(snapshot: &Snapshot, out: &mut impl fmt::Write) -> fmt::Result {
    for channel in snapshot.channels() {
        let group = channel.group.as_ref().and_then(|id| snapshot.group(id));
        for (source, url) in channel.sources.iter().filter_map(with_url) {
            let row = pipe::Row {
                line: 0,
                id: channel.slug.clone(),
                name: channel.name.clone(),
                url: url.to_owned(),
                logo: channel.logo.clone(),
                category: group_name(snapshot, channel),
                quality: source.quality.clone(),
                order: Some(channel.order),
                category_order: group.map(|group| group.order),
            };
            pipe::write_row(out, &row)?;
        }
    }
    Ok(())
}

fn with_url(source: &ChannelSource) -> Option<(&ChannelSource, &str)> {
    match &source.address {
        SourceAddress::Url(url) => Some((source, url)),
        SourceAddress::Provider(_) => None,
    }
}

fn group_name(snapshot: &Snapshot, channel: &Channel) -> Option<String> {
    let id = channel.group.as_ref()?;
    let group = snapshot.group(id);
    Some(group.map_or_else(|| id.clone(), |group| group.name.clone()))
}

/// Writes every row of a catalog, one a line.
///
/// # Errors
/// Those of `out`.
pub fn write_backup(snapshot: &Snapshot, out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "{BACKUP}")?;
    for row in snapshot.rows() {
        serde_json::to_writer(&mut *out, &row)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Reads a backup, `name` being what problems call it.
#[must_use]
pub fn read_backup(name: &str, bytes: &[u8]) -> Import {
    let mut import = Import::default();
    let place = |index: usize| Place {
        file: name.to_owned(),
        line: index + 1,
    };
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let first = lines.next().map_or(&[][..], |(_, line)| line);
    if first.trim_ascii_end() != BACKUP.as_bytes() {
        let fault = "this is no backup of a catalog that this version can read";
        import.problems.push(&place(0), fault.to_owned());
        return import;
    }
    let mut seen = BTreeSet::new();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        match backup_row(line) {
            Ok(row) if seen.insert(row.key()) => import.rows.push(row),
            Ok(row) => {
                let fault = format!("{} is there already", row.key());
                import.problems.push(&place(index), fault);
            }
            Err(fault) => import.problems.push(&place(index), fault),
        }
    }
    import
}

fn backup_row(line: &[u8]) -> Result<Row, String> {
    if line.len() > ROW_BYTES_MAXIMUM {
        return Err(format!("the row has more than {ROW_BYTES_MAXIMUM} bytes"));
    }
    let row: Row = serde_json::from_slice(line)
        .map_err(|error| format!("the row cannot be read (column {})", error.column()))?;
    match crate::check::row(&row) {
        None => Ok(row),
        Some(fault) => Err(format!("{}: {}", row.key(), fault.what)),
    }
}

/// What makes a catalog have these rows, whatever else it has.
#[must_use]
pub fn additions(snapshot: &Snapshot, rows: Vec<Row>) -> Vec<Change> {
    let differs = |row: &Row| snapshot.row(&row.key()).as_ref() != Some(row);
    rows.into_iter().filter(differs).map(Change::put).collect()
}

/// What makes a catalog have these rows and no others.
#[must_use]
pub fn replacement(snapshot: &Snapshot, rows: Vec<Row>) -> Vec<Change> {
    let stay: BTreeSet<_> = rows.iter().map(Row::key).collect();
    let keys = snapshot.rows().map(|row| row.key());
    // First, so that names and tokens of those who go are free.
    let mut changes: Vec<Change> = keys
        .filter(|key| !stay.contains(key))
        .map(Change::remove)
        .collect();
    changes.extend(additions(snapshot, rows));
    changes
}

/// Applies any number of changes, in as many batches as it takes; each of them whole, not all of them together. Answers how many there were.
///
/// # Errors
/// The first batch's that could not be applied; those before it are.
pub async fn apply_all(
    store: &impl CatalogStore,
    changes: Vec<Change>,
) -> Result<usize, StoreError> {
    apply_telling(store, changes, |_| {}).await
}

/// The same, telling after each batch how many changes are applied by then.
///
/// # Errors
/// The first batch's that could not be applied; those before it are.
pub async fn apply_telling(
    store: &(impl CatalogStore + ?Sized),
    changes: Vec<Change>,
    tell: impl Fn(usize),
) -> Result<usize, StoreError> {
    let count = changes.len();
    let mut waiting: Vec<Vec<Change>> = changes.chunks(BATCH_MAXIMUM).map(<[_]>::to_vec).collect();
    waiting.reverse();
    let mut applied = 0;
    while let Some(batch) = waiting.pop() {
        match store.apply(batch.clone()).await {
            Err(StoreError::BatchTooLarge) if batch.len() > 1 => {
                let (first, second) = batch.split_at(batch.len() / 2);
                waiting.push(second.to_vec());
                waiting.push(first.to_vec());
            }
            outcome => {
                outcome?;
                applied += batch.len();
                tell(applied);
            }
        }
    }
    Ok(count)
}
