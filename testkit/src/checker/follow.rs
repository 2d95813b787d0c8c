//! Follows one base URL like a player: master, then all renditions at once, each segment as it is listed. Judges only what cannot wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::CheckSettings;
use super::alignment::Speaker;
use super::fetch::{Answer, get};
use super::headers;
use super::history::{History, Observation};
use super::playlist::{MasterPlaylist, MediaPlaylist, Playlist, Segment, parse};
use super::report::{Finding, Rule};
use super::shared::Shared;
use super::structure;

/// Time between polls while nothing is listed yet.
const EAGER: Duration = Duration::from_millis(100);

/// Longest time between polls.
const STEADY: Duration = Duration::from_millis(500);

/// A segment and its bytes.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) segment: Segment,
    pub(crate) bytes: Bytes,
}

/// All that was seen of one rendition.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) speaker: Speaker,
    pub(crate) url: Url,
    pub(crate) history: History,
    /// In the order of their numbers.
    pub(crate) fetched: Vec<Fetched>,
}

/// All that was seen of one base URL.
#[derive(Debug)]
pub(crate) struct FollowedBase {
    pub(crate) master: Option<MasterPlaylist>,
    pub(crate) renditions: Vec<Followed>,
}

/// Follows a base URL until the time is up.
pub(crate) async fn follow(shared: Arc<Shared>, base: usize) -> FollowedBase {
    let nothing = FollowedBase {
        master: None,
        renditions: Vec::new(),
    };
    let Ok(client) = client(&shared.settings) else {
        shared.tell(
            base,
            None,
            [Finding::new(Rule::PlaylistFetch, "no HTTP client")],
        );
        return nothing;
    };
    let began = Instant::now();
    let Some(answer) = first_answer(&shared, &client, base, began).await else {
        return nothing;
    };
    shared.tell(base, None, headers::check_playlist(&answer.headers, None));
    let parsed = parse(&String::from_utf8_lossy(&answer.body));
    let (master, urls) = match parsed {
        Ok(Playlist::Media(_)) => (None, vec![answer.url]),
        Ok(Playlist::Master(master)) => {
            let seconds = began.elapsed().as_secs_f64();
            shared.started(base, |start| start.master_seconds = Some(seconds));
            let join = |uri: &str| answer.url.join(uri).ok();
            let urls = master
                .variants
                .iter()
                .filter_map(|variant| join(&variant.uri));
            let urls = urls.collect();
            (Some(master), urls)
        }
        Err(reason) => {
            shared.tell(base, None, [Finding::new(Rule::Syntax, reason)]);
            return nothing;
        }
    };
    let followers = urls
        .into_iter()
        .enumerate()
        .map(|(rendition, url)| Follower {
            shared: Arc::clone(&shared),
            client: client.clone(),
            speaker: Speaker { base, rendition },
            url,
            began,
            deadline: None,
            history: History::default(),
            tasks: JoinSet::new(),
            polled: began,
        });
    let renditions = futures::future::join_all(followers.map(Follower::run)).await;
    FollowedBase { master, renditions }
}

fn client(settings: &CheckSettings) -> reqwest::Result<reqwest::Client> {
    crate::tls::choose_provider();
    let agent = settings.user_agent.as_deref();
    reqwest::Client::builder()
        .user_agent(agent.unwrap_or("headend-testkit"))
        .build()
}

/// Asks until the stream has started, or as long as a start may take.
async fn first_answer(
    shared: &Shared,
    client: &reqwest::Client,
    base: usize,
    began: Instant,
) -> Option<Answer> {
    loop {
        let refusal = match get(client, &shared.settings.urls[base]).await {
            Ok(answer) => return Some(answer),
            Err(refusal) => refusal,
        };
        if !refusal.retry || began.elapsed() >= shared.settings.start_timeout {
            shared.tell(
                base,
                None,
                [Finding::new(Rule::PlaylistFetch, refusal.reason)],
            );
            return None;
        }
        tokio::time::sleep(EAGER).await;
    }
}

/// What a background request brought.
enum Done {
    Fetched(Fetched),
    /// A removed segment, fetched again when its time was nearly over.
    Kept(u64, usize),
    Failed(Finding),
}

struct Follower {
    shared: Arc<Shared>,
    client: reqwest::Client,
    speaker: Speaker,
    url: Url,
    began: Instant,
    /// Set when the first segment is listed.
    deadline: Option<Instant>,
    history: History,
    tasks: JoinSet<Done>,
    polled: Instant,
}

impl Follower {
    async fn run(mut self) -> Followed {
        loop {
            let started = Instant::now();
            let patience = self.began + self.shared.settings.start_timeout;
            if started >= self.deadline.unwrap_or(patience) {
                break;
            }
            self.poll().await;
            tokio::time::sleep_until(started + self.interval()).await;
        }
        if self.deadline.is_none() {
            let detail = format!("no segment within {:?}", self.shared.settings.start_timeout);
            self.tell([Finding::new(Rule::PlaylistFetch, detail)]);
        }
        let fetched = self.finish().await;
        Followed {
            speaker: self.speaker,
            url: self.url,
            history: self.history,
            fetched,
        }
    }

    fn interval(&self) -> Duration {
        match self.history.last() {
            Some(last) if self.deadline.is_some() => STEADY
                .min(Duration::from_millis(u64::from(last.target) * 250))
                .max(EAGER),
            _ => EAGER,
        }
    }

    fn tell(&self, findings: impl IntoIterator<Item = Finding>) {
        let Speaker { base, rendition } = self.speaker;
        self.shared.tell(base, Some(rendition), findings);
    }

