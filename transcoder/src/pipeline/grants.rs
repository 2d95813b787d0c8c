//! The part of the pipeline that goes on with sources of another account, once a connection of it is granted. It never has two at a time,
//! and never opens a source of an account before its status has said that it may: see "Grants" in `api::control`.

use std::time::Duration;

use api::control::{GrantRequest, JobStatus};

use super::Pipeline;

/// Says which accounts are asked for now: none ends the request, and what was not asked for before makes a new one.
pub(super) fn ask(status: &mut JobStatus, wants: Vec<String>) {
    let Some(account) = &mut status.account else {
        return;
    };
    if account.wants == wants {
        return;
    }
    if !wants.is_empty() {
        account.request = account.request.saturating_add(1);
    }
    account.wants = wants;
}

/// What a grant means to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is what it asks for.
    Take,
    /// It has been taken before.
    Taken,
    /// It is not asked for, or not any more.
    Refuse,
}

fn answer(status: &JobStatus, grant: &GrantRequest) -> Answer {
    let Some(account) = &status.account else {
        return Answer::Refuse;
    };
    let is_this = account.request == grant.request;
    match account.wants.is_empty() {
        false if is_this && account.wants.contains(&grant.provider) => Answer::Take,
        true if is_this && account.provider.as_ref() == Some(&grant.provider) => Answer::Taken,
        _ => Answer::Refuse,
    }
}

impl Pipeline {
    /// Goes on with the account that is granted, if it asks for it; answers whether it does.
    pub(super) async fn take_grant(&mut self, grant: &GrantRequest) -> bool {
        let answer = answer(&self.parts.board.subscribe().borrow(), grant);
        if answer != Answer::Take {
            return answer == Answer::Taken;
        }
        let before = self.sources.index();
        if !self.sources.take(&grant.provider) {
            return false;
        }
        self.parts.source.close();
        self.deadline = None;
        // Whoever reads the status takes what it had for free.
        self.parts.source.closed().await;
        tracing::info!(
            account.provider = grant.provider,
            "told to go on with another account"
        );
        self.parts.board.update(|status| {
            status.source.connected = false;
            ask(status, Vec::new());
            if let Some(account) = &mut status.account {
                account.provider = Some(grant.provider.clone());
            }
        });
        self.connect(before, Duration::ZERO).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use api::control::AccountStatus;

    use super::*;
    use crate::fixtures;
    use crate::status::StatusBoard;

    #[test]
    fn only_the_request_that_stands_is_answered_and_each_has_a_number_of_its_own() {
        let job = fixtures::job("/nowhere");
        let board = StatusBoard::new(&job, 0);
        let mut status = board.subscribe().borrow().clone();
        let grant = |provider: &str, request| GrantRequest {
            provider: provider.to_owned(),
            request,
        };
        ask(&mut status, vec!["two".to_owned()]);
        assert_eq!(status.account, None, "it has sources of no account");
        assert_eq!(answer(&status, &grant("two", 0)), Answer::Refuse);
        status.account = Some(AccountStatus {
            provider: Some("one".to_owned()),
            ..AccountStatus::default()
        });
        let wants = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        // What is asked for, the number of the request, and the answers to grants.
        for (asked, request, grants) in [
            (&[][..], 0, &[("two", 0, Answer::Refuse)][..]),
            (
                &["two", "three"],
                1,
                &[
                    ("three", 1, Answer::Take),
                    ("two", 0, Answer::Refuse),
                    ("two", 2, Answer::Refuse),
                    ("one", 1, Answer::Refuse),
                ],
            ),
            (&["two", "three"], 1, &[("two", 1, Answer::Take)]),
            (
                &[],
                1,
                &[("two", 1, Answer::Refuse), ("one", 1, Answer::Taken)],
            ),
            (&["two"], 2, &[("two", 1, Answer::Refuse)]),
        ] {
            ask(&mut status, wants(asked));
            assert_eq!(
                status.account.as_ref().unwrap().request,
                request,
                "{asked:?}"
            );
            for (provider, number, expected) in grants {
                let answer = answer(&status, &grant(provider, *number));
                assert_eq!(answer, *expected, "{provider} {number} for {asked:?}");
            }
        }
    }
}
