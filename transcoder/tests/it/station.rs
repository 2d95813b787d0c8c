//! Radio over HTTP as stations send it: frames of sound without an end and without a container, with whatever stands between them.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use futures::stream::unfold;
use testkit::source::ChannelSettings;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::attempt::{Attempt, Setup, job_source, told};

/// What a station sends.
#[derive(Debug, Default)]
struct Station {
    /// How FFmpeg makes its sound.
    format: &'static str,
    /// After so many bytes there is something else each time.
    noise_every: Option<usize>,
    /// So many bytes are all that the first listener gets.
    first_gets: Option<usize>,
    listeners: AtomicUsize,
}

/// The sound is that of now: it comes as fast as it sounds.
async fn listen(State(station): State<Arc<Station>>, headers: HeaderMap) -> Body {
    assert!(!headers.contains_key("icy-metadata"), "{headers:?}");
    let is_first = station.listeners.fetch_add(1, Ordering::SeqCst) == 0;
    let mut ffmpeg = Command::new("ffmpeg");
    let ffmpeg = ffmpeg
        .args("-nostdin -loglevel error -re -f lavfi -i sine=r=44100 -ac 2".split(' '))
        .args(station.format.split(' '))
        .arg("pipe:1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut ffmpeg = ffmpeg.spawn().unwrap();
    let mut sound = ffmpeg.stdout.take().unwrap();
    // A station is joined anywhere.
    sound.read_exact(&mut [0; 100]).await.unwrap();
    let left = station.first_gets.filter(|_| is_first);
    let every = station.noise_every.unwrap_or(usize::MAX);
    let state = (ffmpeg, sound, left.unwrap_or(usize::MAX), every);
    let parts = unfold(state, move |(ffmpeg, mut sound, left, quiet)| async move {
        if quiet == 0 {
            let noise = Bytes::from_static(&[0x13; 500]);
            return Some((std::io::Result::Ok(noise), (ffmpeg, sound, left, every)));
        }
        let mut bytes = vec![0; 1000.min(left).min(quiet)];
        let length = sound.read(&mut bytes).await.unwrap();
        bytes.truncate(length);
        let next = (ffmpeg, sound, left - length, quiet - length);
        (length > 0).then(|| (Ok(Bytes::from(bytes)), next))
    });
    Body::from_stream(parts)
}

/// A radio that listens to it.
async fn tuned(station: Station) -> Attempt {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/radio", listener.local_addr().unwrap());
    let routes = Router::new().route("/radio", get(listen));
    let serving = axum::serve(listener, routes.with_state(Arc::new(station)));
    tokio::spawn(serving.into_future());
    let mut setup = Setup::auto(ChannelSettings::small("spare"));
    setup.job.sources = vec![job_source(0, url)];
    setup.start().await
}

/// Plays by the rules, with so many seams.
async fn sounds(station: Station, seams: u64) {
    let format = station.format;
    let attempt = tuned(station).await;
    let report = attempt.check(16, seams).await;
    assert_eq!(told(&report), "", "{format}");
    let playlists = attempt.playlists(|one| !one.renditions.is_empty()).await;
    let codecs: Vec<_> = playlists.renditions.iter().map(|one| &one.codecs).collect();
    assert_eq!(codecs, ["mp4a.40.2"], "{format}");
    attempt.stop().await;
}

#[tokio::test]
async fn a_station_without_a_container_is_radio() {
    let aac = Station {
        format: "-c:a aac -b:a 128k -f adts",
        ..Station::default()
    };
    let mpeg = Station {
        format: "-c:a libmp3lame -b:a 128k -f mp3",
        ..Station::default()
    };
    tokio::join!(sounds(aac, 0), sounds(mpeg, 0));
}

#[tokio::test]
async fn what_stands_between_frames_is_passed_over() {
    let noisy = Station {
        format: "-c:a aac -b:a 128k -f adts",
        noise_every: Some(16_000),
        ..Station::default()
    };
    sounds(noisy, 0).await;
}

#[tokio::test]
async fn a_station_that_breaks_off_is_asked_again_and_goes_on_behind_a_seam() {
    let broken = Station {
        format: "-c:a aac -b:a 128k -f adts",
        first_gets: Some(120_000),
        ..Station::default()
    };
    sounds(broken, 1).await;
}
