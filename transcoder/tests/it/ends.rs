//! How attempts are told things and how they end: identity first, numbers on, upstream closed.

use std::time::Duration;

use api::control::{ErrorBody, FinishAnswer, JobPhase, PublishRequest};
use api::job::ResumeFloor;
use reqwest::StatusCode;
use testkit::source::ChannelSettings;
use transcoder::job::Outcome;

use crate::attempt::Setup;

#[tokio::test]
async fn another_stream_or_attempt_is_misdirected_whatever_it_asks() {
    let attempt = Setup::copy(ChannelSettings::small("identity"))
        .start()
        .await;
    for path in [
        "/v1/streams/another/3/status",
        "/v1/streams/0f9c2a41-7b1e/4/playlists",
        "/v1/streams/another/3/hls/master.m3u8",
        "/v1/streams/another/3/hls/source/3-1.ts",
    ] {
        let response = attempt.get(path).await;
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        let body: ErrorBody = response.json().await.unwrap();
        assert_eq!(body.code, "misdirected");
    }
    let stop = attempt.post("/v1/streams/another/3/stop").await;
    assert_eq!(stop.status(), StatusCode::MISDIRECTED_REQUEST);
    attempt.live().await;
    attempt.stop().await;
}

#[tokio::test]
async fn finish_closes_the_last_segment_and_the_upstream_and_answers_where_to_go_on() {
    let attempt = Setup::copy(ChannelSettings::small("finish")).start().await;
    attempt.playlists_grow(2).await;
    let answer: FinishAnswer = attempt.post("finish").await.json().await.unwrap();
    let playlists = attempt.playlists(|_| true).await;
    let last = playlists.segments.last().unwrap();
    assert_eq!(answer.next, playlists.next);
    assert_eq!(
        answer.next.media_sequence,
        i64::try_from(last.number + 1).unwrap()
    );
    let status = attempt
        .status(|status| status.phase == JobPhase::Finished)
        .await;
    assert!(!status.source.connected);
    attempt.source_is_left("finish").await;
    let again: FinishAnswer = attempt.post("finish").await.json().await.unwrap();
    assert_eq!(again, answer);
    let segment = format!("hls/source/3-{}.ts", last.number);
    assert_eq!(attempt.get(&segment).await.status(), StatusCode::OK);
    attempt.stop().await;
}

#[tokio::test]
async fn stop_is_answered_when_the_upstream_is_closed() {
    let mut attempt = Setup::copy(ChannelSettings::small("stop")).start().await;
    attempt.live().await;
    assert_eq!(attempt.post("stop").await.status(), StatusCode::OK);
    attempt.source_is_left("stop").await;
    assert_eq!(attempt.outcome().await, Outcome::Stopped);
}

#[tokio::test]
async fn a_shutdown_goes_on_producing_until_the_grace_ends() {
    let mut setup = Setup::copy(ChannelSettings::small("grace"));
    setup.options.grace = Duration::from_secs(3);
    let mut attempt = setup.start().await;
    let before = attempt.playlists_grow(1).await.version;
    attempt.shut_down();
    attempt
        .playlists(|playlists| playlists.version > before)
        .await;
    assert_eq!(attempt.outcome().await, Outcome::Stopped);
}

#[tokio::test]
async fn the_next_attempt_goes_on_above_the_numbers_of_the_last_behind_a_discontinuity() {
    let mut setup = Setup::copy(ChannelSettings::small("resume"));
    let floor = ResumeFloor {
        media_sequence: 4_000_000_000,
        discontinuity_sequence: 3_000_000_000,
    };
    setup.job.resume = floor;
    let attempt = setup.start().await;
    let playlists = attempt.playlists_grow(1).await;
    let first = &playlists.segments[0];
    assert_eq!((first.number, first.discontinuity), (4_000_000_000, true));
    assert_eq!(playlists.discontinuity_sequence, 3_000_000_000);
    let request = PublishRequest {
        floor,
        previous: None,
    };
    let response = reqwest::Client::new()
        .post(attempt.url("publish"))
        .json(&request)
        .send();
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    attempt.stop().await;
}
