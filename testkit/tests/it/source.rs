//! What a client of the live source sees, in order and in trouble.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use testkit::source::{
    AccessIndicator, AccessPoints, AudioFormat, ChannelSettings, ChannelStats, Cut, Faults,
    FrameRate, LiveSource, Malformed, Size, SourceSettings, VideoFormat,
};

const BOUND: Duration = Duration::from_secs(30);

async fn source(channels: Vec<ChannelSettings>) -> LiveSource {
    let settings = SourceSettings::loopback(channels);
    LiveSource::start(settings).await.unwrap()
}

async fn small() -> LiveSource {
    source(vec![ChannelSettings::small("one")]).await
}

fn client() -> reqwest::Client {
    testkit::tls::choose_provider();
    reqwest::Client::new()
}

async fn get(url: impl reqwest::IntoUrl) -> reqwest::Result<Response> {
    client().get(url).send().await
}

/// The next chunk of a body: `None` at its end.
async fn chunk(response: &mut Response) -> Result<Option<bytes::Bytes>, reqwest::Error> {
    tokio::time::timeout(BOUND, response.chunk()).await.unwrap()
}

/// Reads until `enough` bytes are there; the rest of the stream is left.
async fn read(url: &str, enough: usize) -> Vec<u8> {
    let mut response = get(url).await.unwrap();
    assert_eq!(response.status(), 200, "{url}");
    let mut bytes = Vec::new();
    while bytes.len() < enough {
        bytes.extend(chunk(&mut response).await.unwrap().expect("stream ended"));
    }
    bytes
}

