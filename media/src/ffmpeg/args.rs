//! The argument vectors of FFmpeg: transport stream on standard input, video-only rungs and audio on numbered pipes, every
//! picture with the source's own time. Each option is there because a measurement asked for it; never a shell string.

use std::ffi::OsString;

use api::stream_class::Rung;

/// The first pipe that carries media; 0 to 2 are the standard streams.
pub const FIRST_PIPE: usize = 3;

/// What one FFmpeg encodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encode {
    /// The rungs, one video pipe each, in this order from pipe 3 on. None to encode audio alone.
    pub rungs: Vec<Rung>,
    /// Encode the audio too, on the pipe after the rungs. Only where the source announces audio.
    pub audio: bool,
    /// The source's pictures are interlaced.
    pub deinterlace: bool,
    /// The source's frames per second, rounded; sets the longest distance of keys.
    pub frames_per_second: u32,
}

impl Encode {
    /// How many media pipes there are.
    #[must_use]
    pub fn pipes(&self) -> usize {
        self.rungs.len() + usize::from(self.audio)
    }

    /// The pipe of the audio, counted from the first media pipe.
    #[must_use]
    pub fn audio_pipe(&self) -> Option<usize> {
        self.audio.then_some(self.rungs.len())
    }

    /// The arguments, without the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        words(&mut arguments, GLOBAL_AND_INPUT);
        if !self.rungs.is_empty() {
            words(&mut arguments, self.filter_threads());
            words(&mut arguments, "-filter_complex");
            arguments.push(self.filter_graph());
        }
        for (index, rung) in self.rungs.iter().enumerate() {
            words(&mut arguments, &self.video_output(index, *rung));
        }
        if self.audio {
            words(&mut arguments, &self.audio_output());
        }
        arguments.into_iter().map(OsString::from).collect()
    }

    /// One decoder for all rungs: deinterlaced once, split, then scaled.
    fn filter_graph(&self) -> String {
        let deinterlace = if self.deinterlace {
            "bwdif=mode=send_frame:deint=interlaced,"
        } else {
            ""
        };
        let splits: String = (0..self.rungs.len())
            .map(|index| format!("[s{index}]"))
            .collect();
        let scales = self.rungs.iter().enumerate().map(|(index, rung)| {
            let height = rung.height;
            format!(";[s{index}]scale=-2:{height},format=yuv420p[v{index}]")
        });
        let count = self.rungs.len();
        let scales: String = scales.collect();
        format!("[0:v:0]{deinterlace}split={count}{splits}{scales}")
    }

    /// One thread scales what comes at up to 30 pictures a second: to share a picture out costs more than it saves. What comes
    /// faster may need more than one, and FFmpeg chooses.
    fn filter_threads(&self) -> &'static str {
        if self.frames_per_second > 30 {
            ""
        } else {
            "-filter_complex_threads 1"
        }
    }

    fn video_output(&self, index: usize, rung: Rung) -> String {
        let rate = rung.video_kilobits_per_second;
        let buffer = rate.saturating_mul(2);
        let key_distance = self.frames_per_second.clamp(1, 120) * 2;
        let threads = self.encoder_threads(rung);
        let level = level_word(rung.height.unsigned_abs(), self.frames_per_second);
        let pipe = FIRST_PIPE + index;
        format!(
            "-map [v{index}] -c:v libx264 -preset veryfast -profile:v main -level:v {level} \
             -bf 2 -rc-lookahead 5 -threads {threads} -x264-params sync-lookahead=0 \
             -b:v {rate}k -maxrate {rate}k -bufsize {buffer}k \
             -sc_threshold 0 -force_key_frames source -g {key_distance} \
             -fps_mode passthrough -enc_time_base:v 1:90000 {TIMES} \
             -pat_period 2 -sdt_period 3600 -f mpegts pipe:{pipe}"
        )
    }

    /// Threads are delay; only what two cannot encode gets more.
    fn encoder_threads(&self, rung: Rung) -> u32 {
        if rung.height >= 1080 && self.frames_per_second > 30 {
            4
        } else {
            2
        }
    }

    fn audio_output(&self) -> String {
        let pipe = FIRST_PIPE + self.rungs.len();
        // Without `-vn` a missing audio track makes FFmpeg encode video into this pipe.
        let only = if self.rungs.is_empty() {
            "-vn -sn -dn -map 0:a:0"
        } else {
            "-map 0:a:0 -vn"
        };
        format!("{only} -c:a aac -b:a 96k -ac 2 -ar 48000 {TIMES} -f mpegts pipe:{pipe}")
    }
}

/// RFC 6381 name of what is made of a picture of so many lines: the master names it before it has come, so it is not left to x264.
#[must_use]
pub fn video_codecs(lines: u32, frames_per_second: u32) -> String {
    format!("avc1.4d40{:02x}", level(lines, frames_per_second))
}

/// The same level as FFmpeg is told it.
pub(super) fn level_word(lines: u32, frames_per_second: u32) -> String {
    let level = level(lines, frames_per_second);
    format!("{}.{}", level / 10, level % 10)
}

/// Ten times the lowest level from 3.1 on that a picture of the usual shape fits (Rec. ITU-T H.264, table A-1).
fn level(lines: u32, frames_per_second: u32) -> u32 {
    const LEVELS: [(u32, u32, u32); 6] = [
        (31, 3600, 108_000),
        (32, 5120, 216_000),
        (40, 8192, 245_760),
        (42, 8704, 522_240),
        (50, 22_080, 589_824),
        (51, 36_864, 983_040),
    ];
    let macroblocks = lines.div_ceil(16) * (lines * 16 / 9).div_ceil(16);
    let rate = macroblocks * frames_per_second;
    let fits = |level: &&(u32, u32, u32)| macroblocks <= level.1 && rate <= level.2;
    LEVELS.iter().find(fits).map_or(52, |level| level.0)
}

