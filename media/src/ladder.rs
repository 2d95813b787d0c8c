//! Which renditions a source gets. Never upscales; what a source is called does not depend on whether it is copied or encoded,
//! so a rendition keeps its name when that changes.

use api::job::JobClass;
use api::stream_class::{Preset, Rung, TranscodeMode};

use crate::codec::video::Dimensions;
use crate::decide::{Decision, Treatment};

/// Name of the rendition that is the source itself.
pub const SOURCE: &str = "source";

/// Name of the only rendition of a radio.
pub const AUDIO: &str = "audio";

/// Lines and kilobits per second that go well together.
const BIT_RATES: [(u32, u32); 9] = [
    (144, 150),
    (240, 300),
    (360, 600),
    (480, 1000),
    (576, 1400),
    (720, 2500),
    (1080, 5000),
    (1440, 9000),
    (2160, 16_000),
];

/// What a source is encoded as when nobody can tell how large it is.
const UNKNOWN_SIZE: u32 = 480;

/// What a class asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Copy, Transcode or Auto.
    pub mode: TranscodeMode,
    /// The named set of renditions.
    pub preset: Preset,
    /// The encoded renditions rung by rung, instead of the preset's when not empty.
    pub ladder: &'a [Rung],
}

impl<'a> From<&'a JobClass> for Wanted<'a> {
    fn from(class: &'a JobClass) -> Self {
        Self {
            mode: class.mode,
            preset: class.preset,
            ladder: &class.ladder,
        }
    }
}

/// One rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRendition {
    /// `source`, `audio`, or `<height>p`.
    pub id: String,
    /// How its picture comes about.
    pub picture: Picture,
}

/// How a rendition's picture comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// There is none.
    None,
    /// The source's own.
    PassThrough,
    /// FFmpeg encodes it.
    Encode(Encoding),
}

/// What FFmpeg is to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// Columns, even; unknown as long as the source's are.
    pub width: Option<u32>,
    /// Lines, even.
    pub height: u32,
    /// Average and peak bit rate of the video.
    pub kilobits_per_second: u32,
}

/// The renditions of a source, highest first; never empty.
#[must_use]
pub fn renditions(
    wanted: &Wanted<'_>,
    source: Option<Dimensions>,
    decision: &Decision,
) -> Vec<PlannedRendition> {
    if decision.video == Treatment::Absent {
        return vec![PlannedRendition {
            id: AUDIO.to_owned(),
            picture: Picture::None,
        }];
    }
    if wanted.mode == TranscodeMode::Copy {
        return vec![top(SOURCE.to_owned(), source, None, decision)];
    }
    let rungs = rungs(wanted);
    let mut plans = Vec::with_capacity(rungs.len() + 1);
    let cap = rungs.first().map(|&(height, _)| height);
    match (cap, source) {
        (None, _) => plans.push(top(SOURCE.to_owned(), source, None, decision)),
        (Some(_), _) if has_source(wanted) => {
            plans.push(top(SOURCE.to_owned(), source, None, decision));
        }
        // The source is no higher than the ladder: it is its own top rung.
        (Some(cap), Some(size)) if size.height <= cap => {
            let bit_rate = rungs
                .iter()
                .find(|&&(height, _)| height == size.height)
                .map(|&(_, bit_rate)| bit_rate);
            let id = format!("{}p", size.height & !1);
            plans.push(top(id, source, bit_rate, decision));
        }
        (Some(_), _) => {}
    }
    plans.extend(lower(&rungs, source));
    if decision.too_large.is_some() {
        plans.retain(|plan| plan.picture == Picture::PassThrough);
        if plans.is_empty() {
            plans.push(top(SOURCE.to_owned(), source, None, decision));
        }
    }
    if plans.is_empty() {
        plans.push(rung(UNKNOWN_SIZE, bit_rate_for(UNKNOWN_SIZE), source));
    }
    plans
}

/// Lines of the highest picture that a class has, where that is not the source's own: more are of no use.
#[must_use]
pub fn enough_lines(wanted: &Wanted<'_>) -> Option<u32> {
    let is_own = wanted.mode == TranscodeMode::Copy || has_source(wanted);
    let highest = rungs(wanted).first().map(|&(height, _)| height);
    highest.filter(|_| !is_own)
}

