//! One attempt in this process, on a source of this process, reached as operator and gateway reach it.

use std::time::Duration;

use api::condition::Reason;
use api::control::{JobPhase, JobStatus};
use api::job::{
    JOB_VERSION, JobClass, JobOutput, JobSource, ResumeFloor, SourceAddress, StreamIdentity,
    TranscodeJob,
};
use api::playlists::Playlists;
use api::stream_class::{EgressPolicy, EncodedRenditions, Preset, Rung, TranscodeMode};
use axum::Router;
use prometheus_client::registry::Registry;
use reqwest::{Response, StatusCode, Url};
use runtime::admin::Readiness;
use serde::de::DeserializeOwned;
use testkit::checker::{CheckSettings, Report, check};
use testkit::source::{ChannelSettings, LiveSource, SourceSettings};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use transcoder::job::{JobOptions, Outcome, run};
use transcoder::metrics::Metrics;
use transcoder::sandbox::Launcher;

/// Far longer than anything here takes.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The program through which encoders are started.
pub(crate) const HOST: &str = env!("CARGO_BIN_EXE_headend-transcoder");

/// A running attempt and what belongs to it.
pub(crate) struct Attempt {
    pub(crate) source: LiveSource,
    pub(crate) directory: tempfile::TempDir,
    base: Url,
    shutdown: CancellationToken,
    running: JoinHandle<Outcome>,
    client: reqwest::Client,
}

/// What an attempt is started with.
pub(crate) struct Setup {
    pub(crate) channels: Vec<ChannelSettings>,
    /// What of a channel is the source; its stream where there is none.
    pub(crate) playlist: Option<&'static str>,
    pub(crate) job: TranscodeJob,
    pub(crate) options: JobOptions,
}

/// A client that keeps no connections: the server ends those that are idle for as long as a test watches, perhaps at the very moment of the
/// next request.
pub(crate) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0);
    client.build().unwrap()
}

/// What becomes of a source that cannot be played: reason and message.
pub(crate) async fn named(setup: Setup) -> (Reason, String) {
    let attempt = setup.start().await;
    let status = attempt
        .status(|status| status.source.healthy == Some(false))
        .await;
    attempt.stop().await;
    (status.source.reason, status.source.message)
}

impl Setup {
    /// Passes one small channel through.
    pub(crate) fn copy(channel: ChannelSettings) -> Self {
        Self {
            channels: vec![channel],
            playlist: None,
            job: job(),
            options: options(),
        }
    }

    /// Judges one channel by what arrives.
    pub(crate) fn auto(channel: ChannelSettings) -> Self {
        let mut setup = Self::copy(channel);
        setup.job.class.mode = TranscodeMode::Auto;
        setup
    }

    /// Passes one channel through that is fetched as HLS.
    pub(crate) fn hls(channel: ChannelSettings, playlist: &'static str) -> Self {
        Self {
            playlist: Some(playlist),
            ..Self::copy(channel)
        }
    }

    /// With these encoded rungs.
    pub(crate) fn with_ladder(mut self, heights: &[i32]) -> Self {
        let rung = |&height| Rung {
            height,
            video_kilobits_per_second: height,
        };
        self.job.class.ladder = heights.iter().map(rung).collect();
        self
    }

    /// Starts source and attempt. Channels become the job's sources unless it has some.
    pub(crate) async fn start(self) -> Attempt {
        let names: Vec<String> = self.channels.iter().map(|one| one.name.clone()).collect();
        let (playlist, sources) = (self.playlist, self.job.sources.clone());
        let of_channels = |source: &LiveSource| {
            let url = |name: &String| match playlist {
                Some(playlist) => source.hls_url(name, playlist),
                None => source.url(name),
            };
            let numbered = (0..).zip(&names);
            let channels = numbered.map(|(index, name)| job_source(index, url(name)));
            channels.collect()
        };
        self.start_with(|source| {
            if sources.is_empty() {
                of_channels(source)
            } else {
                sources
            }
        })
        .await
    }

