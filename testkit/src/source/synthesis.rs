//! Makes synthetic media with FFmpeg, once per set of parameters, and keeps it. Only this file starts FFmpeg for the source.
//!
//! Every second begins with a white picture and a beep, so that a receiver can measure sync; between them a picture runs that shows its time.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::settings::{AccessPoints, AudioFormat, ChannelSettings, VideoFormat};

/// Sampling rate of all synthetic audio.
pub(crate) const SAMPLE_RATE: u64 = 48_000;

/// Share of each second that is white and beeps, in sixteenths.
const MARK_SIXTEENTHS: u64 = 2;

/// Why media could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SynthesisError {
    /// The cache directory is not usable.
    #[error("failed to use the media cache {path:?}")]
    Cache {
        /// The directory or file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// FFmpeg is not there.
    #[error("failed to start ffmpeg: is it installed?")]
    Start(#[source] std::io::Error),
    /// FFmpeg refused.
    #[error("failed to make media for channel {channel:?}: {message}")]
    Encode {
        /// The channel.
        channel: String,
        /// The end of FFmpeg's messages.
        message: String,
    },
}

/// The frames of a loop and of what is encoded around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Frames of a GOP.
    pub(crate) gop_frames: u64,
    /// GOPs of the loop; the first GOP of the file is not part of it.
    pub(crate) loop_gops: u64,
    /// Frames to encode.
    pub(crate) frames: u64,
    /// Frames from flash to flash: the whole number nearest to a second.
    pub(crate) flash_frames: u64,
}

/// Finds the shortest loop that holds whole GOPs, whole flash periods and whole audio frames, or, where there is none within
/// two minutes, the one whose audio remainder is smallest.
pub(crate) fn plan(channel: &ChannelSettings) -> Plan {
    let (rate, scale) = (u64::from(channel.fps.0), u64::from(channel.fps.1));
    let flash_frames = (rate + scale / 2) / scale;
    let gop_frames = ((channel.gop * rate as f64 / scale as f64).round() as u64).max(2);
    // frame_num and picture order count must come round too where no IDR resets them.
    let step = match channel.access {
        AccessPoints::Idr => 1,
        AccessPoints::Recovery | AccessPoints::Refresh => 16,
    };
    let remainder = |gops: u64| {
        let samples = gops * gop_frames * scale * SAMPLE_RATE;
        let unit = frame_samples(channel.audio) * rate;
        let over = samples % unit;
        over.min(unit - over)
    };
    let limit = (120 * rate / scale / gop_frames).max(step);
    let loop_gops = (step..=limit)
        .step_by(step as usize)
        .filter(|gops| (gops * gop_frames).is_multiple_of(flash_frames))
        .min_by_key(|gops| remainder(*gops))
        .unwrap_or(step * flash_frames);
    Plan {
        gop_frames,
        loop_gops,
        frames: (loop_gops + 1) * gop_frames + flash_frames,
        flash_frames,
    }
}

/// Samples of one audio frame, at the rate of all synthetic audio.
pub(crate) fn frame_samples(audio: AudioFormat) -> u64 {
    match audio {
        AudioFormat::Aac | AudioFormat::Latm => 1024,
        AudioFormat::HeAac => 2048,
        AudioFormat::Mp2 => 1152,
        AudioFormat::Ac3 | AudioFormat::Eac3 => 1536,
        AudioFormat::None => 1,
    }
}

