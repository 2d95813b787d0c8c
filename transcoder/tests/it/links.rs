//! Addresses that lead somewhere else, and sources with limits of their own.

use api::condition::Reason;
use api::connection::SourceTimeouts;
use api::control::JobPhase;
use testkit::source::{ChannelSettings, Cut, Faults};

use crate::attempt::{Setup, job_source};

#[tokio::test]
async fn each_connection_begins_at_the_sources_own_address() {
    let led_on = Faults {
        redirect: Some(2),
        ..Faults::default()
    };
    let channel = ChannelSettings {
        faults: led_on,
        ..ChannelSettings::small("led-on")
    };
    let attempt = Setup::copy(channel).start().await;
    attempt.live().await;
    let requests = |attempt: &crate::attempt::Attempt| {
        let stats = attempt.source.stats("led-on").unwrap();
        (stats.clients_total, stats.requests)
    };
    assert_eq!(requests(&attempt), (1, 3));
    attempt.playlists_grow(1).await;
    attempt.source.cut("led-on", Cut::Abort).unwrap();
    attempt
        .status(|status| status.phase == JobPhase::Interrupted)
        .await;
    attempt.live().await;
    assert_eq!(
        requests(&attempt),
        (2, 6),
        "a reconnection uses no link of before"
    );
    attempt.stop().await;
}

#[tokio::test]
async fn a_source_has_limits_of_its_own() {
    let setup = Setup::copy(ChannelSettings::small("limited"));
    let attempt = setup
        .start_with(|source| {
            let mut limited = job_source(0, source.url("limited"));
            limited.timeouts = Some(SourceTimeouts {
                silence_seconds: Some(1),
                ..SourceTimeouts::default()
            });
            vec![limited]
        })
        .await;
    attempt.live().await;
    let silent = Faults {
        silence: Some(true),
        ..Faults::default()
    };
    attempt.source.set_faults("limited", silent).unwrap();
    let status = attempt
        .status(|status| status.phase == JobPhase::Interrupted)
        .await;
    assert_eq!(status.source.reason, Reason::Silent);
    let waited = status.source.message.rsplit(' ').nth(1).unwrap();
    let waited: u64 = waited.parse().unwrap();
    assert!((1000..4000).contains(&waited), "{}", status.source.message);
    attempt.stop().await;
}