/// Which pictures a class decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decodes {
    /// None: what it gets is passed through or refused.
    Nothing,
    /// Those that players do not take as they are.
    Misfits,
    /// All of them: it has encoded renditions.
    All,
}

/// Which pictures a class decodes, before anything is known of them.
#[must_use]
pub fn decodes(wanted: &Wanted<'_>) -> Decodes {
    match wanted.mode {
        TranscodeMode::Copy => Decodes::Nothing,
        TranscodeMode::Auto if rungs(wanted).is_empty() => Decodes::Misfits,
        TranscodeMode::Auto | TranscodeMode::Transcode => Decodes::All,
    }
}

/// The rungs that a class asks for, highest first.
fn rungs(wanted: &Wanted<'_>) -> Vec<(u32, u32)> {
    let heights: &[u32] = match wanted.preset {
        _ if !wanted.ladder.is_empty() => &[],
        Preset::Source => &[],
        Preset::Low => &[360],
        Preset::Medium => &[480, 360],
        Preset::High | Preset::Ultra => &[720, 480, 360],
    };
    let mut rungs: Vec<(u32, u32)> = heights
        .iter()
        .map(|&height| (height, bit_rate_for(height)))
        .chain(wanted.ladder.iter().filter_map(|rung| {
            let height = u32::try_from(rung.height).ok()?;
            Some((height, u32::try_from(rung.video_kilobits_per_second).ok()?))
        }))
        .collect();
    rungs.sort_unstable_by_key(|&(height, _)| std::cmp::Reverse(height));
    rungs
}

/// Whether the source itself is a rendition whatever its height.
fn has_source(wanted: &Wanted<'_>) -> bool {
    match wanted.preset {
        Preset::Ultra => true,
        Preset::Source => wanted.ladder.is_empty(),
        Preset::Low | Preset::Medium | Preset::High => false,
    }
}

/// The rendition that has the source's own size.
fn top(
    id: String,
    source: Option<Dimensions>,
    bit_rate: Option<u32>,
    decision: &Decision,
) -> PlannedRendition {
    if decision.video == Treatment::Copy {
        return PlannedRendition {
            id,
            picture: Picture::PassThrough,
        };
    }
    let height = source.map_or(UNKNOWN_SIZE, |size| size.height & !1);
    let bit_rate = bit_rate.unwrap_or_else(|| bit_rate_for(height));
    PlannedRendition {
        id,
        ..rung(height, bit_rate, source)
    }
}

/// The rungs below the source's own size.
fn lower(
    rungs: &[(u32, u32)],
    source: Option<Dimensions>,
) -> impl Iterator<Item = PlannedRendition> {
    let limit = source.map_or(u32::MAX, |size| size.height);
    rungs
        .iter()
        .filter(move |&&(height, _)| height < limit)
        .map(move |&(height, bit_rate)| rung(height, bit_rate, source))
}

fn rung(height: u32, kilobits_per_second: u32, source: Option<Dimensions>) -> PlannedRendition {
    PlannedRendition {
        id: format!("{height}p"),
        picture: Picture::Encode(Encoding {
            width: source.map(|size| width_for(size, height)),
            height,
            kilobits_per_second,
        }),
    }
}

/// The even width nearest to the source's aspect, as FFmpeg's `scale=-2:<height>` finds it.
fn width_for(source: Dimensions, height: u32) -> u32 {
    let (width, lines) = (u64::from(source.width), u64::from(source.height.max(1)));
    let halves = (u64::from(height) * width + lines) / (2 * lines);
    u32::try_from(halves.max(1) * 2).unwrap_or(source.width)
}

