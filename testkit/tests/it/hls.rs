//! A little live HLS server that can break one rule at a time. Its segments come from the live source, cut at its keys.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use testkit::source::{ChannelSettings, LiveSource, SourceSettings};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Number of the first segment, and how many are listed.
const FIRST: u64 = 100;
const WINDOW: u64 = 4;

/// What a stream does wrong; its name is its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Removed segments are gone at once.
    Forgets,
    /// One version in three cannot be fetched.
    Fails,
    /// Number 104 is never there.
    Misses,
    /// Playlists and segments are text that may be cached for ever.
    Headers,
    /// No new version after the second.
    Stops,
    /// Number 105 has other bytes.
    Alters,
    /// Number 104 holds pictures that cannot be decoded.
    Noise,
    /// All sound is 120 ms late.
    Late,
    /// The master says half the truth.
    Master,
    /// No playlist for the first second.
    Slow,
    /// A discontinuity at number 105.
    Seam,
    /// Number 103 is something else in the second rendition.
    Misaligned,
    /// Never lists anything.
    Empty,
    /// The media playlist is a web page.
    Page,
}

pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

struct Stream {
    began: Instant,
    segments: Vec<Vec<u8>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let stream = Arc::new(Stream {
            segments: segments().await,
            began: Instant::now(),
        });
        let router = Router::new()
            .route("/{fault}/master.m3u8", get(master))
            .route("/{fault}/{rendition}/index.m3u8", get(playlist))
            .route("/{fault}/{rendition}/{file}", get(segment))
            .with_state(stream);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, task }
    }

    pub(crate) fn url(&self, fault: Fault) -> reqwest::Url {
        format!("http://{}/{fault:?}/master.m3u8", self.address)
            .parse()
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Half a minute of one second segments.
async fn segments() -> Vec<Vec<u8>> {
    let mut channel = ChannelSettings::small("one");
    channel.gop = 1.0;
    let source = LiveSource::start(SourceSettings::loopback(vec![channel]))
        .await
        .unwrap();
    let bytes = crate::source::read_burst(&source.url("one"), 32).await;
    source.shutdown().await;
    let packets = bytes.chunks_exact(188).collect::<Vec<_>>();
    let is_key = |packet: &[u8]| {
        packet[1..3] == [0x41, 0x00] && packet[3] & 0x20 != 0 && packet[5] & 0x40 != 0
    };
    let is_table = |packet: &[u8]| packet[1..3] == [0x40, 0x00];
    let keys = (0..packets.len()).filter(|index| is_key(packets[*index]));
    let starts = keys.filter_map(|key| (0..key).rev().find(|index| is_table(packets[*index])));
    let starts = starts.collect::<Vec<_>>();
    starts
        .windows(2)
        .map(|pair| packets[pair[0]..pair[1]].concat())
        .collect()
}

fn fault(name: &str) -> Fault {
    use Fault::{
        Alters, Empty, Fails, Forgets, Headers, Late, Master, Misaligned, Misses, Noise, Page,
        Seam, Slow, Stops,
    };
    [
        Forgets, Fails, Misses, Headers, Stops, Alters, Noise, Late, Master, Slow, Seam,
        Misaligned, Empty, Page,
    ]
    .into_iter()
    .find(|fault| format!("{fault:?}") == name)
    .unwrap_or(Fault::None)
}

async fn master(Path(name): Path<String>) -> Response {
    let codecs = "avc1.64000c,mp4a.40.2";
    let (codecs, rate) = match fault(&name) {
        Fault::Master => ("avc1.640028,mp4a.40.2", "50.000"),
        _ => (codecs, "25.000"),
    };
    let variant = |name: &str| {
        format!(
            "#EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=700000,CODECS=\"{codecs}\",RESOLUTION=320x180,FRAME-RATE={rate}\n{name}/index.m3u8\n"
        )
    };
    let text = format!(
        "#EXTM3U\n#EXT-X-VERSION:6\n{}{}",
        variant("one"),
        variant("two")
    );
    playlist_response(&name, text)
}

fn playlist_response(name: &str, text: String) -> Response {
    let (kind, cache) = match fault(name) {
        Fault::Headers => ("text/plain", "max-age=600"),
        _ => ("application/vnd.apple.mpegurl", "no-cache"),
    };
    (
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)],
        text,
    )
        .into_response()
}

