//! A channel as an HLS source: segments of its one timeline, cut at key pictures, in a window that moves with the time.
//! What is listed is a function of the time and of the settings; nothing is kept but the places of jumps.

use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::carousel::clock_ticks;
use super::fragments::Tracks;
use super::settings::{ChannelSettings, Size, VideoFormat};
use crate::ts::packet::PACKET_SIZE;

/// Bytes of the key, and what it is made of.
pub(crate) const KEY: [u8; 16] = *b"headend-test-key";

/// How a channel is offered as HLS, at `/<name>/index.m3u8` and `/<name>/master.m3u8`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct HlsSettings {
    /// Seconds of a segment: a multiple of the GOP.
    pub segment: f64,
    /// How many are listed.
    pub window: u32,
    /// How they are encrypted.
    pub encryption: HlsEncryption,
    /// Each is a part of a resource, asked for by range; of fragmented MP4 the initialization section is.
    pub byte_ranges: bool,
    /// What they are.
    pub container: HlsContainer,
    /// Sound has a playlist of its own, and the other one has none.
    pub audio_apart: bool,
    /// Where it has, or there is nothing else, it comes without a transport stream: frames behind a tag with their time.
    pub audio_packed: bool,
    /// Seconds for which the addresses that `/<name>/entry.m3u8` redirects to are good.
    pub token: Option<f64>,
}

impl Default for HlsSettings {
    fn default() -> Self {
        Self {
            segment: 2.0,
            window: 5,
            encryption: HlsEncryption::None,
            byte_ranges: false,
            container: HlsContainer::Ts,
            audio_apart: false,
            audio_packed: false,
            token: None,
        }
    }
}

/// What segments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HlsContainer {
    /// Transport streams.
    Ts,
    /// Fragmented MP4.
    Fmp4,
}

/// How segments are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HlsEncryption {
    /// Not at all.
    None,
    /// AES-128, with the segment's number as its initialization vector; with a fixed one where there are initialization sections.
    Aes128,
    /// The list says SAMPLE-AES, which they are not.
    SampleAes,
}

/// Bytes of nothing before a segment that is a part of a resource.
const BEFORE: usize = 7 * PACKET_SIZE;

/// The initialization vector where there are initialization sections.
const VECTOR: u64 = 0x42;

/// The part of the timeline that is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Number of the first segment.
    pub(crate) first: u64,
    /// One more than that of the last.
    pub(crate) end: u64,
}

impl HlsSettings {
    /// Of each segment, in 27 MHz ticks.
    pub(crate) fn length(&self) -> u64 {
        clock_ticks(self.segment).max(1)
    }

    /// The segments that are whole at a position of the timeline.
    pub(crate) fn listed(&self, position: u64) -> Listed {
        let end = position / self.length();
        Listed {
            first: end.saturating_sub(u64::from(self.window)),
            end,
        }
    }

    /// A segment as it is sent.
    pub(crate) fn sealed(&self, number: u64, media: Bytes) -> Bytes {
        match self.container {
            HlsContainer::Ts => self.part(self.encrypted(number, media)),
            HlsContainer::Fmp4 => self.encrypted(VECTOR, media),
        }
    }

    /// An initialization section as it is sent.
    pub(crate) fn sealed_init(&self, init: Bytes) -> Bytes {
        self.part(self.encrypted(VECTOR, init))
    }

    fn encrypted(&self, vector: u64, media: Bytes) -> Bytes {
        match self.encryption {
            HlsEncryption::Aes128 => encrypt(vector, &media),
            HlsEncryption::None | HlsEncryption::SampleAes => media,
        }
    }

    fn part(&self, media: Bytes) -> Bytes {
        if !self.byte_ranges {
            return media;
        }
        let mut resource = BytesMut::zeroed(BEFORE);
        resource.extend_from_slice(&media);
        resource.freeze()
    }

    /// What the name of a segment ends with.
    pub(crate) fn extension(&self, tracks: Tracks) -> &'static str {
        match self.container {
            _ if self.is_packed(tracks) => "aac",
            HlsContainer::Ts => "ts",
            HlsContainer::Fmp4 => "m4s",
        }
    }

    /// Whether these tracks come without a container.
    pub(crate) fn is_packed(&self, tracks: Tracks) -> bool {
        self.audio_packed && tracks == Tracks::Audio
    }

    fn key_line(&self, query: &str) -> String {
        let vector = match self.container {
            HlsContainer::Ts => String::new(),
            HlsContainer::Fmp4 => format!(",IV=0x{VECTOR:x}"),
        };
        match self.encryption {
            HlsEncryption::None => String::new(),
            HlsEncryption::Aes128 => {
                format!("#EXT-X-KEY:METHOD=AES-128,URI=\"key{query}\"{vector}\n")
            }
            HlsEncryption::SampleAes => {
                "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://key\"\n".to_owned()
            }
        }
    }
}

