//! The portal as a box speaks to it: one address, one cookie, one token. Every answer is whole, small and in bounded time.

use std::time::Duration;

use bytes::Bytes;
use iptv::stalker::{self, Link, Standing, Trouble};
use url::Url;

use super::{Channel, Identity};
use crate::failure::SourceFailure;
use crate::hls::whole;
use crate::redirect;
use crate::source::{Opener, SourceRequest};

/// How long the portal may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What the box is, for portals that look. The model that the protocol's free clients all give.
const MODEL: &str = "MAG250";
const LINK_KIND: &str = "Model: MAG250; Link: WiFi";
const FIRMWARE: &str = "ImageDescription: 0.2.16-250; PORTAL version: 4.9.9; API Version: JS API version: 328; STB API version: 134";

/// A portal that knows us.
pub(super) struct Portal {
    opener: Opener,
    /// What every question is asked at.
    endpoint: Url,
    /// Where boxes have their pages from.
    referer: Url,
    identity: Identity,
    user_agent: Option<String>,
    headers: Vec<(String, String)>,
    token: String,
}

impl Portal {
    /// Introduces the box. Answers how often the portal wants to hear from it, too.
    pub(super) async fn enter(
        opener: Opener,
        channel: &Channel,
    ) -> Result<(Self, Option<Duration>), SourceFailure> {
        let [first, second] = endpoints(&channel.base);
        let mut portal = Self {
            opener,
            endpoint: first,
            referer: referer(&channel.base),
            identity: channel.identity.clone(),
            user_agent: channel.user_agent.clone(),
            headers: channel.headers.clone(),
            token: String::new(),
        };
        let mut entered = portal.renew().await;
        if let (Err(SourceFailure::HttpStatus { status: 404, .. }), Some(second)) =
            (&entered, second_of(second, &portal.endpoint))
        {
            portal.endpoint = second;
            entered = portal.renew().await;
        }
        let watchdog = entered?;
        Ok((portal, watchdog))
    }

    /// Handshake and profile, from the start.
    pub(super) async fn renew(&mut self) -> Result<Option<Duration>, SourceFailure> {
        self.token.clear();
        let hands = self.ask(&[("type", "stb"), ("action", "handshake"), ("token", "")]);
        self.token = stalker::token(&hands.await?).map_err(|trouble| self.named(trouble))?;
        let mut profile = self.profile("0").await?;
        if profile.standing == Standing::NeedsLogin {
            self.log_in().await?;
            profile = self.profile("1").await?;
        }
        match profile.standing {
            Standing::Good => Ok(profile.watchdog_seconds.map(Duration::from_secs)),
            Standing::Blocked => Err(self.refused("it has blocked the device: ask the provider why")),
            Standing::NeedsLogin => Err(self.refused("it asks for a login again and again: correct username and password in the provider's Secret")),
        }
    }

    async fn profile(&self, second_step: &str) -> Result<stalker::Profile, SourceFailure> {
        let Identity {
            serial,
            device_id,
            device_id2,
            signature,
            ..
        } = &self.identity;
        let or_empty = |word: &'_ Option<String>| word.clone().unwrap_or_default();
        let (serial, signature) = (or_empty(serial), or_empty(signature));
        let (device_id, device_id2) = (or_empty(device_id), or_empty(device_id2));
        let question = [
            ("type", "stb"),
            ("action", "get_profile"),
            ("hd", "1"),
            ("num_banks", "1"),
            ("stb_type", MODEL),
            ("sn", &serial),
            ("ver", FIRMWARE),
            ("device_id", &device_id),
            ("device_id2", &device_id2),
            ("signature", &signature),
            ("image_version", "216"),
            ("hw_version", "1.7-BD-00"),
            ("not_valid_token", "0"),
            ("auth_second_step", second_step),
        ];
        let answer = self.ask(&question).await?;
        stalker::profile(&answer).map_err(|trouble| self.named(trouble))
    }

    async fn log_in(&self) -> Result<(), SourceFailure> {
        let Some(login) = &self.identity.login else {
            return Err(self.refused(
                "it asks for a login: add username and password to the provider's Secret",
            ));
        };
        let device_id = self.identity.device_id.clone().unwrap_or_default();
        let question = [
            ("type", "stb"),
            ("action", "do_auth"),
            ("login", &login.username),
            ("password", &login.password),
            ("device_id", &device_id),
        ];
        let answer = self.ask(&question).await?;
        match stalker::login(&answer).map_err(|trouble| self.named(trouble))? {
            true => Ok(()),
            false => Err(self.refused(
                "the login is wrong: correct username and password in the provider's Secret",
            )),
        }
    }