    /// Starts source and attempt, whose job's sources come from the channels as told. It has a connection of the first one's account; those
    /// of others are in reserve.
    pub(crate) async fn start_with(
        mut self,
        sources: impl FnOnce(&LiveSource) -> Vec<JobSource>,
    ) -> Attempt {
        testkit::tls::choose_provider();
        testkit::logs::with_the_test();
        let source = SourceSettings::loopback(self.channels);
        let source = LiveSource::start(source).await.unwrap();
        let sources = sources(&source);
        let granted = sources.first().and_then(|first| first.grant.clone());
        (self.job.sources, self.job.reserve) = sources
            .into_iter()
            .partition(|source| source.grant.is_none() || source.grant == granted);
        let directory = tempfile::tempdir().unwrap();
        if self.job.output.directory.is_empty() {
            self.job.output.directory = directory.path().to_string_lossy().into_owned();
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let path = api::control::stream_path(&self.job.stream.uid, self.job.attempt);
        let shutdown = CancellationToken::new();
        let attempt = run(self.job, listener, self.options, shutdown.clone());
        Attempt {
            source,
            directory,
            base: Url::parse(&format!("http://{address}{path}/")).unwrap(),
            shutdown,
            running: tokio::spawn(async { attempt.await.unwrap() }),
            client: client(),
        }
    }
}

impl Attempt {
    pub(crate) fn url(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str) -> Response {
        self.client.post(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Follows the status by long polls until it is as wanted.
    pub(crate) async fn status(&self, is_wanted: impl Fn(&JobStatus) -> bool) -> JobStatus {
        let follow = async {
            let mut status: JobStatus = self.read("status").await;
            while !is_wanted(&status) {
                status = self.read(&format!("status?after={}", status.version)).await;
            }
            status
        };
        let Ok(status) = timeout(BOUND, follow).await else {
            panic!("the status is {:?}", self.read::<JobStatus>("status").await);
        };
        status
    }

    pub(crate) async fn live(&self) -> JobStatus {
        self.status(|status| status.phase == JobPhase::Live).await
    }

    /// Follows the playlists by long polls until they are as wanted.
    pub(crate) async fn playlists(&self, is_wanted: impl Fn(&Playlists) -> bool) -> Playlists {
        let follow = async {
            let mut playlists: Playlists = self.read("playlists").await;
            while !is_wanted(&playlists) {
                let path = format!("playlists?after={}", playlists.version);
                playlists = self.read(&path).await;
            }
            playlists
        };
        let Ok(playlists) = timeout(BOUND, follow).await else {
            panic!(
                "the playlists are {:?}",
                self.read::<Playlists>("playlists").await
            );
        };
        playlists
    }

    /// Waits for so many more segments.
    pub(crate) async fn playlists_grow(&self, count: u64) -> Playlists {
        let last = |playlists: &Playlists| playlists.segments.last().map(|entry| entry.number);
        let before: Playlists = self.read("playlists").await;
        let wanted = last(&before).map_or(count, |last| last + count);
        let has_grown = |playlists: &Playlists| match last(&before) {
            Some(_) => last(playlists) >= Some(wanted),
            None => playlists.segments.len() as u64 >= wanted,
        };
        self.playlists(has_grown).await
    }

    /// Waits until a source delivers, and for some segments after that.
    pub(crate) async fn delivers(&self, index: i32) {
        self.status(|status| status.source.index == index && status.source.healthy == Some(true))
            .await;
        self.playlists_grow(2).await;
    }

    /// Where a channel's server listens.
    pub(crate) fn source_port(&self, channel: &str) -> u16 {
        let url = Url::parse(&self.source.url(channel)).unwrap();
        url.port().unwrap()
    }

    /// Waits until nobody is connected to a channel any more.
    pub(crate) async fn source_is_left(&self, channel: &str) {
        let left = async {
            while self.source.stats(channel).unwrap().clients > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, left).await.unwrap();
    }

    /// Lets the checker follow the stream.
    pub(crate) async fn check(&self, seconds: u64, discontinuities: u64) -> Report {
        let settings = CheckSettings {
            duration: Duration::from_secs(seconds),
            discontinuities: Some(discontinuities),
            ..CheckSettings::new(self.url("hls/master.m3u8"))
        };
        check(settings).await.unwrap()
    }

    /// Begins the shutdown of the process.
    pub(crate) fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// How it ends, and that it does.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        timeout(BOUND, &mut self.running).await.unwrap().unwrap()
    }

    /// Tells it to stop and sees that it does.
    pub(crate) async fn stop(mut self) {
        assert_eq!(self.post("stop").await.status(), StatusCode::OK);
        assert_eq!(self.outcome().await, Outcome::Stopped);
    }
}

/// What the checker has to say, one rule a line.
pub(crate) fn told(report: &Report) -> String {
    let lines = report.violations.iter().map(ToString::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

pub(crate) fn job_source(index: i32, url: String) -> JobSource {
    JobSource::new(index, SourceAddress::Url(url))
}

/// A job without sources and directory, which [`Setup::start`] adds.
fn job() -> TranscodeJob {
    TranscodeJob {
        version: JOB_VERSION,
        stream: StreamIdentity {
            namespace: "tv".to_owned(),
            name: "news-one".to_owned(),
            uid: "0f9c2a41-7b1e".to_owned(),
        },
        attempt: 3,
        sources: Vec::new(),
        reserve: Vec::new(),
        class: JobClass {
            mode: TranscodeMode::Copy,
            preset: Preset::Source,
            ladder: Vec::new(),
            encoded_renditions: EncodedRenditions::Always,
            max_decode_height: None,
            segment_duration_seconds: 2,
            target_duration_seconds: 4,
            playlist_duration_seconds: 12,
            start_deadline_seconds: 10,
            audio_language: None,
            egress: EgressPolicy::default(),
            files_directory: None,
            slate: false,
        },
        resume: ResumeFloor::default(),
        output: JobOutput {
            directory: String::new(),
            byte_limit: 512 << 20,
        },
        standby: None,
        traceparent: None,
    }
}

fn options() -> JobOptions {
    JobOptions {
        launcher: Launcher::through(HOST.into(), "ffmpeg".into()),
        allow_loopback: true,
        grace: Duration::ZERO,
        give_up_after: Duration::from_secs(60),
        linger: Duration::from_secs(5),
        memory_bytes: 64 << 20,
        metrics: Metrics::register(&mut Registry::default()),
        readiness: Readiness::new(&["segments"]),
        routes: Router::new(),
    }
}
