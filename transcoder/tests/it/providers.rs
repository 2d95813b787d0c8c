//! Channels of providers: a panel with one account in front of the live source, as panels are.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use api::condition::Reason;
use api::connection::{StalkerChannel, XtreamChannel, XtreamOutput};
use api::control::JobPhase;
use api::job::{JobSource, SlotGrant, SourceAddress};
use rustix::process::{Pid, Signal, kill_process};
use testkit::panel::{Panel, PanelSettings, Standing};
use testkit::source::{ChannelSettings, Cut, LiveSource, SourceSettings};
use tokio::time::timeout;

use crate::attempt::{Attempt, BOUND, Setup, job_source};
use crate::process;

/// An attempt at channels of one account, and the panel.
struct Watched {
    attempt: Attempt,
    panel: Panel,
    _secret: tempfile::TempDir,
}

/// Writes the login of a panel as a mounted Secret has it.
fn secret(settings: &PanelSettings) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |key: &str, value: &str| {
        std::fs::write(directory.path().join(key), format!("{value}\n")).unwrap();
    };
    write("username", &settings.username);
    write("password", &settings.password);
    write("mac", &settings.mac);
    directory
}

fn xtream(index: i32, panel: &Panel, channel: &str, secret: &Path) -> JobSource {
    let address = SourceAddress::Xtream(XtreamChannel {
        url: panel.url(),
        stream_id: channel.to_owned(),
        login_directory: secret.to_string_lossy().into_owned(),
        output: XtreamOutput::Ts,
    });
    JobSource {
        address,
        grant: Some(SlotGrant {
            provider: "one".to_owned(),
        }),
        ..job_source(index, String::new())
    }
}

fn xtream_playlist(index: i32, panel: &Panel, channel: &str, secret: &Path) -> JobSource {
    let mut source = xtream(index, panel, channel, secret);
    if let SourceAddress::Xtream(channel) = &mut source.address {
        channel.output = XtreamOutput::M3u8;
    }
    source
}

fn stalker(index: i32, panel: &Panel, channel: &str, secret: &Path) -> JobSource {
    let address = SourceAddress::Stalker(StalkerChannel {
        url: panel.portal_url(),
        command: format!("ffrt http://localhost/ch/{channel}_"),
        login_directory: secret.to_string_lossy().into_owned(),
    });
    JobSource {
        address,
        ..xtream(index, panel, channel, secret)
    }
}

type Protocol = fn(i32, &Panel, &str, &Path) -> JobSource;

/// Plays channels of an account, of which `101` exists.
async fn watch(protocol: Protocol, settings: PanelSettings, channels: &[&str]) -> Watched {
    let secret = secret(&settings);
    let mut started = None;
    let setup = Setup::copy(ChannelSettings::small("101"));
    let attempt = setup
        .start_with(|source| {
            let panel = Panel::start(source, settings).unwrap();
            let numbered = (0..).zip(channels);
            let sources =
                numbered.map(|(index, channel)| protocol(index, &panel, channel, secret.path()));
            let sources = sources.collect();
            started = Some(panel);
            sources
        })
        .await;
    Watched {
        attempt,
        panel: started.unwrap(),
        _secret: secret,
    }
}

impl Watched {
    /// Stops, and sees that no connection is left open.
    async fn stop(self) {
        self.attempt.stop().await;
        let left = async {
            while self.panel.stats().open > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, left).await.unwrap();
    }

    fn asked_for(&self, part: &str) -> usize {
        let asked = self.panel.stats().asked;
        asked.iter().filter(|path| path.contains(part)).count()
    }
}

#[tokio::test]
async fn a_slot_that_counts_on_after_its_connection_is_waited_for() {
    let settings = PanelSettings {
        hold: Duration::from_secs(2),
        ..PanelSettings::default()
    };
    let watched = watch(xtream, settings, &["101"]).await;
    let attempt = &watched.attempt;
    attempt.live().await;
    attempt.playlists_grow(1).await;
    attempt.source.cut("101", Cut::Abort).unwrap();
    let status = attempt
        .status(|status| status.source.reason == Reason::NoFreeConnection)
        .await;
    assert!(
        status.source.message.contains("1 of 1 are in use"),
        "{}",
        status.source.message
    );
    attempt.live().await;
    let stats = watched.panel.stats();
    assert_eq!((stats.peak, stats.total), (1, 2));
    assert!(stats.refused > 0);
    watched.stop().await;
}

#[tokio::test]
async fn another_channel_of_the_account_is_tried_once_its_patience_is_used_up() {
    let watched = watch(xtream, PanelSettings::default(), &["gone", "101"]).await;
    let status = watched.attempt.live().await;
    assert_eq!(status.source.index, 1);
    // At once, and after 0, 1, 2, 4 and 8 seconds.
    assert_eq!(watched.asked_for("/gone.ts"), 6);
    assert_eq!(watched.asked_for("/101.ts"), 1);
    watched.stop().await;
}