async fn playlist(
    State(stream): State<Arc<Stream>>,
    Path((name, rendition)): Path<(String, String)>,
) -> Response {
    let fault = fault(&name);
    let mut second = stream.began.elapsed().as_secs();
    match fault {
        Fault::Fails if second % 3 == 2 => {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        Fault::Slow if second < 1 => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Fault::Stops => second = second.min(2),
        Fault::Empty => second = 0,
        Fault::Page => return playlist_response(&name, "<!DOCTYPE html>".to_owned()),
        _ => {}
    }
    let last = (FIRST + WINDOW + second).min(FIRST + stream.segments.len() as u64);
    let first = last - WINDOW;
    let seam = 105;
    let counted = u64::from(fault == Fault::Seam && first > seam);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{counted}\n#EXT-X-INDEPENDENT-SEGMENTS\n"
    );
    for number in first..last {
        if fault == Fault::Empty {
            continue;
        }
        if fault == Fault::Seam && number == seam {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let odd = fault == Fault::Misaligned && rendition == "two" && number == 103;
        let duration = if odd { "1.040" } else { "1.000" };
        let minute = (number - FIRST) / 60;
        let second = (number - FIRST) % 60;
        text.push_str(&format!(
            "#EXT-X-PROGRAM-DATE-TIME:2030-01-01T00:{minute:02}:{second:02}.000Z\n#EXTINF:{duration},\n{number}.ts\n"
        ));
    }
    playlist_response(&name, text)
}

async fn segment(
    State(stream): State<Arc<Stream>>,
    Path((name, _, file)): Path<(String, String, String)>,
) -> Response {
    let fault = fault(&name);
    let number: u64 = file
        .strip_suffix(".ts")
        .and_then(|number| number.parse().ok())
        .unwrap();
    let removed = number < FIRST + stream.began.elapsed().as_secs();
    if (fault == Fault::Forgets && removed) || (fault == Fault::Misses && number == 104) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut bytes = stream.segments[(number - FIRST) as usize].clone();
    match fault {
        Fault::Alters if number == 105 => bytes.extend(null_packet()),
        Fault::Noise if number == 104 => spoil_pictures(&mut bytes),
        Fault::Late => delay_sound(&mut bytes),
        _ => {}
    }
    let (kind, cache) = match fault {
        Fault::Headers => ("text/plain", "no-store"),
        _ => ("video/mp2t", "public, max-age=3600, immutable"),
    };
    (
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)],
        bytes,
    )
        .into_response()
}

fn null_packet() -> [u8; 188] {
    let mut packet = [0xff; 188];
    packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
    packet
}

/// Zeroes the video of every second packet that starts no picture.
fn spoil_pictures(bytes: &mut [u8]) {
    let inner = bytes
        .chunks_mut(188)
        .filter(|packet| packet[1..3] == [0x01, 0x00] && packet[3] & 0x30 == 0x10);
    for packet in inner.step_by(2) {
        packet[4..].fill(0x55);
    }
}

/// Adds 120 ms to the PTS of every audio PES.
fn delay_sound(bytes: &mut [u8]) {
    for packet in bytes
        .chunks_mut(188)
        .filter(|packet| packet[1..3] == [0x41, 0x01])
    {
        let start = if packet[3] & 0x20 != 0 {
            5 + usize::from(packet[4])
        } else {
            4
        };
        let stamp = &mut packet[start + 9..start + 14];
        let read = u64::from(stamp[0] >> 1 & 7) << 30
            | u64::from(stamp[1]) << 22
            | u64::from(stamp[2] >> 1) << 15
            | u64::from(stamp[3]) << 7
            | u64::from(stamp[4] >> 1);
        let late = read + 120 * 90;
        stamp[0] = 0x21 | ((late >> 30) as u8 & 7) << 1;
        stamp[1] = (late >> 22) as u8;
        stamp[2] = ((late >> 15) as u8) << 1 | 1;
        stamp[3] = (late >> 7) as u8;
        stamp[4] = (late as u8) << 1 | 1;
    }
}
