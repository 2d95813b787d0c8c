//! What holds for any input, not for chosen ones. A failure prints the smallest input that it found.
//! Cases are few so that every run affords them: `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for more and for others.

mod codecs;
mod failover;
mod front;
mod pacer;
mod sections;
mod window;

use proptest::test_runner::{Config, RngSeed};

/// One in so many of the usual number of cases, and the same ones at every run unless the environment says otherwise.
pub(crate) fn one_in(share: u32) -> Config {
    let usual = Config::default();
    Config {
        cases: (usual.cases / share).max(1),
        failure_persistence: None,
        rng_seed: match usual.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        ..usual
    }
}