/// A bit rate for so many lines, between those of the table.
fn bit_rate_for(height: u32) -> u32 {
    let (low_end, high_end) = (BIT_RATES[0], BIT_RATES[BIT_RATES.len() - 1]);
    if height <= low_end.0 {
        return low_end.1;
    }
    BIT_RATES
        .windows(2)
        .find(|pair| height <= pair[1].0)
        .map_or(high_end.1, |pair| {
            let ((lower, low), (upper, high)) = (pair[0], pair[1]);
            low + (high - low) * (height - lower) / (upper - lower)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Reason, TooLarge};

    fn decision(video: Treatment) -> Decision {
        Decision {
            video,
            audio: Treatment::Copy,
            deinterlace: false,
            too_large: None,
            on_request: false,
            reason: Reason::Fits,
        }
    }

    fn preset(preset: Preset) -> Wanted<'static> {
        Wanted {
            mode: TranscodeMode::Auto,
            preset,
            ladder: &[],
        }
    }

    /// Renditions in short: `id=` and `copy` or `<width>x<height>@<kilobits>`.
    fn planned(wanted: &Wanted<'_>, height: u32, video: Treatment) -> Vec<String> {
        let source = Dimensions::new(height * 16 / 9, height);
        renditions(wanted, source, &decision(video))
            .into_iter()
            .map(|plan| {
                let picture = match plan.picture {
                    Picture::None => "none".to_owned(),
                    Picture::PassThrough => "copy".to_owned(),
                    Picture::Encode(encoding) => format!(
                        "{}x{}@{}",
                        encoding.width.unwrap_or_default(),
                        encoding.height,
                        encoding.kilobits_per_second
                    ),
                };
                format!("{}={picture}", plan.id)
            })
            .collect()
    }

    #[test]
    fn a_source_that_fits_is_its_own_top_rung() {
        let high = preset(Preset::High);
        assert_eq!(
            planned(&high, 720, Treatment::Copy),
            ["720p=copy", "480p=854x480@1000", "360p=640x360@600"]
        );
        assert_eq!(
            planned(&high, 576, Treatment::Copy),
            ["576p=copy", "480p=854x480@1000", "360p=640x360@600"]
        );
    }

    #[test]
    fn names_do_not_depend_on_what_is_copied() {
        for wanted in [Preset::Source, Preset::Low, Preset::High, Preset::Ultra] {
            for height in [240, 360, 480, 576, 720, 1080] {
                let ids = |video| {
                    let plans = planned(&preset(wanted), height, video);
                    let ids = plans
                        .iter()
                        .map(|plan| plan.split('=').next().unwrap().to_owned());
                    ids.collect::<Vec<_>>()
                };
                assert_eq!(ids(Treatment::Copy), ids(Treatment::Encode));
            }
        }
    }

    #[test]
    fn what_is_too_large_to_decode_is_passed_through_alone() {
        for (wanted, height, expected) in [
            (Preset::Source, 1080, "source"),
            (Preset::Ultra, 1080, "source"),
            (Preset::High, 720, "720p"),
            (Preset::High, 1080, "source"),
        ] {
            let too_large = Decision {
                too_large: Some(TooLarge {
                    lines: height,
                    limit: 480,
                }),
                ..decision(Treatment::Copy)
            };
            let size = Dimensions::new(height * 16 / 9, height);
            let expected = PlannedRendition {
                id: expected.to_owned(),
                picture: Picture::PassThrough,
            };
            assert_eq!(renditions(&preset(wanted), size, &too_large), [expected]);
        }
    }

    #[test]
    fn nothing_is_upscaled() {
        let high = preset(Preset::High);
        assert_eq!(
            planned(&high, 1080, Treatment::Copy),
            [
                "720p=1280x720@2500",
                "480p=854x480@1000",
                "360p=640x360@600"
            ]
        );
        assert_eq!(
            planned(&high, 400, Treatment::Encode),
            ["400p=712x400@733", "360p=640x360@600"]
        );
        assert_eq!(planned(&high, 240, Treatment::Encode), ["240p=426x240@300"]);
    }

    #[test]
    fn presets_with_the_source_keep_it_under_its_name() {
        let ultra = preset(Preset::Ultra);
        assert_eq!(
            planned(&ultra, 1080, Treatment::Copy),
            [
                "source=copy",
                "720p=1280x720@2500",
                "480p=854x480@1000",
                "360p=640x360@600"
            ]
        );
        let source = preset(Preset::Source);
        assert_eq!(planned(&source, 1080, Treatment::Copy), ["source=copy"]);
        assert_eq!(
            planned(&source, 1080, Treatment::Encode),
            ["source=1920x1080@5000"]
        );
    }

    #[test]
    fn a_ladder_replaces_the_preset_and_is_put_in_order() {
        let ladder = [(360, 500), (720, 3000)].map(|(height, bit_rate)| Rung {
            height,
            video_kilobits_per_second: bit_rate,
        });
        let wanted = Wanted {
            ladder: &ladder,
            ..preset(Preset::High)
        };
        assert_eq!(
            planned(&wanted, 720, Treatment::Encode),
            ["720p=1280x720@3000", "360p=640x360@500"]
        );
        assert_eq!(
            planned(&wanted, 720, Treatment::Copy),
            ["720p=copy", "360p=640x360@500"]
        );
        let below = Wanted {
            preset: Preset::Ultra,
            ..wanted
        };
        assert_eq!(
            planned(&below, 1080, Treatment::Copy),
            ["source=copy", "720p=1280x720@3000", "360p=640x360@500"]
        );
    }

    #[test]
    fn a_class_that_copies_has_the_source_alone() {
        let wanted = Wanted {
            mode: TranscodeMode::Copy,
            ..preset(Preset::High)
        };
        assert_eq!(planned(&wanted, 1080, Treatment::Copy), ["source=copy"]);
    }

    #[test]
    fn radio_has_one_rendition_and_unknown_sizes_are_encoded_as_asked() {
        let radio = renditions(&preset(Preset::High), None, &decision(Treatment::Absent));
        assert_eq!(
            radio,
            [PlannedRendition {
                id: "audio".to_owned(),
                picture: Picture::None
            }]
        );
        let unknown = renditions(&preset(Preset::Low), None, &decision(Treatment::Encode));
        assert_eq!(
            unknown,
            [PlannedRendition {
                id: "360p".to_owned(),
                picture: Picture::Encode(Encoding {
                    width: None,
                    height: 360,
                    kilobits_per_second: 600
                })
            }]
        );
    }

    #[test]
    fn heights_and_widths_are_even() {
        let source = Dimensions::new(718, 405);
        let plans = renditions(
            &preset(Preset::Source),
            source,
            &decision(Treatment::Encode),
        );
        assert_eq!(
            plans[0].picture,
            Picture::Encode(Encoding {
                width: Some(716),
                height: 404,
                kilobits_per_second: 746
            })
        );
    }

    #[test]
    fn a_class_with_encoded_renditions_decodes_everything() {
        use TranscodeMode::{Auto, Copy, Transcode};
        for (mode, preset, expected) in [
            (Copy, Preset::High, Decodes::Nothing),
            (Auto, Preset::Source, Decodes::Misfits),
            (Auto, Preset::Ultra, Decodes::All),
            (Auto, Preset::Low, Decodes::All),
            (Transcode, Preset::Source, Decodes::All),
        ] {
            let wanted = Wanted {
                mode,
                preset,
                ladder: &[],
            };
            assert_eq!(decodes(&wanted), expected, "{wanted:?}");
        }
    }

    #[test]
    fn what_is_no_higher_than_the_ladder_is_enough_where_the_source_itself_is_not_shown() {
        let rungs = [Rung {
            height: 576,
            video_kilobits_per_second: 1400,
        }];
        for (mode, preset, ladder, expected) in [
            (TranscodeMode::Auto, Preset::Low, &[][..], Some(360)),
            (TranscodeMode::Transcode, Preset::High, &[], Some(720)),
            (TranscodeMode::Auto, Preset::Source, &rungs, Some(576)),
            (TranscodeMode::Auto, Preset::Source, &[], None),
            (TranscodeMode::Auto, Preset::Ultra, &rungs, None),
            (TranscodeMode::Copy, Preset::Low, &[], None),
        ] {
            let wanted = Wanted {
                mode,
                preset,
                ladder,
            };
            assert_eq!(enough_lines(&wanted), expected, "{wanted:?}");
        }
    }
}
