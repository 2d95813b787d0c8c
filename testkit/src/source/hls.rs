//! A channel as an HLS source: segments of its one timeline, cut at key pictures, in a window that moves with the time.
//! What is listed is a function of the time and of the settings; nothing is kept but the places of jumps.

use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::carousel::clock_ticks;
use super::settings::{ChannelSettings, Size};
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
    /// Each is a part of a resource, asked for by range.
    pub byte_ranges: bool,
    /// The list says that they are fragmented MP4, which they are not.
    pub map: bool,
    /// The master says that the audio has a playlist of its own, which it has not.
    pub audio_apart: bool,
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
            map: false,
            audio_apart: false,
            token: None,
        }
    }
}

/// How segments are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HlsEncryption {
    /// Not at all.
    None,
    /// AES-128, with the segment's number as its initialization vector.
    Aes128,
    /// The list says SAMPLE-AES, which they are not.
    SampleAes,
}

/// Bytes of nothing before a segment that is a part of a resource.
const BEFORE: usize = 7 * PACKET_SIZE;

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
    pub(crate) fn sealed(&self, number: u64, mut media: BytesMut) -> Bytes {
        if self.encryption == HlsEncryption::Aes128 {
            encrypt(number, &mut media);
        }
        if !self.byte_ranges {
            return media.freeze();
        }
        let mut resource = BytesMut::zeroed(BEFORE);
        resource.extend_from_slice(&media);
        resource.freeze()
    }
}

/// The master playlist: the channel, and a poorer one that is not there.
pub(crate) fn master_playlist(channel: &ChannelSettings, query: &str) -> String {
    let Size(width, height) = channel.size;
    let (rate, half) = (channel.bitrate * 1200, height / 2);
    let mut list = "#EXTM3U\n#EXT-X-VERSION:4\n".to_owned();
    let mut group = "";
    if channel.hls.audio_apart {
        list.push_str(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",DEFAULT=YES,URI=\"audio.m3u8\"\n",
        );
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

/// The media playlist. `jumps` are numbers of segments whose timestamps do not go on, `bytes` says how long one is, and
/// `query` stands behind each address.
pub(crate) fn media_playlist(
    settings: &HlsSettings,
    listed: Listed,
    jumps: &[u64],
    bytes: impl Fn(u64) -> usize,
    query: &str,
) -> String {
    let target = settings.segment.ceil();
    let passed = jumps.iter().filter(|jump| **jump < listed.first).count();
    let mut list = format!(
        "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{passed}\n",
        listed.first
    );
    match settings.encryption {
        HlsEncryption::None => {}
        HlsEncryption::Aes128 => {
            list.push_str(&format!("#EXT-X-KEY:METHOD=AES-128,URI=\"key{query}\"\n"));
        }
        HlsEncryption::SampleAes => {
            list.push_str("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://key\"\n");
        }
    }
    if settings.map {
        list.push_str("#EXT-X-MAP:URI=\"init.mp4\"\n");
    }
    for number in listed.first..listed.end {
        if jumps.contains(&number) {
            list.push_str("#EXT-X-DISCONTINUITY\n");
        }
        list.push_str(&format!("#EXTINF:{:.3},\n", settings.segment));
        if settings.byte_ranges {
            let length = bytes(number) - BEFORE;
            list.push_str(&format!("#EXT-X-BYTERANGE:{length}@{BEFORE}\n"));
        }
        list.push_str(&format!("{number}.ts{query}\n"));
    }
    list
}

fn encrypt(number: u64, media: &mut BytesMut) {
    let padding = 16 - media.len() % 16;
    media.put_bytes(padding as u8, padding);
    let vector = u128::from(number).to_be_bytes();
    let mut encryptor = cbc::Encryptor::<aes::Aes128>::new(&KEY.into(), &vector.into());
    let (blocks, _) = aes::Block::slice_as_chunks_mut(media);
    encryptor.encrypt_blocks(blocks);
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
            |number| number as usize + BEFORE,
            "?token=1",
        );
        let expected = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:2\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n\
            #EXT-X-KEY:METHOD=AES-128,URI=\"key?token=1\"\n#EXTINF:2.000,\n#EXT-X-BYTERANGE:2@1316\n2.ts?token=1\n\
            #EXT-X-DISCONTINUITY\n#EXTINF:2.000,\n#EXT-X-BYTERANGE:3@1316\n3.ts?token=1\n";
        assert_eq!(list, expected);
    }
}
