//! Any list, and lists that are nearly right: nothing fails, nothing grows beyond its bounds, and what is written reads the same.
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for more cases and for others.

use iptv::hls::{self, ENTRIES_MAXIMUM, Encryption};
use iptv::m3u::{Entry, Limits, Parser, Playlist, parse, write_entry, write_header};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed};

/// The same cases at every run, unless the environment says otherwise.
fn usual() -> Config {
    let usual = Config::default();
    Config {
        failure_persistence: None,
        rng_seed: match usual.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        ..usual
    }
}

/// Text of the kind that breaks parsers.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-zA-Z0-9 .:/_-]{0,30}",
        3 => "[\"',;=|&%#@\\\\ \t\u{feff}é\u{1F4FA}a1-]{0,30}",
        1 => "\\PC{0,20}",
        1 => any::<String>(),
    ]
}

fn line(starts: &'static [&'static str]) -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string())
    ];
    let rest = prop_oneof![
        text(),
        number,
        (text(), text()).prop_map(|(name, value)| format!("{name}=\"{value}\",{value}"))
    ];
    (select(starts), rest).prop_map(|(start, rest)| format!("{start}{rest}"))
}

fn joined(lines: &[String], changes: &[(Index, u8)], is_headed: bool) -> Vec<u8> {
    let mut bytes = if is_headed {
        b"#EXTM3U\n".to_vec()
    } else {
        Vec::new()
    };
    bytes.extend(lines.join("\n").into_bytes());
    for (at, value) in changes {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
    }
    bytes
}

/// Lines in any order, then some bytes changed.
fn list(starts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop_oneof![3 => Just(Vec::new()), 1 => vec((any::<Index>(), any::<u8>()), 0..6)];
    (
        vec(line(starts), 0..40),
        changes,
        prop::bool::weighted(0.95),
    )
        .prop_map(|(lines, changes, is_headed)| joined(&lines, &changes, is_headed))
}

const CHANNEL_LINES: &[&str] = &[
    "#EXTINF:-1 tvg-id=\"a\" group-title=\"One;Two\",News ",
    "#EXTINF:-1 tvg-chno=\"1\" a=b c=d e=f,",
    "#EXTINF:",
    "#EXTINF:-1,",
    "#EXTGRP:",
    "#EXTVLCOPT:http-user-agent=",
    "#EXTVLCOPT:http-referrer=",
    "http://source.example/live/",
    "http://source.example/1.ts|User-Agent=",
    "http://source.example/1|A=b&C=d&",
    "rtmp://source.example/",
    "#EXTM3U x-tvg-url=\"",
    "",
];

const STREAM_LINES: &[&str] = &[
    "#EXTINF:6.0,\nseg",
    "#EXTINF:4,\nhttp://cdn.example/",
    "#EXTINF:",
    "#EXT-X-TARGETDURATION:",
    "#EXT-X-MEDIA-SEQUENCE:",
    "#EXT-X-BYTERANGE:100@0\n#EXTINF:1,\nsame.ts\n#EXT-X-BYTERANGE:50\n#EXTINF:1,\nsame.ts\n",
    "#EXT-X-BYTERANGE:",
    "#EXT-X-KEY:METHOD=AES-128,URI=\"key\",IV=0x",
    "#EXT-X-KEY:",
    "#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=1280x720\nvariant",
    "#EXT-X-STREAM-INF:",
    "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"",
    "#EXT-X-MAP:URI=\"",
    "#EXT-X-DISCONTINUITY",
    "#EXT-X-GAP",
    "#EXT-X-ENDLIST",
    "segment",
    "",
];

/// Limits small enough to be met.
const LIMITS: Limits = Limits {
    line_bytes: 300,
    bytes: 3000,
    entries: 12,
    problems: 5,
};

fn written(entries: &[Entry]) -> String {
    let mut out = String::new();
    write_header(&mut out, None).unwrap();
    for entry in entries {
        write_entry(&mut out, entry).unwrap();
    }
    out
}

fn read(text: &str) -> Vec<Entry> {
    let unlined = |entry: Entry| Entry { line: 0, ..entry };
    let playlist: Playlist = parse(text.as_bytes(), Limits::default()).unwrap();
    playlist.entries.into_iter().map(unlined).collect()
}

