//! The source's clock: PCR where there is a believable one, else the decoding time of the leading track. Never reads a wall clock.

use crate::time::Ticks;

/// A PCR this far from the decoding times is not theirs.
const BELIEVABLE: Ticks = Ticks::from_seconds(10);

/// PCRs must come at least every 100 ms; after this long without one the clock goes by decoding times.
const FRESH: Ticks = Ticks::from_seconds(1);

/// The longest step that a running clock makes from one PCR to the next.
const SMOOTH: Ticks = Ticks::from_seconds(1);

/// The clock of one source.
#[derive(Debug, Default)]
pub(super) struct SourceClock {
    pcr: Option<Ticks>,
    /// Decoding time of the leading track.
    decoding: Option<Ticks>,
    /// `decoding` at the last PCR.
    decoding_at_pcr: Option<Ticks>,
    /// How far the PCR has run without a break since the last decoding time.
    smooth_run: Option<Ticks>,
}

impl SourceClock {
    /// Takes a PCR as it stands on the wire.
    pub(super) fn see_pcr(&mut self, wire: u64) {
        let continued = self.pcr.map(|last| (last, Ticks::unwrap_near(wire, last)));
        match continued.filter(|&(last, pcr)| (Ticks::ZERO..=SMOOTH).contains(&(pcr - last))) {
            Some((last, pcr)) => {
                self.pcr = Some(pcr);
                self.smooth_run = self.smooth_run.map(|run| run + (pcr - last));
            }
            None => {
                self.pcr = Some(match self.decoding.or(self.pcr) {
                    Some(reference) => Ticks::unwrap_near(wire, reference),
                    None => Ticks(i64::try_from(wire).unwrap_or(0)),
                });
                self.smooth_run = None;
            }
        }
        self.decoding_at_pcr = self.decoding;
    }

    /// Takes the decoding time of the leading track.
    pub(super) fn see_decoding(&mut self, dts: Ticks) {
        self.decoding = Some(dts);
        self.smooth_run = self.pcr.map(|_| Ticks::ZERO);
    }

    /// What the time is, as far as the source has said.
    pub(super) fn now(&self) -> Option<Ticks> {
        let (Some(pcr), Some(decoding)) = (self.pcr, self.decoding) else {
            return self.pcr.or(self.decoding);
        };
        let lead = decoding - pcr;
        let since = self.decoding_at_pcr.map_or(Ticks::ZERO, |at| decoding - at);
        let believable = (-BELIEVABLE..=BELIEVABLE).contains(&lead);
        Some(if believable && since <= FRESH {
            pcr
        } else {
            decoding
        })
    }

    /// Decoding time of the leading track.
    pub(super) fn decoding(&self) -> Option<Ticks> {
        self.decoding
    }

    /// A place on the unwrapped clock to put further times near to.
    pub(super) fn reference(&self) -> Option<Ticks> {
        self.decoding.or(self.pcr)
    }

    /// Whether the clock ran on while decoding times made a step: then the track is slow, not broken.
    pub(super) fn explains(&self, step: Ticks) -> bool {
        self.smooth_run.is_some_and(|run| run >= step - SMOOTH)
    }

    /// A new connection: the next PCR does not continue the last one.
    pub(super) fn break_off(&mut self) {
        self.smooth_run = None;
        self.pcr = None;
        self.decoding_at_pcr = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WRAP;

    fn clock(decoding: i64, pcrs: &[i64]) -> SourceClock {
        let mut clock = SourceClock::default();
        clock.see_decoding(Ticks(decoding));
        for &pcr in pcrs {
            clock.see_pcr(Ticks(pcr).wrapped());
        }
        clock
    }

    #[test]
    fn a_running_pcr_is_the_time() {
        assert_eq!(clock(90_000, &[40_000, 44_000]).now(), Some(Ticks(44_000)));
        assert_eq!(clock(90_000, &[]).now(), Some(Ticks(90_000)));
        assert_eq!(SourceClock::default().now(), None);
    }

    #[test]
    fn the_clock_runs_on_over_the_wrap() {
        let clock = clock(WRAP + 10_000, &[WRAP - 3000, WRAP + 500]);
        assert_eq!(clock.now(), Some(Ticks(WRAP + 500)));
    }

    #[test]
    fn a_pcr_far_from_the_decoding_times_is_not_believed() {
        let hour = Ticks::from_seconds(3600).0;
        assert_eq!(clock(hour, &[5]).now(), Some(Ticks(hour)));
    }

    #[test]
    fn a_pcr_that_stopped_gives_way_to_decoding_times() {
        let mut clock = clock(90_000, &[40_000]);
        clock.see_decoding(Ticks(170_000));
        assert_eq!(clock.now(), Some(Ticks(40_000)));
        clock.see_decoding(Ticks(190_000));
        assert_eq!(clock.now(), Some(Ticks(190_000)));
    }

    #[test]
    fn a_slow_track_is_told_from_a_broken_one() {
        let mut slow = clock(90_000, &[40_000]);
        slow.see_decoding(Ticks(90_000));
        for pcr in [80_000, 120_000, 160_000, 200_000, 240_000] {
            slow.see_pcr(pcr);
        }
        assert!(slow.explains(Ticks::from_seconds(3)));
        assert!(!slow.explains(Ticks::from_seconds(4)));
        slow.see_pcr(800_000);
        assert!(!slow.explains(Ticks::from_seconds(2)));
    }
}
