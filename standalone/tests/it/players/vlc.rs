//! VLC, without a window and a sound card; it is asked by its command line what it shows.

use std::collections::BTreeMap;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{PASSED, PICTURES, SECONDS, Stage, is_heard};
use crate::{PATIENCE, until};

/// User and group of nobody: VLC refuses to be root.
const NOBODY: u32 = 65_534;

/// Is said once it was told what it counts, or that there is nothing to count yet.
const END: &str = "stats: returned";

struct Vlc {
    child: Child,
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Vlc {
    fn start(address: &str, home: &Path, sound: &Path) -> Self {
        let mut command = Command::new("vlc");
        command
            .args("--intf oldrc --rc-fake-tty --no-color --vout dummy --aout afile".split(' '))
            .arg(format!("--audiofile-file={}", sound.display()))
            .arg(address)
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if rustix::process::geteuid().is_root() {
            chown(home, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = command.spawn().unwrap();
        Self {
            commands: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    async fn command(&mut self, word: &str) {
        let line = format!("{word}\n");
        self.commands.write_all(line.as_bytes()).await.unwrap();
    }

    /// What it counted so far, by name.
    async fn counted(&mut self) -> BTreeMap<String, f64> {
        self.command("stats").await;
        let reading = async {
            let mut counted = BTreeMap::new();
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.expect("VLC has ended");
                if line.contains(END) {
                    return counted;
                }
                let pair = line.trim_start_matches(['>', ' ', '|']).split_once(':');
                let pair = pair.map(|(name, value)| (name.trim(), value.split_whitespace().next()));
                if let Some((name, Some(value))) = pair
                    && let Ok(value) = value.parse()
                {
                    counted.insert(name.to_owned(), value);
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap()
    }

    async fn end(mut self) {
        self.command("shutdown").await;
        // It waits for the end of its command line, too.
        drop(self.commands);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.unwrap().unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vlc_plays_picture_and_sound_in_one_session() {
    let stage = Stage::start(PASSED).await;
    let home = tempfile::tempdir().unwrap();
    let sound = home.path().join("sound.wav");
    let mut vlc = Vlc::start(&stage.address(), home.path(), &sound);
    until("VLC plays", async || {
        let counted = vlc.counted().await;
        let count = |name: &str| counted.get(name).copied().unwrap_or(0.0);
        count("frames displayed") >= SECONDS * PICTURES && count("buffers played") > 0.0
    })
    .await;
    vlc.end().await;
    assert!(is_heard(&sound));
    let visit = stage.end().await;
    visit.is_one_session();
    visit.takes_each_segment_once();
}
