//! Segments in another container than the channel's own transport stream, and tracks of them apart: FFmpeg copies what the channel
//! sends, with its timestamps. Keeps nothing.

use std::process::Stdio;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::carousel::{AUDIO, PAT, PMT};
use super::settings::AudioFormat;
use crate::ts::demux::demux;
use crate::ts::packet::{PACKET_SIZE, Packet};

/// What of a segment is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracks {
    /// All of it.
    All,
    /// Its pictures.
    Video,
    /// Its sound.
    Audio,
}

/// Fragmented MP4: its initialization section, and the fragments.
pub(crate) struct Fragmented {
    pub(crate) init: Bytes,
    pub(crate) media: Bytes,
}

/// A segment as fragmented MP4; nothing where FFmpeg cannot make one of it.
pub(crate) async fn mp4(tracks: Tracks, audio: AudioFormat, stream: Bytes) -> Option<Fragmented> {
    let filter = match audio {
        AudioFormat::Aac | AudioFormat::HeAac => "-bsf:a aac_adtstoasc ",
        _ => "",
    };
    let options = "-fflags +bitexact -use_editlist 0 -f mp4 \
        -movflags +empty_moov+delay_moov+default_base_moof+frag_discont+frag_keyframe+skip_trailer";
    let bytes = convert(tracks, &format!("{filter}{options}"), stream).await?;
    let fragment = bytes.windows(4).position(|four| four == b"moof")? - 4;
    Some(Fragmented {
        init: bytes.slice(..fragment),
        media: bytes.slice(fragment..),
    })
}

/// Tracks of a segment as a transport stream.
pub(crate) async fn transport_stream(tracks: Tracks, stream: Bytes) -> Option<Bytes> {
    convert(
        tracks,
        "-f mpegts -mpegts_copyts 1 -muxdelay 0 -muxpreload 0",
        stream,
    )
    .await
}

/// The sound of a segment without a container: its frames, behind a tag with the time of the first (RFC 8216, 3.4).
pub(crate) fn packed(stream: &[u8]) -> Option<Bytes> {
    let demuxed = demux(&[&tables(stream), stream].concat());
    let frames = demuxed.pes.get(&AUDIO)?;
    let time = frames.first()?.pts?.to_be_bytes();
    let owner = b"com.apple.streaming.transportStreamTimestamp\0";
    let length = (owner.len() + time.len()) as u8;
    let mut packed = b"ID3\x04\0\0\0\0\0".to_vec();
    packed.extend([length + 10]);
    packed.extend(b"PRIV\0\0\0");
    packed.extend([length, 0, 0]);
    packed.extend(owner);
    packed.extend(time);
    for frame in frames {
        packed.extend_from_slice(&frame.data);
    }
    Some(Bytes::from(packed))
}

async fn convert(tracks: Tracks, output: &str, stream: Bytes) -> Option<Bytes> {
    let maps = match tracks {
        Tracks::All => "-map 0:v? -map 0:a?",
        Tracks::Video => "-map 0:v",
        Tracks::Audio => "-map 0:a",
    };
    let arguments = format!(
        "-nostdin -loglevel error -copyts -f mpegts -i pipe:0 {maps} -c copy -avoid_negative_ts disabled {output} pipe:1"
    );
    let mut child = Command::new("ffmpeg")
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let tables = tables(&stream);
    let feeding = async move {
        // One that has ended says so by its output.
        let _ = stdin.write_all(&tables).await;
        let _ = stdin.write_all(&stream).await;
    };
    let ((), output) = tokio::join!(feeding, child.wait_with_output());
    let bytes = Bytes::from(output.ok()?.stdout);
    (!bytes.is_empty()).then_some(bytes)
}

/// The tables of a segment: its first picture may come before them.
fn tables(stream: &[u8]) -> Vec<u8> {
    let packets = || stream.chunks_exact(PACKET_SIZE);
    let first =
        |pid| packets().find(|bytes| Packet::parse(bytes).is_some_and(|one| one.pid == pid));
    [PAT, PMT]
        .into_iter()
        .filter_map(first)
        .flatten()
        .copied()
        .collect()
}
