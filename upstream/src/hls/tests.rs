//! Playlists on servers that behave and misbehave, one answer per connection.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::egress::EgressPolicy;
use crate::input::{Input, Wish};
use crate::source::Patience;

const LOCAL: EgressPolicy = EgressPolicy {
    allow_private: false,
    allow_loopback: true,
};
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(20),
    silence: Duration::from_secs(5),
};
const BOUND: Duration = Duration::from_secs(30);

/// A server that answers by path and by how often it was asked for that.
struct Site {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

type Answers = Box<dyn Fn(&str, usize, SocketAddr) -> Vec<u8> + Send>;

impl Site {
    /// Closes a connection after one answer, as servers may without a word.
    async fn start(answers: impl Fn(&str, usize, SocketAddr) -> Vec<u8> + Send + 'static) -> Self {
        Self::keeping(1, answers).await
    }

    /// Closes a connection after so many answers.
    async fn keeping(
        requests: usize,
        answers: impl Fn(&str, usize, SocketAddr) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let answers: Answers = Box::new(answers);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            let mut counts = BTreeMap::<String, usize>::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                for _ in 0..requests {
                    let Some(head) = head_of(&mut socket).await else {
                        break;
                    };
                    let path = head.split(' ').nth(1).unwrap().to_owned();
                    seen.lock().unwrap().push(head);
                    let count = counts.entry(path.clone()).or_default();
                    *count += 1;
                    let answer = answers(&path, *count, address);
                    if answer.is_empty() {
                        break;
                    }
                    socket.write_all(&answer).await.unwrap();
                }
            }
        });
        Self {
            address,
            heads,
            connections,
        }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    /// The lines of requests so far, without method and version.
    fn asked(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let path = |head: &String| head.split(' ').nth(1).unwrap().to_owned();
        heads.iter().map(path).collect()
    }

    fn head(&self, path: &str) -> String {
        let heads = self.heads.lock().unwrap();
        let of_path = |head: &&String| head.starts_with(&format!("GET {path} "));
        heads.iter().find(of_path).unwrap().to_lowercase()
    }
}

/// The next request over a connection, unless that is closed.
async fn head_of(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    answer("200 OK", "", body.as_ref())
}

fn status(status: &str) -> Vec<u8> {
    answer(status, "", b"")
}

fn found(location: &str) -> Vec<u8> {
    answer("302 Found", &format!("Location: {location}\r\n"), b"")
}

/// A playlist that is over, of these lines.
fn list(lines: &str) -> String {
    format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{lines}#EXT-X-ENDLIST\n")
}

fn segments(uris: &[&str]) -> String {
    let entries = uris.iter().map(|uri| format!("#EXTINF:2,\n{uri}\n"));
    list(&entries.collect::<String>())
}

async fn input(request: SourceRequest) -> Input {
    let opener = Opener::new(LOCAL, PATIENCE).unwrap();
    Input::open(&opener, request, &Wish::default())
        .await
        .unwrap()
}

fn request(url: Url) -> SourceRequest {
    SourceRequest {
        url,
        user_agent: None,
        headers: Vec::new(),
    }
}

/// All that comes until it fails, and how it does.
async fn read(request: SourceRequest) -> (String, SourceFailure) {
    let mut input = input(request).await;
    let mut text = Vec::new();
    let reading = async {
        loop {
            match input.next().await {
                Ok(Piece::Bytes(bytes)) => text.extend_from_slice(&bytes),
                Ok(Piece::Part(part)) => text.extend_from_slice(&part.bytes),
                Ok(Piece::Apart(apart)) => {
                    let mark = if apart.has_audio { b"||" } else { &b"|"[..] };
                    text.extend_from_slice(mark);
                }
                Ok(Piece::Sound(sound)) => {
                    if sound.is_start {
                        text.push(b'~');
                    }
                    text.extend_from_slice(&sound.bytes);
                }
                Ok(Piece::Pace(_)) => {}
                Err(failure) => return failure,
            }
        }
    };
    let failure = timeout(BOUND, reading).await.unwrap();
    (String::from_utf8_lossy(&text).into_owned(), failure)
}

fn is_over(failure: &SourceFailure) -> bool {
    matches!(failure, SourceFailure::EndOfStream { detail: Some(detail), .. } if detail.contains("over"))
}

fn is_forbidden(failure: &SourceFailure) -> bool {
    matches!(failure, SourceFailure::HttpStatus { status: 403, .. })
}

