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

/// Where the level rises to the threshold. What is above it from the start, or behind a hole, has no onset: a stream that breaks
/// off in the order of decoding lacks the B pictures before its last one, and a flash would be said to begin with that.
fn onsets(samples: &[Sample], threshold: f64) -> Vec<f64> {
    let longest = usual_step(samples) * 1.5;
    let rises = samples.windows(2).filter(|pair| {
        let is_rise = pair[0].1 < threshold && pair[1].1 >= threshold;
        is_rise && pair[1].0 - pair[0].0 <= longest
    });
    rises.map(|pair| pair[1].0).collect()
}

/// The median distance of samples.
fn usual_step(samples: &[Sample]) -> f64 {
    let steps = samples.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let mut steps: Vec<f64> = steps.collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or_default()
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
        let loud = loud(&[(1.05, 1.1), (1.97, 2.1), (3.9, 4.0)]);
        let offsets = offsets(&bright(&[0.0, 1.0, 2.0, 3.0]), &loud);
        assert_eq!(milliseconds(&offsets), [50.0, -30.0]);
    }

    /// A loudness each 10 ms, with sound from and to these times.
    fn loud(sounds: &[(f64, f64)]) -> Vec<Sample> {
        let is_loud = |at: f64| {
            let mut sounds = sounds.iter();
            sounds.any(|(from, to)| at > from - 0.001 && at < to - 0.001)
        };
        let windows = (0..400).map(|window| f64::from(window) * 0.01);
        let level = |at| if is_loud(at) { -9.0 } else { f64::NEG_INFINITY };
        windows.map(|at| (at, level(at))).collect()
    }

    fn milliseconds(offsets: &[f64]) -> Vec<f64> {
        let rounded = offsets.iter().map(|offset| (offset * 1000.0).round());
        rounded.collect()
    }

    #[test]
    fn what_is_bright_or_loud_behind_a_hole_began_nobody_knows_when() {
        let picture = |at: f64| (at, if at < 2.99 { 123.0 } else { 255.0 });
        // The end of a stream in the order of decoding: I B B P ..., and of the last group the P alone, with the two B before it lost.
        let whole: Vec<_> = (0..78)
            .map(|frame| picture(f64::from(frame) * 0.04))
            .collect();
        let broken: Vec<_> = [&whole[..75], &whole[77..]].concat();
        let sound = loud(&[(3.0, 3.2)]);
        assert_eq!(milliseconds(&offsets(&whole, &sound)), [0.0]);
        assert!(offsets(&broken, &sound).is_empty());
        let silent = [&sound[..290], &sound[310..]].concat();
        assert!(offsets(&whole, &silent).is_empty());
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
