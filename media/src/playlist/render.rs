//! The text of playlists, from the document that travels between components. Pure: the same document gives the same text; URIs come from the caller.

use std::fmt::Write;

use api::playlists::{Playlists, Rendition, SegmentEntry};

/// What players of today read; no tag that we write needs more, gaps apart.
const VERSION: u32 = 6;
/// EXT-X-GAP needs this.
const GAP_VERSION: u32 = 8;

/// The media playlist of one rendition. Segments before the first one that the rendition has are left out: a playlist that
/// starts with gaps stops many players. So are those after the last one, where they may still come.
#[must_use]
pub fn media(
    document: &Playlists,
    rendition: &str,
    uri: impl Fn(&SegmentEntry) -> String,
) -> String {
    let is_gap = |entry: &SegmentEntry| entry.gaps.iter().any(|id| id == rendition);
    let skipped = document
        .segments
        .iter()
        .take_while(|entry| is_gap(entry))
        .count();
    let (before, listed) = document.segments.split_at(skipped);
    let listed = &listed[..listed.len() - to_come(document, rendition, listed)];
    let has_gaps = listed.iter().any(is_gap);
    let is_independent = listed
        .iter()
        .all(|entry| entry.independent || is_gap(entry));
    let sequence = match (listed.first(), before.last()) {
        (Some(first), _) => first.number,
        (None, Some(last)) => last.number + 1,
        (None, None) => u64::try_from(document.next.media_sequence).unwrap_or(0),
    };
    let passed = before.iter().filter(|entry| entry.discontinuity).count();
    let discontinuity_sequence =
        document.discontinuity_sequence + u64::try_from(passed).unwrap_or(0);

    let mut text = header(if has_gaps { GAP_VERSION } else { VERSION });
    line(
        &mut text,
        "TARGETDURATION",
        document.target_duration_seconds,
    );
    line(&mut text, "MEDIA-SEQUENCE", sequence);
    line(&mut text, "DISCONTINUITY-SEQUENCE", discontinuity_sequence);
    if is_independent && !listed.is_empty() {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    for entry in listed {
        write_segment(&mut text, entry, is_gap(entry), &uri(entry));
    }
    text
}

/// What is known of a rendition's segments, gaps and all: those at the end that it lacks and that may still come are left out.
#[must_use]
pub fn known<'a>(document: &'a Playlists, rendition: &str) -> &'a [SegmentEntry] {
    let segments = &document.segments;
    &segments[..segments.len() - to_come(document, rendition, segments)]
}

/// How many of these segments a rendition lacks at the end that may still come.
fn to_come(document: &Playlists, rendition: &str, listed: &[SegmentEntry]) -> usize {
    if !document.behind.iter().any(|id| id == rendition) {
        return 0;
    }
    let lacks = |entry: &&SegmentEntry| entry.gaps.iter().any(|id| id == rendition);
    listed.iter().rev().take_while(lacks).count()
}

/// The part of a document that the attempt itself has made: what it has taken over from another one is that one's to serve.
#[must_use]
pub fn own(document: &Playlists) -> Playlists {
    let is_other = |entry: &&SegmentEntry| entry.attempt != document.attempt;
    let others = document.segments.iter().take_while(is_other);
    let (count, discontinuities) = others.fold((0, 0), |(count, seams), entry| {
        (count + 1, seams + u64::from(entry.discontinuity))
    });
    Playlists {
        segments: document.segments[count..].to_vec(),
        discontinuity_sequence: document.discontinuity_sequence + discontinuities,
        ..document.clone()
    }
}

/// Whether a rendition has a segment to play: its playlist is worth sending.
#[must_use]
pub fn has_media(document: &Playlists, rendition: &str) -> bool {
    document
        .segments
        .iter()
        .any(|entry| !entry.gaps.iter().any(|id| id == rendition))
}

/// The master playlist, in the order of the document.
#[must_use]
pub fn master(document: &Playlists, uri: impl Fn(&Rendition) -> String) -> String {
    write_master(document.renditions.iter(), uri)
}

/// The master playlist for clients that ask for what the usual one leaves out: first that, then what is lower, so that they need not
/// choose between two of one size. The usual one where there is no such thing.
#[must_use]
pub fn master_on_request(document: &Playlists, uri: impl Fn(&Rendition) -> String) -> String {
    let lines = |rendition: &Rendition| rendition.resolution.map(|size| size.height);
    let highest = document.on_request.iter().filter_map(lines).max();
    let Some(highest) = highest else {
        return master(document, uri);
    };
    let usual = document.renditions.iter();
    let lower = usual.filter(|one| lines(one).is_some_and(|lines| lines < highest));
    write_master(document.on_request.iter().chain(lower), uri)
}

