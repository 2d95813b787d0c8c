//! Which variant of a master playlist is followed, and which audio beside it. Pure; decides on what the playlist says alone.

use iptv::hls::{AudioRendition, MasterPlaylist, Variant};
use iptv::language;

use crate::input::{DecodeLimit, Wish};

/// Formats that cannot be passed to every player: a variant with one of them would have to be encoded.
const UNCOMMON: [&str; 8] = [
    "hvc1", "hev1", "dvh1", "dvhe", "av01", "vp08", "vp09", "mp4v",
];

/// H.264 level 4.2: what is beyond is not passed to every player. It has no room for wide pictures of more lines.
const HIGHEST_LEVEL: u8 = 42;
const LINES_OF_HIGHEST_LEVEL: u32 = 1088;

/// The best variant that has not failed, with its place in the list; of those that are as high as is enough, or higher, the lowest.
/// One that must not be decoded is taken only where there are no other pictures: that the source is too large is known then.
pub(super) fn choose<'a>(
    master: &'a MasterPlaylist,
    wish: &Wish,
    failed: &[usize],
) -> Option<(usize, &'a Variant)> {
    let usable = || {
        let variants = master.variants.iter().enumerate();
        variants.filter(|(place, _)| !failed.contains(place))
    };
    let is_allowed = |variant: &Variant| {
        let limit = wish.decoding;
        limit.is_none_or(|limit| !is_too_large(variant, limit))
    };
    let lowest = wish.enough.and_then(|lines| {
        usable()
            .filter(|(_, variant)| is_common(variant) && is_allowed(variant))
            .filter(|(_, variant)| variant.height >= Some(lines))
            .min_by_key(|(_, variant)| (variant.height, std::cmp::Reverse(variant.bandwidth)))
    });
    // Of equal ones the first: what follows it is there in case that it fails.
    let best = || {
        usable().rev().max_by_key(|(_, variant)| {
            let is_picture = (has_picture(variant), is_allowed(variant));
            (is_picture, is_common(variant), variant.bandwidth)
        })
    };
    lowest.or_else(best)
}

/// Whether a variant would be decoded and must not be. One of unknown size is not, as everywhere.
fn is_too_large(variant: &Variant, limit: DecodeLimit) -> bool {
    variant.height > Some(limit.lines) && (limit.decodes_all || !is_passed_on(variant))
}

/// Whether players take the pictures as they are, as far as the list says.
fn is_passed_on(variant: &Variant) -> bool {
    let fits = match formats(variant).find_map(level) {
        Some(level) => level <= HIGHEST_LEVEL,
        None => variant.height <= Some(LINES_OF_HIGHEST_LEVEL),
    };
    is_common(variant) && fits
}

/// The level of H.264, ten times its number (RFC 6381: profile, constraints and level in hexadecimal).
fn level(format: &str) -> Option<u8> {
    let numbers = format
        .strip_prefix("avc1.")
        .or_else(|| format.strip_prefix("avc3."))?;
    u8::from_str_radix(numbers.get(4..6)?, 16).ok()
}

/// The playlist that is followed for a variant, and the one beside it of its audio, where that has one. Sound without pictures is
/// one playlist: there is nothing to join it to.
pub(super) fn playlists<'a>(
    master: &'a MasterPlaylist,
    variant: &'a Variant,
    wanted: Option<&str>,
) -> (&'a str, Option<&'a str>) {
    let audio = audio(master, variant, wanted).and_then(|audio| audio.uri.as_deref());
    match audio {
        Some(audio) if !has_picture(variant) => (audio, None),
        audio => (&variant.uri, audio),
    }
}

