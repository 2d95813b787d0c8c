//! The starts that are measured: for each GOP and each phase one, round after round, and what physics asks of each. Measures nothing.

use testkit::source::{ChannelSettings, Size};

/// Where in the GOP a client joins.
pub(crate) const PHASES: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];

/// Seconds from key to key.
pub(crate) const GOPS: [u32; 3] = [1, 2, 4];

/// One start that is to be measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Start {
    pub(crate) round: usize,
    pub(crate) gop: u32,
    pub(crate) phase: f64,
}

impl Start {
    /// The channel that is started: each start has one of its own, which nobody has watched before.
    pub(crate) fn slug(&self) -> String {
        let Self { round, gop, phase } = self;
        format!("gop{gop}-phase{:.0}-round{round}", phase * 10.0)
    }

    /// Path and query at the live source of [`channels`].
    pub(crate) fn path(&self) -> String {
        format!("{}.ts?phase={}", name(self.gop), self.phase)
    }

    /// Seconds from the connection until a segment can be there: the wait for the next key, and the GOP that must be over.
    pub(crate) fn limit(&self) -> f64 {
        self.wait() + f64::from(self.gop)
    }

    /// The wait, and the second after which a longer first GOP may be cut.
    pub(crate) fn first_cut(&self) -> f64 {
        self.wait() + 1.0
    }

    /// Seconds from the connection until the next key.
    pub(crate) fn wait(&self) -> f64 {
        (1.0 - self.phase) * f64::from(self.gop)
    }
}

/// All starts of so many rounds.
pub(crate) fn starts(gops: &[u32], rounds: usize) -> Vec<Start> {
    let phases = |round, gop| PHASES.map(move |phase| Start { round, gop, phase });
    let gops = |round| gops.iter().flat_map(move |gop| phases(round, *gop));
    (0..rounds).flat_map(gops).collect()
}

/// What the live source plays for them.
pub(crate) fn channels(gops: &[u32]) -> Vec<ChannelSettings> {
    let channel = |gop| ChannelSettings {
        name: name(gop),
        size: Size(1280, 720),
        bitrate: 2500,
        gop: f64::from(gop),
        ..ChannelSettings::default()
    };
    gops.iter().copied().map(channel).collect()
}

fn name(gop: u32) -> String {
    format!("gop{gop}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_a_channel_of_its_own() {
        let slugs = starts(&GOPS, 3)
            .iter()
            .map(Start::slug)
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(slugs.len(), 45);
        assert!(slugs.contains("gop2-phase9-round2"));
    }

    #[test]
    fn a_start_joins_a_channel_that_is_played_and_waits_for_its_next_key() {
        let start = Start {
            round: 0,
            gop: 2,
            phase: 0.25,
        };
        let played = channels(&GOPS);
        assert_eq!(start.path(), format!("{}.ts?phase=0.25", played[1].name));
        assert_eq!((start.limit(), start.first_cut()), (3.5, 2.5));
    }
}
