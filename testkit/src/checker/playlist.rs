//! A strict reader of HLS playlists. Keeps what the rules are about; judges nothing but syntax.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// A playlist of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Playlist {
    Master(MasterPlaylist),
    Media(MediaPlaylist),
}

/// The list of renditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MasterPlaylist {
    pub(crate) variants: Vec<Variant>,
}

/// One rendition as the master describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) uri: String,
    /// Attribute values without their quotes.
    pub(crate) attributes: BTreeMap<String, String>,
}

/// One version of a media playlist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MediaPlaylist {
    pub(crate) version: Option<u32>,
    /// Whole seconds.
    pub(crate) target: u32,
    pub(crate) sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) independent: bool,
    pub(crate) kind: Option<String>,
    pub(crate) ended: bool,
    /// An EXTINF had a decimal point.
    pub(crate) decimals: bool,
    pub(crate) segments: Vec<Segment>,
}

/// One listed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) uri: String,
    /// EXTINF in microseconds.
    pub(crate) duration: i64,
    pub(crate) discontinuity: bool,
    /// PROGRAM-DATE-TIME in microseconds since 1970.
    pub(crate) date: Option<i64>,
    /// The date was not written as RFC 3339 wants it.
    pub(crate) odd_date: bool,
    pub(crate) gap: bool,
}

impl MediaPlaylist {
    /// Sum of all EXTINF in microseconds.
    pub(crate) fn duration(&self) -> i64 {
        self.segments.iter().map(|segment| segment.duration).sum()
    }

    /// Number behind the last listed segment.
    pub(crate) fn end(&self) -> u64 {
        self.sequence + self.segments.len() as u64
    }
}

/// Reads a playlist; the error says what is wrong in which line.
pub(crate) fn parse(text: &str) -> Result<Playlist, String> {
    let mut lines = text.lines().map(str::trim_end).enumerate();
    match lines.next() {
        Some((_, "#EXTM3U")) => {}
        first => return Err(format!("first line is {:?}", first.map(|(_, line)| line))),
    }
    let lines = lines.filter(|(_, line)| !line.is_empty());
    if text.contains("#EXT-X-STREAM-INF:") {
        master(lines).map(Playlist::Master)
    } else {
        media(lines).map(Playlist::Media)
    }
}

fn master<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<MasterPlaylist, String> {
    let mut variants = Vec::new();
    let mut attributes = None;
    for (index, line) in lines {
        if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            attributes =
                Some(attribute_list(list).ok_or(format!("bad attributes in line {}", index + 1))?);
        } else if !line.starts_with('#') {
            let attributes = attributes.take();
            variants.push(Variant {
                uri: line.to_owned(),
                attributes: attributes
                    .ok_or(format!("URI without STREAM-INF in line {}", index + 1))?,
            });
        }
    }
    match attributes {
        Some(_) => Err("STREAM-INF without a URI at the end".to_owned()),
        None => Ok(MasterPlaylist { variants }),
    }
}

fn attribute_list(text: &str) -> Option<BTreeMap<String, String>> {
    let mut attributes = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=')?;
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => {
                let (value, tail) = quoted.split_once('"')?;
                (
                    value,
                    tail.strip_prefix(',').or(tail.is_empty().then_some(""))?,
                )
            }
            None => tail.split_once(',').unwrap_or((tail, "")),
        };
        if attributes
            .insert(name.trim().to_owned(), value.to_owned())
            .is_some()
        {
            return None;
        }
        rest = tail;
    }
    Some(attributes)
}

/// What stands before a segment's URI.
#[derive(Default)]
struct Pending {
    duration: Option<i64>,
    discontinuity: bool,
    date: Option<i64>,
    odd_date: bool,
    gap: bool,
}

fn media<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<MediaPlaylist, String> {
    let mut playlist = MediaPlaylist::default();
    let mut pending = Pending::default();
    let mut once: BTreeMap<&str, u32> = BTreeMap::new();
    for (index, line) in lines {
        let done = match line.split_once(':').unwrap_or((line, "")) {
            (tag, value) if line.starts_with("#EXT") => {
                *once.entry(tag).or_default() += 1;
                tagged(&mut playlist, &mut pending, tag, value)
            }
            _ if line.starts_with('#') => Some(()),
            _ => listed(&mut playlist, &std::mem::take(&mut pending), line),
        };
        done.ok_or_else(|| format!("line {} is not understood: {line:?}", index + 1))?;
    }
    for tag in [
        "#EXT-X-VERSION",
        "#EXT-X-TARGETDURATION",
        "#EXT-X-MEDIA-SEQUENCE",
        "#EXT-X-DISCONTINUITY-SEQUENCE",
    ] {
        if once.get(tag).is_some_and(|count| *count > 1) {
            return Err(format!("{tag} stands more than once"));
        }
    }
    match once.get("#EXT-X-TARGETDURATION") {
        Some(_) => Ok(playlist),
        None => Err("no TARGETDURATION".to_owned()),
    }
}

