//! Playlists of every kind, good, odd and hostile.

use super::*;

fn media(text: &str) -> MediaPlaylist {
    match parse(text.as_bytes()) {
        Ok(Playlist::Media(playlist)) => playlist,
        other => panic!("{other:?}"),
    }
}

fn master(text: &str) -> MasterPlaylist {
    match parse(text.as_bytes()) {
        Ok(Playlist::Master(playlist)) => playlist,
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str) -> String {
    parse(text.as_bytes()).unwrap_err().to_string()
}

fn segment(uri: &str, milliseconds: u64) -> Segment {
    Segment {
        uri: uri.to_owned(),
        duration: Duration::from_millis(milliseconds),
        range: None,
        encryption: Encryption::None,
        map: None,
        discontinuity: false,
        gap: false,
    }
}

#[test]
fn a_live_list_is_read_whatever_else_it_says() {
    let text = "\u{feff}#EXTM3U\r\n#EXT-X-VERSION:3\r\n#EXT-X-TARGETDURATION:6\r\n#EXT-X-MEDIA-SEQUENCE:2680\r\n\
        #EXT-X-DISCONTINUITY-SEQUENCE:4\r\n# a comment\r\n\r\n#EXTINF:5.97,Title, with comma\r\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\r\n\
        seg/2680.ts?token=a%20b\r\n#EXT-X-DISCONTINUITY\r\n#EXTINF:6\r\nhttps://cdn.example/2681.ts\r\n#EXT-X-GAP\r\n#EXTINF:6.0,\r\n2682.ts\r\n#EXT-X-NEW-TAG:1\r\n";
    let expected = MediaPlaylist {
        target_duration: Duration::from_secs(6),
        media_sequence: 2680,
        ended: false,
        segments: vec![
            segment("seg/2680.ts?token=a%20b", 5970),
            Segment {
                discontinuity: true,
                ..segment("https://cdn.example/2681.ts", 6000)
            },
            Segment {
                gap: true,
                ..segment("2682.ts", 6000)
            },
        ],
    };
    assert_eq!(media(text), expected);
}

#[test]
fn a_list_without_its_target_duration_has_that_of_its_longest_segment() {
    let list = media("#EXTM3U\n#EXTINF:3.6,\na.ts\n#EXTINF:9.6,\nb.ts\n#EXT-X-ENDLIST");
    assert_eq!(list.target_duration, Duration::from_secs(10));
    assert!(list.ended);
    let empty = media("#EXTM3U\n#EXT-X-TARGETDURATION:10.0\n");
    assert_eq!(
        (empty.segments.len(), empty.target_duration.as_secs()),
        (0, 10)
    );
}

#[test]
fn keys_hold_until_the_next_one_and_their_vectors_are_numbers() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=AES-128,URI=\"k?a=1,b=2\"\n#EXTINF:2,\na\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"k2\",IV=0x1F,KEYFORMAT=\"identity\"\n#EXTINF:2,\nb\n#EXTINF:2,\nc\n\
         #EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\nd\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\"\n#EXTINF:2,\ne\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"x\",KEYFORMAT=\"com.example\"\n#EXTINF:2,\nf",
    );
    let found: Vec<_> = list
        .segments
        .into_iter()
        .map(|one| one.encryption)
        .collect();
    let key = |uri: &str, iv| Encryption::Aes128 {
        uri: Arc::from(uri),
        iv,
    };
    let mut vector = [0; 16];
    vector[15] = 0x1F;
    assert_eq!(
        found,
        [
            key("k?a=1,b=2", None),
            key("k2", Some(vector)),
            key("k2", Some(vector)),
            Encryption::None,
            Encryption::Other("SAMPLE-AES".to_owned()),
            Encryption::Other("AES-128".to_owned()),
        ]
    );
}

#[test]
fn parts_of_a_resource_follow_each_other() {
    let list = media(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n#EXT-X-BYTERANGE:100@20\na\n#EXTINF:2,\n#EXT-X-BYTERANGE:50\na\n#EXTINF:2,\nb",
    );
    let ranges: Vec<_> = list.segments.iter().map(|one| one.range).collect();
    let range = |offset, length| Some(ByteRange { offset, length });
    assert_eq!(ranges, [range(20, 100), range(120, 50), None]);
}

