//! Facts in a few words, for the status and for logs. Never parsed again.

use std::fmt::{self, Display, Formatter};

use crate::codec::video::Scan;
use crate::front_end::facts::{AudioFacts, VideoFacts};
use crate::unit::{AudioCodec, VideoCodec};

/// Such as `h264 High@4.0 1920x1080 25.000`.
impl Display for VideoFacts {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.codec)?;
        if let (Some(profile), Some(level)) = (self.profile, self.level) {
            write_profile(formatter, self.codec, profile, level)?;
        }
        if let Some(dimensions) = self.dimensions {
            let interlaced = if self.scan == Some(Scan::Interlaced) {
                "i"
            } else {
                ""
            };
            let (width, height) = (dimensions.width, dimensions.height);
            write!(formatter, " {width}x{height}{interlaced}")?;
        }
        match self.frame_rate {
            Some(rate) => write!(formatter, " {rate}"),
            None => Ok(()),
        }
    }
}

/// Such as `aac LC 48000 Hz 2 ch`.
impl Display for AudioFacts {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match (self.codec, self.object_type) {
            (AudioCodec::Mpeg, Some(object_type @ 32..=34)) => {
                write!(formatter, "mp{}", object_type - 31)?;
            }
            (codec @ AudioCodec::Aac, Some(2)) => write!(formatter, "{codec} LC")?,
            (codec, _) => write!(formatter, "{codec}")?,
        }
        if let Some(rate) = self.sample_rate {
            write!(formatter, " {rate} Hz")?;
        }
        if let Some(channels) = self.channels {
            write!(formatter, " {channels} ch")?;
        }
        match &self.language {
            Some(language) => write!(formatter, " {language}"),
            None => Ok(()),
        }
    }
}

fn write_profile(
    formatter: &mut Formatter<'_>,
    codec: VideoCodec,
    profile: u8,
    level: u8,
) -> fmt::Result {
    match codec {
        VideoCodec::H264 => match profile {
            66 => formatter.write_str(" Baseline")?,
            77 => formatter.write_str(" Main")?,
            100 => formatter.write_str(" High")?,
            110 => formatter.write_str(" High 10")?,
            122 => formatter.write_str(" High 4:2:2")?,
            other => write!(formatter, " profile {other}")?,
        },
        VideoCodec::Hevc => match profile {
            1 => formatter.write_str(" Main")?,
            2 => formatter.write_str(" Main 10")?,
            other => write!(formatter, " profile {other}")?,
        },
        VideoCodec::Mpeg2 | VideoCodec::Other(_) => return Ok(()),
    }
    // Levels are written in tenths by H.264, in thirtieths by HEVC.
    let tenths = match codec {
        VideoCodec::Hevc => level / 3,
        _ => level,
    };
    write!(formatter, "@{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::video::{Dimensions, FrameRate};

    #[test]
    fn video_is_told_in_a_few_words() {
        let mut video = VideoFacts {
            codec: VideoCodec::H264,
            profile: Some(100),
            level: Some(40),
            dimensions: Dimensions::new(1920, 1080),
            frame_rate: FrameRate::new(25, 1),
            scan: Some(Scan::Progressive),
            chroma: None,
            bit_depth: None,
            codecs: None,
        };
        assert_eq!(video.to_string(), "h264 High@4.0 1920x1080 25.000");
        video.codec = VideoCodec::Hevc;
        (video.profile, video.level) = (Some(2), Some(123));
        assert_eq!(video.to_string(), "hevc Main 10@4.1 1920x1080 25.000");
        video.codec = VideoCodec::Mpeg2;
        video.scan = Some(Scan::Interlaced);
        assert_eq!(video.to_string(), "mpeg2 1920x1080i 25.000");
        (video.dimensions, video.frame_rate) = (None, None);
        video.codec = VideoCodec::Other(0x10);
        assert_eq!(video.to_string(), "video of type 0x10");
    }

    #[test]
    fn audio_is_told_in_a_few_words() {
        let mut audio = AudioFacts {
            codec: AudioCodec::Aac,
            object_type: Some(2),
            channels: Some(2),
            sample_rate: Some(48_000),
            language: None,
            codecs: None,
        };
        assert_eq!(audio.to_string(), "aac LC 48000 Hz 2 ch");
        audio.codec = AudioCodec::Mpeg;
        audio.object_type = Some(33);
        audio.language = Some("deu".to_owned());
        assert_eq!(audio.to_string(), "mp2 48000 Hz 2 ch deu");
        audio = AudioFacts {
            codec: AudioCodec::AacLatm,
            object_type: None,
            channels: None,
            sample_rate: None,
            ..audio
        };
        assert_eq!(audio.to_string(), "aac_latm deu");
    }
}
