//! Finds flashes and beeps in measured levels and pairs them. Pure; FFmpeg measures in `decode`.

/// A level and the second at which it was measured.
pub(crate) type Sample = (f64, f64);

/// Mean brightness (0 to 255) from which a picture is a flash.
const FLASH: f64 = 200.0;

/// Loudness in dB from which a window is a beep.
const BEEP: f64 = -25.0;

/// A beep further away belongs to another flash.
const PAIRING: f64 = 0.5;

/// Offsets of beeps from their flashes, in seconds: positive when the sound comes late.
pub(crate) fn offsets(brightness: &[Sample], loudness: &[Sample]) -> Vec<f64> {
    let beeps = onsets(loudness, BEEP);
    let nearest = |flash: f64| {
        let offsets = beeps.iter().map(|beep| beep - flash);
        let nearest = offsets.min_by(|a, b| a.abs().total_cmp(&b.abs()));
        nearest.filter(|offset| offset.abs() < PAIRING)
    };
    onsets(brightness, FLASH)
        .into_iter()
        .filter_map(nearest)
        .collect()
}

/// Where the level rises to the threshold; what is above it from the start has no onset.
fn onsets(samples: &[Sample], threshold: f64) -> Vec<f64> {
    let rises = samples
        .windows(2)
        .filter(|pair| pair[0].1 < threshold && pair[1].1 >= threshold);
    rises.map(|pair| pair[1].0).collect()
}

/// Reads what FFmpeg's metadata filter prints: a line with the time, then a line with the value of `key`.
pub(crate) fn samples(printed: &str, key: &str) -> Vec<Sample> {
    let mut time = None;
    let mut samples = Vec::new();
    for line in printed.lines() {
        if let Some((_, text)) = line.split_once("pts_time:") {
            time = text.trim().parse::<f64>().ok();
        } else if let Some(value) = line
            .strip_prefix(key)
            .and_then(|rest| rest.strip_prefix('='))
        {
            let level = value.trim().parse::<f64>().unwrap_or(f64::NEG_INFINITY);
            samples.extend(time.map(|time| (time, level)));
        }
    }
    samples.sort_by(|a, b| a.0.total_cmp(&b.0));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beeps_are_paired_with_the_nearest_flash() {
        let bright = |times: &[f64]| -> Vec<Sample> {
            let frames = (0..100).map(|frame| f64::from(frame) * 0.04);
            frames
                .map(|at| {
                    (
                        at,
                        if times.iter().any(|time| (at - time).abs() < 0.01) {
                            235.0
                        } else {
                            90.0
                        },
                    )
                })
                .collect()
        };
        let loud = [
            (0.9, -90.0),
            (1.05, -9.0),
            (1.1, -90.0),
            (1.97, -9.0),
            (2.1, f64::NEG_INFINITY),
            (3.9, -9.0),
        ];
        let offsets = offsets(&bright(&[0.0, 1.0, 2.0, 3.0]), &loud);
        let milliseconds = offsets
            .iter()
            .map(|offset| (offset * 1000.0).round())
            .collect::<Vec<_>>();
        assert_eq!(milliseconds, [50.0, -30.0]);
    }

    #[test]
    fn printed_metadata_are_read() {
        let printed = "frame:0    pts:3600    pts_time:0.04\nlavfi.x=12.5\nframe:1    pts:7200    pts_time:0.08\nlavfi.x=-inf\n";
        assert_eq!(
            samples(printed, "lavfi.x"),
            [(0.04, 12.5), (0.08, f64::NEG_INFINITY)]
        );
    }
}