fn entry() -> impl Strategy<Value = Entry> {
    let maybe = || proptest::option::of(text());
    let headers = vec(("[A-Za-z0-9_-]{1,12}", "[ -~é]{0,20}"), 0..4);
    (
        text(),
        (maybe(), maybe(), maybe(), maybe()),
        vec(text(), 0..4),
        any::<bool>(),
        proptest::option::of("[ -~é]{0,20}"),
        headers,
        vec(("[a-z][a-z-]{0,10}", text()), 0..4),
        "http://source[.]example/[a-z|]{1,6}",
    )
        .prop_map(
            |(
                name,
                (guide_id, guide_name, logo, number),
                groups,
                radio,
                user_agent,
                headers,
                attributes,
                url,
            )| Entry {
                line: 0,
                name: format!("n{name}"),
                guide_id,
                guide_name,
                logo,
                number,
                groups,
                radio,
                user_agent,
                headers,
                url,
                attributes: attributes.into_iter().collect(),
            },
        )
}

proptest! {
    #![proptest_config(usual())]

    #[test]
    fn a_channel_list_reads_the_same_however_it_is_cut(bytes in list(CHANNEL_LINES), lengths in vec(1..60_usize, 1..6)) {
        for limits in [Limits::default(), LIMITS] {
            let mut parser = Parser::new(limits);
            let mut rest = bytes.as_slice();
            let mut fed = Ok(());
            for length in lengths.iter().cycle() {
                if rest.is_empty() || fed.is_err() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*length));
                fed = parser.feed(piece);
                rest = after;
            }
            prop_assert_eq!(fed.and_then(|()| parser.finish()), parse(&bytes, limits));
        }
    }

    #[test]
    fn a_channel_list_stays_within_its_bounds(bytes in list(CHANNEL_LINES), repeated in 1..40_usize) {
        let bytes = bytes.repeat(repeated);
        if let Ok(playlist) = parse(&bytes, LIMITS) {
            prop_assert!(playlist.entries.len() <= LIMITS.entries);
            prop_assert!(playlist.problems.len() <= LIMITS.problems);
            for entry in &playlist.entries {
                prop_assert!(entry.groups.len() <= 8 && entry.attributes.len() <= 16 && entry.headers.len() <= 10);
                prop_assert!(!entry.name.is_empty() && !entry.url.is_empty());
            }
        }
    }

    #[test]
    fn what_is_written_reads_as_as_many_channels_and_stays_as_it_is(entries in vec(entry(), 0..5)) {
        let once = read(&written(&entries));
        prop_assert_eq!(once.len(), entries.len(), "{}", written(&entries));
        prop_assert_eq!(&read(&written(&once)), &once);
    }

    #[test]
    fn a_playlist_of_any_lines_is_survived(bytes in list(STREAM_LINES)) {
        let parsed = hls::parse(&bytes);
        if parsed.is_ok() {
            for length in 0..bytes.len().min(20) {
                prop_assert!(hls::is_playlist(&bytes[..length]) != Some(false));
            }
        }
        match parsed {
            Ok(hls::Playlist::Master(master)) => prop_assert!(!master.variants.is_empty()),
            Ok(hls::Playlist::Media(media)) => {
                prop_assert!(media.media_sequence.checked_add(ENTRIES_MAXIMUM as u64).is_some());
                for segment in &media.segments {
                    prop_assert!(!segment.uri.is_empty() && segment.duration.as_secs() <= 3600);
                    prop_assert!(segment.range.is_none_or(|range| range.length > 0 && range.offset.checked_add(range.length).is_some()));
                    if let Encryption::Other(method) = &segment.encryption {
                        prop_assert!(method.len() <= 32);
                    }
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_survived(bytes in vec(any::<u8>(), 0..600)) {
        let _ = (hls::parse(&bytes), parse(&bytes, LIMITS));
        let _ = (hls::parse(&[b"#EXTM3U\n", bytes.as_slice()].concat()), parse(&[b"#EXTM3U\n", bytes.as_slice()].concat(), LIMITS));
    }
}
