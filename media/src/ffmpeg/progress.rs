//! Reads what FFmpeg's `-progress` writes: `key=value` lines in blocks. For metrics only: health is judged from what the pipes bring.

use std::time::Duration;

/// One report. What FFmpeg does not know is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Frames encoded by the first output.
    pub frames: Option<u64>,
    /// Frames per second, averaged over the whole run.
    pub frames_per_second: Option<f64>,
    /// The furthest time of any output.
    pub out_time: Option<Duration>,
    /// Frames that were repeated.
    pub duplicated_frames: Option<u64>,
    /// Frames that were left out.
    pub dropped_frames: Option<u64>,
    /// Media time per real time, averaged over the whole run.
    pub speed: Option<f64>,
    /// This is the last report.
    pub is_last: bool,
}

/// Collects the lines of a block.
#[derive(Debug, Default)]
pub struct ProgressReader {
    block: Progress,
}

impl ProgressReader {
    /// Takes one line; returns the report that it completes. Lines that are not understood are passed over.
    pub fn push(&mut self, line: &str) -> Option<Progress> {
        let (key, value) = line.trim().split_once('=')?;
        let value = value.trim();
        match key.trim() {
            "frame" => self.block.frames = value.parse().ok(),
            "fps" => self.block.frames_per_second = finite(value),
            // Despite its name the sibling `out_time_ms` counts microseconds too.
            "out_time_us" => {
                self.block.out_time = value.parse().ok().map(Duration::from_micros);
            }
            "dup_frames" => self.block.duplicated_frames = value.parse().ok(),
            "drop_frames" => self.block.dropped_frames = value.parse().ok(),
            "speed" => self.block.speed = finite(value.trim_end_matches('x')),
            "progress" => {
                self.block.is_last = value == "end";
                return Some(std::mem::take(&mut self.block));
            }
            _ => {}
        }
        None
    }
}

fn finite(text: &str) -> Option<f64> {
    text.trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Progress> {
        let mut reader = ProgressReader::default();
        text.lines().filter_map(|line| reader.push(line)).collect()
    }

    #[test]
    fn a_block_is_one_report() {
        let text = "frame=226\nfps=25.10\nstream_0_0_q=23.0\nbitrate=N/A\ntotal_size=N/A\nout_time_us=9040000\nout_time_ms=9040000\nout_time=00:00:09.040000\ndup_frames=1\ndrop_frames=2\nspeed=1.27x\nprogress=continue\n";
        let expected = Progress {
            frames: Some(226),
            frames_per_second: Some(25.1),
            out_time: Some(Duration::from_micros(9_040_000)),
            duplicated_frames: Some(1),
            dropped_frames: Some(2),
            speed: Some(1.27),
            is_last: false,
        };
        assert_eq!(read(text), [expected]);
    }

    #[test]
    fn what_is_unknown_or_garbled_is_absent_and_blocks_do_not_mix() {
        let text = "frame=1\nout_time_us=N/A\nspeed=N/A\nfps=nan\nno equals sign\n=\nprogress=continue\nout_time_us=-21333\nprogress=end\n";
        let first = Progress {
            frames: Some(1),
            ..Progress::default()
        };
        let last = Progress {
            is_last: true,
            ..Progress::default()
        };
        assert_eq!(read(text), [first, last]);
    }

    #[test]
    fn a_block_without_its_last_line_is_no_report() {
        assert_eq!(read("frame=1\nspeed=1x\n"), []);
    }
}
