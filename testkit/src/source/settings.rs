//! What a channel of the live source is made of and how it is shaped. Plain data; starts nothing.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::hls::HlsSettings;

/// What `LiveSource::start` needs.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Where to listen; port 0 takes any free port.
    pub listen: std::net::SocketAddr,
    /// Where synthetic media is kept between runs.
    pub cache: PathBuf,
    /// The channels, each with a name of its own.
    pub channels: Vec<ChannelSettings>,
}

impl SourceSettings {
    /// Channels on a free loopback port, with the usual cache.
    #[must_use]
    pub fn loopback(channels: Vec<ChannelSettings>) -> Self {
        Self {
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            cache: default_cache(),
            channels,
        }
    }
}

/// `$HEADEND_CACHE_DIR/media`, else `headend/media` below the user's cache directory.
#[must_use]
pub fn default_cache() -> PathBuf {
    let user = || match std::env::var_os("XDG_CACHE_HOME") {
        Some(directory) => PathBuf::from(directory).join("headend"),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/headend"),
    };
    std::env::var_os("HEADEND_CACHE_DIR")
        .map_or_else(user, PathBuf::from)
        .join("media")
}

/// One channel: its media, the shape of its transport stream, and the faults it starts with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ChannelSettings {
    /// Path of the channel: `/<name>.ts`.
    pub name: String,
    /// Video codec, or `none` for radio.
    pub codec: VideoFormat,
    /// Picture size, `<width>x<height>`.
    pub size: Size,
    /// Another picture size, which a fault changes to in mid-stream.
    pub resized: Option<Size>,
    /// Frames per second, `25` or `30000/1001`; frames, not fields, when interlaced.
    pub fps: FrameRate,
    /// Seconds between random access points.
    pub gop: f64,
    /// What the random access points are.
    pub access: AccessPoints,
    /// Code interlaced frames, top field first.
    pub interlaced: bool,
    /// Video bit rate in kbit/s.
    pub bitrate: u32,
    /// Audio codec.
    pub audio: AudioFormat,
    /// Where the random access indicator is set.
    pub rai: AccessIndicator,
    /// Milliseconds by which audio comes after the video of the same time, in byte order.
    pub audio_late: u32,
    /// Milliseconds of sound that are missing in each loop.
    pub audio_gap: u32,
    /// Clock references on a PID of their own.
    pub pcr_pid: bool,
    /// Milliseconds by which clock references are sent too early or too late, at most.
    pub pcr_jitter: u32,
    /// A track that the PMT announces and that never comes.
    pub mute: Mute,
    /// Seconds from the first client's join to the 33-bit wrap of the timestamps.
    pub wrap: Option<f64>,
    /// How it is offered as HLS besides.
    pub hls: HlsSettings,
    /// Misbehaviour from the start on.
    pub faults: Faults,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            name: "test".to_owned(),
            codec: VideoFormat::H264,
            size: Size(640, 360),
            resized: None,
            fps: FrameRate(25, 1),
            gop: 2.0,
            access: AccessPoints::Idr,
            interlaced: false,
            bitrate: 1000,
            audio: AudioFormat::Aac,
            rai: AccessIndicator::Keys,
            audio_late: 0,
            audio_gap: 0,
            pcr_pid: false,
            pcr_jitter: 0,
            mute: Mute::None,
            wrap: None,
            hls: HlsSettings::default(),
            faults: Faults::default(),
        }
    }
}

impl ChannelSettings {
    /// A channel with small pictures, cheap enough for tests that do not look at them.
    #[must_use]
    pub fn small(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            size: Size(320, 180),
            bitrate: 300,
            ..Self::default()
        }
    }
}

impl FromStr for ChannelSettings {
    type Err = SettingsError;

    /// Reads `name` or `name:key=value,key=value`; keys are the fields' names, those of `faults` and `hls` are prefixed `fault-` and `hls-`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, pairs) = text.split_once(':').unwrap_or((text, ""));
        let mut yaml = format!("name: {name:?}\n");
        let (mut faults, mut hls) = (String::new(), String::new());
        for pair in pairs.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            match (key.strip_prefix("fault-"), key.strip_prefix("hls-")) {
                (Some(fault), _) => faults.push_str(&format!("  {fault}: {value}\n")),
                (None, Some(part)) => hls.push_str(&format!("  {part}: {value}\n")),
                (None, None) => yaml.push_str(&format!("{key}: {value}\n")),
            }
        }
        for (name, pairs) in [("faults", faults), ("hls", hls)] {
            if !pairs.is_empty() {
                yaml.push_str(&format!("{name}:\n{pairs}"));
            }
        }
        parse_yaml(&yaml).map_err(|reason| SettingsError {
            subject: text.to_owned(),
            reason,
        })
    }
}

/// Reads a YAML or JSON document `{channels: [...]}`.
///
/// # Errors
/// When the document is no such list or a field is unknown or out of range.
pub fn parse_channels(document: &str) -> Result<Vec<ChannelSettings>, SettingsError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        channels: Vec<ChannelSettings>,
    }
    serde_saphyr::from_str::<Document>(document)
        .map_err(|error| error.to_string())
        .and_then(|document| document.channels.into_iter().map(checked).collect())
        .map_err(|reason| SettingsError {
            subject: "channels".to_owned(),
            reason,
        })
}

