//! Which variant of a master playlist is followed. Pure; decides on what the playlist says alone.

use iptv::hls::{MasterPlaylist, Variant};

/// Formats that cannot be passed to every player: a variant with one of them would have to be encoded.
const UNCOMMON: [&str; 8] = [
    "hvc1", "hev1", "dvh1", "dvhe", "av01", "vp08", "vp09", "mp4v",
];

/// Why no variant can be followed, where none has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its audio has playlists of its own, which is not supported yet")]
pub(super) struct AudioApart;

/// The best variant that has not failed, with its place in the list; of those that are as high as `enough` lines, or higher, the
/// lowest.
pub(super) fn choose<'a>(
    master: &'a MasterPlaylist,
    enough: Option<u32>,
    failed: &[usize],
) -> Option<(usize, &'a Variant)> {
    let usable = || {
        let variants = master.variants.iter().enumerate();
        variants
            .filter(|(place, _)| !failed.contains(place))
            .filter(|(_, variant)| !has_audio_apart(master, variant))
    };
    let lowest = enough.and_then(|lines| {
        usable()
            .filter(|(_, variant)| is_common(variant) && variant.height >= Some(lines))
            .min_by_key(|(_, variant)| (variant.height, std::cmp::Reverse(variant.bandwidth)))
    });
    // Of equal ones the first: what follows it is there in case that it fails.
    let best = || {
        usable().rev().max_by_key(|(_, variant)| {
            (has_picture(variant), is_common(variant), variant.bandwidth)
        })
    };
    lowest.or_else(best)
}

/// Whether every rendition of its audio has a playlist of its own: its segments have none then (RFC 8216, 4.3.4.2.1).
fn has_audio_apart(master: &MasterPlaylist, variant: &Variant) -> bool {
    let Some(group) = &variant.audio_group else {
        return false;
    };
    let mut renditions = master.audio.iter().filter(|one| one.group == *group);
    renditions.clone().next().is_some() && renditions.all(|one| one.uri.is_some())
}

fn formats(variant: &Variant) -> impl Iterator<Item = &str> {
    let codecs = variant.codecs.as_deref().unwrap_or_default();
    codecs
        .split(',')
        .map(str::trim)
        .filter(|format| !format.is_empty())
}

fn is_common(variant: &Variant) -> bool {
    !formats(variant).any(|format| UNCOMMON.iter().any(|uncommon| format.starts_with(uncommon)))
}

fn has_picture(variant: &Variant) -> bool {
    let is_audio = |format: &str| {
        ["mp4a", "ac-3", "ec-3"]
            .iter()
            .any(|audio| format.starts_with(audio))
    };
    variant.height.is_some() || formats(variant).next().is_none() || !formats(variant).all(is_audio)
}

#[cfg(test)]
mod tests {
    use iptv::hls::{Playlist, parse};

    use super::*;

    const LADDER: &str = "#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=2500000,RESOLUTION=1280x720
720
#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS=\"mp4a.40.2\"
sound
#EXT-X-STREAM-INF:BANDWIDTH=5000000,RESOLUTION=1920x1080
1080
#EXT-X-STREAM-INF:BANDWIDTH=5000000,RESOLUTION=1920x1080
1080-spare
#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=3840x2160,CODECS=\"hvc1.2.4.L153,mp4a.40.2\"
2160-hevc
#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=854x480
480
";

    fn chosen(text: &str, enough: Option<u32>) -> Option<String> {
        chosen_after(text, enough, &[])
    }

    fn chosen_after(text: &str, enough: Option<u32>, failed: &[usize]) -> Option<String> {
        let Ok(Playlist::Master(master)) = parse(text.as_bytes()) else {
            panic!("no master");
        };
        choose(&master, enough, failed).map(|(_, variant)| variant.uri.clone())
    }

    #[test]
    fn what_failed_gives_way_to_its_spare_and_then_to_the_next_best() {
        for (enough, failed, expected) in [
            (None, &[2][..], Some("1080-spare")),
            (None, &[2, 3], Some("720")),
            (None, &[0, 2, 3, 5], Some("2160-hevc")),
            (Some(480), &[5], Some("720")),
            (Some(480), &[0, 2, 3, 5], Some("2160-hevc")),
            (Some(480), &[0, 2, 3, 4, 5], Some("sound")),
            (None, &[0, 1, 2, 3, 4, 5], None),
        ] {
            let chosen = chosen_after(LADDER, enough, failed);
            assert_eq!(chosen.as_deref(), expected, "{enough:?} {failed:?}");
        }
    }

    #[test]
    fn the_best_that_players_can_play_is_chosen_and_no_better_than_is_shown() {
        for (enough, expected) in [
            (None, "1080"),
            (Some(360), "480"),
            (Some(480), "480"),
            (Some(576), "720"),
            (Some(4320), "1080"),
        ] {
            assert_eq!(
                chosen(LADDER, enough).as_deref(),
                Some(expected),
                "{enough:?}"
            );
        }
    }

    #[test]
    fn what_is_alone_is_chosen_whatever_it_is() {
        for (attributes, uri) in [
            ("BANDWIDTH=1,CODECS=\"mp4a.40.2\"", "radio"),
            ("BANDWIDTH=1,CODECS=\"hvc1.1\"", "hevc"),
            ("", "bare"),
        ] {
            let text = format!("#EXTM3U\n#EXT-X-STREAM-INF:{attributes}\n{uri}\n");
            assert_eq!(chosen(&text, Some(720)).as_deref(), Some(uri));
        }
    }

    #[test]
    fn audio_that_lies_in_no_variant_is_named() {
        let apart = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"en\"\n#EXT-X-STREAM-INF:BANDWIDTH=9,AUDIO=\"a\"\nhigh\n";
        assert_eq!(chosen(apart, None), None);
        let other = format!("{apart}#EXT-X-STREAM-INF:BANDWIDTH=5\nlow\n");
        assert_eq!(chosen(&other, None).as_deref(), Some("low"));
        let inside = format!("{apart}#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"main\"\n");
        assert_eq!(chosen(&inside, None).as_deref(), Some("high"));
    }
}
