//! The peers: other programs that make HLS of the same source, each line as its users write it. Decides nothing about their figures.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// How often the playlist is looked at: far below what is measured.
const LOOK: Duration = Duration::from_millis(2);

/// The playlist of a line that makes one rendition.
const PLAYLIST: &str = "index.m3u8";

/// How panels usually start FFmpeg.
const PANEL: &str = "-probesize 5M -analyzeduration 5M";

/// The input options with which FFmpeg starts fastest without losing the first keyframe.
const TUNED: &str = "-fpsprobesize 0 -probesize 64k -analyzeduration 100000";

/// FFmpeg's own way to outlive a source: reconnect at once, at the end of the stream too, and after four seconds of silence.
const RECONNECT: &str = "-rw_timeout 4000000 -reconnect 1 -reconnect_streamed 1 -reconnect_at_eof 1 -reconnect_delay_max 2";

/// A window of six segments.
const WINDOW: &str = "-hls_list_size 6 -hls_flags delete_segments";

/// A queue of GStreamer that holds whatever the other branch waits for.
const UNBOUNDED: &str = "queue max-size-time=0 max-size-bytes=0 max-size-buffers=0";

/// Encoder options that the product has, but for the rungs' bit rates: costs are compared for the same pictures, and peers scale
/// with one thread as it does.
pub(crate) const ENCODER: &str = "-preset veryfast -profile:v main -level:v 3.1 -bf 2 -rc-lookahead 5 -threads 2 -x264-params sync-lookahead=0";

/// When the product's encoder sets keys, and that it makes no pictures of its own.
pub(crate) const KEYS: &str =
    "-sc_threshold 0 -force_key_frames source -g 50 -fps_mode passthrough";

/// The product's audio, where it encodes that.
pub(crate) const AUDIO: &str = "-c:a aac -b:a 96k -ac 2 -ar 48000";

/// Audio that is passed through.
const SAME_AUDIO: &str = "-c:a copy";

/// Lines and kilobits per second of the ladder, as the product's preset `high` has them.
const RUNGS: [(u32, u32); 3] = [(720, 2500), (480, 1000), (360, 600)];

/// One way to make HLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// FFmpeg as panels start it, copying.
    Panel,
    /// The same with the panels' event playlist.
    PanelEvent,
    /// FFmpeg as panels start it, encoding three rungs.
    PanelLadder,
    /// FFmpeg copying, started as fast as it can.
    Tuned,
    /// FFmpeg encoding three rungs, started as fast as it can.
    TunedLadder,
    /// FFmpeg copying, which reconnects.
    Reconnecting,
    /// One FFmpeg encoding three rungs as the product does, which reconnects.
    ReconnectingLadder,
    /// One FFmpeg encoding three rungs and their audio as the product does.
    OneLadder,
    /// An FFmpeg for each of three rungs, encoding as the product does, audio too.
    ThreeLadder,
    /// The same with the source's audio.
    ThreeLadderSameAudio,
    /// GStreamer copying, with queues that hold more than the longest GOP.
    GStreamer,
}

