//! mpv, without a window and a sound card; it is asked through its socket what it shows.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::{PASSED, SECONDS, Stage, is_heard};
use crate::{PATIENCE, until};

/// mpv's socket.
struct Socket(BufReader<UnixStream>);

impl Socket {
    async fn open(path: &Path) -> Self {
        until("mpv listens", async || {
            UnixStream::connect(path).await.is_ok()
        })
        .await;
        Self(BufReader::new(UnixStream::connect(path).await.unwrap()))
    }

    async fn say(&mut self, command: &[&str]) {
        let mut line = json!({ "command": command, "request_id": 1 }).to_string();
        line.push('\n');
        self.0.get_mut().write_all(line.as_bytes()).await.unwrap();
    }

    /// What mpv answers to a command; nothing where there is nothing yet.
    async fn ask(&mut self, command: &[&str]) -> Value {
        let asking = async {
            self.say(command).await;
            // Between the answers it tells what happens.
            loop {
                let mut line = String::new();
                let length = self.0.read_line(&mut line).await.unwrap();
                assert_ne!(length, 0, "mpv has ended");
                let answer: Value = serde_json::from_str(&line).unwrap();
                if answer["request_id"] == 1 {
                    return answer["data"].clone();
                }
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap()
    }

    async fn number(&mut self, property: &str) -> Option<f64> {
        let value = self.ask(&["get_property", property]).await;
        let text = value.as_str().and_then(|text| text.parse().ok());
        value.as_f64().or(text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mpv_plays_picture_and_sound_in_one_session() {
    let stage = Stage::start(PASSED).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let sound = directory.path().join("sound.wav");
    let mut mpv = Command::new("mpv")
        .args("--no-config --no-terminal --ytdl=no --vo=null --ao=pcm".split(' '))
        .arg(format!("--ao-pcm-file={}", sound.display()))
        .arg(format!("--input-ipc-server={}", path.display()))
        .arg(stage.address())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut socket = Socket::open(&path).await;
    let mut begun = None;
    until("mpv plays", async || {
        let now = socket.number("time-pos").await;
        begun = begun.or(now);
        begun
            .zip(now)
            .is_some_and(|(begun, now)| now >= begun + SECONDS)
    })
    .await;
    assert_eq!(socket.number("video-params/h").await, Some(180.0));
    let pictures = socket.number("estimated-vf-fps").await;
    assert!(
        pictures.is_some_and(|pictures| pictures > 0.0),
        "{pictures:?}"
    );
    socket.say(&["quit"]).await;
    let ended = tokio::time::timeout(PATIENCE, mpv.wait()).await;
    assert!(ended.unwrap().unwrap().success());
    assert!(is_heard(&sound));
    let visit = stage.end().await;
    visit.is_one_session();
    visit.takes_each_segment_once();
}