#[tokio::test]
async fn a_panels_playlist_plays_like_its_stream() {
    let watched = watch(xtream_playlist, PanelSettings::default(), &["101"]).await;
    watched.attempt.live().await;
    watched.attempt.playlists_grow(2).await;
    assert_eq!(watched.asked_for("/101.m3u8"), 1);
    watched.stop().await;
}

#[tokio::test]
async fn a_banned_account_is_named_and_taken_back() {
    let settings = PanelSettings {
        standing: Standing::Banned,
        ..PanelSettings::default()
    };
    let watched = watch(xtream, settings, &["101"]).await;
    let attempt = &watched.attempt;
    let refused = attempt
        .status(|status| status.source.healthy == Some(false))
        .await;
    assert_eq!(refused.source.reason, Reason::AccountRefused);
    assert_eq!(refused.phase, JobPhase::Starting);
    watched
        .panel
        .change(|settings| settings.standing = Standing::Active);
    attempt.live().await;
    watched.stop().await;
}

#[tokio::test]
async fn a_portals_channel_plays_on_while_its_session_is_made_anew() {
    let settings = PanelSettings {
        asks_for_login: true,
        hold: Duration::from_secs(1),
        ..PanelSettings::default()
    };
    let watched = watch(stalker, settings, &["101"]).await;
    let attempt = &watched.attempt;
    attempt.live().await;
    watched.panel.forget_session();
    let again = async {
        while watched.asked_for("action=handshake") < 2 || watched.panel.stats().watchdogs < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, again).await.unwrap();
    assert_eq!(watched.panel.stats().total, 1, "the channel goes on");
    // A link is good for one connection: the next one has a link of its own.
    attempt.source.cut("101", Cut::Abort).unwrap();
    let limited =
        |status: &api::control::JobStatus| status.source.reason == Reason::NoFreeConnection;
    attempt.status(limited).await;
    attempt.live().await;
    let stats = watched.panel.stats();
    assert_eq!((stats.peak, stats.total), (1, 2));
    watched.stop().await;
}

/// Whatever the process says or leaves behind: its lines, its arguments, its answers and its files.
async fn everything_said(
    job: serde_json::Value,
    directory: &Path,
    source: &LiveSource,
    panel: &Panel,
) -> String {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut child = Command::new(crate::attempt::HOST)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("HEADEND_LISTEN", address.to_string())
        .env("HEADEND_ALLOW_LOOPBACK", "true")
        .env("HEADEND_GRACE_SECONDS", "5")
        .env("HEADEND_LOG", "trace")
        .env("HEADEND_JOB", job.to_string())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut read_until = |wanted: &str| {
        for line in lines.by_ref() {
            let line = line.unwrap();
            said.push_str(&line);
            if line.contains(wanted) {
                break;
            }
        }
    };
    tokio::task::block_in_place(|| read_until("\"phase\":\"Live\""));
    let pid = child.id();
    panel.change(|settings| settings.standing = Standing::Expired);
    source.cut("101", Cut::Abort).unwrap();
    tokio::task::block_in_place(|| read_until("AccountRefused"));
    let mut answers = Vec::new();
    for path in ["metrics", "v1/streams/uid-1/1/status"] {
        let answer = reqwest::get(format!("http://{address}/{path}"))
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}");
        answers.push(answer.text().await.unwrap());
    }
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        answers.push(String::from_utf8_lossy(&text).into_owned());
    }
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    tokio::task::block_in_place(|| read_until("stream ended"));
    drop(child.stdout.take().unwrap().read_to_string(&mut said));
    assert!(child.wait().unwrap().success());
    said.extend(answers);
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        said.push_str(&String::from_utf8_lossy(
            &std::fs::read(file).unwrap_or_default(),
        ));
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_process_says_or_leaves_behind_shows_the_login() {
    testkit::tls::choose_provider();
    let channels = vec![ChannelSettings::small("101")];
    let source = LiveSource::start(SourceSettings::loopback(channels))
        .await
        .unwrap();
    let settings = PanelSettings::default();
    let secret = secret(&settings);
    let panel = Panel::start(&source, settings.clone()).unwrap();
    for protocol in [xtream as Protocol, stalker] {
        panel.change(|settings| settings.standing = Standing::Active);
        shows_no_login(protocol, &settings, secret.path(), &source, &panel).await;
    }
}

async fn shows_no_login(
    protocol: Protocol,
    settings: &PanelSettings,
    secret: &Path,
    source: &LiveSource,
    panel: &Panel,
) {
    let directory = tempfile::tempdir().unwrap();
    let mut job = process::job(directory.path());
    job["class"]["mode"] = "Copy".into();
    job["sources"] = serde_json::to_value([protocol(0, panel, "101", secret)]).unwrap();
    let said = everything_said(job, directory.path(), source, panel).await;
    let streamed = panel.stats().total;
    assert!(
        streamed > 0 && said.contains("refuses the account"),
        "{said}"
    );
    for secret in [
        &settings.username,
        &settings.password,
        &settings.mac,
        "t0k3n",
    ] {
        let found = said.find(secret).map(|at| &said[at.saturating_sub(80)..]);
        assert_eq!(
            found.map(|text| text.chars().take(200).collect::<String>()),
            None
        );
    }
}