    /// The address that is played for a channel's command.
    pub(super) async fn link(&self, command: &str) -> Result<Url, SourceFailure> {
        let question = [
            ("type", "itv"),
            ("action", "create_link"),
            ("cmd", command),
            ("forced_storage", "undefined"),
            ("disable_ad", "0"),
        ];
        let answer = self.ask(&question).await?;
        let bad = |detail: &str| SourceFailure::BadAnswer {
            origin: self.origin(),
            detail: detail.to_owned(),
        };
        match stalker::link(&answer).map_err(|trouble| self.named(trouble))? {
            Link::Address(address) => match Url::parse(&address) {
                Ok(url) if redirect::is_http(&url) => Ok(url),
                _ => Err(bad("the link that it makes is not http or https")),
            },
            Link::Limit => Err(SourceFailure::NoFreeConnection {
                origin: self.origin(),
                detail: "all are in use".to_owned(),
                retry_after: None,
            }),
            Link::Denied => {
                Err(self.refused("its subscription does not include the channel: ask the provider"))
            }
            Link::Nothing => Err(bad(
                "it makes no link for the channel: is its cmd still in the portal's list?",
            )),
        }
    }

    /// Says that the box is there.
    pub(super) async fn watchdog(&self, is_first: bool) -> Result<(), SourceFailure> {
        let question = [
            ("type", "watchdog"),
            ("action", "get_events"),
            ("init", if is_first { "1" } else { "0" }),
            ("cur_play_type", "1"),
            ("event_active_id", "0"),
        ];
        let answer = self.ask(&question).await?;
        stalker::acknowledged(&answer).map_err(|trouble| self.named(trouble))
    }

    async fn ask(&self, question: &[(&str, &str)]) -> Result<Bytes, SourceFailure> {
        let mut url = self.endpoint.clone();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(question)
            .append_pair("JsHttpRequest", "1-xml");
        let mut headers = self.headers.clone();
        let mut header = |name: &str, value: String| headers.push((name.to_owned(), value));
        let mac = &self.identity.mac;
        header("cookie", format!("mac={mac}; stb_lang=en; timezone=UTC"));
        header("x-user-agent", LINK_KIND.to_owned());
        header("referer", self.referer.to_string());
        if !self.token.is_empty() {
            header("authorization", format!("Bearer {}", self.token));
        }
        let request = SourceRequest {
            url,
            user_agent: self.user_agent.clone(),
            headers,
        };
        let answer = whole(&self.opener, &request, stalker::BYTES_MAXIMUM, ANSWER).await;
        match answer {
            Ok(loaded) => Ok(loaded.text),
            Err(SourceFailure::HttpStatus {
                status: 401 | 403, ..
            }) => Err(self.named(Trouble::Unauthorised)),
            Err(failure) => Err(failure),
        }
    }

    fn origin(&self) -> String {
        redirect::origin(&self.endpoint)
    }

    fn refused(&self, detail: &str) -> SourceFailure {
        SourceFailure::AccountRefused {
            origin: self.origin(),
            detail: detail.to_owned(),
        }
    }

    fn named(&self, trouble: Trouble) -> SourceFailure {
        match trouble {
            Trouble::Unauthorised => self.refused(
                "it does not know the device: correct mac in the provider's Secret, or ask the provider",
            ),
            Trouble::NotAnAnswer => SourceFailure::BadAnswer {
                origin: self.origin(),
                detail: trouble.to_string(),
            },
        }
    }
}

/// The second address to try, unless it is the first one again.
fn second_of(second: Url, first: &Url) -> Option<Url> {
    (second != *first).then_some(second)
}

/// The address of the portal's pages: that of boxes, which ends in `c/`.
fn referer(base: &Url) -> Url {
    let mut referer = folder(base);
    extend(&mut referer, &["c", ""]);
    referer
}

/// Where questions may be asked: at the `.php` that was given, else at the usual two below the portal.
fn endpoints(base: &Url) -> [Url; 2] {
    if base.path().ends_with(".php") {
        return [base.clone(), base.clone()];
    }
    let at = |segments: &[&str]| {
        let mut url = folder(base);
        extend(&mut url, segments);
        url
    };
    [at(&["server", "load.php"]), at(&["portal.php"])]
}

/// The portal's own folder, without what follows it in the addresses that people have.
fn folder(base: &Url) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    let segments = base.path_segments().into_iter().flatten();
    let mut kept: Vec<&str> = segments.filter(|segment| !segment.is_empty()).collect();
    if kept.last().is_some_and(|last| last.ends_with(".php")) {
        kept.pop();
        if kept.last() == Some(&"server") {
            kept.pop();
        }
    }
    if kept.last() == Some(&"c") {
        kept.pop();
    }
    let path = kept.join("/");
    url.set_path(&path);
    url
}

fn extend(url: &mut Url, segments: &[&str]) {
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portal_is_found_from_any_address_that_people_have() {
        let at = |base: &str| {
            let base = Url::parse(base).unwrap();
            let [first, second] = endpoints(&base);
            [first, second, referer(&base)].map(|url| url.to_string())
        };
        let below = |folder: &str| {
            [
                format!("{folder}/server/load.php"),
                format!("{folder}/portal.php"),
                format!("{folder}/c/"),
            ]
        };
        for base in [
            "http://a.example:8080/c/",
            "http://a.example:8080",
            "http://a.example:8080/c?x=1",
        ] {
            assert_eq!(at(base), below("http://a.example:8080"), "{base}");
        }
        let stalker = "http://a.example/stalker_portal";
        assert_eq!(at(&format!("{stalker}/c/")), below(stalker));
        let php = format!("{stalker}/server/load.php");
        assert_eq!(
            at(&php),
            [php.clone(), php.clone(), format!("{stalker}/c/")]
        );
    }
}