/// Returns the file with the channel's media, making it if it is not in the cache.
pub(crate) async fn media_file(
    channel: &ChannelSettings,
    cache: &Path,
) -> Result<PathBuf, SynthesisError> {
    let arguments = arguments(channel);
    let file = cache.join(format!("{}.ts", hash(&arguments)));
    if tokio::fs::try_exists(&file).await.unwrap_or(false) {
        return Ok(file);
    }
    let failed = |source| SynthesisError::Cache {
        path: cache.to_owned(),
        source,
    };
    tokio::fs::create_dir_all(cache).await.map_err(failed)?;
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let partial = file.with_extension(format!("{}-{number}.partial", std::process::id()));
    let output = Command::new("ffmpeg")
        .args(&arguments)
        .arg(&partial)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(SynthesisError::Start)?;
    if !output.status.success() {
        let _ = tokio::fs::remove_file(&partial).await;
        let message = String::from_utf8_lossy(&output.stderr);
        let tail = message.lines().rev().take(3).collect::<Vec<_>>();
        return Err(SynthesisError::Encode {
            channel: channel.name.clone(),
            message: tail.into_iter().rev().collect::<Vec<_>>().join("; "),
        });
    }
    tokio::fs::rename(&partial, &file).await.map_err(failed)?;
    Ok(file)
}

fn hash(arguments: &[String]) -> String {
    let digest = Sha256::digest(arguments.join("\n"));
    hex::encode(&digest[..12])
}

/// FFmpeg's arguments without the output file.
fn arguments(channel: &ChannelSettings) -> Vec<String> {
    let plan = plan(channel);
    let mut arguments = words("-nostdin -hide_banner -loglevel error -y");
    let seconds = plan.frames as f64 * f64::from(channel.fps.1) / f64::from(channel.fps.0);
    if channel.codec != VideoFormat::None {
        arguments.extend([
            "-f".into(),
            "lavfi".into(),
            "-i".into(),
            picture(channel, &plan),
        ]);
    }
    if channel.audio != AudioFormat::None {
        arguments.extend([
            "-f".into(),
            "lavfi".into(),
            "-i".into(),
            sound(channel, &plan),
        ]);
    }
    arguments.extend(video_arguments(channel, &plan));
    arguments.extend(words(match channel.audio {
        AudioFormat::Aac | AudioFormat::Latm => "-c:a aac -b:a 128k",
        AudioFormat::HeAac => "-c:a aac -ar 24000 -b:a 64k",
        AudioFormat::Mp2 => "-c:a mp2 -b:a 192k",
        AudioFormat::Ac3 => "-c:a ac3 -b:a 192k",
        AudioFormat::Eac3 => "-c:a eac3 -b:a 192k",
        AudioFormat::None => "-an",
    }));
    arguments.extend(words(&format!("-t {seconds:.6}")));
    // One audio frame per PES packet, so that the loop can be taken out between any two of them.
    arguments.extend(words(
        "-f mpegts -pes_payload_size 0 -muxdelay 0 -muxpreload 0",
    ));
    if channel.audio == AudioFormat::Latm {
        arguments.extend(words("-mpegts_flags latm"));
    }
    arguments
}

fn picture(channel: &ChannelSettings, plan: &Plan) -> String {
    let fields = if channel.interlaced { 2 } else { 1 };
    let (rate, scale) = (channel.fps.0 * fields, channel.fps.1);
    let period = plan.flash_frames * u64::from(fields);
    let white = (period * MARK_SIXTEENTHS).div_ceil(16);
    let weave = if channel.interlaced {
        ",tinterlace=mode=interleave_top,setfield=tff"
    } else {
        ""
    };
    format!(
        "testsrc2=size={}:rate={rate}/{scale},drawbox=x=0:y=0:w=iw:h=ih:t=fill:color=white:enable='lt(mod(n\\,{period})\\,{white})'{weave}",
        channel.size
    )
}

fn sound(channel: &ChannelSettings, plan: &Plan) -> String {
    let period =
        plan.flash_frames * u64::from(channel.fps.1) * SAMPLE_RATE / u64::from(channel.fps.0);
    let beep = period * MARK_SIXTEENTHS / 16;
    let tone = format!("0.5*sin(2*PI*1000*n/{SAMPLE_RATE})*lt(mod(n\\,{period})\\,{beep})");
    format!("aevalsrc=exprs='{tone}|{tone}':sample_rate={SAMPLE_RATE}:channel_layout=stereo")
}