fn parse_yaml(yaml: &str) -> Result<ChannelSettings, String> {
    let channel: ChannelSettings =
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    checked(channel)
}

fn checked(channel: ChannelSettings) -> Result<ChannelSettings, String> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if channel.name.is_empty() || !channel.name.bytes().all(safe) {
        return Err(format!(
            "name {:?} is not made of letters, digits, - and _",
            channel.name
        ));
    }
    if !(0.2..=60.0).contains(&channel.gop) {
        return Err(format!("gop {} is not between 0.2 and 60", channel.gop));
    }
    Ok(channel)
}

/// Why channel settings could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("failed to read channel {subject:?}: {reason}")]
pub struct SettingsError {
    subject: String,
    reason: String,
}

/// Video coding formats the source can synthesise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoFormat {
    /// H.264 with B pictures.
    H264,
    /// H.265.
    Hevc,
    /// MPEG-2 video.
    Mpeg2,
    /// No video: radio.
    None,
}

/// Audio coding formats the source can synthesise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioFormat {
    /// AAC-LC in ADTS.
    Aac,
    /// AAC at 24 kHz: all that ADTS says of HE-AAC. There is no band replication in it, which nothing but a decoder would notice.
    HeAac,
    /// MPEG audio layer II.
    Mp2,
    /// AC-3.
    Ac3,
    /// Enhanced AC-3.
    Eac3,
    /// AAC-LC in LATM.
    Latm,
    /// No audio.
    None,
}

/// What a random access point of the video is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessPoints {
    /// IDR pictures, closed GOPs.
    Idr,
    /// I pictures behind a recovery point SEI, open GOPs, never an IDR (H.264 only).
    Recovery,
    /// Intra refresh: recovery points without any I picture (H.264 only).
    Refresh,
}

/// On which PES packets the random access indicator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessIndicator {
    /// On random access points, as it should be.
    Keys,
    /// On none.
    Never,
    /// On every video PES packet.
    Always,
}

/// A track that is announced and silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mute {
    /// Both tracks come.
    None,
    /// Audio never comes.
    Audio,
    /// Video never comes.
    Video,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u32, pub u32);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.0, self.1)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (width, height) = text
            .split_once('x')
            .ok_or("no x between width and height")?;
        match (width.parse(), height.parse()) {
            (Ok(width @ 16..=4096), Ok(height @ 16..=4096)) => Ok(Self(width, height)),
            _ => Err(format!("size {text:?} is not between 16x16 and 4096x4096")),
        }
    }
}

/// Frames per second as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FrameRateText", into = "String")]
pub struct FrameRate(pub u32, pub u32);

#[derive(Deserialize)]
#[serde(untagged)]
enum FrameRateText {
    Number(u32),
    Text(String),
}

impl fmt::Display for FrameRate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.0, self.1)
    }
}

impl From<FrameRate> for String {
    fn from(rate: FrameRate) -> Self {
        rate.to_string()
    }
}

impl TryFrom<FrameRateText> for FrameRate {
    type Error = String;

    fn try_from(text: FrameRateText) -> Result<Self, String> {
        let (numerator, denominator) = match &text {
            FrameRateText::Number(rate) => (Some(*rate), Some(1)),
            FrameRateText::Text(text) => {
                let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
                (numerator.parse().ok(), denominator.parse().ok())
            }
        };
        match (numerator, denominator) {
            (Some(n), Some(d @ 1..)) if (5 * d..=120 * d).contains(&n) => Ok(Self(n, d)),
            _ => Err("fps is not between 5 and 120".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_read_from_one_argument() {
        let text = "news:codec=hevc,size=320x180,fps=30000/1001,gop=4,rai=never,fault-burst=2,hls-segment=4";
        let expected = ChannelSettings {
            name: "news".to_owned(),
            codec: VideoFormat::Hevc,
            size: Size(320, 180),
            fps: FrameRate(30_000, 1001),
            gop: 4.0,
            rai: AccessIndicator::Never,
            faults: Faults {
                burst: Some(2.0),
                ..Faults::default()
            },
            hls: HlsSettings {
                segment: 4.0,
                ..HlsSettings::default()
            },
            ..ChannelSettings::default()
        };
        assert_eq!(text.parse(), Ok(expected));
    }

    #[test]
    fn a_document_lists_channels() {
        let document = "channels:\n- name: one\n  fps: 50\n- name: two\n  audio: none\n";
        let channels = parse_channels(document).unwrap();
        assert_eq!(channels[0].fps, FrameRate(50, 1));
        assert_eq!(channels[1].audio, AudioFormat::None);
    }

    #[test]
    fn what_is_unknown_or_out_of_range_is_named() {
        for (text, named) in [
            ("a:colour=red", "colour"),
            ("a:gop=0", "gop"),
            ("a:size=10", "size"),
            ("a:fps=1000", "fps"),
            ("../a", "name"),
        ] {
            let error = ChannelSettings::from_str(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