#[tokio::test]
async fn segments_come_in_order_from_where_the_redirects_ended_and_with_their_queries() {
    let site = Site::start(|path, _, _| match path {
        "/go" => found("/cdn/x/master.m3u8?token=1"),
        "/cdn/x/master.m3u8?token=1" => ok("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/low.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nv/high.m3u8?t=2\n"),
        "/cdn/x/v/high.m3u8?t=2" => ok(segments(&["a.ts?t=3", "/root.ts"])),
        "/cdn/x/v/a.ts?t=3" => ok("first "),
        "/root.ts" => ok("second"),
        _ => status("404 Not Found"),
    })
    .await;
    let source = SourceRequest {
        user_agent: Some("Box/1".to_owned()),
        headers: vec![("X-Device".to_owned(), "7".to_owned())],
        ..request(site.url("/go"))
    };
    let (text, failure) = read(source).await;
    assert_eq!(text, "first second");
    assert!(is_over(&failure), "{failure}");
    assert_eq!(site.asked().len(), 5);
    for head in site.heads.lock().unwrap().iter() {
        let head = head.to_lowercase();
        assert!(
            head.contains("user-agent: box/1\r\n") && head.contains("x-device: 7\r\n"),
            "{head}"
        );
    }
}

const LIVE: &str =
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na\n#EXTINF:1,\nb\n#EXTINF:1,\nc\n";

