//! Lists as providers write them, in and out.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of a test file are outside of #[test] functions"
)]

mod properties;

use iptv::m3u::{
    Entry, Fault, Limits, NotAPlaylist, Parser, Playlist, Problem, parse, write_entry, write_header,
};

fn read(text: &str) -> Playlist {
    parse(text.as_bytes(), Limits::default()).unwrap()
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

const FULL: &str = r#"#EXTM3U x-tvg-url="http://guide.example/a.xml,http://guide.example/b.xml" url-tvg="http://guide.example/a.xml"

#EXTINF:-1 tvg-id="news.one" tvg-name="News One" tvg-logo="http://logos.example/1.png" tvg-chno="10" group-title="News;HD" catchup="default" catchup-days="7",News One, the first
#EXTVLCOPT:http-user-agent=Player/1.0
#EXTVLCOPT:http-referrer=http://portal.example/
#KODIPROP:inputstream=inputstream.adaptive
http://source.example/live/1.ts
# a remark
#EXTGRP:Music
#EXTINF:-1 radio="true",Radio Two
http://source.example/2|User-Agent=Radio%2F2&Referer=http%3A%2F%2Fother.example%2F
#EXTINF:-1,Music Three
rtmp://source.example/3
"#;

fn full() -> Playlist {
    let attributes = [("catchup", "default"), ("catchup-days", "7")];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let first = Entry {
        line: 3,
        name: "News One, the first".to_owned(),
        guide_id: text("news.one"),
        guide_name: text("News One"),
        logo: text("http://logos.example/1.png"),
        number: text("10"),
        groups: vec!["News".to_owned(), "HD".to_owned()],
        radio: false,
        user_agent: text("Player/1.0"),
        headers: vec![owned(("Referer", "http://portal.example/"))],
        url: "http://source.example/live/1.ts".to_owned(),
        attributes: attributes.map(owned).into(),
    };
    let second = Entry {
        line: 10,
        name: "Radio Two".to_owned(),
        groups: vec!["Music".to_owned()],
        radio: true,
        user_agent: text("Radio/2"),
        headers: vec![owned(("Referer", "http://other.example/"))],
        url: "http://source.example/2".to_owned(),
        ..Entry::default()
    };
    let third = Entry {
        line: 12,
        name: "Music Three".to_owned(),
        groups: vec!["Music".to_owned()],
        url: "rtmp://source.example/3".to_owned(),
        ..Entry::default()
    };
    Playlist {
        guide_urls: vec![
            "http://guide.example/a.xml".to_owned(),
            "http://guide.example/b.xml".to_owned(),
        ],
        entries: vec![first, second, third],
        ..Playlist::default()
    }
}

#[test]
fn a_list_with_everything_in_it_is_read() {
    assert_eq!(read(FULL), full());
}

#[test]
fn how_the_bytes_are_cut_and_lines_ended_makes_no_difference() {
    for size in [1, 2, 7, 64] {
        let mut parser = Parser::new(Limits::default());
        let windows = format!("\u{feff}{}", FULL.trim_end().replace('\n', "\r\n"));
        for chunk in windows.as_bytes().chunks(size) {
            parser.feed(chunk).unwrap();
        }
        assert_eq!(parser.finish().unwrap(), full(), "chunks of {size}");
    }
}

#[test]
fn entries_can_be_taken_as_they_come() {
    let mut parser = Parser::new(Limits {
        entries: 2,
        ..Limits::default()
    });
    let mut names = Vec::new();
    for chunk in FULL.as_bytes().chunks(50) {
        parser.feed(chunk).unwrap();
        names.extend(parser.take_entries().into_iter().map(|entry| entry.name));
    }
    assert_eq!(names, ["News One, the first", "Radio Two"]);
    let problem = Problem {
        line: 12,
        fault: Fault::TooManyEntries { limit: 2 },
    };
    let rest = parser.finish().unwrap();
    assert_eq!((rest.entries, rest.problems), (vec![], vec![problem]));
}

#[test]
fn bad_rows_are_named_by_line_and_cost_only_themselves() {
    let list = "#EXTM3U\n\
        http://source.example/unannounced\n\
        #EXTINF:-1,No Address\n\
        #EXTINF:-1,Relative\n\
        live/1.ts\n\
        #EXTINF:-1 tvg-id=\"x\",\n\
        http://source.example/nameless\n\
        #EXTINF:-1,Smuggler\n\
        http://source.example/x|A=%0d%0aB\n\
        #EXTINF:-1,Good\n\
        http://source.example/good\n\
        #EXTINF:-1,Cut Off";
    let playlist = read(list);
    let name = |name: &str| name.to_owned();
    let problems = [
        (2, Fault::NoInformation),
        (
            3,
            Fault::NoAddress {
                name: name("No Address"),
            },
        ),
        (
            5,
            Fault::BadAddress {
                name: name("Relative"),
            },
        ),
        (6, Fault::NoName),
        (
            9,
            Fault::BadHeader {
                header: name("A"),
                name: name("Smuggler"),
            },
        ),
        (
            12,
            Fault::NoAddress {
                name: name("Cut Off"),
            },
        ),
    ];
    assert_eq!(
        playlist.problems,
        problems.map(|(line, fault)| Problem { line, fault })
    );
    let names: Vec<_> = playlist
        .entries
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["Good"]);
    assert_eq!(
        playlist.problems[2].to_string(),
        "line 5: the address of \"Relative\" is not an absolute URL"
    );
}

#[test]
fn a_channel_without_a_name_takes_its_guides() {
    let list = "#EXTM3U\n#EXTINF:-1 tvg-name=\"Guide Name\"\nhttp://source.example/1\n";
    assert_eq!(read(list).entries[0].name, "Guide Name");
}