/// Standard input is media and standard error carries problems only; no probing beyond what finds the audio header; the
/// source's clock is kept; one decoder thread, because each further one delays by a frame.
const GLOBAL_AND_INPUT: &str = "-nostdin -hide_banner -nostats -loglevel warning \
     -progress pipe:1 -stats_period 1 -copyts -probesize 1M -analyzeduration 300000 \
     -threads 1 -f mpegts -i pipe:0";

/// Times leave as they came, at once.
const TIMES: &str = "-mpegts_copyts 1 -muxdelay 0 -muxpreload 0 \
     -avoid_negative_ts disabled -flush_packets 1";

fn words(arguments: &mut Vec<String>, text: &str) {
    arguments.extend(text.split_whitespace().map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(height: i32, video_kilobits_per_second: i32) -> Rung {
        Rung {
            height,
            video_kilobits_per_second,
        }
    }

    fn line(encode: &Encode) -> String {
        let words: Vec<_> = encode
            .arguments()
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        words.join(" ")
    }

    const INPUT: &str = "-nostdin -hide_banner -nostats -loglevel warning -progress pipe:1 -stats_period 1 -copyts -probesize 1M -analyzeduration 300000 -threads 1 -f mpegts -i pipe:0";

    #[test]
    fn two_rungs_under_a_passed_through_source() {
        let encode = Encode {
            rungs: vec![rung(480, 1000), rung(360, 600)],
            audio: false,
            deinterlace: false,
            frames_per_second: 25,
        };
        let expected = format!(
            "{INPUT} -filter_complex_threads 1 -filter_complex [0:v:0]split=2[s0][s1];[s0]scale=-2:480,format=yuv420p[v0];[s1]scale=-2:360,format=yuv420p[v1] \
-map [v0] -c:v libx264 -preset veryfast -profile:v main -level:v 3.1 -bf 2 -rc-lookahead 5 -threads 2 -x264-params sync-lookahead=0 -b:v 1000k -maxrate 1000k -bufsize 2000k -sc_threshold 0 -force_key_frames source -g 50 -fps_mode passthrough -enc_time_base:v 1:90000 -mpegts_copyts 1 -muxdelay 0 -muxpreload 0 -avoid_negative_ts disabled -flush_packets 1 -pat_period 2 -sdt_period 3600 -f mpegts pipe:3 \
-map [v1] -c:v libx264 -preset veryfast -profile:v main -level:v 3.1 -bf 2 -rc-lookahead 5 -threads 2 -x264-params sync-lookahead=0 -b:v 600k -maxrate 600k -bufsize 1200k -sc_threshold 0 -force_key_frames source -g 50 -fps_mode passthrough -enc_time_base:v 1:90000 -mpegts_copyts 1 -muxdelay 0 -muxpreload 0 -avoid_negative_ts disabled -flush_packets 1 -pat_period 2 -sdt_period 3600 -f mpegts pipe:4"
        );
        assert_eq!(line(&encode), expected);
        assert_eq!((encode.pipes(), encode.audio_pipe()), (2, None));
    }

    #[test]
    fn a_full_ladder_of_an_interlaced_source_with_its_audio() {
        let encode = Encode {
            rungs: vec![rung(1080, 5000), rung(720, 2500), rung(480, 1000)],
            audio: true,
            deinterlace: true,
            frames_per_second: 50,
        };
        let text = line(&encode);
        let graph = "[0:v:0]bwdif=mode=send_frame:deint=interlaced,split=3[s0][s1][s2];[s0]scale=-2:1080,format=yuv420p[v0];[s1]scale=-2:720,format=yuv420p[v1];[s2]scale=-2:480,format=yuv420p[v2]";
        assert!(text.contains(graph), "{text}");
        assert!(text.contains("-g 100 "), "{text}");
        assert!(text.contains("-threads 4 "), "{text}");
        assert!(!text.contains("-filter_complex_threads"), "{text}");
        let audio = "-f mpegts pipe:5 -map 0:a:0 -vn -c:a aac -b:a 96k -ac 2 -ar 48000 -mpegts_copyts 1 -muxdelay 0 -muxpreload 0 -avoid_negative_ts disabled -flush_packets 1 -f mpegts pipe:6";
        assert!(text.ends_with(audio), "{text}");
        assert_eq!((encode.pipes(), encode.audio_pipe()), (4, Some(3)));
    }

    #[test]
    fn the_level_is_the_lowest_that_fits_and_stands_in_the_name() {
        for (lines, frames, codecs) in [
            (144, 25, "avc1.4d401f"),
            (720, 30, "avc1.4d401f"),
            (720, 50, "avc1.4d4020"),
            (1080, 30, "avc1.4d4028"),
            (1080, 60, "avc1.4d402a"),
            (2160, 30, "avc1.4d4033"),
            (2160, 60, "avc1.4d4034"),
        ] {
            assert_eq!(video_codecs(lines, frames), codecs);
        }
    }

    #[test]
    fn audio_alone_leaves_everything_else_out() {
        let encode = Encode {
            rungs: Vec::new(),
            audio: true,
            deinterlace: false,
            frames_per_second: 25,
        };
        let expected = format!(
            "{INPUT} -vn -sn -dn -map 0:a:0 -c:a aac -b:a 96k -ac 2 -ar 48000 -mpegts_copyts 1 -muxdelay 0 -muxpreload 0 -avoid_negative_ts disabled -flush_packets 1 -f mpegts pipe:3"
        );
        assert_eq!(line(&encode), expected);
    }
}