/// One playlist of a channel.
pub(crate) struct Rendition<'a> {
    /// What it has.
    pub(crate) tracks: Tracks,
    /// What the names of its segments begin with.
    pub(crate) prefix: &'a str,
    /// Bytes of its initialization section as it is sent, if it has one.
    pub(crate) init: Option<usize>,
    /// How many bytes a segment is sent as, where that is asked for.
    pub(crate) bytes: &'a dyn Fn(u64) -> usize,
}

/// The master playlist: the channel, and a poorer one that is not there.
pub(crate) fn master_playlist(channel: &ChannelSettings, query: &str) -> String {
    let Size(width, height) = channel.size;
    let (rate, half) = (channel.bitrate * 1200, height / 2);
    let mut list = "#EXTM3U\n#EXT-X-VERSION:4\n".to_owned();
    if channel.codec == VideoFormat::None {
        list.push_str(&format!(
            "#EXT-X-STREAM-INF:BANDWIDTH={rate},CODECS=\"mp4a.40.2\"\nindex.m3u8{query}\n"
        ));
        return list;
    }
    let mut group = "";
    if channel.hls.audio_apart {
        list.push_str(&format!(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",LANGUAGE=\"en\",DEFAULT=YES,URI=\"audio.m3u8{query}\"\n",
        ));
        group = ",AUDIO=\"a\"";
    }
    list.push_str(&format!(
        "#EXT-X-STREAM-INF:BANDWIDTH={},RESOLUTION={}x{half}{group}\npoor.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH={rate},RESOLUTION={width}x{height}{group}\nindex.m3u8{query}\n",
        rate / 4,
        width / 2,
    ));
    list
}

/// A media playlist. `jumps` are numbers of segments whose timestamps do not go on, and `query` stands behind each address.
pub(crate) fn media_playlist(
    settings: &HlsSettings,
    listed: Listed,
    jumps: &[u64],
    rendition: &Rendition<'_>,
    query: &str,
) -> String {
    let target = settings.segment.ceil();
    let passed = jumps.iter().filter(|jump| **jump < listed.first).count();
    let mut list = format!(
        "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{passed}\n",
        listed.first
    );
    list.push_str(&settings.key_line(query));
    let prefix = rendition.prefix;
    if let Some(length) = rendition.init {
        list.push_str(&format!("#EXT-X-MAP:URI=\"{prefix}init.mp4{query}\""));
        if settings.byte_ranges {
            let length = length - BEFORE;
            list.push_str(&format!(",BYTERANGE=\"{length}@{BEFORE}\""));
        }
        list.push('\n');
    }
    for number in listed.first..listed.end {
        if jumps.contains(&number) {
            list.push_str("#EXT-X-DISCONTINUITY\n");
        }
        list.push_str(&format!("#EXTINF:{:.3},\n", settings.segment));
        if settings.byte_ranges && settings.container == HlsContainer::Ts {
            let length = (rendition.bytes)(number) - BEFORE;
            list.push_str(&format!("#EXT-X-BYTERANGE:{length}@{BEFORE}\n"));
        }
        let extension = settings.extension(rendition.tracks);
        list.push_str(&format!("{prefix}{number}.{extension}{query}\n"));
    }
    list
}

fn encrypt(vector: u64, media: &[u8]) -> Bytes {
    let padding = 16 - media.len() % 16;
    let mut media = BytesMut::from(media);
    media.put_bytes(padding as u8, padding);
    let vector = u128::from(vector).to_be_bytes();
    let mut encryptor = cbc::Encryptor::<aes::Aes128>::new(&KEY.into(), &vector.into());
    let (blocks, _) = aes::Block::slice_as_chunks_mut(&mut media);
    encryptor.encrypt_blocks(blocks);
    media.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_moves_and_says_where_timestamps_jump() {
        let settings = HlsSettings {
            window: 2,
            byte_ranges: true,
            encryption: HlsEncryption::Aes128,
            ..HlsSettings::default()
        };
        let listed = settings.listed(clock_ticks(9.9));
        assert_eq!(listed, Listed { first: 2, end: 4 });
        let list = media_playlist(
            &settings,
            listed,
            &[1, 3],
            &Rendition {
                tracks: Tracks::All,
                prefix: "",
                init: None,
                bytes: &|number| number as usize + BEFORE,
            },
            "?token=1",
        );
        let expected = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:2\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n\
            #EXT-X-KEY:METHOD=AES-128,URI=\"key?token=1\"\n#EXTINF:2.000,\n#EXT-X-BYTERANGE:2@1316\n2.ts?token=1\n\
            #EXT-X-DISCONTINUITY\n#EXTINF:2.000,\n#EXT-X-BYTERANGE:3@1316\n3.ts?token=1\n";
        assert_eq!(list, expected);
    }
}
