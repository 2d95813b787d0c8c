//! Sources that are odd in ways that sources are: each plays by the rules, also when it takes over from another.

use std::time::Duration;

use testkit::checker::{CheckSettings, check};
use testkit::source::{
    AccessIndicator, AccessPoints, AudioFormat, ChannelSettings, Cut, Faults, VideoFormat,
};

use crate::attempt::{Setup, told};

/// Changes an ordinary channel.
type Oddity = (&'static str, fn(&mut ChannelSettings));

/// What is passed through.
const PASSED: [Oddity; 6] = [
    ("sound in HE-AAC", |channel| {
        channel.audio = AudioFormat::HeAac;
    }),
    ("references that come too early and too late", |channel| {
        channel.pcr_jitter = 60;
    }),
    (
        "an indicator on every picture, references apart",
        |channel| {
            (channel.rai, channel.pcr_pid) = (AccessIndicator::Always, true);
        },
    ),
    ("late sound and open groups without a hint", |channel| {
        (channel.access, channel.rai) = (AccessPoints::Recovery, AccessIndicator::Never);
        channel.audio_late = 1200;
    }),
    ("a clock that starts again", |channel| {
        channel.wrap = Some(6.0);
    }),
    (
        "a burst, and groups as long as a segment may be",
        |channel| {
            channel.gop = 4.0;
            channel.faults.burst = Some(3.0);
        },
    ),
];

/// What has to be encoded, in part or whole.
const ENCODED: [Oddity; 4] = [
    ("sound in HE-AAC", |channel| {
        channel.audio = AudioFormat::HeAac;
    }),
    ("sound in LATM", |channel| channel.audio = AudioFormat::Latm),
    ("sound in E-AC-3", |channel| {
        channel.audio = AudioFormat::Eac3;
    }),
    ("interlaced MPEG-2", |channel| {
        (channel.codec, channel.audio) = (VideoFormat::Mpeg2, AudioFormat::Mp2);
        channel.interlaced = true;
    }),
];

/// An ordinary source plays first; then it goes away, and the odd one takes over.
async fn takes_over((what, change): Oddity, start: fn(ChannelSettings) -> Setup) {
    let mut odd = ChannelSettings::small("odd");
    change(&mut odd);
    let mut setup = start(ChannelSettings::small("plain"));
    setup.channels.push(odd);
    let attempt = setup.start().await;
    attempt.live().await;
    let going = async {
        attempt.playlists_grow(2).await;
        let gone = Faults {
            status: Some(404),
            ..Faults::default()
        };
        attempt.source.set_faults("plain", gone).unwrap();
        attempt.source.cut("plain", Cut::Abort).unwrap();
        attempt
            .status(|status| status.source.index == 1 && status.source.healthy == Some(true))
            .await
    };
    // How soon it takes over is measured elsewhere; eight streams at once are slow.
    let settings = CheckSettings {
        duration: Duration::from_secs(20),
        discontinuities: Some(1),
        stale: Some(Duration::from_secs(15)),
        ..CheckSettings::new(attempt.url("hls/master.m3u8"))
    };
    let (report, _) = tokio::join!(check(settings), going);
    assert_eq!(told(&report.unwrap()), "", "{what}");
    attempt.stop().await;
}

#[tokio::test]
async fn a_source_that_is_odd_takes_over_and_breaks_no_rule() {
    let streams = PASSED.map(|oddity| takes_over(oddity, Setup::copy));
    futures::future::join_all(streams).await;
}

#[tokio::test]
async fn a_source_that_must_be_encoded_takes_over_and_breaks_no_rule() {
    let streams = ENCODED.map(|oddity| takes_over(oddity, Setup::auto));
    futures::future::join_all(streams).await;
}

#[tokio::test]
async fn sound_that_pauses_is_silence_and_nothing_else() {
    let pausing = ChannelSettings {
        audio_gap: 900,
        ..ChannelSettings::small("pausing")
    };
    let attempt = Setup::copy(pausing).start().await;
    attempt.live().await;
    let report = attempt.check(16, 0).await;
    assert_eq!(told(&report), "");
    attempt.stop().await;
}
