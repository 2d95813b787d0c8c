//! From one attempt to the next on one source, as operator and gateway do it: players see one stream with one discontinuity in it.

use std::time::Duration;

use api::condition::Reason;
use api::control::{FinishAnswer, JobPhase, PublishRequest};
use api::job::{ResumeFloor, StandbyJob};
use api::names::{parse_segment_name, segment_name};
use api::playlists::Playlists;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use media::playlist::render;
use reqwest::{StatusCode, Url};
use testkit::checker::{CheckSettings, Report, check};
use testkit::source::{ChannelSettings, Faults};
use tokio::net::TcpListener;
use transcoder::job::Outcome;

use crate::attempt::{Attempt, Setup, client, job_source, told};
use crate::closing::open_to;

/// The least that a gateway does: serves the list of the newest attempt that has one, and segments from whoever made them.
#[derive(Clone)]
struct Gateway {
    client: reqwest::Client,
    /// The oldest first.
    attempts: Vec<(i32, Url)>,
}

impl Gateway {
    async fn start(attempts: &[(i32, &Attempt)]) -> Url {
        let bases = attempts.iter().map(|(number, one)| (*number, one.url("")));
        let gateway = Self {
            client: client(),
            attempts: bases.collect(),
        };
        let routes = Router::new()
            .route("/master.m3u8", get(master))
            .route("/{rendition}/index.m3u8", get(media))
            .route("/{rendition}/{segment}", get(segment))
            .with_state(gateway);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
        Url::parse(&format!("http://{address}/master.m3u8")).unwrap()
    }

    async fn document(&self) -> Option<Playlists> {
        for (_, base) in self.attempts.iter().rev() {
            let answer = self.client.get(base.join("playlists").unwrap()).send();
            let playlists: Playlists = answer.await.unwrap().json().await.unwrap();
            if !playlists.segments.is_empty() {
                return Some(playlists);
            }
        }
        None
    }
}

fn playlist(text: Option<String>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.apple.mpegurl"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    match text {
        Some(text) => (headers, text).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn master(State(gateway): State<Gateway>) -> Response {
    let document = gateway.document().await;
    let uri = |one: &api::playlists::Rendition| format!("{}/index.m3u8", one.id);
    playlist(document.map(|document| render::master(&document, uri)))
}

async fn media(State(gateway): State<Gateway>, Path(rendition): Path<String>) -> Response {
    let document = gateway.document().await;
    let uri = |entry: &api::playlists::SegmentEntry| segment_name(entry.attempt, entry.number);
    playlist(document.map(|document| render::media(&document, &rendition, uri)))
}

async fn segment(
    State(gateway): State<Gateway>,
    Path((rendition, name)): Path<(String, String)>,
) -> Response {
    let (maker, _) = parse_segment_name(&name).unwrap();
    let mut attempts = gateway.attempts.iter();
    let (_, base) = attempts.find(|(number, _)| *number == maker).unwrap();
    let url = base.join(&format!("hls/{rendition}/{name}")).unwrap();
    let answer = gateway.client.get(url).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap()).into_response()
}

/// The attempt after another one, on a channel of its source.
fn standby(of: &Attempt, channel: &str, second_connection: bool) -> Setup {
    let mut setup = Setup::copy(ChannelSettings::small("unused"));
    setup.job.sources = vec![job_source(0, of.source.url(channel))];
    setup.job.attempt = 4;
    setup.job.standby = Some(StandbyJob { second_connection });
    setup
}

async fn publish(attempt: &Attempt, request: &PublishRequest) -> StatusCode {
    let client = client();
    let told = client.post(attempt.url("publish")).json(request).send();
    told.await.unwrap().status()
}

/// Finishes one and lets the other go on, as an operator does.
async fn hand_over(old: &Attempt, new: &Attempt) -> FinishAnswer {
    let answer: FinishAnswer = old.post("finish").await.json().await.unwrap();
    let request = PublishRequest {
        floor: answer.next,
        previous: answer.listed.clone(),
    };
    for _ in 0..2 {
        assert_eq!(publish(new, &request).await, StatusCode::OK);
    }
    let again: FinishAnswer = old.post("finish").await.json().await.unwrap();
    assert_eq!((again.next, &again.listed), (answer.next, &answer.listed));
    answer
}

async fn follow(url: Url, seconds: u64, stale: Option<Duration>) -> Report {
    let settings = CheckSettings {
        duration: Duration::from_secs(seconds),
        discontinuities: Some(1),
        stale,
        ..CheckSettings::new(url)
    };
    check(settings).await.unwrap()
}

/// The list goes on behind one discontinuity. Answers by how much later, in milliseconds.
fn pause_at_the_seam(answer: &FinishAnswer, playlists: &Playlists) -> i64 {
    let seam = playlists
        .segments
        .iter()
        .position(|entry| entry.attempt == 4);
    let (before, after) = playlists.segments.split_at(seam.unwrap());
    let (last, first) = (before.last().unwrap(), &after[0]);
    assert_eq!(answer.listed.as_ref().unwrap().segments.last(), Some(last));
    assert_eq!((first.number, first.discontinuity), (last.number + 1, true));
    let duration = i64::try_from(last.duration_ticks / 90).unwrap();
    first.program_date_time_unix_milliseconds - last.program_date_time_unix_milliseconds - duration
}

