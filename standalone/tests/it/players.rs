//! Players as people have them watch a channel: picture and sound go on, and what they ask for is what the product relies on. Each plays through
//! a proxy that notes its requests.

mod browser;
mod ffmpeg;
mod mpv;
mod vlc;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use tempfile::TempDir;
use testkit::recorder::{Asked, Recorder};
use testkit::source::LiveSource;

use crate::standalone::Standalone;
use crate::{list, source};

/// Where the channel is, with the only credentials that a player is ever given.
const MASTER: &str = "/live/one/master.m3u8?token=token";

/// Seconds that a player is to go on for: longer than a playlist is, so that it has to ask again.
const SECONDS: f64 = 14.0;

/// Pictures in a second of the source.
const PICTURES: f64 = 25.0;

/// Playlists and segments in a second that a cluster's gateway answers an address.
const RATE: usize = 30;

/// The source alone, passed through.
const PASSED: &str = "{}";

/// The source, and a smaller picture that is encoded.
const LADDER: &str = "{ladder: [{height: 180, videoKilobitsPerSecond: 300}, {height: 144, videoKilobitsPerSecond: 150}]}";

/// A channel, and the proxy that players watch it through.
struct Stage {
    standalone: Standalone,
    recorder: Recorder,
    _source: LiveSource,
    _directory: TempDir,
}

impl Stage {
    /// With a class of that spec.
    async fn start(spec: &str) -> Self {
        let source = source(&["one"]).await;
        let directory = tempfile::tempdir().unwrap();
        let channels = directory.path().join("list.m3u");
        std::fs::write(&channels, list(&source, &["one"])).unwrap();
        let classes = directory.path().join("classes.yaml");
        let class = format!(
            "apiVersion: headend.dev/v1alpha1\nkind: StreamClass\nmetadata: {{name: default}}\nspec: {spec}\n"
        );
        std::fs::write(&classes, class).unwrap();
        let arguments = ["--classes", classes.to_str().unwrap()];
        let standalone = Standalone::start(&channels, &arguments).await;
        Self {
            recorder: Recorder::start(&standalone.address).await.unwrap(),
            standalone,
            _source: source,
            _directory: directory,
        }
    }

    /// What a player is told to play.
    fn address(&self) -> String {
        format!("{}{MASTER}", self.recorder.server())
    }

    /// Ends it all once the player is gone; what that asked for.
    async fn end(self) -> Visit {
        let visit = Visit::of(&self.recorder.asked());
        eprintln!("{visit:#?}");
        assert!(self.standalone.end().await.success());
        visit
    }
}

/// What a player asked for.
#[derive(Debug, Default)]
struct Visit {
    /// How often for the master playlist.
    masters: usize,
    /// The sessions that it used.
    sessions: BTreeSet<String>,
    /// How often for the playlist of each rendition.
    playlists: BTreeMap<String, usize>,
    /// Segments of each rendition, in its order.
    segments: BTreeMap<String, Vec<String>>,
    /// Requests in one second at the most.
    most_in_a_second: usize,
}

impl Visit {
    /// All of it is such as we rely on: answered, with nothing but what we minted, and a token only where the player was given it.
    fn of(asked: &[Asked]) -> Self {
        let mut visit = Self {
            most_in_a_second: most_in_a_second(asked),
            ..Self::default()
        };
        for asked in asked {
            let status = asked.status.unwrap_or(StatusCode::OK);
            let is_answered = status.is_success() || status == StatusCode::NOT_MODIFIED;
            assert!(is_answered, "{asked:?}");
            visit.note(asked);
        }
        assert!(visit.most_in_a_second <= RATE, "{visit:#?}");
        visit
    }

    fn note(&mut self, asked: &Asked) {
        if asked.target == MASTER {
            self.masters += 1;
            return;
        }
        let told = asked.headers.values().map(HeaderValue::as_bytes);
        let mut told = told.chain([asked.target.as_bytes()]);
        let is_token = |text: &[u8]| text.windows(5).any(|part| part == b"token");
        assert!(!told.any(is_token), "{asked:?}");
        let parts: Vec<&str> = asked.target.split('/').collect();
        match parts.as_slice() {
            ["", "hls", session, rendition, "index.m3u8"] => {
                self.sessions.insert((*session).to_owned());
                *self.playlists.entry((*rendition).to_owned()).or_default() += 1;
            }
            ["", "seg", _, _, rendition, name] => {
                let segments = self.segments.entry((*rendition).to_owned());
                segments.or_default().push((*name).to_owned());
            }
            other => assert!(other.is_empty(), "no address that we mint: {asked:?}"),
        }
    }

    /// One viewer is one session, whose playlists are asked for again and again. Some ask for the master twice, and forget the first one.
    fn is_one_session(&self) {
        assert!((1..=2).contains(&self.masters), "{self:#?}");
        assert_eq!(self.sessions.len(), 1, "{self:#?}");
        assert!(self.playlists.values().any(|asked| *asked > 2), "{self:#?}");
    }

    /// No segment of a rendition twice.
    fn takes_each_segment_once(&self) {
        for names in self.segments.values() {
            let different: BTreeSet<_> = names.iter().collect();
            assert_eq!(different.len(), names.len(), "{self:#?}");
        }
    }
}

/// Whether what a player wrote instead of playing it (WAV, whose header has 44 bytes) is more than silence.
fn is_heard(sound: &Path) -> bool {
    let written = std::fs::read(sound).unwrap();
    written.iter().skip(44).any(|byte| *byte != 0)
}

fn most_in_a_second(asked: &[Asked]) -> usize {
    let within = |first: &Asked| {
        let later = asked.iter().filter(|one| one.at >= first.at);
        later
            .filter(|one| one.at - first.at < Duration::from_secs(1))
            .count()
    };
    asked.iter().map(within).max().unwrap_or(0)
}
