//! Sources that change in mid-stream without ending a connection, before and after another one has taken over: what the tables say,
//! where tracks are, how large pictures are, whether there is sound.

use std::time::Duration;

use testkit::checker::{CheckSettings, check};
use testkit::source::{AudioFormat, ChannelSettings, Cut, Faults, Mute, Size, Tables, VideoFormat};

use crate::attempt::{Attempt, Setup, told};

/// A stream may be without anything new for so long, as in the soak: a source that is lost takes seconds to be found out, and longer on a busy
/// machine.
const STALE: Duration = Duration::from_secs(30);

/// How a source changes, and how many discontinuities it costs to change and to change back.
#[derive(Clone, Copy)]
struct Turn {
    change: fn(&mut Faults),
    seams: u64,
}

/// Changes the first source and changes it back, lets the second take over, and changes that.
async fn turns(
    what: &str,
    turn: Turn,
    channel: ChannelSettings,
    start: fn(ChannelSettings) -> Setup,
) {
    let mut setup = start(ChannelSettings {
        name: "first".to_owned(),
        ..channel.clone()
    });
    setup.channels.push(ChannelSettings {
        name: "second".to_owned(),
        ..channel
    });
    let attempt = setup.start().await;
    attempt.live().await;
    let settings = CheckSettings {
        duration: Duration::from_secs(40),
        discontinuities: Some(3 * turn.seams + 1),
        stale: Some(STALE),
        ..CheckSettings::new(attempt.url("hls/master.m3u8"))
    };
    let (report, ()) = tokio::join!(check(settings), course(&attempt, turn));
    assert_eq!(told(&report.unwrap()), "", "{what}");
    attempt.stop().await;
}

async fn course(attempt: &Attempt, turn: Turn) {
    let mut changed = Faults::default();
    (turn.change)(&mut changed);
    let now = |channel: &str, faults: &Faults| {
        attempt.source.set_faults(channel, faults.clone()).unwrap();
    };
    attempt.playlists_grow(2).await;
    now("first", &changed);
    attempt.playlists_grow(4).await;
    now("first", &Faults::default());
    attempt.playlists_grow(3).await;
    now(
        "first",
        &Faults {
            status: Some(404),
            ..Faults::default()
        },
    );
    attempt.source.cut("first", Cut::Abort).unwrap();
    attempt
        .status(|status| status.source.index == 1 && status.source.healthy == Some(true))
        .await;
    attempt.playlists_grow(2).await;
    now("second", &changed);
    attempt.playlists_grow(4).await;
}

fn small() -> ChannelSettings {
    ChannelSettings {
        gop: 1.0,
        ..ChannelSettings::small("a")
    }
}

/// Nothing of it is passed through.
fn encoded() -> ChannelSettings {
    ChannelSettings {
        codec: VideoFormat::Mpeg2,
        audio: AudioFormat::Mp2,
        ..small()
    }
}

fn ladder(channel: ChannelSettings) -> Setup {
    Setup::auto(channel).with_ladder(&[180, 144])
}

/// Passed through, with a rung beside that, and encoded as a whole.
async fn in_every_way(turn: Turn) {
    let passed = Box::pin(turns("passed through", turn, small(), Setup::copy));
    let beside = Box::pin(turns("a rung beside", turn, small(), ladder));
    let whole = Box::pin(turns("encoded", turn, encoded(), ladder));
    tokio::join!(passed, beside, whole);
}

#[tokio::test]
async fn tables_of_a_new_version_that_say_the_same_change_nothing() {
    in_every_way(Turn {
        change: |faults| faults.tables = Some(Tables::Renewed),
        seams: 0,
    })
    .await;
}

#[tokio::test]
async fn audio_that_moves_is_followed() {
    in_every_way(Turn {
        change: |faults| faults.tables = Some(Tables::AudioMoved),
        seams: 0,
    })
    .await;
}

#[tokio::test]
async fn tracks_that_all_move_are_another_generation() {
    in_every_way(Turn {
        change: |faults| faults.tables = Some(Tables::Moved),
        seams: 1,
    })
    .await;
}

#[tokio::test]
async fn audio_that_is_taken_off_the_tables_ends_a_generation_and_so_does_its_return() {
    in_every_way(Turn {
        change: |faults| faults.tables = Some(Tables::WithoutAudio),
        seams: 1,
    })
    .await;
}

#[tokio::test]
async fn sound_that_stops_is_silence_and_the_picture_goes_on() {
    in_every_way(Turn {
        change: |faults| faults.mute = Some(Mute::Audio),
        seams: 0,
    })
    .await;
}

#[tokio::test]
async fn pictures_of_another_size_are_another_generation() {
    let turn = Turn {
        change: |faults| faults.resized = Some(true),
        seams: 1,
    };
    let larger = |channel| ChannelSettings {
        resized: Some(Size(480, 270)),
        ..channel
    };
    let passed = Box::pin(turns("passed through", turn, larger(small()), Setup::copy));
    let beside = Box::pin(turns("a rung beside", turn, larger(small()), ladder));
    tokio::join!(passed, beside);
}
