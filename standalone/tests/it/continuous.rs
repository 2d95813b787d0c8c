//! A channel as one transport stream, recorded while its sources change: whoever reads it notices a seam, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::source::{Cut, Faults};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::standalone::Standalone;
use crate::{PATIENCE, list, source, until};

/// Some seconds of what these tests play.
const SOME_SECONDS: usize = 300_000;

/// Ticks of 1/90000 s between two packets of a track at most.
const LONGEST_STEP: i64 = 45_000;

/// A recorder that knows nothing of playlists.
struct Recording {
    file: PathBuf,
    bytes: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Recording {
    async fn start(standalone: &Standalone, directory: &Path) -> Self {
        testkit::tls::choose_provider();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/live/one.ts?token=token", standalone.address);
        let mut answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let path = directory.join("recording.ts");
        let mut file = tokio::fs::File::create(&path).await.unwrap();
        let bytes = Arc::new(AtomicUsize::new(0));
        let counted = bytes.clone();
        let task = tokio::spawn(async move {
            // An end that is none in good order is an error.
            while let Some(chunk) = answer.chunk().await.unwrap() {
                file.write_all(&chunk).await.unwrap();
                counted.fetch_add(chunk.len(), Ordering::Relaxed);
            }
            file.flush().await.unwrap();
        });
        Self {
            file: path,
            bytes,
            task,
        }
    }

    /// Waits until some seconds more are recorded.
    async fn goes_on(&self) {
        let before = self.bytes.load(Ordering::Relaxed);
        until("the recording goes on", async || {
            assert!(!self.task.is_finished(), "it ended");
            self.bytes.load(Ordering::Relaxed) >= before + SOME_SECONDS
        })
        .await;
    }

    /// Ends with the process that it is recorded from, and is looked at.
    async fn end(self, standalone: Standalone) {
        assert!(standalone.end().await.success());
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.unwrap().unwrap();
        let file = self.file.to_str().unwrap();
        run("ffmpeg", &["-i", file, "-c", "copy", "-f", "null", "-"]).await;
        let entries = ["-show_entries", "packet=codec_type,dts"];
        let form = ["-of", "csv=print_section=0", file];
        let packets = run("ffprobe", &[entries.as_slice(), form.as_slice()].concat()).await;
        for track in ["video", "audio"] {
            let times = packets.lines().filter_map(|line| {
                let (of, time) = line.split_once(',')?;
                (of == track).then(|| time.trim_end_matches(',').parse().unwrap())
            });
            let times: Vec<i64> = times.collect();
            assert!(times.len() > 100, "{track}: {}", times.len());
            for pair in times.windows(2) {
                let step = pair[1] - pair[0];
                assert!((1..=LONGEST_STEP).contains(&step), "{track}: {pair:?}");
            }
        }
    }
}

/// What a tool says that has nothing to complain of.
async fn run(tool: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(tool);
    command
        .args(["-v", "warning"])
        .args(arguments)
        .stdin(Stdio::null());
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_goes_over_to_the_next_source_without_a_jump() {
    let source = source(&["one", "two"]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.yaml");
    let (first, second) = (source.url("one"), source.url("two"));
    let channel = format!(
        "channels: [{{ slug: one, name: One, sources: [{{ url: '{first}' }}, {{ url: '{second}' }}] }}]\n"
    );
    std::fs::write(&file, channel).unwrap();
    let standalone = Standalone::start(&file, &[]).await;
    let recording = Recording::start(&standalone, directory.path()).await;
    recording.goes_on().await;
    let gone = Faults {
        status: Some(404),
        ..Faults::default()
    };
    source.set_faults("one", gone).unwrap();
    source.cut("one", Cut::Abort).unwrap();
    until("the other source is played", async || {
        source.stats("two").unwrap().clients == 1
    })
    .await;
    recording.goes_on().await;
    recording.end(standalone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_goes_over_to_the_next_attempt_without_a_jump() {
    let source = source(&["one", "two"]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("list.m3u");
    std::fs::write(&file, list(&source, &["one"])).unwrap();
    let standalone = Standalone::start(&file, &[]).await;
    let recording = Recording::start(&standalone, directory.path()).await;
    recording.goes_on().await;
    let edited = list(&source, &["one"]).replace(&source.url("one"), &source.url("two"));
    std::fs::write(&file, edited).unwrap();
    until("the other source is played", async || {
        source.stats("two").unwrap().clients == 1
    })
    .await;
    recording.goes_on().await;
    recording.end(standalone).await;
}
