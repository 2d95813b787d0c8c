//! The checker against streams that keep all rules, break one, or come out of FFmpeg's own HLS muxer.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use testkit::checker::{CheckSettings, Report, Rule, check};
use testkit::source::{ChannelSettings, LiveSource, SourceSettings};
use tokio::net::TcpListener;

use crate::hls::{Fault, Server};

/// Long enough for a removed segment to be asked for again.
const SHORT: Duration = Duration::from_secs(8);

fn settings(urls: Vec<reqwest::Url>, decode: bool) -> CheckSettings {
    CheckSettings {
        urls,
        duration: SHORT,
        start_timeout: Duration::from_secs(3),
        discontinuities: Some(0),
        stale: None,
        decode,
        user_agent: None,
    }
}

async fn checked(server: &Server, fault: Fault, decode: bool) -> Report {
    check(settings(vec![server.url(fault)], decode))
        .await
        .unwrap()
}

fn told(report: &Report) -> String {
    let lines = report.violations.iter().map(ToString::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_stream_that_keeps_the_rules_is_clean_and_measured() {
    let server = Server::start().await;
    let report = checked(&server, Fault::None, true).await;
    assert_eq!(told(&report), "");
    assert!(report.is_clean());
    assert_eq!(report.renditions.len(), 2);
    let one = &report.renditions[0];
    assert!(one.segments >= 10 && one.versions >= 7, "{one:?}");
    assert!(one.sync_marks >= 8, "{one:?}");
    assert!(
        one.audio_offset_milliseconds.unwrap().abs() < 20.0,
        "{one:?}"
    );
    let start = &report.starts[0];
    let times = [
        start.master_seconds,
        start.playlist_seconds,
        start.segment_seconds,
    ];
    assert!(
        times.is_sorted() && times.iter().all(Option::is_some),
        "{start:?}"
    );
}

#[tokio::test]
async fn each_fault_that_a_server_can_have_is_named() {
    let server = Server::start().await;
    let cases = [
        (Fault::Forgets, vec![Rule::Retention]),
        (Fault::Misses, vec![Rule::SegmentFetch]),
        (Fault::Headers, vec![Rule::MimeType, Rule::CacheHeaders]),
        (Fault::Stops, vec![Rule::Stale]),
        (Fault::Seam, vec![Rule::DiscontinuityCount]),
        (
            Fault::Misaligned,
            vec![
                Rule::ProgramDateTime,
                Rule::Alignment,
                Rule::SegmentDuration,
            ],
        ),
        (Fault::Empty, vec![Rule::Stale, Rule::PlaylistFetch]),
        (Fault::Page, vec![Rule::Syntax, Rule::PlaylistFetch]),
        (Fault::Slow, vec![]),
    ];
    let server = &server;
    let checks = cases
        .iter()
        .map(|(fault, _)| checked(server, *fault, false));
    let fails = checked(server, Fault::Fails, false);
    let (reports, fails) = tokio::join!(futures::future::join_all(checks), fails);
    // What happens to be missed while it fails depends on the moment.
    assert!(
        fails.rules().contains(&Rule::PlaylistFetch),
        "{}",
        told(&fails)
    );
    for ((fault, expected), report) in cases.into_iter().zip(reports) {
        assert_eq!(report.rules(), expected, "{fault:?}: {}", told(&report));
    }
}

#[tokio::test]
async fn faults_that_only_decoding_shows_are_named() {
    let server = Server::start().await;
    let faults = [Fault::Noise, Fault::Late, Fault::Master];
    let checks = faults.map(|fault| checked(&server, fault, true));
    let reports = futures::future::join_all(checks).await;
    let [noise, late, master] = &reports[..] else {
        panic!("three reports");
    };
    assert_eq!(
        noise.rules(),
        [Rule::DecodeAlone, Rule::DecodeJoined],
        "{}",
        told(noise)
    );
    assert_eq!(late.rules(), [Rule::AudioVideoOffset], "{}", told(late));
    let offset = late.renditions[0].audio_offset_milliseconds.unwrap();
    assert!((offset - 120.0).abs() < 20.0, "{offset}");
    assert_eq!(
        master.rules(),
        [Rule::MasterCodecs, Rule::MasterFrameRate],
        "{}",
        told(master)
    );
}

#[tokio::test]
async fn an_expected_discontinuity_is_none_too_many_and_gateways_must_agree_to_the_byte() {
    let server = Server::start().await;
    let expected = CheckSettings {
        discontinuities: Some(1),
        ..settings(vec![server.url(Fault::Seam)], true)
    };
    // One path is the other's but for its first part, so every URL differs as well.
    let differing = settings(
        vec![server.url(Fault::None), server.url(Fault::Alters)],
        false,
    );
    let same = settings(
        vec![server.url(Fault::None), server.url(Fault::None)],
        false,
    );
    let checks = [expected, differing, same].map(check);
    let reports = futures::future::try_join_all(checks).await.unwrap();

    assert_eq!(told(&reports[0]), "");
    assert_eq!(reports[0].renditions[0].discontinuities, 1);
    assert_eq!(
        reports[1].rules(),
        [Rule::Agreement],
        "{}",
        told(&reports[1])
    );
    let bytes = reports[1].violations.iter();
    let bytes = bytes.filter(|violation| violation.detail == "the bytes differ");
    let numbers = bytes
        .map(|violation| (violation.base, violation.number))
        .collect::<Vec<_>>();
    assert_eq!(numbers, [(1, Some(105)), (1, Some(105))]);
    assert_eq!(told(&reports[2]), "");
}

/// Serves a directory that FFmpeg writes; what is not there yet is "come again".
async fn serve(directory: &Path) -> String {
    async fn file(State(root): State<std::path::PathBuf>, uri: Uri) -> Response {
        let name = uri.path().trim_start_matches('/').to_owned();
        let Ok(bytes) = tokio::fs::read(root.join(&name)).await else {
            return match name.ends_with("m3u8") {
                true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                false => StatusCode::NOT_FOUND.into_response(),
            };
        };
        let (kind, cache) = match name.ends_with("m3u8") {
            true => ("application/vnd.apple.mpegurl", "no-cache"),
            false => ("video/mp2t", "max-age=3600"),
        };
        ([("content-type", kind), ("cache-control", cache)], bytes).into_response()
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .fallback(file)
        .with_state(directory.to_owned());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

/// FFmpeg's HLS muxer on a live source; stopped when dropped.
struct Muxer(Child);

impl Muxer {
    fn start(url: &str, directory: &Path, options: &str) -> Self {
        let child = Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-v",
                "quiet",
                "-probesize",
                "500k",
                "-i",
                url,
                "-c",
                "copy",
                "-f",
                "hls",
            ])
            .args(options.split(' '))
            .arg("index.m3u8")
            .current_dir(directory)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn the_known_faults_of_ffmpegs_hls_muxer_are_found() {
    let mut channel = ChannelSettings::small("one");
    channel.gop = 2.0;
    let source = LiveSource::start(SourceSettings::loopback(vec![channel]))
        .await
        .unwrap();
    let cases = [
        // The target follows the longest segment.
        (
            "-hls_time 4 -hls_init_time 1 -hls_list_size 3",
            "index.m3u8",
            Rule::TargetChanged,
        ),
        // Only one removed segment is kept.
        (
            "-hls_time 1 -hls_list_size 3 -hls_flags delete_segments",
            "index.m3u8",
            Rule::Retention,
        ),
        (
            "-hls_time 1 -hls_playlist_type event",
            "index.m3u8",
            Rule::PlaylistType,
        ),
        (
            "-hls_time 1 -hls_flags program_date_time",
            "index.m3u8",
            Rule::ProgramDateTimeFormat,
        ),
        (
            "-hls_time 1 -master_pl_name master.m3u8",
            "master.m3u8",
            Rule::MasterFrameRate,
        ),
    ];
    let runs = cases.iter().map(|(options, playlist, rule)| {
        // The past comes at once, but where the first segments must be seen one by one.
        let burst = if *rule == Rule::TargetChanged { 0 } else { 4 };
        let url = format!("{}?burst={burst}", source.url("one"));
        async move {
            let directory = tempfile::tempdir().unwrap();
            let muxer = Muxer::start(&url, directory.path(), options);
            let base = serve(directory.path()).await;
            let settings = CheckSettings {
                start_timeout: Duration::from_secs(20),
                duration: Duration::from_secs(16),
                ..settings(vec![format!("{base}/{playlist}").parse().unwrap()], false)
            };
            let report = check(settings).await.unwrap();
            drop(muxer);
            assert!(
                report.rules().contains(rule),
                "{options}: {}",
                told(&report)
            );
        }
    });
    futures::future::join_all(runs).await;
    source.shutdown().await;
}

#[tokio::test]
async fn a_playlist_that_ffmpeg_ends_is_named() {
    let source = LiveSource::start(SourceSettings::loopback(vec![ChannelSettings::small(
        "one",
    )]));
    let source = source.await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("{}?burst=4&cut-after=4", source.url("one"));
    let muxer = Muxer::start(&url, directory.path(), "-hls_time 1 -hls_list_size 10");
    let base = serve(directory.path()).await;
    let settings = CheckSettings {
        start_timeout: Duration::from_secs(20),
        ..settings(vec![format!("{base}/index.m3u8").parse().unwrap()], false)
    };
    let report = check(settings).await.unwrap();
    drop(muxer);
    assert!(report.rules().contains(&Rule::EndList), "{}", told(&report));
    source.shutdown().await;
}

#[tokio::test]
async fn a_restart_that_does_not_count_its_discontinuity_is_named() {
    let source = LiveSource::start(SourceSettings::loopback(vec![ChannelSettings::small(
        "one",
    )]));
    let source = source.await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("{}?burst=6", source.url("one"));
    let options = "-hls_time 1 -hls_list_size 3 -hls_flags append_list+omit_endlist";
    let first = Muxer::start(&url, directory.path(), options);
    let listed = async {
        let count = |text: String| text.matches("#EXTINF").count();
        let playlist = directory.path().join("index.m3u8");
        while tokio::fs::read_to_string(&playlist).await.map_or(0, count) < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), listed)
        .await
        .unwrap();
    drop(first);
    let _second = Muxer::start(&url, directory.path(), options);
    let base = serve(directory.path()).await;
    let settings = CheckSettings {
        duration: Duration::from_secs(12),
        discontinuities: None,
        stale: Some(Duration::from_secs(10)),
        ..settings(vec![format!("{base}/index.m3u8").parse().unwrap()], false)
    };
    let report = check(settings).await.unwrap();
    assert!(
        report.rules().contains(&Rule::DiscontinuitySequence),
        "{}",
        told(&report)
    );
    source.shutdown().await;
}