fn write_master<'a>(
    renditions: impl Iterator<Item = &'a Rendition>,
    uri: impl Fn(&Rendition) -> String,
) -> String {
    let mut text = header(VERSION);
    for rendition in renditions {
        write_variant(&mut text, rendition);
        text.push_str(&uri(rendition));
        text.push('\n');
    }
    text
}

fn header(version: u32) -> String {
    format!("#EXTM3U\n#EXT-X-VERSION:{version}\n")
}

fn write_segment(text: &mut String, entry: &SegmentEntry, is_gap: bool, uri: &str) {
    if entry.discontinuity {
        text.push_str("#EXT-X-DISCONTINUITY\n");
    }
    line(
        text,
        "PROGRAM-DATE-TIME",
        date_time(entry.program_date_time_unix_milliseconds),
    );
    if is_gap {
        text.push_str("#EXT-X-GAP\n");
    }
    // Six decimals hold a tick of 1/90000 s; integers keep the text the same at every rendering.
    let microseconds = (entry.duration_ticks * 100 + 4) / 9;
    let (whole, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
    append(
        text,
        format_args!("#EXTINF:{whole}.{fraction:06},\n{uri}\n"),
    );
}

fn write_variant(text: &mut String, rendition: &Rendition) {
    append(
        text,
        format_args!(
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
            rendition.bandwidth, rendition.average_bandwidth, rendition.codecs
        ),
    );
    if let Some(resolution) = rendition.resolution {
        append(
            text,
            format_args!(",RESOLUTION={}x{}", resolution.width, resolution.height),
        );
    }
    if let Some(rate) = rendition.frame_rate_thousandths {
        let (whole, fraction) = (rate / 1000, rate % 1000);
        append(text, format_args!(",FRAME-RATE={whole}.{fraction:03}"));
    }
    text.push('\n');
}

fn line(text: &mut String, tag: &str, value: impl std::fmt::Display) {
    append(text, format_args!("#EXT-X-{tag}:{value}\n"));
}

fn append(text: &mut String, arguments: std::fmt::Arguments) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

/// RFC 3339 in UTC with milliseconds.
fn date_time(unix_milliseconds: i64) -> String {
    let days = unix_milliseconds.div_euclid(86_400_000);
    let rest = unix_milliseconds.rem_euclid(86_400_000);
    let (year, month, day) = civil_date(days);
    let (seconds, milliseconds) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// The Gregorian date of a day counted from 1970-01-01. Years are taken to begin in March, so that leap days come last.
fn civil_date(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    const DAYS_FROM_0000_03_01: i64 = 719_468;
    let days = days + DAYS_FROM_0000_03_01;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::job::ResumeFloor;
    use api::playlists::Resolution;

    fn entry(number: u64) -> SegmentEntry {
        SegmentEntry {
            number,
            attempt: 3,
            duration_ticks: 180_000,
            discontinuity: false,
            independent: true,
            program_date_time_unix_milliseconds: 1_709_164_799_960
                + i64::try_from(number).unwrap() * 2000,
            gaps: Vec::new(),
        }
    }

    fn document(segments: Vec<SegmentEntry>) -> Playlists {
        Playlists {
            version: 1,
            stream_uid: "uid".to_owned(),
            attempt: 3,
            updated_unix_milliseconds: 0,
            segment_duration_seconds: 2,
            target_duration_seconds: 4,
            discontinuity_sequence: 7,
            renditions: vec![
                Rendition {
                    id: "720p".to_owned(),
                    bandwidth: 3_210_000,
                    average_bandwidth: 2_730_000,
                    codecs: "avc1.64001f,mp4a.40.2".to_owned(),
                    resolution: Some(Resolution {
                        width: 1280,
                        height: 720,
                    }),
                    frame_rate_thousandths: Some(29_970),
                },
                Rendition {
                    id: "audio".to_owned(),
                    bandwidth: 130_000,
                    average_bandwidth: 128_000,
                    codecs: "mp4a.40.2".to_owned(),
                    resolution: None,
                    frame_rate_thousandths: None,
                },
            ],
            segments,
            next: ResumeFloor {
                media_sequence: 4,
                discontinuity_sequence: 8,
            },
            behind: Vec::new(),
            on_request: Vec::new(),
            class: String::new(),
        }
    }

    fn text(document: &Playlists, rendition: &str) -> String {
        media(document, rendition, |entry| {
            format!("{}-{}.ts", entry.attempt, entry.number)
        })
    }

    #[test]
    fn a_media_playlist_is_written_as_players_expect_it() {
        let mut second = entry(2);
        second.duration_ticks = 90_001;
        second.discontinuity = true;
        let playlist = text(&document(vec![entry(1), second]), "720p");
        let expected = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:4
#EXT-X-MEDIA-SEQUENCE:1
#EXT-X-DISCONTINUITY-SEQUENCE:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PROGRAM-DATE-TIME:2024-02-29T00:00:01.960Z
#EXTINF:2.000000,
3-1.ts
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2024-02-29T00:00:03.960Z
#EXTINF:1.000011,
3-2.ts
";
        assert_eq!(playlist, expected);
    }

    #[test]
    fn gaps_inside_are_marked_and_gaps_at_the_start_are_left_out() {
        let gap = |number| SegmentEntry {
            gaps: vec!["720p".to_owned()],
            discontinuity: true,
            independent: false,
            ..entry(number)
        };
        let playlist = text(&document(vec![gap(1), entry(2), gap(3)]), "720p");
        let expected = "\
#EXTM3U
#EXT-X-VERSION:8
#EXT-X-TARGETDURATION:4
#EXT-X-MEDIA-SEQUENCE:2
#EXT-X-DISCONTINUITY-SEQUENCE:8
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PROGRAM-DATE-TIME:2024-02-29T00:00:03.960Z
#EXTINF:2.000000,
3-2.ts
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2024-02-29T00:00:05.960Z
#EXT-X-GAP
#EXTINF:2.000000,
3-3.ts
";
        assert_eq!(playlist, expected);
    }

    #[test]
    fn a_rendition_that_is_behind_ends_with_the_last_segment_that_it_has() {
        let gap = |number| SegmentEntry {
            gaps: vec!["720p".to_owned()],
            ..entry(number)
        };
        let all = vec![gap(1), entry(2), gap(3), entry(4), gap(5), gap(6)];
        let behind = Playlists {
            behind: vec!["720p".to_owned()],
            ..document(all.clone())
        };
        assert_eq!(
            text(&behind, "720p"),
            text(&document(all[..4].to_vec()), "720p")
        );
        assert_eq!(text(&behind, "audio"), text(&document(all), "audio"));
        let nothing = Playlists {
            behind: vec!["720p".to_owned()],
            ..document(vec![gap(1)])
        };
        assert!(!has_media(&nothing, "720p"));
        assert!(!text(&nothing, "720p").contains("EXTINF"));
    }

    #[test]
    fn one_dependent_segment_withholds_the_claim_of_independence() {
        let mut dependent = entry(2);
        dependent.independent = false;
        let playlist = text(&document(vec![entry(1), dependent]), "720p");
        assert!(!playlist.contains("INDEPENDENT"), "{playlist}");
    }

    #[test]
    fn a_rendition_with_gaps_only_has_nothing_to_play() {
        let gap = SegmentEntry {
            gaps: vec!["480p".to_owned()],
            ..entry(1)
        };
        let document = document(vec![gap]);
        assert!(has_media(&document, "720p"));
        assert!(!has_media(&document, "480p"));
        let playlist = text(&document, "480p");
        assert!(playlist.contains("MEDIA-SEQUENCE:2\n"), "{playlist}");
        assert!(!playlist.contains("EXTINF"), "{playlist}");
    }

    #[test]
    fn a_master_playlist_says_what_is_known_of_each_rendition() {
        let playlist = master(&document(Vec::new()), |rendition| {
            format!("/hls/session/{}/index.m3u8", rendition.id)
        });
        let expected = "\
#EXTM3U
#EXT-X-VERSION:6
#EXT-X-STREAM-INF:BANDWIDTH=3210000,AVERAGE-BANDWIDTH=2730000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970
/hls/session/720p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=130000,AVERAGE-BANDWIDTH=128000,CODECS=\"mp4a.40.2\"
/hls/session/audio/index.m3u8
";
        assert_eq!(playlist, expected);
    }

    #[test]
    fn dates_follow_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (unix_milliseconds, text) in cases {
            assert_eq!(date_time(unix_milliseconds), text);
        }
    }
}