#[tokio::test]
async fn lists_and_segments_of_a_host_come_over_one_connection_which_is_closed_with_all_others() {
    for ends in [false, true] {
        let site = Site::keeping(100, |path, count, _| match (path, count) {
            ("/list.m3u8", 1 | 2) => ok(LIVE),
            ("/list.m3u8", _) => ok(format!("{LIVE}#EXTINF:1,\nlast\n")),
            _ => ok(&path[1..]),
        })
        .await;
        let opener = Opener::new(LOCAL, PATIENCE).unwrap();
        let source = request(site.url("/list.m3u8"));
        let mut input = Input::open(&opener, source, &Wish::default())
            .await
            .unwrap();
        let mut text = Vec::new();
        let reading = async {
            while !text.ends_with(b"last") {
                if let Piece::Bytes(bytes) = input.next().await.unwrap() {
                    text.extend_from_slice(&bytes);
                }
            }
        };
        timeout(BOUND, reading).await.unwrap();
        assert_eq!(text, b"abclast");
        assert!(site.asked().len() >= 7, "{:?}", site.asked());
        // The first list came before it was known to be one.
        assert_eq!(site.connections.load(Ordering::Relaxed), 2);
        if ends {
            opener.sockets().end();
        } else {
            drop(input);
        }
        timeout(BOUND, opener.sockets().none_left()).await.unwrap();
    }
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_instead_of_an_answer_is_made_again() {
    let site = Site::keeping(100, |path, count, _| match (path, count) {
        ("/master", _) => ok(APART),
        ("/pictures", _) => ok(list("#EXTINF:2,\nA\n")),
        ("/sound", 1) => Vec::new(),
        ("/sound", _) => ok(list("#EXTINF:2,\na\n")),
        _ => ok(&path[1..]),
    })
    .await;
    let (text, failure) = read(request(site.url("/master"))).await;
    assert_eq!(text, "||aA");
    assert!(is_over(&failure), "{failure}");
    assert_eq!(site.connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_belongs_to_the_origin_of_the_source_stays_there() {
    let cdn = Site::start(|_, _, _| ok("media")).await;
    let there = format!("http://{}/a.ts", cdn.address);
    let site = Site::start(move |path, _, _| match path {
        "/list.m3u8" => ok(segments(&[&there, "b.ts"])),
        _ => ok("own"),
    })
    .await;
    let mut url = site.url("/list.m3u8");
    url.set_username("user").unwrap();
    url.set_password(Some("secret")).unwrap();
    let source = SourceRequest {
        headers: vec![
            ("Cookie".to_owned(), "id=1".to_owned()),
            ("Referer".to_owned(), "x".to_owned()),
        ],
        ..request(url)
    };
    assert_eq!(read(source).await.0, "mediaown");
    let (theirs, ours) = (cdn.head("/a.ts"), site.head("/b.ts"));
    assert!(
        !theirs.contains("authorization") && !theirs.contains("cookie"),
        "{theirs}"
    );
    assert!(theirs.contains("referer: x"), "{theirs}");
    assert!(
        ours.contains("authorization: basic ") && ours.contains("cookie: id=1"),
        "{ours}"
    );
}

fn encrypted(key: [u8; 16], vector: u128, plain: &str) -> Vec<u8> {
    let mut bytes = plain.as_bytes().to_vec();
    let padding = 16 - bytes.len() % 16;
    bytes.extend(std::iter::repeat_n(u8::try_from(padding).unwrap(), padding));
    let mut encryptor =
        cbc::Encryptor::<aes::Aes128>::new(&key.into(), &vector.to_be_bytes().into());
    encryptor.encrypt_blocks(aes::Block::slice_as_chunks_mut(&mut bytes).0);
    bytes
}

#[tokio::test]
async fn segments_are_decrypted_with_keys_that_are_asked_for_once() {
    let site = Site::start(|path, _, _| match path {
        "/list.m3u8" => ok(list(
            "#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-KEY:METHOD=AES-128,URI=\"one\"\n#EXTINF:2,\na\n#EXTINF:2,\nb\n\
             #EXT-X-KEY:METHOD=AES-128,URI=\"two\",IV=0x99\n#EXTINF:2,\nc\n#EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\nd\n",
        )),
        "/one" => ok([1; 16]),
        "/two" => ok([2; 16]),
        "/a" => ok(encrypted([1; 16], 7, "exactly 16 bytes")),
        "/b" => ok(encrypted([1; 16], 8, " and some more than that, ")),
        "/c" => ok(encrypted([2; 16], 0x99, "other, ")),
        _ => ok("plain"),
    })
    .await;
    let (text, failure) = read(request(site.url("/list.m3u8"))).await;
    assert_eq!(
        text,
        "exactly 16 bytes and some more than that, other, plain"
    );
    assert!(is_over(&failure), "{failure}");
    assert_eq!(
        site.asked(),
        ["/list.m3u8", "/one", "/a", "/b", "/two", "/c", "/d"]
    );
}

#[tokio::test]
async fn fragments_come_behind_their_initialization_section_and_begin_anew_where_that_changes() {
    let site = Site::start(|path, _, _| match path {
        "/list.m3u8" => ok(list(
            "#EXT-X-MAP:URI=\"i?t=1\"\n#EXTINF:2,\na\n#EXT-X-MAP:URI=\"i?t=2\"\n#EXTINF:2,\nb\n\
             #EXT-X-KEY:METHOD=AES-128,URI=\"key\",IV=0x7\n#EXT-X-MAP:URI=\"sealed\",BYTERANGE=\"16@3\"\n#EXTINF:2,\nc\n\
             #EXT-X-KEY:METHOD=NONE\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\nd\n#EXTINF:2,\nbroken\n#EXTINF:2,\ne\n",
        )),
        "/i?t=1" | "/i?t=2" => ok("[init]"),
        "/key" => ok([1; 16]),
        "/sealed" => ok([&b"..."[..], &encrypted([1; 16], 7, "[other init]"), b"."].concat()),
        "/c" => ok(encrypted([1; 16], 7, "c")),
        "/broken" => b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbroken".to_vec(),
        path => ok(&path[1..]),
    })
    .await;
    let (text, failure) = read(request(site.url("/list.m3u8"))).await;
    assert_eq!(
        text,
        "|[init]ab|[other init]c|[other init]dbroken|[other init]e"
    );
    assert!(is_over(&failure), "{failure}");
}

const APART: &str = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"g\",URI=\"sound\"\n\
    #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"g\"\npictures\n";

/// A variant with audio apart, by what the playlists of both list and whatever else there is.
async fn apart(
    pictures: &'static str,
    audio: &'static str,
    rest: fn(&str) -> Vec<u8>,
) -> (String, SourceFailure) {
    let site = Site::start(move |path, _, _| match path {
        "/master" => ok(APART),
        "/pictures" => ok(list(pictures)),
        "/sound" => ok(list(audio)),
        path => rest(path),
    })
    .await;
    read(request(site.url("/master"))).await
}

#[tokio::test]
async fn sound_that_comes_apart_keeps_step_with_the_pictures_and_passes_seams_with_them() {
    let (text, failure) = apart(
        "#EXT-X-MAP:URI=\"I\"\n#EXTINF:2,\nA\n#EXTINF:2,\nB\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\nC\n",
        "#EXTINF:2,\na\n#EXTINF:1,\nb\n#EXTINF:1,\nc\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\nd\n",
        |path| ok(&path[1..]),
    )
    .await;
    assert_eq!(text, "||aIAbBc||dIC");
    assert!(is_over(&failure), "{failure}");
}

#[tokio::test]
async fn a_seam_of_one_track_alone_is_waited_for_no_longer_than_a_few_segments() {
    let (text, _) = apart(
        "#EXT-X-MAP:URI=\"I\"\n#EXTINF:2,\nA\n#EXT-X-MAP:URI=\"J\"\n#EXTINF:2,\nB\n#EXTINF:2,\nC\n",
        "#EXTINF:2,\na\n#EXTINF:2,\nb\n#EXTINF:2,\nc\n#EXTINF:2,\nd\n#EXTINF:2,\ne\n",
        |path| ok(&path[1..]),
    )
    .await;
    assert_eq!(text, "||aIAbcde||JBC");
}

#[tokio::test]
async fn what_is_wrong_with_the_sound_is_told_as_that_of_the_sound() {
    let fails = |path: &str| match path {
        "/a" | "/b" | "/c" => status("403 Forbidden"),
        "/page" => ok("<html>"),
        path => ok(&path[1..]),
    };
    for (audio, expected) in [
        (
            "#EXTINF:2,\na\n#EXTINF:2,\nb\n#EXTINF:2,\nc\n",
            " (audio) answered with HTTP status 403",
        ),
        (
            "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:2,\na\n",
            " (audio) cannot be played: ",
        ),
    ] {
        let (_, failure) = apart("#EXTINF:2,\nA\n", audio, fails).await;
        let message = failure.to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn parts_of_a_resource_are_cut_out_where_the_server_does_not() {
    let site = Site::start(|path, _, _| match path {
        "/list.m3u8" => ok(list(
            "#EXTINF:2,\n#EXT-X-BYTERANGE:5@2\nwhole\n#EXTINF:2,\n#EXT-X-BYTERANGE:3@4\npart\n",
        )),
        "/whole" => ok("..first..."),
        _ => answer(
            "206 Partial Content",
            "Content-Range: bytes 4-6/9\r\n",
            b"sec",
        ),
    })
    .await;
    let (text, failure) = read(request(site.url("/list.m3u8"))).await;
    assert_eq!(text, "firstsec");
    assert!(is_over(&failure), "{failure}");
    assert!(site.head("/whole").contains("range: bytes=2-6\r\n"));
    assert!(site.head("/part").contains("range: bytes=4-6\r\n"));
}

#[tokio::test]
async fn a_segment_that_breaks_off_is_asked_for_again_and_goes_on_where_it_broke() {
    let site = Site::start(|path, count, _| match (path, count) {
        ("/list.m3u8", _) => ok(segments(&["a", "gone", "b"])),
        ("/a", 1) => b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbegins ".to_vec(),
        ("/a", 2) => status("503 Busy"),
        ("/a", _) => ok("begins and ends"),
        ("/gone", _) => status("500 Broken"),
        _ => ok(", and others follow"),
    })
    .await;
    let (text, failure) = read(request(site.url("/list.m3u8"))).await;
    assert_eq!(text, "begins and ends, and others follow");
    assert!(is_over(&failure), "{failure}");
}

#[tokio::test]
async fn an_address_that_has_expired_is_resolved_anew_and_only_once_without_success() {
    let site = Site::start(|path, count, _| match (path, count) {
        ("/live", count) => found(&format!("/t{count}/list.m3u8")),
        ("/t1/list.m3u8" | "/t2/list.m3u8" | "/t3/list.m3u8", _) => ok(segments(&["a", "b", "c"])),
        ("/t1/a", _) => ok("a"),
        ("/t2/b", _) => ok("b"),
        _ => status("403 Forbidden"),
    })
    .await;
    let (text, failure) = read(request(site.url("/live"))).await;
    assert_eq!(text, "ab");
    assert!(is_forbidden(&failure), "{failure}");
    let asked = site.asked();
    let resolved = asked.iter().filter(|path| *path == "/live").count();
    assert_eq!(resolved, 3, "{asked:?}");
}

#[tokio::test]
async fn a_playlist_that_is_refused_for_good_says_so() {
    let live = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na\n";
    let site = Site::start(move |path, count, _| match (path, count) {
        ("/list.m3u8", 1) => ok(live),
        ("/a", _) => ok("a"),
        _ => status("403 Forbidden"),
    })
    .await;
    let (text, failure) = read(request(site.url("/list.m3u8"))).await;
    assert_eq!(text, "a");
    assert!(is_forbidden(&failure), "{failure}");
}

#[tokio::test]
async fn no_address_that_a_playlist_names_is_connected_to_where_the_policy_refuses_it() {
    // This machine, by an address that no source can have: a connection would arrive.
    let trap = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let evil = format!("http://0.0.0.0:{port}/x");
    let lists = [
        format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{evil}\n"),
        segments(&[&evil]),
        segments(&["redirects"]),
        list(&format!(
            "#EXT-X-KEY:METHOD=AES-128,URI=\"{evil}\"\n#EXTINF:2,\na\n"
        )),
        list("#EXT-X-KEY:METHOD=AES-128,URI=\"redirects\"\n#EXTINF:2,\na\n"),
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nredirects\n".to_owned(),
    ];
    for text in lists {
        let (list, evil) = (text.clone(), evil.clone());
        let site = Site::start(move |path, _, _| match path {
            "/list.m3u8" => ok(&list),
            "/redirects" => found(&evil),
            _ => ok("media"),
        })
        .await;
        let (_, failure) = read(request(site.url("/list.m3u8"))).await;
        assert!(
            matches!(failure, SourceFailure::EgressRefused { .. }),
            "{text}: {failure}"
        );
    }
    let arrived = timeout(Duration::from_millis(100), trap.accept()).await;
    assert!(arrived.is_err(), "something was connected to");
}

#[tokio::test]
async fn what_cannot_be_followed_is_named() {
    let long = format!("#EXTM3U\n{}", "#\n".repeat(1 << 20));
    for (text, expected) in [
        (
            list(
                "#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:2,\na\n",
            ),
            "without its vector",
        ),
        (
            list("#EXT-X-MAP:URI=\"page\"\n#EXTINF:2,\na\n#EXTINF:2,\na\n#EXTINF:2,\na\n"),
            "an initialization section is none",
        ),
        (
            list("#EXT-X-MAP:URI=\"endless\"\n#EXTINF:2,\na\n#EXTINF:2,\na\n#EXTINF:2,\na\n"),
            "longer than 1048576 bytes",
        ),
        (
            list("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:2,\na\n"),
            "SAMPLE-AES",
        ),
        (
            "#EXTM3U\n#EXTINF:-1,News\nhttp://a.example/1.ts\n".to_owned(),
            "line 2",
        ),
        (segments(&["file:///etc/passwd"]), "scheme \"file\""),
        (
            list("#EXT-X-KEY:METHOD=AES-128,URI=\"short\"\n#EXTINF:2,\na\n"),
            "a key has not 16 bytes",
        ),
        (
            list(
                "#EXT-X-KEY:METHOD=AES-128,URI=\"long\"\n#EXTINF:2,\na\n#EXTINF:2,\na\n#EXTINF:2,\na\n",
            ),
            "longer than 16 bytes",
        ),
        (long, "longer than"),
    ] {
        let served = text.clone();
        let site = Site::start(move |path, _, _| match path {
            "/list.m3u8" => ok(&served),
            "/short" => ok("key"),
            "/long" => ok([0; 1000]),
            "/key" => ok([0; 16]),
            "/page" => ok("<html>"),
            "/endless" => ok(vec![0; 2 << 20]),
            _ => ok("media"),
        })
        .await;
        let (_, failure) = read(request(site.url("/list.m3u8"))).await;
        let message = failure.to_string();
        let text = &text[..text.len().min(200)];
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[tokio::test]
async fn a_segment_that_is_no_transport_stream_is_named_before_it_is_handed_on() {
    let cases: [(&[u8], &str); 2] = [
        (b"\0\0\0\x18stypmsdh", "no initialization section"),
        (b"\n<!DOCTYPE html>", "a segment is a web page"),
    ];
    for (head, expected) in cases {
        let site = Site::start(move |path, _, _| match path {
            "/list.m3u8" => ok(segments(&["a"])),
            _ => ok(head),
        })
        .await;
        let (text, failure) = read(request(site.url("/list.m3u8"))).await;
        assert_eq!(text, "");
        assert!(failure.to_string().contains(expected), "{failure}");
    }
}

#[tokio::test]
async fn sound_alone_comes_with_the_starts_of_its_segments_and_so_does_what_follows_it() {
    let site = Site::start(|path, _, _| match path {
        "/list.m3u8" => ok(list(
            "#EXTINF:2,\ntagged\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\nadts\n#EXTINF:2,\nmp3\n#EXTINF:2,\nac3\n#EXTINF:2,\nstream\n",
        )),
        "/tagged" => ok("ID3 tagged "),
        "/adts" => ok(b"\xFF\xF1 adts "),
        "/mp3" => ok(b"\xFF\xFB mp3 "),
        "/ac3" => ok(b"\x0B\x77 ac3 "),
        _ => ok("Gstream"),
    })
    .await;
    let (text, failure) = read(request(site.url("/list.m3u8"))).await;
    let text = text.replace(char::REPLACEMENT_CHARACTER, "?");
    assert_eq!(text, "~ID3 tagged ~?? adts ~?? mp3 ~\u{b}w ac3 Gstream");
    assert!(is_over(&failure), "{failure}");
}

#[tokio::test]
async fn sound_in_place_of_the_pictures_that_it_belongs_to_is_named() {
    let (_, failure) = apart("#EXTINF:2,\nA\n", "#EXTINF:2,\na\n", |path| match path {
        "/A" => ok("ID3"),
        _ => ok("Gsound"),
    })
    .await;
    let expected = "sound without a transport stream, although";
    assert!(failure.to_string().contains(expected), "{failure}");
}

#[tokio::test]
async fn whoever_stops_waiting_loses_nothing() {
    let body = "0123456789".repeat(20_000);
    let served = body.clone();
    let site = Site::start(move |path, _, _| match path {
        "/list.m3u8" => ok(segments(&["a", "b"])),
        _ => ok(&served),
    })
    .await;
    let mut input = input(request(site.url("/list.m3u8"))).await;
    let mut text = Vec::new();
    loop {
        match timeout(Duration::from_micros(50), input.next()).await {
            Ok(Ok(Piece::Bytes(bytes))) => text.extend_from_slice(&bytes),
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(failure)) => {
                assert!(is_over(&failure), "{failure}");
                break;
            }
        }
    }
    assert!(text == body.repeat(2).as_bytes());
}

#[tokio::test]
async fn what_is_no_playlist_comes_as_it_is() {
    for body in ["#EXT", "#EXTINF", "G...", "<html>", ""] {
        let site = Site::start(move |_, _, _| ok(body)).await;
        let (text, failure) = read(request(site.url("/x.m3u8"))).await;
        assert_eq!(text, body);
        assert!(
            matches!(failure, SourceFailure::EndOfStream { detail: None, .. }),
            "{failure}"
        );
    }
}

const TWO: &str =
    "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=2\nhigh\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow\n";

#[tokio::test]
async fn a_variant_that_is_not_there_gives_way_to_another() {
    let site = Site::start(|path, _, _| match path {
        "/master" => ok(TWO),
        "/low" => ok(segments(&["low-1"])),
        "/low-1" => ok("low"),
        _ => status("404 Not Found"),
    })
    .await;
    let (text, failure) = read(request(site.url("/master"))).await;
    assert_eq!(text, "low");
    assert!(is_over(&failure), "{failure}");
    assert_eq!(site.asked(), ["/master", "/high", "/low", "/low-1"]);
}

#[tokio::test]
async fn a_variant_whose_segments_are_refused_gives_way_to_another() {
    let site = Site::start(|path, _, _| match path {
        "/master" => ok(TWO),
        "/high" => ok(segments(&["high-1", "high-2", "high-3", "high-4"])),
        "/high-1" => ok("high "),
        "/low" => ok(segments(&["low-1", "low-2"])),
        "/low-1" => ok("low-1 "),
        "/low-2" => ok("low-2"),
        _ => status("403 Forbidden"),
    })
    .await;
    let (text, failure) = read(request(site.url("/master"))).await;
    assert_eq!(text, "high low-1 low-2");
    assert!(is_over(&failure), "{failure}");
}

#[tokio::test]
async fn a_source_has_failed_when_no_variant_can_be_had() {
    let site = Site::start(|path, _, _| match path {
        "/master" => ok(TWO),
        "/high" => ok(segments(&["high-1"])),
        "/low" => status("500 Internal Server Error"),
        _ => status("403 Forbidden"),
    })
    .await;
    let (text, failure) = read(request(site.url("/master"))).await;
    assert_eq!(text, "");
    assert!(is_forbidden(&failure), "{failure}");
}