/// The rendition whose playlist is followed beside that of a variant: of its group the one in the wanted language, else the default,
/// else the first. None where that lies in the variant's own segments (RFC 8216, 4.3.4.2.1).
fn audio<'a>(
    master: &'a MasterPlaylist,
    variant: &Variant,
    wanted: Option<&str>,
) -> Option<&'a AudioRendition> {
    let group = variant.audio_group.as_ref()?;
    let renditions = || master.audio.iter().filter(|one| one.group == *group);
    let speaks = |one: &&AudioRendition| match (wanted, &one.language) {
        (Some(wanted), Some(language)) => language::is_same(wanted, language),
        _ => false,
    };
    let chosen = renditions()
        .find(speaks)
        .or_else(|| renditions().find(|one| one.is_default))
        .or_else(|| renditions().next())?;
    // The radio of a channel is a variant, and the audio of the others.
    let is_apart = chosen.uri.as_ref().is_some_and(|uri| *uri != variant.uri);
    is_apart.then_some(chosen)
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
        let wish = Wish {
            enough,
            ..Wish::default()
        };
        wished(text, &wish, failed)
    }

    fn wished(text: &str, wish: &Wish, failed: &[usize]) -> Option<String> {
        let Ok(Playlist::Master(master)) = parse(text.as_bytes()) else {
            panic!("no master");
        };
        choose(&master, wish, failed).map(|(_, variant)| variant.uri.clone())
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

    const TALL: &str = "#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS=\"mp4a.40.2\"
sound
#EXT-X-STREAM-INF:BANDWIDTH=16000000,RESOLUTION=3840x2160
2160
#EXT-X-STREAM-INF:BANDWIDTH=6000000,RESOLUTION=1920x1080,CODECS=\"avc1.640033,mp4a.40.2\"
1080-5.1
#EXT-X-STREAM-INF:BANDWIDTH=5000000,RESOLUTION=1920x1080,CODECS=\"mp4a.40.2,avc1.64002a\"
1080
#EXT-X-STREAM-INF:BANDWIDTH=4000000,RESOLUTION=1280x720,CODECS=\"hvc1.1.6.L93.90\"
720-hevc
#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=854x480
480
";

    #[test]
    fn the_best_is_chosen_that_may_be_decoded_or_need_not_be() {
        let all = |lines| (lines, true);
        let misfits = |lines| (lines, false);
        for (limit, enough, failed, expected) in [
            (None, None, &[][..], "2160"),
            (Some(all(2160)), None, &[], "2160"),
            (Some(all(1080)), None, &[], "1080-5.1"),
            (Some(misfits(1080)), None, &[], "1080-5.1"),
            // What players take as it is may be larger than what is decoded.
            (Some(misfits(720)), None, &[], "1080"),
            (Some(all(720)), None, &[], "480"),
            (Some(all(720)), None, &[5], "720-hevc"),
            // What is enough must be allowed, too.
            (Some(all(1080)), Some(1080), &[], "1080-5.1"),
            (Some(all(720)), Some(720), &[], "480"),
            (Some(misfits(720)), Some(720), &[], "1080"),
            // Pictures that are too large have a name, and are not sound.
            (Some(all(360)), None, &[], "2160"),
            (Some(misfits(360)), None, &[3, 5], "2160"),
            (Some(all(360)), None, &[1, 2, 3, 4, 5], "sound"),
        ] {
            let wish = Wish {
                enough,
                decoding: limit.map(|(lines, decodes_all)| DecodeLimit { lines, decodes_all }),
                ..Wish::default()
            };
            let chosen = wished(TALL, &wish, failed);
            assert_eq!(chosen.as_deref(), Some(expected), "{wish:?} {failed:?}");
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
    fn audio_is_that_of_the_variant_s_group_in_the_wanted_language_else_the_default() {
        const MASTER: &str = "#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"low\",LANGUAGE=\"en\",URI=\"low-en\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"low\",LANGUAGE=\"de-DE\",URI=\"low-de\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"high\",LANGUAGE=\"en\",URI=\"en\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"high\",LANGUAGE=\"fr\",DEFAULT=YES,URI=\"fr\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"high\",LANGUAGE=\"de\"
#EXT-X-STREAM-INF:BANDWIDTH=9,AUDIO=\"high\"
high
#EXT-X-STREAM-INF:BANDWIDTH=5,AUDIO=\"low\"
low
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"low\"
low-en
#EXT-X-STREAM-INF:BANDWIDTH=1
inside
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"none\"
lost
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"high\",CODECS=\"mp4a.40.2\"
radio
";
        let Ok(Playlist::Master(master)) = parse(MASTER.as_bytes()) else {
            panic!("no master");
        };
        for (place, wanted, expected) in [
            (0, None, ("high", Some("fr"))),
            (0, Some("eng"), ("high", Some("en"))),
            (0, Some("ita"), ("high", Some("fr"))),
            (0, Some("ger"), ("high", None)),
            (1, Some("deu"), ("low", Some("low-de"))),
            (1, None, ("low", Some("low-en"))),
            (2, None, ("low-en", None)),
            (3, Some("eng"), ("inside", None)),
            (4, Some("eng"), ("lost", None)),
            (5, Some("eng"), ("en", None)),
            (5, Some("ger"), ("radio", None)),
        ] {
            let chosen = playlists(&master, &master.variants[place], wanted);
            assert_eq!(chosen, expected, "{place} {wanted:?}");
        }
    }
}
