//! An attempt whose account fails asks for a connection of another one, opens nothing of it before that is granted, and goes on with it then.

use api::control::{AccountStatus, GrantRequest, JobPhase, JobStatus};
use api::job::{JobSource, SlotGrant};
use http::StatusCode;
use testkit::source::{ChannelSettings, Cut, Faults};

use crate::attempt::{Attempt, Setup, client, job_source};

/// Has a connection of account `one`, where channel `first` is; `two`, with channel `second`, is in reserve.
async fn of_two_accounts() -> Attempt {
    let mut setup = Setup::copy(ChannelSettings::small("first"));
    setup.channels.push(ChannelSettings::small("second"));
    let of = |index, url, provider: &str| JobSource {
        grant: Some(SlotGrant {
            provider: provider.to_owned(),
        }),
        ..job_source(index, url)
    };
    let attempt = setup.start_with(|source| {
        let one = of(0, source.url("first"), "one");
        vec![one, of(1, source.url("second"), "two")]
    });
    attempt.await
}

fn fail(attempt: &Attempt) {
    let gone = Faults {
        status: Some(404),
        ..Faults::default()
    };
    attempt.source.set_faults("first", gone).unwrap();
    attempt.source.cut("first", Cut::Clean).unwrap();
}

async fn grant(attempt: &Attempt, provider: &str, request: i32) -> StatusCode {
    let body = GrantRequest {
        provider: provider.to_owned(),
        request,
    };
    let grant = client().post(attempt.url("grant")).json(&body).send();
    grant.await.unwrap().status()
}

fn account(status: &JobStatus) -> AccountStatus {
    status.account.clone().unwrap()
}

fn asks(status: &JobStatus) -> bool {
    !account(status).wants.is_empty()
}

#[tokio::test]
async fn an_account_that_fails_gives_way_to_one_that_is_granted() {
    let attempt = of_two_accounts().await;
    attempt.playlists_grow(2).await;
    assert_eq!(grant(&attempt, "two", 1).await, StatusCode::CONFLICT);
    fail(&attempt);
    let asking = attempt.status(asks).await;
    let wanted = AccountStatus {
        provider: Some("one".to_owned()),
        request: 1,
        wants: vec!["two".to_owned()],
    };
    assert_eq!(account(&asking), wanted);
    assert_eq!(asking.phase, JobPhase::Interrupted);
    assert_eq!(grant(&attempt, "two", 0).await, StatusCode::CONFLICT);
    assert_eq!(grant(&attempt, "one", 1).await, StatusCode::CONFLICT);
    assert_eq!(attempt.source.stats("second").unwrap().requests, 0);
    assert_eq!(grant(&attempt, "two", 1).await, StatusCode::OK);
    attempt.delivers(1).await;
    let live = attempt.live().await;
    let granted = AccountStatus {
        provider: Some("two".to_owned()),
        request: 1,
        wants: Vec::new(),
    };
    assert_eq!(account(&live), granted);
    // Told again.
    assert_eq!(grant(&attempt, "two", 1).await, StatusCode::OK);
    let listed = attempt.playlists_grow(1).await;
    let seams = listed.segments.iter().filter(|entry| entry.discontinuity);
    assert_eq!(seams.count(), 1);
    assert_eq!(attempt.source.stats("second").unwrap().clients_total, 1);
    assert_eq!(attempt.source.stats("first").unwrap().clients, 0);
    attempt.stop().await;
}

#[tokio::test]
async fn a_request_is_over_when_a_source_delivers_again_and_its_number_is_not_used_twice() {
    let attempt = of_two_accounts().await;
    attempt.live().await;
    fail(&attempt);
    attempt.status(asks).await;
    let well = Faults::default();
    attempt.source.set_faults("first", well).unwrap();
    let live = attempt.live().await;
    assert_eq!((account(&live).request, asks(&live)), (1, false));
    assert_eq!(grant(&attempt, "two", 1).await, StatusCode::CONFLICT);
    fail(&attempt);
    let asking = attempt.status(asks).await;
    assert_eq!(account(&asking).request, 2);
    assert_eq!(grant(&attempt, "two", 1).await, StatusCode::CONFLICT);
    assert_eq!(attempt.source.stats("second").unwrap().requests, 0);
    attempt.stop().await;
}