fn tagged(
    playlist: &mut MediaPlaylist,
    pending: &mut Pending,
    tag: &str,
    value: &str,
) -> Option<()> {
    match tag {
        "#EXT-X-VERSION" => playlist.version = Some(value.parse().ok()?),
        "#EXT-X-TARGETDURATION" => playlist.target = value.parse().ok()?,
        "#EXT-X-MEDIA-SEQUENCE" => playlist.sequence = value.parse().ok()?,
        "#EXT-X-DISCONTINUITY-SEQUENCE" => playlist.discontinuity_sequence = value.parse().ok()?,
        "#EXT-X-INDEPENDENT-SEGMENTS" => playlist.independent = true,
        "#EXT-X-PLAYLIST-TYPE" => playlist.kind = Some(value.to_owned()),
        "#EXT-X-ENDLIST" => playlist.ended = true,
        "#EXT-X-DISCONTINUITY" => pending.discontinuity = true,
        "#EXT-X-GAP" => pending.gap = true,
        "#EXT-X-PROGRAM-DATE-TIME" => {
            let (date, odd) = date(value)?;
            (pending.date, pending.odd_date) = (Some(date), odd);
        }
        "#EXTINF" => {
            let text = value
                .split_once(',')
                .map_or(value, |(duration, _)| duration);
            let seconds: f64 = text.parse().ok().filter(|seconds| *seconds >= 0.0)?;
            playlist.decimals |= text.contains('.');
            pending.duration = Some((seconds * 1e6).round() as i64);
        }
        _ => {}
    }
    Some(())
}

fn listed(playlist: &mut MediaPlaylist, pending: &Pending, uri: &str) -> Option<()> {
    let segment = Segment {
        number: playlist.end(),
        uri: uri.to_owned(),
        duration: pending.duration?,
        discontinuity: pending.discontinuity,
        date: pending.date,
        odd_date: pending.odd_date,
        gap: pending.gap,
    };
    playlist.segments.push(segment);
    Some(())
}

/// The date, and whether its zone lacks the colon, as FFmpeg writes it.
fn date(text: &str) -> Option<(i64, bool)> {
    let date = text.parse::<Timestamp>().ok()?;
    let utc = text.ends_with('Z');
    let offset = text.rfind(':').is_some_and(|colon| colon + 3 == text.len());
    Some((date.as_microsecond(), !utc && !offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_playlist_is_read_whole() {
        let text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:2\n#EXT-X-INDEPENDENT-SEGMENTS\n\
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:01.500Z\n#EXTINF:2.000,\na.ts\n#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:1.96,title\nb.ts\n";
        let segment = |number, uri: &str, duration, discontinuity, date| Segment {
            number,
            uri: uri.to_owned(),
            duration,
            discontinuity,
            date,
            odd_date: false,
            gap: discontinuity,
        };
        let expected = MediaPlaylist {
            version: Some(6),
            target: 4,
            sequence: 7,
            discontinuity_sequence: 2,
            independent: true,
            decimals: true,
            segments: vec![
                segment(7, "a.ts", 2_000_000, false, Some(1_500_000)),
                segment(8, "b.ts", 1_960_000, true, None),
            ],
            ..MediaPlaylist::default()
        };
        assert_eq!(parse(text), Ok(Playlist::Media(expected)));
    }

    #[test]
    fn a_master_playlist_is_read_with_commas_in_quotes() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1x2\nhd/index.m3u8\n";
        let Ok(Playlist::Master(master)) = parse(text) else {
            panic!("no master");
        };
        let attributes = [
            ("BANDWIDTH", "100"),
            ("CODECS", "avc1.64001f,mp4a.40.2"),
            ("RESOLUTION", "1x2"),
        ];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let uri = "hd/index.m3u8".to_owned();
        assert_eq!(
            master.variants,
            [Variant {
                uri,
                attributes: attributes.into()
            }]
        );
    }

    #[test]
    fn a_date_without_a_colon_in_its_zone_is_odd() {
        assert_eq!(
            date("1970-01-01T00:00:01.000+0000"),
            Some((1_000_000, true))
        );
        assert_eq!(date("1970-01-01T00:00:01+00:00"), Some((1_000_000, false)));
        assert_eq!(date("yesterday"), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, named) in [
            ("", "first line"),
            ("\u{feff}#EXTM3U\n", "first line"),
            ("#EXTM3U\n#EXTINF:2,\na.ts\n", "no TARGETDURATION"),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:4\na.ts\n", "line 3"),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:4.5\n", "line 2"),
            (
                "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-TARGETDURATION:4\n",
                "more than once",
            ),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH\nx\n", "line 2"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "without a URI"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(named), "{text:?}: {error}");
        }
    }
}
