//! What a class wants of a source that offers a choice. Pure; says nothing of what is done to the media then.

use api::job::JobClass;
use media::ladder::{Decodes, Wanted, decodes, enough_lines};
use upstream::input::{DecodeLimit, Wish};

/// What is wanted of sources that offer several qualities or languages.
pub(crate) fn wish(class: &JobClass) -> Wish {
    let wanted = Wanted::from(class);
    let limit = class
        .max_decode_height
        .and_then(|lines| u32::try_from(lines).ok());
    let decoded = decodes(&wanted);
    Wish {
        enough: enough_lines(&wanted),
        decoding: limit
            .filter(|_| decoded != Decodes::Nothing)
            .map(|lines| DecodeLimit {
                lines,
                decodes_all: decoded == Decodes::All,
            }),
        audio_language: class.audio_language.clone(),
    }
}

#[cfg(test)]
mod tests {
    use api::stream_class::{Preset, TranscodeMode};

    use super::*;
    use crate::fixtures;

    #[test]
    fn the_limit_is_that_of_what_the_class_decodes() {
        let limit = |decodes_all| {
            Some(DecodeLimit {
                lines: 1080,
                decodes_all,
            })
        };
        for (mode, preset, lines, expected) in [
            (TranscodeMode::Copy, Preset::Source, Some(1080), None),
            (TranscodeMode::Auto, Preset::Source, None, None),
            (
                TranscodeMode::Auto,
                Preset::Source,
                Some(1080),
                limit(false),
            ),
            (TranscodeMode::Auto, Preset::Ultra, Some(1080), limit(true)),
            (
                TranscodeMode::Transcode,
                Preset::Source,
                Some(1080),
                limit(true),
            ),
        ] {
            let class = JobClass {
                mode,
                preset,
                max_decode_height: lines,
                ..fixtures::job("/nowhere").class
            };
            assert_eq!(wish(&class).decoding, expected, "{mode:?} {preset:?}");
        }
    }
}