/// Reads what a client gets of so many seconds of the past, from a key picture on.
pub(crate) async fn read_burst(url: &str, seconds: u32) -> Vec<u8> {
    let mut response = get(format!("{url}?burst={seconds}&phase=0")).await.unwrap();
    let mut bytes = Vec::new();
    let mut first = None;
    loop {
        let chunk = chunk(&mut response).await.unwrap().expect("stream ended");
        // Chunks of the network need not be whole packets.
        let from = bytes.len() / 188 * 188;
        bytes.extend(chunk);
        let clocks = clocks(&bytes[from..]);
        first = first.or(clocks.first().copied());
        let last = clocks.last().copied();
        if let (Some(first), Some(last)) = (first, last)
            && last - first >= f64::from(seconds - 1)
        {
            return bytes;
        }
    }
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

fn starts_unit(packet: &[u8]) -> bool {
    packet[1] & 0x40 != 0
}

/// Leaves out what began and was not finished.
fn whole_units(bytes: &[u8]) -> Vec<u8> {
    let packets = bytes.chunks_exact(188).enumerate();
    let mut last = BTreeMap::new();
    for (index, packet) in packets.clone().filter(|(_, packet)| starts_unit(packet)) {
        last.insert(pid(packet), index);
    }
    let whole =
        |(index, packet): &(usize, &[u8])| last.get(&pid(packet)).is_none_or(|end| index < end);
    packets
        .filter(whole)
        .flat_map(|(_, packet)| packet.to_vec())
        .collect()
}

/// The clock references, in seconds.
fn clocks(bytes: &[u8]) -> Vec<f64> {
    let carries = |packet: &&[u8]| packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x10 != 0;
    let base = |packet: &[u8]| {
        packet[6..10]
            .iter()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let packets = bytes.chunks_exact(188).filter(carries);
    packets
        .map(|packet| base(packet) as f64 / 45_000.0)
        .collect()
}

fn complaints(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("media.ts");
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "warning", "-i"])
        .arg(&file)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn every_kind_of_channel_decodes_without_a_complaint_over_the_seams_of_its_loop() {
    let channel = |name: &str, change: fn(&mut ChannelSettings)| {
        let mut channel = ChannelSettings::small(name);
        channel.gop = 1.0;
        change(&mut channel);
        channel
    };
    let channels = vec![
        channel("h264", |_| {}),
        channel("recovery", |c| c.access = AccessPoints::Recovery),
        channel("hevc", |c| c.codec = VideoFormat::Hevc),
        channel("mpeg2", |c| {
            (c.codec, c.audio, c.bitrate) = (VideoFormat::Mpeg2, AudioFormat::Mp2, 600);
            (c.interlaced, c.size) = (true, Size(352, 288));
        }),
        channel("ac3", |c| {
            (c.audio, c.rai) = (AudioFormat::Ac3, AccessIndicator::Never);
        }),
        channel("eac3", |c| c.audio = AudioFormat::Eac3),
        channel("latm", |c| {
            (c.audio, c.pcr_jitter) = (AudioFormat::Latm, 40);
        }),
        channel("late", |c| (c.audio_late, c.pcr_pid) = (1200, true)),
        channel("fraction", |c| c.fps = FrameRate(30_000, 1001)),
        channel("radio", |c| c.codec = VideoFormat::None),
    ];
    let names = channels
        .iter()
        .map(|channel| channel.name.clone())
        .collect::<Vec<_>>();
    let source = source(channels).await;
    for name in names {
        // The longest loop is 64 s.
        let bytes = read_burst(&source.url(&name), 70).await;
        assert_eq!(complaints(&whole_units(&bytes)), "", "{name}");
    }
    source.shutdown().await;
}

#[tokio::test]
async fn a_client_joins_at_the_phase_of_the_gop_it_asks_for() {
    let source = small().await;
    for (phase, wait) in [(0.0, 0.0), (0.25, 1.5), (0.75, 0.5)] {
        let bytes = read(&format!("{}?phase={phase}", source.url("one")), 100_000).await;
        let packets = bytes.chunks_exact(188).collect::<Vec<_>>();
        let is_key =
            |packet: &&[u8]| pid(packet) == 0x100 && packet[3] & 0x20 != 0 && packet[5] & 0x40 != 0;
        let key = packets.iter().position(is_key).unwrap();
        let clock = |packets: &[&[u8]]| clocks(&packets.concat());
        let started = clock(&packets)[0];
        let waited = clock(&packets[..=key])
            .last()
            .map_or(0.0, |last| last - started);
        assert!((waited - wait).abs() < 0.09, "{phase}: {waited}");
    }
    source.shutdown().await;
}

#[tokio::test]
async fn a_cut_ends_the_clients_there_are_and_new_ones_may_come() {
    let source = small().await;
    for (how, clean) in [(Cut::Clean, true), (Cut::Abort, false)] {
        let mut response = get(source.url("one")).await.unwrap();
        chunk(&mut response).await.unwrap().unwrap();
        source.cut("one", how).unwrap();
        let end = loop {
            match chunk(&mut response).await {
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert_eq!(end, clean);
    }
    read(&source.url("one"), 10_000).await;
    let stats = source.stats("one").unwrap();
    assert_eq!((stats.clients_total, stats.requests), (3, 3));
    source.shutdown().await;
}

#[tokio::test]
async fn silence_keeps_the_connection_and_loses_what_passes() {
    let source = small().await;
    let mut response = get(source.url("one")).await.unwrap();
    let mut bytes = Vec::new();
    while clocks(&bytes).is_empty() {
        bytes.extend(chunk(&mut response).await.unwrap().unwrap());
    }
    let silent = |silence| Faults {
        silence: Some(silence),
        ..Faults::default()
    };
    source.set_faults("one", silent(true)).unwrap();
    // What was on its way when the silence began still arrives; then nothing does.
    let quiet = async { while response.chunk().await.unwrap().is_some() {} };
    assert!(
        tokio::time::timeout(Duration::from_secs(1), quiet)
            .await
            .is_err()
    );
    source.set_faults("one", silent(false)).unwrap();
    let mut after = Vec::new();
    while clocks(&after).is_empty() {
        after.extend(chunk(&mut response).await.unwrap().unwrap());
    }
    let hole = clocks(&after)[0] - clocks(&bytes)[0];
    assert!(hole > 0.8, "{hole}");
    source.shutdown().await;
}

#[tokio::test]
async fn refusals_are_given_as_asked() {
    let source = small().await;
    testkit::tls::choose_provider();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.build().unwrap();
    let get = |query: &str| client.get(format!("{}?{query}", source.url("one"))).send();

    let refused = get("status=503&retry-after=7").await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "7");

    let redirected = get("redirect=2&burst=1").await.unwrap();
    assert_eq!(redirected.status(), StatusCode::FOUND);
    let location = redirected.headers()["location"].to_str().unwrap();
    assert_eq!(location, "/one.ts?burst=1.0&redirect=1");

    let page = get("malformed=html").await.unwrap().text().await.unwrap();
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    let empty = get("malformed=empty").await.unwrap().bytes().await.unwrap();
    assert_eq!(empty.len(), 0);

    let _held = get("limit=1").await.unwrap();
    assert_eq!(
        get("limit=1").await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        get("colour=red").await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    let unknown = client.get(source.url("two")).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    source.shutdown().await;
}

#[tokio::test]
async fn a_redirect_chain_ends_in_the_stream() {
    let source = small().await;
    let bytes = read(&format!("{}?redirect=3&burst=1", source.url("one")), 10_000).await;
    assert_eq!(bytes[0], 0x47);
    assert_eq!(source.stats("one").unwrap().requests, 4);
    source.shutdown().await;
}

#[tokio::test]
async fn a_slow_client_gets_no_more_than_its_bandwidth() {
    let source = small().await;
    let began = Instant::now();
    // Three seconds hold about 190 kB; 800 kbit/s are 100 kB/s.
    read(&format!("{}?burst=3&slow=800", source.url("one")), 150_000).await;
    assert!(
        began.elapsed() > Duration::from_millis(1200),
        "{:?}",
        began.elapsed()
    );
    source.shutdown().await;
}

#[tokio::test]
async fn damage_hits_as_many_packets_as_asked() {
    let source = small().await;
    let url = source.url("one");
    let damaged = read(&format!("{url}?burst=3&corrupt=10"), 94_000).await;
    let broken = damaged[..94_000]
        .chunks(188)
        .filter(|packet| packet[0] != 0x47)
        .count();
    assert_eq!(broken, 50);
    let garbage = read(&format!("{url}?burst=1&malformed=garbage"), 10_000).await;
    assert!(!garbage.contains(&0x47));
    source.shutdown().await;
}

#[tokio::test]
async fn faults_and_counts_are_reachable_over_http() {
    let mut settings = ChannelSettings::small("one");
    settings.faults.malformed = Some(Malformed::Html);
    let source = source(vec![settings]).await;
    let base = format!("http://{}", source.address());
    let client = client();
    let fault = format!("{base}/admin/one/fault");

    let before: Faults = client
        .get(&fault)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(before.malformed, Some(Malformed::Html));
    let set = client.post(format!("{fault}?silence=true&slow=300&cut=clean&jump=5.5"));
    let after: Faults = set.send().await.unwrap().json().await.unwrap();
    let expected = Faults {
        silence: Some(true),
        slow: Some(300),
        ..Faults::default()
    };
    assert_eq!(after, expected);
    let wrong = client
        .post(format!("{fault}?slow=much"))
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);

    client.post(&fault).send().await.unwrap();
    let stream = client
        .get(source.url("one"))
        .header("user-agent", "tester/1");
    let stream = stream.send().await.unwrap();
    let stats = client.get(format!("{base}/stats")).send().await.unwrap();
    let stats: BTreeMap<String, ChannelStats> = stats.json().await.unwrap();
    let one = &stats["one"];
    assert_eq!((one.clients, one.requests), (1, 1));
    assert_eq!(one.user_agent.as_deref(), Some("tester/1"));
    drop(stream);
    for path in ["livez", "readyz"] {
        let response = client.get(format!("{base}/{path}")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    source.shutdown().await;
}

#[tokio::test]
async fn two_channels_of_one_name_are_refused() {
    let settings = SourceSettings::loopback(vec![
        ChannelSettings::small("one"),
        ChannelSettings::small("one"),
    ]);
    let error = LiveSource::start(settings).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to tell channels apart: \"one\" is named twice"
    );
}