/// Nothing lies in its directory.
fn has_written(attempt: &Attempt) -> bool {
    let mut entries = std::fs::read_dir(attempt.directory.path()).unwrap();
    entries.any(|entry| {
        !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.')
    })
}

#[tokio::test]
async fn a_standby_takes_over_at_once_and_no_player_is_left_behind() {
    let old = Setup::auto(ChannelSettings::small("relay"))
        .with_ladder(&[180, 144])
        .start()
        .await;
    let mut setup = standby(&old, "relay", true).with_ladder(&[180, 144]);
    setup.job.class.mode = api::stream_class::TranscodeMode::Auto;
    let new = setup.start().await;
    let gateway = Gateway::start(&[(3, &old), (4, &new)]).await;
    let handing = async {
        old.playlists_grow(5).await;
        let status = new.status(|status| status.ready).await;
        assert_eq!(status.phase, JobPhase::Standby);
        assert!(status.media.is_some() && status.source.connected);
        assert!(new.read::<Playlists>("playlists").await.segments.is_empty());
        assert!(!has_written(&new));
        let answer = hand_over(&old, &new).await;
        assert_eq!(open_to(old.source_port("relay")), 1);
        let status = new.live().await;
        assert_eq!(
            (status.ready, status.first_segment_milliseconds),
            (false, None)
        );
        let playlists = new
            .playlists(|playlists| playlists.segments.last().unwrap().attempt == 4)
            .await;
        let pause = pause_at_the_seam(&answer, &playlists);
        assert!((0..2_000).contains(&pause), "{pause} ms");
        new.playlists_grow(3).await;
    };
    let (report, ()) = tokio::join!(follow(gateway, 26, None), handing);
    assert_eq!(told(&report), "");
    // What is for people lists what lies here.
    let own = new.get("hls/180p/index.m3u8").await.text().await.unwrap();
    assert!(!own.contains("\n3-"), "{own}");
    new.stop().await;
    old.stop().await;
}

#[tokio::test]
async fn the_only_connection_is_given_back_before_the_next_attempt_takes_it() {
    let single = ChannelSettings {
        faults: Faults {
            limit: Some(1),
            ..Faults::default()
        },
        ..ChannelSettings::small("single")
    };
    let old = Setup::copy(single).start().await;
    let new = standby(&old, "single", false).start().await;
    let gateway = Gateway::start(&[(3, &old), (4, &new)]).await;
    let handing = async {
        let status = new.status(|status| status.ready).await;
        assert_eq!(status.phase, JobPhase::Standby);
        assert!(!status.source.connected);
        old.playlists_grow(5).await;
        assert_eq!(old.source.stats("single").unwrap().requests, 1);
        let answer = hand_over(&old, &new).await;
        new.live().await;
        let playlists = new.playlists(|_| true).await;
        assert!(pause_at_the_seam(&answer, &playlists) >= 0);
        new.playlists_grow(3).await;
    };
    let stale = Some(Duration::from_secs(30));
    let (report, ()) = tokio::join!(follow(gateway, 26, stale), handing);
    assert_eq!(told(&report), "");
    new.stop().await;
    old.stop().await;
}

#[tokio::test]
async fn a_standby_whose_source_fails_says_so_and_waits_for_its_turn_all_the_same() {
    let old = Setup::copy(ChannelSettings::small("weak")).start().await;
    old.live().await;
    let gone = Faults {
        status: Some(404),
        ..Faults::default()
    };
    old.source.set_faults("weak", gone).unwrap();
    let mut setup = standby(&old, "weak", true);
    setup.options.give_up_after = Duration::ZERO;
    let new = setup.start().await;
    let failed = |status: &api::control::JobStatus| status.source.healthy == Some(false);
    let status = new.status(failed).await;
    assert_eq!(
        (status.phase, status.ready, status.source.reason),
        (JobPhase::Standby, false, Reason::HttpError)
    );
    old.source.set_faults("weak", Faults::default()).unwrap();
    hand_over(&old, &new).await;
    new.live().await;
    new.stop().await;
    old.stop().await;
}

#[tokio::test]
async fn a_standby_ends_when_it_is_told_and_has_never_been_there() {
    let old = Setup::copy(ChannelSettings::small("spare")).start().await;
    for order in ["finish", "stop", "shutdown"] {
        let mut setup = standby(&old, "spare", true);
        setup.options.grace = Duration::from_secs(3600);
        let mut new = setup.start().await;
        new.status(|status| status.ready).await;
        match order {
            "finish" => {
                let answer: FinishAnswer = new.post(order).await.json().await.unwrap();
                assert_eq!((answer.next, answer.listed), (ResumeFloor::default(), None));
                let request = PublishRequest {
                    floor: answer.next,
                    previous: None,
                };
                assert_eq!(publish(&new, &request).await, StatusCode::GONE);
                assert_eq!(new.post("stop").await.status(), StatusCode::OK);
            }
            "stop" => assert_eq!(new.post("stop").await.status(), StatusCode::OK),
            _ => new.shut_down(),
        }
        assert_eq!(new.outcome().await, Outcome::Stopped, "{order}");
        assert!(!has_written(&new), "{order}");
    }
    old.stop().await;
}
