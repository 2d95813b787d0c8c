//! Sources that are not asked by HTTP, on servers that are FFmpeg's own or a few lines here: they play like any other, their address
//! stands nowhere, and what they do wrong has a name.

mod rtsp;

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::process::Stdio;

use api::condition::Reason;
use api::control::JobStatus;
use testkit::source::{ChannelSettings, Cut, Faults, LiveSource, SourceSettings};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::attempt::{Attempt, BOUND, Setup, job_source, told};

/// A part of every address here that must be seen nowhere.
const SECRET: &str = "s3cret-key";

/// A live channel, and an FFmpeg that offers it by another protocol.
struct Server {
    channel: LiveSource,
    arguments: Vec<String>,
    serving: Child,
}

impl Server {
    async fn start(arguments: &[&str]) -> Self {
        testkit::tls::choose_provider();
        let settings = SourceSettings::loopback(vec![ChannelSettings::small("inner")]);
        let channel = LiveSource::start(settings).await.unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        let serving = serve(&channel, &arguments);
        Self {
            channel,
            arguments,
            serving,
        }
    }

    async fn kill(&mut self) {
        self.serving.kill().await.unwrap();
    }

    fn restart(&mut self) {
        self.serving = serve(&self.channel, &self.arguments);
    }
}

fn serve(channel: &LiveSource, arguments: &[String]) -> Child {
    Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-copyts", "-i"])
        .arg(channel.url("inner"))
        .args(["-map", "0", "-c", "copy"])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn tcp_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn udp_port() -> u16 {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// Waits until somebody listens, without connecting: the first connection is the only one that is served.
async fn listened(port: u16) {
    let socket = format!("0100007F:{port:04X} 00000000:0000 0A");
    let listened = async {
        while !std::fs::read_to_string("/proc/net/tcp")
            .unwrap()
            .contains(&socket)
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, listened).await.unwrap();
}

fn setup(url: &str) -> Setup {
    let mut setup = Setup::copy(ChannelSettings::small("spare"));
    setup.job.sources = vec![job_source(0, url.to_owned())];
    setup.job.class.egress.allow_unpinned = true;
    setup
}

/// Arguments and environment of the processes of ours whose arguments name this whitelist.
fn adapters(whitelist: &str) -> BTreeMap<u32, (String, String)> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let read = |number: u32, what: &str| {
        let bytes = std::fs::read(format!("/proc/{number}/{what}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let is_ours = |number: u32| {
        let parent = format!("PPid:\t{}\n", std::process::id());
        read(number, "status").contains(&parent)
    };
    numbers
        .filter(|&number| is_ours(number))
        .map(|number| (number, (read(number, "cmdline"), read(number, "environ"))))
        .filter(|(_, (arguments, _))| arguments.split('\0').any(|one| one == whitelist))
        .collect()
}

/// Plays without a flaw, and nothing shows the address.
async fn plays(attempt: &Attempt, whitelist: &str) {
    attempt.live().await;
    let report = attempt.check(8, 0).await;
    assert_eq!(told(&report), "");
    let status = attempt.live().await;
    let source = &status.source;
    assert_eq!((source.index, source.reason), (0, Reason::Receiving));
    let start = status.start.unwrap();
    let connected = start.connected_milliseconds;
    assert_eq!(connected.is_some(), whitelist.contains("tcp"), "{start:?}");
    let passed = [
        connected.or(start.first_byte_milliseconds),
        start.first_byte_milliseconds,
        start.first_keyframe_milliseconds,
    ];
    assert!(
        passed.iter().all(Option::is_some) && passed.is_sorted(),
        "{start:?}"
    );
    let adapters = adapters(whitelist);
    assert_eq!(adapters.len(), 1, "{adapters:?}");
    assert!(!format!("{adapters:?}").contains(SECRET), "{adapters:?}");
}

async fn lost(attempt: &Attempt) -> JobStatus {
    let status = attempt
        .status(|status| status.source.healthy == Some(false))
        .await;
    let message = &status.source.message;
    assert!(!message.contains(SECRET), "{message}");
    status
}

/// Stops, and sees that the process is gone when that is answered.
async fn stop(attempt: Attempt, whitelist: &str) {
    attempt.stop().await;
    let left = adapters(whitelist);
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn rtmp_plays_and_gives_way_to_the_next_source_when_it_ends() {
    let port = tcp_port();
    let url = format!("rtmp://127.0.0.1:{port}/live/{SECRET}");
    // Encoded anew, because FFmpeg writes no FLV header for pictures that it joined in the middle.
    let encoded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25"];
    let offered = ["-f", "flv", "-listen", "1", &url];
    let mut server = Server::start(&[&encoded[..], &offered].concat()).await;
    listened(port).await;
    let mut setup = setup(&url);
    setup
        .job
        .sources
        .push(job_source(1, server.channel.url("inner")));
    let attempt = setup.start().await;
    let whitelist = "pipe,rtmp,tcp";
    plays(&attempt, whitelist).await;
    server.kill().await;
    let reason = lost(&attempt).await.source.reason;
    assert!(
        matches!(reason, Reason::EndOfStream | Reason::ConnectFailed),
        "{reason:?}"
    );
    attempt.delivers(1).await;
    stop(attempt, whitelist).await;
}

#[tokio::test]
async fn srt_plays_and_is_called_again_when_it_ends() {
    let address = format!("srt://127.0.0.1:{}", udp_port());
    let listener = format!("{address}?mode=listener");
    let mut server = Server::start(&["-f", "mpegts", &listener]).await;
    let attempt = setup(&format!("{address}?streamid={SECRET}")).start().await;
    let whitelist = "pipe,srt";
    plays(&attempt, whitelist).await;
    server.kill().await;
    lost(&attempt).await;
    server.restart();
    attempt.delivers(0).await;
    stop(attempt, whitelist).await;
}

#[tokio::test]
async fn udp_plays_and_its_silence_is_named() {
    let url = format!("udp://127.0.0.1:{}", udp_port());
    let to = format!("{url}?pkt_size=1316");
    let mut server = Server::start(&["-f", "mpegts", &to]).await;
    let attempt = setup(&format!("{url}?tag={SECRET}")).start().await;
    let whitelist = "pipe,udp";
    plays(&attempt, whitelist).await;
    server.kill().await;
    assert_eq!(lost(&attempt).await.source.reason, Reason::Silent);
    server.restart();
    attempt.delivers(0).await;
    stop(attempt, whitelist).await;
}

#[tokio::test]
async fn rtp_plays() {
    let url = format!("rtp://127.0.0.1:{}", udp_port());
    let _server = Server::start(&["-f", "rtp_mpegts", &url]).await;
    let attempt = setup(&format!("{url}?tag={SECRET}")).start().await;
    let whitelist = "pipe,rtp,udp";
    plays(&attempt, whitelist).await;
    stop(attempt, whitelist).await;
}

#[tokio::test]
async fn rtsp_plays_and_is_asked_again_when_it_ends() {
    testkit::tls::choose_provider();
    let settings = SourceSettings::loopback(vec![ChannelSettings::small("inner")]);
    let channel = LiveSource::start(settings).await.unwrap();
    let address = rtsp::serve(channel.url("inner")).await;
    let setup = setup(&format!("rtsp://user:{SECRET}@{address}/{SECRET}"));
    let attempt = setup.start().await;
    let whitelist = "pipe,rtp,tcp";
    plays(&attempt, whitelist).await;
    let away = Faults {
        status: Some(404),
        ..Faults::default()
    };
    // For a while: what is over in a moment is not seen.
    channel.set_faults("inner", away).unwrap();
    channel.cut("inner", Cut::Clean).unwrap();
    lost(&attempt).await;
    channel.set_faults("inner", Faults::default()).unwrap();
    attempt.delivers(0).await;
    stop(attempt, whitelist).await;
}

async fn named(setup: Setup) -> (Reason, String) {
    let attempt = setup.start().await;
    let status = lost(&attempt).await;
    attempt.stop().await;
    (status.source.reason, status.source.message)
}

#[tokio::test]
async fn a_class_that_does_not_allow_it_is_told_what_to_set() {
    let url = format!("rtmp://127.0.0.1:9/live/{SECRET}");
    let mut strict = setup(&url);
    strict.job.class.egress.allow_unpinned = false;
    let (reason, message) = named(strict).await;
    assert_eq!(reason, Reason::EgressRefused);
    assert!(message.contains("set egress.allowUnpinned"), "{message}");
    let mut inward = setup(&url);
    inward.options.allow_loopback = false;
    let (reason, message) = named(inward).await;
    assert_eq!(reason, Reason::EgressRefused);
    assert!(message.contains("loopback"), "{message}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_is_named() {
    let port = tcp_port();
    // Other protocols than what plays beside, by which its processes are told.
    let (reason, message) = named(setup(&format!("rtsps://127.0.0.1:{port}/{SECRET}"))).await;
    assert_eq!(reason, Reason::ConnectFailed);
    assert_eq!(
        message,
        format!("failed to connect to rtsps://127.0.0.1:{port}: connection refused")
    );
    let mute = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = mute.local_addr().unwrap().port();
    let mut setup = setup(&format!("rtmps://127.0.0.1:{port}/live/{SECRET}"));
    setup.job.class.start_deadline_seconds = 3;
    let (reason, message) = named(setup).await;
    assert_eq!(reason, Reason::Silent);
    assert_eq!(
        message,
        format!("rtmps://127.0.0.1:{port} sent nothing for 3000 ms")
    );
}
