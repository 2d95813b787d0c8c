//! Slates: viewers see something while there are no media, and whoever looks at the status sees that there are none.

use std::time::Duration;

use api::control::{JobPhase, JobStatus};
use testkit::checker::{CheckSettings, Report, check};
use testkit::source::{ChannelSettings, Cut, Faults};

use crate::attempt::{Attempt, Setup, told};

fn gone() -> Faults {
    Faults {
        status: Some(404),
        ..Faults::default()
    }
}

async fn follow(attempt: &Attempt, seconds: u64, discontinuities: u64) -> Report {
    let settings = CheckSettings {
        duration: Duration::from_secs(seconds),
        discontinuities: Some(discontinuities),
        // Until it is time for a slate, nothing comes.
        stale: Some(Duration::from_secs(20)),
        ..CheckSettings::new(attempt.url("hls/master.m3u8"))
    };
    check(settings).await.unwrap()
}

async fn heals(attempt: &Attempt, channel: &str) -> JobStatus {
    let normal = Faults::default();
    attempt.source.set_faults(channel, normal).unwrap();
    attempt.live().await
}

#[tokio::test]
async fn a_lost_source_leaves_a_slate_between_two_discontinuities() {
    let mut setup = Setup::auto(ChannelSettings::small("lost")).with_ladder(&[180, 144]);
    setup.job.class.slate = true;
    let attempt = setup.start().await;
    let losing = async {
        attempt.playlists_grow(3).await;
        attempt.source.set_faults("lost", gone()).unwrap();
        attempt.source.cut("lost", Cut::Abort).unwrap();
        attempt
            .status(|status| status.phase == JobPhase::Interrupted)
            .await;
        attempt.playlists_grow(4).await;
        let status: JobStatus = attempt.read("status").await;
        assert_eq!(
            (status.phase, status.source.healthy),
            (JobPhase::Interrupted, Some(false))
        );
        heals(&attempt, "lost").await;
        attempt.playlists_grow(3).await;
    };
    let (report, ()) = tokio::join!(follow(&attempt, 45, 2), losing);
    assert_eq!(told(&report), "");
    attempt.stop().await;
}

#[tokio::test]
async fn a_source_that_does_not_come_is_waited_for_with_a_slate() {
    let late = ChannelSettings {
        faults: gone(),
        ..ChannelSettings::small("late")
    };
    let mut setup = Setup::auto(late);
    setup.job.class.slate = true;
    let attempt = setup.start().await;
    let coming = async {
        attempt.playlists_grow(3).await;
        let status: JobStatus = attempt.read("status").await;
        assert_eq!(status.phase, JobPhase::Starting);
        assert_eq!(status.first_segment_milliseconds, None);
        let status = heals(&attempt, "late").await;
        assert!(status.first_segment_milliseconds.is_some());
        attempt.playlists_grow(3).await;
    };
    let (report, ()) = tokio::join!(follow(&attempt, 30, 1), coming);
    assert_eq!(told(&report), "");
    attempt.stop().await;
}
