//! A live channel of an Xtream panel. Where the panel refuses it, the panel is asked once what is wrong with the account.
//! The login stands in the addresses of this protocol, so no address is ever shown.

use std::time::Duration;

use iptv::xtream::{self, Standing};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use url::Url;

use crate::failure::SourceFailure;
use crate::hls::whole;
use crate::input::Wish;
use crate::provider::Playing;
use crate::redirect;
use crate::source::{Opener, SourceRequest};

/// How long the panel may take to say what is wrong. Something else may be tried meanwhile, so not long.
const EXPLANATION: Duration = Duration::from_secs(5);

/// The login of an account. Has no form that can be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: String,
}

/// As what a channel is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// One transport stream without end.
    Ts,
    /// An HLS playlist.
    M3u8,
}

/// A channel. Has no form that can be shown.
#[derive(Clone)]
pub struct Channel {
    /// Base address of the panel, without login.
    pub base: Url,
    /// The channel's `stream_id`.
    pub stream_id: String,
    /// The account's login.
    pub login: Login,
    /// As what it is asked for.
    pub output: Output,
    /// The User-Agent header; ours when there is none.
    pub user_agent: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// Opens a channel.
pub(crate) async fn open(
    opener: &Opener,
    channel: &Channel,
    wish: &Wish,
) -> Result<Playing, SourceFailure> {
    let request = channel.request(channel.live()?);
    match Playing::start(opener, request, wish).await {
        Err(failure) if may_be_the_account(&failure) => {
            Err(explained(opener, channel, failure).await)
        }
        outcome => outcome,
    }
}

impl Channel {
    fn request(&self, url: Url) -> SourceRequest {
        SourceRequest {
            url,
            user_agent: self.user_agent.clone(),
            headers: self.headers.clone(),
        }
    }

    /// `/live/USERNAME/PASSWORD/ID.ts`, the form that every panel has.
    fn live(&self) -> Result<Url, SourceFailure> {
        let extension = match self.output {
            Output::Ts => "ts",
            Output::M3u8 => "m3u8",
        };
        let Login { username, password } = &self.login;
        let parts = [
            ("username", username),
            ("password", password),
            ("stream id", &self.stream_id),
        ];
        for (what, part) in parts {
            // As a part of a path these would be something else.
            if matches!(part.as_str(), "" | "." | "..") {
                return Err(invalid(format!("the {what} is empty or made of dots")));
            }
        }
        let file = format!("{}.{extension}", self.stream_id);
        self.address(&["live", username, password, &file])
    }

    fn player_api(&self) -> Result<Url, SourceFailure> {
        let mut url = self.address(&["player_api.php"])?;
        url.query_pairs_mut()
            .append_pair("username", &self.login.username)
            .append_pair("password", &self.login.password);
        Ok(url)
    }

    fn address(&self, segments: &[&str]) -> Result<Url, SourceFailure> {
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.path_segments_mut()
            .map_err(|()| invalid("the provider's address is not http or https".to_owned()))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }
}

fn invalid(detail: String) -> SourceFailure {
    SourceFailure::InvalidRequest { detail }
}

/// Panels refuse an account with one of many statuses, with a page, or by closing at once.
fn may_be_the_account(failure: &SourceFailure) -> bool {
    match failure {
        SourceFailure::HttpStatus { status, .. } => matches!(status, 400..=499 | 509),
        SourceFailure::BadAnswer { .. } | SourceFailure::EndOfStream { .. } => true,
        _ => false,
    }
}

/// What is wrong with the account, if the panel says so; else the failure as it was.
async fn explained(opener: &Opener, channel: &Channel, failure: SourceFailure) -> SourceFailure {
    let Ok(url) = channel.player_api() else {
        return failure;
    };
    let request = channel.request(url);
    let answer = whole(opener, &request, xtream::BYTES_MAXIMUM, EXPLANATION).await;
    let now = Timestamp::now().as_second();
    let standing = match answer {
        Ok(loaded) => xtream::account(&loaded.text).map(|account| account.standing(now)),
        Err(SourceFailure::HttpStatus { status: 401, .. }) => Ok(Standing::WrongLogin),
        Err(_) => return failure,
    };
    match standing {
        Ok(standing) => named(standing, redirect::origin(&channel.base), failure),
        Err(_) => failure,
    }
}

/// The failure that a standing is. One that speaks for the account explains nothing.
fn named(standing: Standing, origin: String, failure: SourceFailure) -> SourceFailure {
    let detail = match standing {
        Standing::Good => return failure,
        Standing::Full { active, maximum } => {
            return SourceFailure::NoFreeConnection {
                origin,
                detail: format!("{active} of {maximum} are in use"),
                retry_after: failure.retry_after(),
            };
        }
        Standing::WrongLogin => {
            "the login is wrong: correct username and password in the provider's Secret".to_owned()
        }
        Standing::Expired { since } => {
            let date = since.and_then(|seconds| Timestamp::from_second(seconds).ok());
            let date = date.map(|date| date.to_zoned(TimeZone::UTC).date());
            let since = date.map_or_else(String::new, |date| format!(" on {date}"));
            format!("it expired{since}: renew it at the provider")
        }
        Standing::Refused { status } => {
            format!("its status is {status}: ask the provider why")
        }
    };
    SourceFailure::AccountRefused { origin, detail }
}

#[cfg(test)]
mod tests;
