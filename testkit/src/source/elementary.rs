//! Takes one seamless loop of pictures and audio frames out of the file that FFmpeg made. Never changes a byte of them.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::settings::{AccessPoints, AudioFormat, ChannelSettings, VideoFormat};
use super::synthesis::{Plan, SAMPLE_RATE, frame_samples};
use crate::ts::demux::{Pes, demux};

/// One picture or one audio frame; times are 90 kHz ticks from the decoding time of the loop's first picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) pts: i64,
    pub(crate) dts: i64,
    pub(crate) key: bool,
    pub(crate) data: Bytes,
}

/// A loop of media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elementary {
    pub(crate) video: Vec<Unit>,
    pub(crate) audio: Vec<Unit>,
    /// 90 kHz ticks after which the loop starts again.
    pub(crate) duration: i64,
    /// 90 kHz ticks from key to key.
    pub(crate) gop: i64,
}

/// Why a media file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ElementaryError {
    /// It cannot be read.
    #[error("failed to read media {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// It does not hold what was asked for.
    #[error("failed to find a whole loop in media {path:?}: {missing}")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is not there.
        missing: &'static str,
    },
}

/// Reads the loop from FFmpeg's file.
pub(crate) fn load(
    path: &Path,
    channel: &ChannelSettings,
    plan: &Plan,
) -> Result<Elementary, ElementaryError> {
    let bytes = std::fs::read(path).map_err(|source| ElementaryError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut demuxed = demux(&bytes);
    let mut track = |wanted: &[u8]| {
        let map = demuxed.map.as_ref()?;
        let stream = map
            .streams
            .iter()
            .find(|stream| wanted.contains(&stream.stream_type))?;
        let pes = demuxed.pes.remove(&stream.pid)?;
        Some(pes.iter().map(unit).collect::<Vec<_>>())
    };
    let video = track(&[0x02, 0x1b, 0x24]).unwrap_or_default();
    let audio = track(&[0x03, 0x04, 0x0f, 0x11, 0x81, 0x87]).unwrap_or_default();
    cut(&video, &audio, channel, plan).map_err(|missing| ElementaryError::Incomplete {
        path: path.to_owned(),
        missing,
    })
}

fn unit(pes: &Pes) -> Unit {
    let pts = pes.pts.unwrap_or(0).cast_signed();
    Unit {
        pts,
        dts: pes.dts.map_or(pts, u64::cast_signed),
        key: pes.random_access,
        data: pes.data.clone(),
    }
}

/// Indices of the loop's first picture and of the first one behind it.
fn bounds(
    video: &[Unit],
    access: AccessPoints,
    plan: &Plan,
) -> Result<(usize, usize), &'static str> {
    let gop = plan.gop_frames as usize;
    let loop_gops = plan.loop_gops as usize;
    if access == AccessPoints::Refresh {
        // Refresh waves keep a period of their own; any picture follows any other.
        let last = gop * (1 + loop_gops);
        return video.get(last).map(|_| (gop, last)).ok_or("last picture");
    }
    let keys = (0..video.len()).filter(|index| video[*index].key);
    let keys = keys.collect::<Vec<_>>();
    let first = *keys.get(1).ok_or("second key picture")?;
    let last = *keys.get(1 + loop_gops).ok_or("last key picture")?;
    Ok((first, last))
}

fn cut(
    video: &[Unit],
    audio: &[Unit],
    channel: &ChannelSettings,
    plan: &Plan,
) -> Result<Elementary, &'static str> {
    let ticks = |frames: u64| {
        (frames * 90_000 * u64::from(channel.fps.1) / u64::from(channel.fps.0)).cast_signed()
    };
    let (mut duration, mut gop, mut origin, mut from) = (
        ticks(plan.loop_gops * plan.gop_frames),
        ticks(plan.gop_frames),
        audio.get(8).map_or(0, |unit| unit.pts),
        audio.get(8).map_or(0, |unit| unit.pts),
    );
    let mut pictures = Vec::new();
    if channel.codec != VideoFormat::None {
        let (first, last) = bounds(video, channel.access, plan)?;
        duration = video[last].dts - video[first].dts;
        gop = duration / plan.loop_gops.cast_signed();
        origin = video[first].dts;
        from = video[first].pts;
        pictures = video[first..last].to_vec();
    }
    let mut sounds = Vec::new();
    if channel.audio != AudioFormat::None {
        let frame = frame_samples(channel.audio) * 90_000 / SAMPLE_RATE;
        let count = (duration.cast_unsigned() + frame / 2) / frame;
        let start = audio
            .iter()
            .position(|unit| unit.pts >= from)
            .ok_or("audio")?;
        let end = start + count as usize;
        sounds = audio
            .get(start..end)
            .ok_or("audio to the end of the loop")?
            .to_vec();
    }
    for unit in pictures.iter_mut().chain(&mut sounds) {
        unit.pts -= origin;
        unit.dts -= origin;
    }
    Ok(Elementary {
        video: pictures,
        audio: sounds,
        duration,
        gop,
    })
}
