//! What the master playlist says about a rendition against what was measured. Pure.

use super::playlist::Variant;
use super::report::{Finding, Rule};

/// What was seen of a rendition.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) peak_bit_rate: u64,
    pub(crate) average_bit_rate: u64,
    pub(crate) video_codec: Option<String>,
    pub(crate) audio_codec: Option<String>,
    pub(crate) has_video: bool,
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) frame_rate: Option<f64>,
}

/// How far a live stream may exceed what its master says: 25 % at the peak, 10 % on average.
const PEAK_PERCENT: u64 = 125;
const AVERAGE_PERCENT: u64 = 110;

/// Compares one entry of the master with its media.
pub(crate) fn check(variant: &Variant, measured: &Measured) -> Vec<Finding> {
    let mut findings = bandwidth(variant, measured);
    findings.extend(codecs(variant, measured));
    if measured.has_video {
        findings.extend(size(variant, measured));
        findings.extend(frame_rate(variant, measured));
    }
    findings
}

fn attribute<'a>(variant: &'a Variant, name: &str) -> Option<&'a str> {
    variant.attributes.get(name).map(String::as_str)
}

fn bandwidth(variant: &Variant, measured: &Measured) -> Vec<Finding> {
    let rate = |name| attribute(variant, name).and_then(|text| text.parse::<u64>().ok());
    let mut findings = Vec::new();
    let mut limit = |name: &str, said: u64, percent: u64, seen: u64| {
        if seen * 100 > said * percent {
            let detail = format!("{name}={said}, measured {seen}");
            findings.push(Finding::new(Rule::MasterBandwidth, detail));
        }
    };
    if let Some(said) = rate("AVERAGE-BANDWIDTH") {
        limit(
            "AVERAGE-BANDWIDTH",
            said,
            AVERAGE_PERCENT,
            measured.average_bit_rate,
        );
    }
    match rate("BANDWIDTH") {
        Some(said) => limit("BANDWIDTH", said, PEAK_PERCENT, measured.peak_bit_rate),
        None => findings.push(Finding::new(Rule::MasterBandwidth, "no BANDWIDTH")),
    }
    findings
}

fn codecs(variant: &Variant, measured: &Measured) -> Vec<Finding> {
    let Some(said) = attribute(variant, "CODECS") else {
        return vec![Finding::new(Rule::MasterCodecs, "no CODECS")];
    };
    let said = said
        .split(',')
        .map(|codec| codec.trim().to_lowercase())
        .collect::<Vec<_>>();
    let seen = [&measured.video_codec, &measured.audio_codec];
    let missing = seen
        .into_iter()
        .flatten()
        .filter(|codec| !said.contains(codec));
    missing
        .map(|codec| Finding::new(Rule::MasterCodecs, format!("{codec} is not among {said:?}")))
        .collect()
}

fn size(variant: &Variant, measured: &Measured) -> Option<Finding> {
    let Some(said) = attribute(variant, "RESOLUTION") else {
        return Some(Finding::new(Rule::MasterResolution, "no RESOLUTION"));
    };
    let (width, height) = measured.size?;
    let seen = format!("{width}x{height}");
    (said != seen).then(|| Finding::new(Rule::MasterResolution, format!("{said}, measured {seen}")))
}

fn frame_rate(variant: &Variant, measured: &Measured) -> Option<Finding> {
    let Some(said) = attribute(variant, "FRAME-RATE") else {
        return Some(Finding::new(Rule::MasterFrameRate, "no FRAME-RATE"));
    };
    let seen = measured.frame_rate?;
    let right = said
        .parse::<f64>()
        .is_ok_and(|said| (said - seen).abs() < 0.01);
    (!right).then(|| Finding::new(Rule::MasterFrameRate, format!("{said}, measured {seen:.3}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured {
            peak_bit_rate: 1_000_000,
            average_bit_rate: 900_000,
            video_codec: Some("avc1.64001f".to_owned()),
            audio_codec: Some("mp4a.40.2".to_owned()),
            has_video: true,
            size: Some((1280, 720)),
            frame_rate: Some(25.0),
        }
    }

    const GOOD: [(&str, &str); 5] = [
        ("BANDWIDTH", "1000000"),
        ("AVERAGE-BANDWIDTH", "900000"),
        ("CODECS", "avc1.64001F,mp4a.40.2"),
        ("RESOLUTION", "1280x720"),
        ("FRAME-RATE", "25.000"),
    ];

    /// Rules broken when one attribute is replaced, or left out.
    fn broken(name: &str, value: Option<&str>) -> Vec<Rule> {
        let others = GOOD.into_iter().filter(|(other, _)| *other != name);
        let all = others.chain(value.map(|value| (name, value)));
        let variant = Variant {
            uri: "x".to_owned(),
            attributes: all
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        check(&variant, &measured())
            .into_iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn a_true_master_is_clean_and_may_leave_out_the_average() {
        assert_eq!(broken("BANDWIDTH", Some("1000000")), []);
        assert_eq!(broken("AVERAGE-BANDWIDTH", None), []);
    }

    #[test]
    fn what_is_missing_or_untrue_is_found() {
        for (name, wrong, rule) in [
            ("BANDWIDTH", "137633", Rule::MasterBandwidth),
            ("CODECS", "avc1.64001f", Rule::MasterCodecs),
            ("RESOLUTION", "1920x1080", Rule::MasterResolution),
            ("FRAME-RATE", "50.000", Rule::MasterFrameRate),
        ] {
            assert_eq!(broken(name, Some(wrong)), [rule]);
            assert_eq!(broken(name, None), [rule]);
        }
        assert_eq!(
            broken("AVERAGE-BANDWIDTH", Some("1")),
            [Rule::MasterBandwidth]
        );
    }

    #[test]
    fn radio_needs_neither_size_nor_frame_rate() {
        let attributes = [("BANDWIDTH", "1000000"), ("CODECS", "mp4a.40.2")];
        let variant = Variant {
            uri: "x".to_owned(),
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let radio = Measured {
            has_video: false,
            video_codec: None,
            size: None,
            frame_rate: None,
            ..measured()
        };
        assert_eq!(check(&variant, &radio), []);
    }
}
