//! What a transcoder pod is given: what its class says, else what was measured for what it encodes.

use std::collections::BTreeMap;

use api::job::RING_MEBIBYTES;
use api::stream_class::{OutputMode, TranscodeMode};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::class::{Effective, encoded_heights};

/// The supervisor itself, with the segments it holds while the volume is slow, and what it reads ahead of an HLS source (4 MiB).
const BASE_MEBIBYTES: i64 = 128;
/// The FFmpeg that reads a source of another protocol, or joins the tracks of one, which any may turn out to need: 14 MiB of its own
/// (5.1, a small channel over SRT), and room for what larger ones let wait. Its program and libraries are files, which give way.
const ADAPTER_MEBIBYTES: i64 = 48;
const BASE_MILLICORES: i64 = 100;
/// An encoder before its first rendition.
const ENCODER_MEBIBYTES: i64 = 96;
const ENCODER_MILLICORES: i64 = 100;
/// A second encoder, for the audio of pictures that are passed through above encoded ones.
const AUDIO_ENCODER_MEBIBYTES: i64 = 64;
/// The FFmpeg that makes a slate, measured for stills of up to 1080 lines: this, and a mebibyte for so many pixels.
const SLATE_MEBIBYTES: i64 = 64;
const SLATE_PIXELS: i64 = 24_000;
/// The picture that a passed-through stream may turn out to need encoded after all.
const UNKNOWN_HEIGHT: i64 = 1080;

/// Memory is limited to what is requested, since a stream that swaps is dead anyway; processor time is not limited, since throttling
/// makes live encoders stutter.
pub(super) fn resources(effective: &Effective) -> ResourceRequirements {
    let measured = measured(effective);
    let class = &effective.pod;
    let mut requests = measured;
    requests.extend(class.requests.clone());
    let mut limits = BTreeMap::new();
    if let Some(memory) = requests.get("memory") {
        limits.insert("memory".to_owned(), memory.clone());
    }
    limits.extend(class.limits.clone());
    ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        claims: None,
    }
}

fn measured(effective: &Effective) -> BTreeMap<String, Quantity> {
    let heights = encoded_heights(&effective.class);
    let pixels: i64 = heights.iter().map(|height| pixels((*height).into())).sum();
    let mut millicores = BASE_MILLICORES;
    let mut mebibytes = BASE_MEBIBYTES + ADAPTER_MEBIBYTES;
    if !heights.is_empty() {
        millicores += ENCODER_MILLICORES + pixels / 1_800;
        mebibytes += RING_MEBIBYTES + ENCODER_MEBIBYTES + pixels / 10_000;
        if effective.class.mode == TranscodeMode::Auto {
            mebibytes += AUDIO_ENCODER_MEBIBYTES;
        }
    } else if effective.class.mode != TranscodeMode::Copy {
        mebibytes += RING_MEBIBYTES + ENCODER_MEBIBYTES + self::pixels(UNKNOWN_HEIGHT) / 10_000;
    }
    if effective.output == OutputMode::PodLocal {
        mebibytes += i64::try_from(effective.byte_limit >> 20).unwrap_or(i64::MAX);
    }
    if effective.class.slate {
        mebibytes += SLATE_MEBIBYTES + (pixels + self::pixels(UNKNOWN_HEIGHT)) / SLATE_PIXELS;
    }
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(format!("{millicores}m"))),
        ("memory".to_owned(), Quantity(format!("{mebibytes}Mi"))),
    ])
}

fn pixels(height: i64) -> i64 {
    height * height * 16 / 9
}

#[cfg(test)]
mod tests {
    use api::stream_class::{PodSettings, Preset};
    use api::{LiveStreamSpec, StreamClassSpec};

    use super::*;
    use crate::class::{ClassState, effective};
    use crate::live_stream::fixtures;
    use crate::provider::Providers;

    fn of(class: StreamClassSpec) -> (Vec<String>, Vec<String>) {
        let spec: LiveStreamSpec = fixtures::spec();
        let effective = effective(
            &spec,
            &ClassState::Found(Box::new(class)),
            &Providers::new(),
        )
        .unwrap();
        let resources = resources(&effective);
        let flat = |quantities: Option<BTreeMap<String, Quantity>>| {
            let quantities = quantities.into_iter().flatten();
            quantities
                .map(|(name, quantity)| format!("{name}={}", quantity.0))
                .collect()
        };
        (flat(resources.requests), flat(resources.limits))
    }

    #[test]
    fn what_a_pod_gets_follows_what_it_encodes() {
        for (mode, preset, cpu, memory) in [
            (TranscodeMode::Copy, Preset::Source, "100m", "176Mi"),
            (TranscodeMode::Auto, Preset::Source, "100m", "511Mi"),
            (TranscodeMode::Transcode, Preset::Source, "1352m", "511Mi"),
            (TranscodeMode::Auto, Preset::Low, "328m", "391Mi"),
            (TranscodeMode::Auto, Preset::Ultra, "1067m", "524Mi"),
        ] {
            let class = StreamClassSpec {
                mode,
                preset,
                ..StreamClassSpec::default()
            };
            let requests = vec![format!("cpu={cpu}"), format!("memory={memory}")];
            let limits = vec![format!("memory={memory}")];
            assert_eq!(of(class), (requests, limits), "{mode:?} {preset:?}");
        }
    }

    #[test]
    fn a_class_with_a_slate_gets_memory_for_what_makes_it() {
        let class = StreamClassSpec {
            mode: TranscodeMode::Copy,
            slate: true,
            ..StreamClassSpec::default()
        };
        assert_eq!(of(class).1, ["memory=326Mi"]);
    }

    #[test]
    fn a_class_whose_segments_stay_in_the_pod_gets_memory_for_them() {
        let class = StreamClassSpec {
            mode: TranscodeMode::Copy,
            output: OutputMode::PodLocal,
            output_limit_mebibytes: 64,
            ..StreamClassSpec::default()
        };
        assert_eq!(of(class).1, ["memory=240Mi"]);
    }

    #[test]
    fn the_class_has_the_last_word() {
        let quantity = |text: &str| Quantity(text.to_owned());
        let class = StreamClassSpec {
            mode: TranscodeMode::Copy,
            pod: PodSettings {
                requests: BTreeMap::from([("memory".to_owned(), quantity("1Gi"))]),
                limits: BTreeMap::from([("cpu".to_owned(), quantity("2"))]),
                ..PodSettings::default()
            },
            ..StreamClassSpec::default()
        };
        let requests = vec!["cpu=100m".to_owned(), "memory=1Gi".to_owned()];
        let limits = vec!["cpu=2".to_owned(), "memory=1Gi".to_owned()];
        assert_eq!(of(class), (requests, limits));
    }
}
