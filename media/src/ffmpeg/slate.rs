//! The argument vector that makes a slate: a calm still in several sizes and silence, from nothing but FFmpeg's own sources.

use std::ffi::OsString;

use super::args::{FIRST_PIPE, level_word};

/// Pictures per second of a slate.
pub const FRAMES_PER_SECOND: u32 = 25;

/// What is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlateOrder {
    /// Width and height of each picture, one video pipe each, in this order. Even numbers.
    pub sizes: Vec<(u32, u32)>,
    /// How long it is: one group of pictures.
    pub seconds: u32,
}

impl SlateOrder {
    /// How many media pipes there are; the last one is audio.
    #[must_use]
    pub fn pipes(&self) -> usize {
        self.sizes.len() + 1
    }

    /// The arguments, without the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let Self { sizes, seconds } = self;
        let mut text =
            "-nostdin -hide_banner -nostats -loglevel warning -progress pipe:1".to_owned();
        for (width, height) in sizes {
            // A dark ground and a frame in its middle.
            let ground = format!("color=c=0x10151c:s={width}x{height}:r={FRAMES_PER_SECOND}");
            let mark = "drawbox=x=iw/2-ih/12:y=ih/2-ih/12:w=ih/6:h=ih/6:color=0x8a94a3:t=4";
            text += &format!(" -f lavfi -t {seconds} -i {ground},{mark}");
        }
        text += &format!(" -f lavfi -t {seconds} -i anullsrc=r=48000:cl=stereo");
        let group = FRAMES_PER_SECOND * seconds;
        for (index, (_, height)) in sizes.iter().enumerate() {
            let (pipe, level) = (FIRST_PIPE + index, level_word(*height, FRAMES_PER_SECOND));
            text += &format!(
                " -map {index}:v -c:v libx264 -preset veryfast -profile:v main -level:v {level} -pix_fmt yuv420p \
                 -threads 1 -bf 0 -rc-lookahead 0 -g {group} -keyint_min {group} -sc_threshold 0 {TIMES} -f mpegts pipe:{pipe}"
            );
        }
        let (index, pipe) = (sizes.len(), FIRST_PIPE + sizes.len());
        text += &format!(
            " -map {index}:a -c:a aac -b:a 64k -ac 2 -ar 48000 {TIMES} -f mpegts pipe:{pipe}"
        );
        text.split_whitespace().map(OsString::from).collect()
    }
}

const TIMES: &str = "-muxdelay 0 -muxpreload 0 -flush_packets 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_a_pipe_and_silence_the_last_one() {
        let order = SlateOrder {
            sizes: vec![(1280, 720), (640, 360)],
            seconds: 2,
        };
        let arguments = order.arguments();
        let text: Vec<_> = arguments
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        let text = text.join(" ");
        for part in [
            "s=1280x720:r=25",
            "s=640x360:r=25",
            "-map 0:v -c:v libx264 -preset veryfast -profile:v main -level:v 3.1",
            "-g 50 -keyint_min 50",
            "-f mpegts pipe:4 -map 2:a -c:a aac",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.ends_with("pipe:5"), "{text}");
        assert_eq!(order.pipes(), 3);
    }
}
