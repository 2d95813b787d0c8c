//! Media that need no FFmpeg, for tests of what handles transport streams.

use bytes::Bytes;

use super::carousel::Carousel;
use super::elementary::{Elementary, Unit};
use super::multiplex::multiplex;
use super::settings::ChannelSettings;

/// Eight seconds of 25 pictures a second, an IDR each second, and of AAC frames.
pub(crate) fn elementary() -> Elementary {
    let picture = |index: i64| {
        let kind = if index % 25 == 0 { 0x65 } else { 0x41 };
        let mut data = vec![0, 0, 0, 1, kind];
        data.resize(700, 0xab);
        Unit {
            pts: index * 3600 + 3600,
            dts: index * 3600,
            key: index % 25 == 0,
            data: Bytes::from(data),
        }
    };
    let sound = |index: i64| {
        // ADTS, LC, 48 kHz, 200 bytes.
        let mut data = vec![0xff, 0xf1, 0x4c, 0x80, 200 >> 3, 0x1f, 0xfc];
        data.resize(200, 0x11);
        Unit {
            pts: index * 1920,
            dts: index * 1920,
            key: true,
            data: Bytes::from(data),
        }
    };
    Elementary {
        video: (0..200).map(picture).collect(),
        audio: (0..375).map(sound).collect(),
        duration: 720_000,
        gop: 90_000,
    }
}

/// The loop of a channel made of them.
pub(crate) fn carousel(change: fn(&mut ChannelSettings)) -> Carousel {
    let mut channel = ChannelSettings::small("a");
    change(&mut channel);
    multiplex(&elementary(), &channel)
}