fn video_arguments(channel: &ChannelSettings, plan: &Plan) -> Vec<String> {
    let Plan { gop_frames, .. } = plan;
    let codec = match channel.codec {
        VideoFormat::H264 => {
            let access = match channel.access {
                AccessPoints::Idr => "open-gop=0",
                AccessPoints::Recovery => "open-gop=1",
                AccessPoints::Refresh => "intra-refresh=1",
            };
            let bframes = if channel.access == AccessPoints::Refresh {
                0
            } else {
                2
            };
            let field = if channel.interlaced { ":tff=1" } else { "" };
            format!(
                "-c:v libx264 -preset veryfast -profile:v high -bf {bframes} -b_strategy 0 -sc_threshold 0 -keyint_min {gop_frames} -x264-params b-pyramid=none:{access}{field}"
            )
        }
        VideoFormat::Hevc => format!(
            "-c:v libx265 -preset ultrafast -x265-params keyint={gop_frames}:min-keyint={gop_frames}:scenecut=0:open-gop=0:bframes=2:b-adapt=0:log-level=error"
        ),
        VideoFormat::Mpeg2 => "-c:v mpeg2video -bf 2 -sc_threshold 1000000000".to_owned(),
        VideoFormat::None => return words("-vn"),
    };
    let rate = channel.bitrate;
    let flags = match (channel.codec, channel.interlaced) {
        (VideoFormat::Mpeg2, true) => " -flags +cgop+ildct+ilme -top 1",
        (VideoFormat::Mpeg2, false) => " -flags +cgop",
        (_, true) => " -flags +ildct+ilme -top 1",
        (_, false) => "",
    };
    words(&format!(
        "{codec} -g {gop_frames} -b:v {rate}k -maxrate {rate}k -bufsize {}k{flags} -pix_fmt yuv420p",
        rate * 2
    ))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::settings::FrameRate;

    fn planned(gop: f64, fps: FrameRate, audio: AudioFormat, access: AccessPoints) -> Plan {
        plan(&ChannelSettings {
            gop,
            fps,
            audio,
            access,
            ..ChannelSettings::default()
        })
    }

    #[test]
    fn a_loop_holds_whole_gops_and_whole_audio_frames() {
        for (gop, audio, seconds) in [
            (1.0, AudioFormat::Aac, 8),
            (2.0, AudioFormat::Aac, 8),
            (1.6, AudioFormat::Aac, 8),
            (10.0, AudioFormat::Aac, 40),
            (40.0, AudioFormat::Aac, 40),
            (2.0, AudioFormat::Mp2, 6),
            (2.0, AudioFormat::Ac3, 4),
            (2.0, AudioFormat::None, 2),
        ] {
            let plan = planned(gop, FrameRate(25, 1), audio, AccessPoints::Idr);
            assert_eq!(
                plan.loop_gops * plan.gop_frames,
                seconds * 25,
                "{gop} {audio:?}"
            );
        }
    }

    #[test]
    fn a_fractional_frame_rate_keeps_the_audio_remainder_small() {
        let plan = planned(
            2.0,
            FrameRate(30_000, 1001),
            AudioFormat::Aac,
            AccessPoints::Idr,
        );
        let samples = plan.loop_gops * plan.gop_frames * 1001 * SAMPLE_RATE / 30_000;
        let over = samples % 1024;
        assert!(over.min(1024 - over) < 64, "{samples} samples");
    }

    #[test]
    fn without_idr_the_loop_is_a_multiple_of_sixteen_gops() {
        let plan = planned(
            2.0,
            FrameRate(25, 1),
            AudioFormat::Aac,
            AccessPoints::Recovery,
        );
        assert_eq!((plan.gop_frames, plan.loop_gops), (50, 16));
    }

    #[test]
    fn different_media_never_share_a_file() {
        let one = hash(&arguments(&ChannelSettings::small("a")));
        let other = hash(&arguments(&ChannelSettings::default()));
        let renamed = hash(&arguments(&ChannelSettings::small("b")));
        assert_ne!(one, other);
        assert_eq!(one, renamed);
    }
}