    async fn poll(&mut self) {
        let asked = Instant::now();
        let answer = match get(&self.client, &self.url).await {
            Ok(answer) => answer,
            Err(refusal) => {
                // While nothing is listed, "come again" is a fair answer.
                if !refusal.retry || self.deadline.is_some() {
                    self.tell([Finding::new(Rule::PlaylistFetch, refusal.reason)]);
                }
                return;
            }
        };
        match parse(&String::from_utf8_lossy(&answer.body)) {
            Ok(Playlist::Media(playlist)) => self.take(&playlist, &answer, asked),
            Ok(Playlist::Master(_)) => {
                self.tell([Finding::new(Rule::Syntax, "a master inside a master")]);
            }
            Err(reason) => self.tell([Finding::new(Rule::Syntax, reason)]),
        }
    }

    fn take(&mut self, playlist: &MediaPlaylist, answer: &Answer, asked: Instant) {
        let now = Instant::now();
        let slack = now - self.polled;
        self.polled = now;
        if self.deadline.is_none() && !playlist.segments.is_empty() {
            self.deadline = Some(now + self.shared.settings.duration);
            let seconds = self.began.elapsed().as_secs_f64();
            self.shared.started(self.speaker.base, |start| {
                earliest(&mut start.playlist_seconds, seconds);
            });
        }
        let first = self.history.versions() == 0;
        let stale = self.shared.settings.stale;
        let observation =
            self.history
                .observe(playlist, asked - self.began, now - self.began, stale);
        if first || !observation.added.is_empty() {
            self.tell(structure::check(playlist).into_iter().filter(|finding| {
                first
                    || finding.number.is_none_or(|number| {
                        observation
                            .added
                            .iter()
                            .any(|segment| segment.number == number)
                    })
            }));
            let path = |uri: &str| {
                answer
                    .url
                    .join(uri)
                    .map_or(uri.to_owned(), |url| url.path().to_owned())
            };
            let findings = self.shared.lock().0.observe(self.speaker, playlist, path);
            self.tell(findings);
        }
        if first {
            self.tell(headers::check_playlist(
                &answer.headers,
                Some(playlist.target),
            ));
        }
        self.dispatch(observation, answer, slack);
    }

    /// Fetches what is new, and in time what is no longer listed.
    fn dispatch(&mut self, observation: Observation, answer: &Answer, slack: Duration) {
        self.tell(observation.findings);
        for segment in observation.added.into_iter().filter(|segment| !segment.gap) {
            let Ok(url) = answer.url.join(&segment.uri) else {
                let detail = format!("{:?} is no URL", segment.uri);
                self.tell([Finding::at(Rule::SegmentFetch, segment.number, detail)]);
                continue;
            };
            let fetching = fetch(
                self.client.clone(),
                Arc::clone(&self.shared),
                self.speaker,
                segment,
                url,
                self.began,
            );
            self.tasks.spawn(fetching);
        }
        for (segment, keep) in observation.removed {
            let at = Instant::now() + keep.mul_f64(0.9).saturating_sub(slack);
            let in_time = self.deadline.is_some_and(|deadline| at < deadline);
            if let (true, Ok(url)) = (in_time, answer.url.join(&segment.uri)) {
                self.tasks
                    .spawn(fetch_again(self.client.clone(), segment.number, url, at));
            }
        }
    }

    /// Waits for what is under way; every request is bounded.
    async fn finish(&mut self) -> Vec<Fetched> {
        let (mut fetched, mut kept) = (Vec::<Fetched>::new(), Vec::new());
        while let Some(done) = self.tasks.join_next().await {
            match done {
                Ok(Done::Fetched(segment)) => fetched.push(segment),
                Ok(Done::Kept(number, length)) => kept.push((number, length)),
                Ok(Done::Failed(finding)) => self.tell([finding]),
                Err(error) => self.tell([Finding::new(Rule::SegmentFetch, error.to_string())]),
            }
        }
        fetched.sort_by_key(|fetched| fetched.segment.number);
        for (number, length) in kept {
            let before = fetched
                .iter()
                .find(|fetched| fetched.segment.number == number);
            if before.is_some_and(|before| before.bytes.len() != length) {
                let detail = format!("it has {length} bytes after its removal");
                self.tell([Finding::at(Rule::Retention, number, detail)]);
            }
        }
        fetched
    }
}

fn earliest(seen: &mut Option<f64>, seconds: f64) {
    *seen = Some(seen.map_or(seconds, |earlier| earlier.min(seconds)));
}

async fn fetch(
    client: reqwest::Client,
    shared: Arc<Shared>,
    speaker: Speaker,
    segment: Segment,
    url: Url,
    began: Instant,
) -> Done {
    let Speaker { base, rendition } = speaker;
    let number = segment.number;
    match get(&client, &url).await {
        Ok(answer) => {
            let seconds = began.elapsed().as_secs_f64();
            shared.started(base, |start| earliest(&mut start.segment_seconds, seconds));
            let mut findings = headers::check_segment(&answer.headers);
            for finding in &mut findings {
                finding.number = Some(number);
            }
            shared.tell(base, Some(rendition), findings);
            Done::Fetched(Fetched {
                segment,
                bytes: answer.body,
            })
        }
        Err(refusal) => Done::Failed(Finding::at(Rule::SegmentFetch, number, refusal.reason)),
    }
}

async fn fetch_again(client: reqwest::Client, number: u64, url: Url, at: Instant) -> Done {
    tokio::time::sleep_until(at).await;
    match get(&client, &url).await {
        Ok(answer) => Done::Kept(number, answer.body.len()),
        Err(refusal) => {
            let detail = format!("gone too early: {}", refusal.reason);
            Done::Failed(Finding::at(Rule::Retention, number, detail))
        }
    }
}