#[test]
fn an_initialization_section_holds_until_the_next_one_and_is_encrypted_as_what_follows_it() {
    let list = media(
        "#EXTM3U\n#EXTINF:2,\na.ts\n#EXT-X-MAP:URI=\"init.mp4?a=1\"\n#EXTINF:2,\na.m4s\n#EXTINF:2,\nb.m4s\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x1\n#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"700@20\"\n#EXTINF:2,\nc.m4s\n\
         #EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"600\"\n#EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\nd.m4s",
    );
    let maps: Vec<_> = list.segments.into_iter().map(|one| one.map).collect();
    let map = |uri: &str, range, encryption| {
        let uri = uri.to_owned();
        Some(Arc::new(Map {
            uri,
            range,
            encryption,
        }))
    };
    let mut vector = [0; 16];
    vector[15] = 1;
    let key = Encryption::Aes128 {
        uri: Arc::from("k"),
        iv: Some(vector),
    };
    let range = |offset, length| Some(ByteRange { offset, length });
    let first = map("init.mp4?a=1", None, Encryption::None);
    let parts = [range(20, 700), range(0, 600)].map(|range| map("all.mp4", range, key.clone()));
    assert_eq!(
        maps,
        [&None, &first, &first, &parts[0], &parts[1]].map(Clone::clone)
    );
    for (attributes, problem) in [
        ("BYTERANGE=\"1@2\"", "names no initialization section"),
        ("URI=\"a\",BYTERANGE=\"0@2\"", "cannot be"),
        ("URI=\"a\",BYTERANGE=\"x\"", "no whole number"),
    ] {
        let told = refused(&format!("#EXTM3U\n#EXT-X-MAP:{attributes}\n"));
        assert!(told.contains(problem), "{told}");
    }
}

#[test]
fn a_master_offers_variants_and_says_where_their_audio_is() {
    let list = master(
        "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES,URI=\"audio.m3u8\"\n\
         #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",URI=\"s.m3u8\"\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"b\",NAME=\"main\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1280000,RESOLUTION=1280x720,CODECS=\"avc1.64001f,mp4a.40.2\",AUDIO=\"a\"\nhigh.m3u8?t=1\n\
         #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=wide\n\nlow.m3u8\n",
    );
    let apart = AudioRendition {
        group: "a".to_owned(),
        uri: Some("audio.m3u8".to_owned()),
        language: Some("en".to_owned()),
        is_default: true,
    };
    let inside = AudioRendition {
        group: "b".to_owned(),
        ..AudioRendition::default()
    };
    assert_eq!(list.audio, [apart, inside]);
    let high = Variant {
        uri: "high.m3u8?t=1".to_owned(),
        bandwidth: 1_280_000,
        height: Some(720),
        codecs: Some("avc1.64001f,mp4a.40.2".to_owned()),
        audio_group: Some("a".to_owned()),
    };
    let low = Variant {
        uri: "low.m3u8".to_owned(),
        ..Variant::default()
    };
    assert_eq!(list.variants, [high, low]);
}

#[test]
fn what_cannot_be_followed_is_named_by_its_line() {
    for (text, expected) in [
        ("<html>", "it is no playlist"),
        ("#EXTM3U\n", "the playlist is none of HLS"),
        (
            "#EXTM3U\n#EXTINF:-1 tvg-id=\"a\",News\nhttp://a/1.ts",
            "line 2 of the playlist has no duration",
        ),
        (
            "#EXTM3U\n#EXTINF:-1,News\nhttp://a/1.ts",
            "line 2 of the playlist has a duration that no segment has",
        ),
        (
            "#EXTM3U\n#EXTINF:NaN,\na",
            "line 2 of the playlist has a duration that no segment has",
        ),
        (
            "#EXTM3U\na.ts",
            "line 2 of the playlist names a segment without a duration",
        ),
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:x",
            "line 2 of the playlist has no whole number",
        ),
        (
            "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128",
            "line 2 of the playlist names no key",
        ),
        (
            "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=1",
            "line 2 of the playlist has an initialization vector that is none",
        ),
        (
            "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x+1",
            "line 2 of the playlist has an initialization vector that is none",
        ),
        (
            "#EXTM3U\n#EXTINF:2,\n#EXT-X-BYTERANGE:5\na",
            "line 4 of the playlist names a part of a resource without its offset",
        ),
        (
            "#EXTM3U\n#EXTINF:2,\n#EXT-X-BYTERANGE:0@0\na",
            "line 4 of the playlist names a part of a resource that cannot be",
        ),
    ] {
        assert_eq!(refused(text), expected);
    }
    assert_eq!(parse(b"#EXTM3U\n\xFF"), Err(PlaylistError::NotText));
    let many = "#EXTINF:1,\na\n".repeat(ENTRIES_MAXIMUM + 1);
    assert_eq!(
        refused(&format!("#EXTM3U\n{many}")),
        "the playlist has more than 20000 entries"
    );
    let long = vec![b'#'; BYTES_MAXIMUM + 1];
    assert_eq!(parse(&long), Err(PlaylistError::TooLong));
}

#[test]
fn no_number_however_large_breaks_anything() {
    let huge = u64::MAX;
    let list = media(&format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:{huge}\n#EXT-X-MEDIA-SEQUENCE:{huge}\n#EXTINF:2,\n#EXT-X-BYTERANGE:{huge}@1\na\n#EXTINF:2,\nb"
    ));
    assert!(list.media_sequence.checked_add(2).is_some());
    assert!(list.segments[0].range.is_some());
}