#[test]
fn lines_lists_and_problems_are_bounded() {
    let limits = Limits {
        line_bytes: 64,
        bytes: 200,
        entries: 10,
        problems: 1,
    };
    let long = format!(
        "#EXTM3U\n#EXTINF:-1,Long\n{}\nhttp://a\n{}",
        "x".repeat(100),
        "#\n".repeat(200)
    );
    let playlist = parse(long.as_bytes(), limits).unwrap();
    let problem = Problem {
        line: 3,
        fault: Fault::LineTooLong { limit: 64 },
    };
    // The address after the long line announced by nothing, and the end at 200 bytes, are counted.
    assert_eq!(
        (playlist.problems, playlist.problems_left_out),
        (vec![problem], 2)
    );
    assert_eq!(playlist.entries, []);
}

#[test]
fn what_is_no_channel_list_is_told_apart() {
    let fails = |text: &str| parse(text.as_bytes(), Limits::default()).unwrap_err();
    assert_eq!(fails(""), NotAPlaylist::NoHeader { line: 1 });
    assert_eq!(
        fails("\n\n<html><body>Login"),
        NotAPlaylist::NoHeader { line: 3 }
    );
    let hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://x/1.ts\n";
    assert_eq!(fails(hls), NotAPlaylist::Hls { line: 3 });
}

#[test]
fn old_lists_in_latin_1_keep_their_letters() {
    let mut list = b"#EXTM3U\n#EXTINF:-1,T".to_vec();
    list.extend_from_slice(&[0xe9, b'l', 0xe9]);
    list.extend_from_slice(b"\nhttp://source.example/1\n");
    assert_eq!(
        parse(&list, Limits::default()).unwrap().entries[0].name,
        "Télé"
    );
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let playlist = full();
    let mut list = String::new();
    write_header(&mut list, Some(&playlist.guide_urls[0])).unwrap();
    for entry in &playlist.entries {
        write_entry(&mut list, entry).unwrap();
    }
    let mut again = read(&list);
    assert_eq!(again.problems, []);
    let same_lines = again.entries.iter_mut().zip(&playlist.entries);
    same_lines.for_each(|(entry, original)| entry.line = original.line);
    assert_eq!(again.entries, playlist.entries);
}

#[test]
fn no_value_can_break_out_of_the_line_it_is_written_to() {
    let evil = "x\",Evil\n#EXTINF:-1,Injected\nhttp://evil.example/";
    let entry = Entry {
        name: evil.to_owned(),
        guide_id: text(evil),
        user_agent: text(evil),
        url: "http://source.example/1".to_owned(),
        ..Entry::default()
    };
    let mut list = String::new();
    write_header(&mut list, None).unwrap();
    write_entry(&mut list, &entry).unwrap();
    assert_eq!(list.lines().count(), 4, "{list}");
    let again = read(&list);
    assert_eq!(again.entries.len(), 1);
    assert_eq!(again.entries[0].url, "http://source.example/1");
    assert_eq!(again.entries[0].name, evil.replace('\n', " "));
}

#[test]
fn attributes_and_headers_of_an_entry_are_bounded() {
    let attributes: String = (0..2000).map(|index| format!(" a{index}=1")).collect();
    let headers: Vec<_> = (0..2000).map(|index| format!("H{index}=1")).collect();
    let options = "#EXTVLCOPT:http-referrer=r\n".repeat(2000);
    let line = headers.join("&");
    let list = format!("#EXTM3U\n#EXTINF:-1{attributes},One\n{options}http://s.example/1|{line}\n");
    let limits = Limits {
        line_bytes: 1 << 20,
        ..Limits::default()
    };
    let playlist = parse(list.as_bytes(), limits).unwrap();
    let entry = &playlist.entries[0];
    // The referrer is one more.
    assert_eq!((entry.attributes.len(), entry.headers.len()), (16, 9));
}

#[test]
fn headers_stand_behind_an_address_with_a_bar_of_its_own() {
    let entry = Entry {
        name: "One".to_owned(),
        url: "http://s.example/a|b".to_owned(),
        headers: vec![("Referer".to_owned(), "http://r.example/".to_owned())],
        ..Entry::default()
    };
    let mut list = "#EXTM3U\n".to_owned();
    write_entry(&mut list, &entry).unwrap();
    let again = &read(&list).entries[0];
    assert_eq!(again.url, "http://s.example/a%7Cb");
    assert_eq!(again.headers, entry.headers);
}

#[test]
fn bytes_are_counted_once_however_they_come() {
    let list = b"#EXTM3U\n#EXTINF:-1,One\nhttp://s.example/1\n";
    let limits = Limits {
        bytes: list.len(),
        ..Limits::default()
    };
    let mut parser = Parser::new(limits);
    for byte in list {
        parser.feed(&[*byte]).unwrap();
    }
    assert_eq!(parser.finish().unwrap().problems, []);
}

#[test]
fn groups_that_every_entry_would_repeat_are_bounded() {
    let many = "a;".repeat(5000) + &"b".repeat(300);
    let list = format!(
        "#EXTM3U\n#EXTGRP:{many}\n#EXTINF:-1,One\nhttp://a/1\n#EXTINF:-1 group-title=\"{many}\",Two\nhttp://a/2\n"
    );
    let playlist = parse(list.as_bytes(), Limits::default()).unwrap();
    for entry in &playlist.entries {
        assert_eq!(entry.groups, ["a"; 8], "{}", entry.name);
    }
    assert_eq!(playlist.entries.len(), 2);
}