impl Line {
    /// Program and arguments of each process.
    fn commands(self, source: &str) -> Vec<Vec<String>> {
        let copy = "-c copy -f hls";
        let one = |options: String| vec![ffmpeg(&options)];
        match self {
            Self::Panel => one(format!(
                "{PANEL} -i {source} {copy} -hls_time 4 {WINDOW} {PLAYLIST}"
            )),
            Self::PanelEvent => one(format!(
                "{PANEL} -i {source} {copy} -hls_time 4 {WINDOW} -hls_playlist_type event {PLAYLIST}"
            )),
            Self::PanelLadder => one(format!(
                "{PANEL} -i {source} {} -hls_time 4 {WINDOW}",
                ladder("-preset veryfast -g 50", AUDIO)
            )),
            Self::Tuned => one(format!(
                "{TUNED} -i {source} {copy} -hls_time 1 {WINDOW} {PLAYLIST}"
            )),
            Self::TunedLadder => one(format!(
                "{TUNED} -i {source} {} -hls_time 1 {WINDOW}",
                ladder(
                    "-preset veryfast -tune zerolatency -force_key_frames expr:gte(t,n_forced) -fps_mode passthrough",
                    AUDIO
                )
            )),
            Self::Reconnecting => one(format!(
                "{RECONNECT} {TUNED} -i {source} {copy} -hls_time 1 {WINDOW} {PLAYLIST}"
            )),
            Self::ReconnectingLadder => one(format!(
                "{RECONNECT} {TUNED} -threads 1 -i {source} {} -hls_time 1 {WINDOW}",
                ladder(&format!("{ENCODER} {KEYS}"), AUDIO)
            )),
            Self::OneLadder => one(format!(
                "-threads 1 -i {source} {} -hls_time 2 {WINDOW}",
                ladder(&format!("{ENCODER} {KEYS}"), AUDIO)
            )),
            Self::ThreeLadder => three(source, AUDIO),
            Self::ThreeLadderSameAudio => three(source, SAME_AUDIO),
            Self::GStreamer => vec![split(&format!(
                "gst-launch-1.0 -q souphttpsrc location={source} ! tsdemux name=demux \
                 hlssink2 name=sink target-duration=1 playlist-length=6 max-files=10 \
                 send-keyframe-requests=false location=segment%05d.ts playlist-location={PLAYLIST} \
                 demux. ! {UNBOUNDED} ! h264parse ! sink.video \
                 demux. ! {UNBOUNDED} ! aacparse ! sink.audio"
            ))],
        }
    }

    /// The names of its playlists.
    fn playlists(self) -> Vec<String> {
        match self {
            Self::PanelLadder
            | Self::TunedLadder
            | Self::ReconnectingLadder
            | Self::OneLadder
            | Self::ThreeLadder
            | Self::ThreeLadderSameAudio => (0..RUNGS.len())
                .map(|index| format!("rung{index}.m3u8"))
                .collect(),
            _ => vec![PLAYLIST.to_owned()],
        }
    }
}

/// A process for each rung.
fn three(source: &str, audio: &str) -> Vec<Vec<String>> {
    let rung = |(index, (height, rate)): (usize, (u32, u32))| {
        let buffer = 2 * rate;
        ffmpeg(&format!(
            "-threads 1 -i {source} -map 0:v:0 -map 0:a:0 -filter_threads 1 -vf scale=-2:{height},format=yuv420p \
             -c:v libx264 {ENCODER} {KEYS} -b:v {rate}k -maxrate {rate}k -bufsize {buffer}k {audio} \
             -f hls -hls_time 2 {WINDOW} rung{index}.m3u8"
        ))
    };
    RUNGS.into_iter().enumerate().map(rung).collect()
}

/// Output of one FFmpeg that decodes once and encodes every rung, all with these options.
fn ladder(video: &str, audio: &str) -> String {
    let filter = "-filter_complex_threads 1 -filter_complex [0:v:0]split=3[s0][s1][s2];[s0]scale=-2:720,format=yuv420p[v0];\
         [s1]scale=-2:480,format=yuv420p[v1];[s2]scale=-2:360,format=yuv420p[v2]";
    let rungs = RUNGS.iter().enumerate().map(|(index, (_, rate))| {
        let buffer = 2 * rate;
        format!(
            "-map [v{index}] -map 0:a:0 -b:v:{index} {rate}k -maxrate:v:{index} {rate}k -bufsize:v:{index} {buffer}k "
        )
    });
    let rungs = rungs.collect::<String>();
    format!("{filter} {rungs} -c:v libx264 {video} {audio} -f hls")
}

/// How many segments a playlist has listed so far, those that have left it included.
fn listed(playlist: &str) -> u64 {
    let tag = "#EXT-X-MEDIA-SEQUENCE:";
    let first = playlist
        .lines()
        .find_map(|line| line.strip_prefix(tag)?.parse::<u64>().ok());
    first.unwrap_or(0) + playlist.matches("#EXTINF").count() as u64
}

/// Zero of a playlist without segments.
fn last_length(playlist: &str) -> f64 {
    let mut lengths = playlist
        .lines()
        .filter_map(|line| line.strip_prefix("#EXTINF:")?.split(',').next());
    let last = lengths.next_back();
    last.and_then(|length| length.parse().ok()).unwrap_or(0.0)
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn ffmpeg(options: &str) -> Vec<String> {
    let mut words = split("ffmpeg -nostdin -v quiet");
    words.extend(split(options));
    if options.contains("-filter_complex") {
        // Words of their own: the map has spaces.
        words.extend(["-var_stream_map", "v:0,a:0 v:1,a:1 v:2,a:2", "rung%v.m3u8"].map(Into::into));
    }
    words
}

/// One line at work; killed when dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    children: Vec<Child>,
    playlists: Vec<PathBuf>,
    started: Instant,
}

impl Peer {
    /// Starts one in a directory of its own below `parent`.
    pub(crate) fn start(line: Line, source: &str, parent: &Path, name: &str) -> Result<Self> {
        let directory = parent.join(name);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {directory:?}"))?;
        let started = Instant::now();
        let spawn = |words: Vec<String>| {
            Command::new(&words[0])
                .args(&words[1..])
                .current_dir(&directory)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .with_context(|| format!("failed to start {}: is it installed?", words[0]))
        };
        let commands = line.commands(source).into_iter();
        Ok(Self {
            children: commands.map(spawn).collect::<Result<_>>()?,
            playlists: line
                .playlists()
                .iter()
                .map(|name| directory.join(name))
                .collect(),
            started,
        })
    }

    /// Waits until each playlist has listed so many segments, those that have left it included; the time since the start.
    pub(crate) async fn listed(&mut self, segments: u64, limit: Duration) -> Result<Duration> {
        let end = Instant::now() + limit;
        while self.next().await < segments {
            for child in &mut self.children {
                if let Some(status) = child.try_wait().context("failed to watch a peer")? {
                    bail!("{:?} ended with {status}", self.playlists);
                }
            }
            if Instant::now() > end {
                bail!(
                    "{:?} list no {segments} segments within {limit:?}",
                    self.playlists
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(self.started.elapsed())
    }

    /// How many segments every playlist has listed so far, those that have left it included.
    pub(crate) async fn next(&self) -> u64 {
        let mut next = u64::MAX;
        for playlist in &self.playlists {
            let text = tokio::fs::read_to_string(playlist).await;
            next = next.min(listed(&text.unwrap_or_default()));
        }
        next
    }

    /// How many segments the first playlist has listed so far, and seconds of the last one.
    pub(crate) async fn newest(&self) -> (u64, f64) {
        let text = tokio::fs::read_to_string(self.playlist()).await;
        let text = text.unwrap_or_default();
        (listed(&text), last_length(&text))
    }

    /// The first playlist.
    pub(crate) fn playlist(&self) -> &Path {
        &self.playlists[0]
    }

    /// The first playlist's name.
    pub(crate) fn playlist_name(&self) -> &str {
        let name = self.playlist().file_name();
        name.and_then(|name| name.to_str()).unwrap_or(PLAYLIST)
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> Result<Vec<u32>> {
        let pids = self.children.iter().map(Child::id);
        pids.collect::<Option<_>>().context("a peer has ended")
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn end(mut self) -> Result<()> {
        for child in &mut self.children {
            child.kill().await.context("failed to end a peer")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_is_one_process_or_three_and_its_playlists_are_named_alike() {
        let one = Line::OneLadder.commands("http://a/x.ts");
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].iter().filter(|word| *word == "-map").count(), 6);
        let last = &one[0][one[0].len() - 2..];
        assert_eq!(last, ["v:0,a:0 v:1,a:1 v:2,a:2", "rung%v.m3u8"]);
        let three = Line::ThreeLadder.commands("http://a/x.ts");
        let names = three.iter().filter_map(|words| words.last().cloned());
        assert_eq!(names.collect::<Vec<_>>(), Line::OneLadder.playlists());
    }

    #[test]
    fn a_playlist_tells_how_many_segments_there_were_and_how_long_the_last_is() {
        let playlist = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2.000000,\na\n#EXTINF:1.5,\nb\n";
        assert_eq!((listed(playlist), last_length(playlist)), (9, 1.5));
        assert_eq!((listed(""), last_length("")), (0, 0.0));
    }

    #[test]
    fn a_copy_ends_with_its_only_playlist() {
        for line in [
            Line::Panel,
            Line::PanelEvent,
            Line::Tuned,
            Line::Reconnecting,
        ] {
            let commands = line.commands("http://a/x.ts");
            assert_eq!(commands.len(), 1);
            assert_eq!(commands[0].last().cloned(), line.playlists().pop());
        }
    }
}
