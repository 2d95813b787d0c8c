//! Every reader over the seeds that its fuzzer begins with, and over thousands of inputs made of them. The same ones at every run;
//! `HEADEND_FUZZ_ROUNDS` asks for more of each.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test may fail loudly, and seeds are files of ours"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use hostile::TARGETS;

/// Inputs of each reader beside its seeds.
const ROUNDS: u64 = 2000;
/// The same for each of its seeds, where that is more.
const ROUNDS_OF_A_SEED: u64 = 100;
/// No input grows longer.
const LONGEST: usize = 128 * 1024;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Marsaglia's xorshift: the same numbers at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

/// Some changes of a seed, as a fuzzer makes them.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(12) {
        let at = random.below(bytes.len());
        match random.below(7) {
            _ if bytes.is_empty() => bytes.push(random.next().to_le_bytes()[0]),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 0x47, 0x7F, 0x80, 0xFF, b'\n', b'"', b','][random.below(8)],
            2 => {
                let end = (at + random.below(400)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + random.below(400)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let end = (from + random.below(2000)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
            5 => {
                let number = [u64::MAX, 1 << 63, 0, u64::from(u32::MAX)][random.below(4)];
                let text = number.to_string().into_bytes();
                bytes.splice(at..at, text);
            }
            _ => {
                let noise: Vec<u8> = (0..random.below(60))
                    .map(|_| random.next().to_le_bytes()[0])
                    .collect();
                let end = (at + noise.len()).min(bytes.len());
                bytes.splice(at..end, noise);
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Keeps what broke a reader where it can be looked at and made a seed of.
fn keep(target: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("headend-{target}-{}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    path
}

fn survive(target: &str, read: fn(&[u8]), bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| read(bytes))).is_err() {
        panic!("{target} broke at {}", keep(target, bytes).display());
    }
}

#[test]
fn every_reader_survives_its_seeds_and_what_is_made_of_them() {
    let rounds = std::env::var("HEADEND_FUZZ_ROUNDS").ok();
    let rounds: u64 = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for (target, read) in TARGETS {
        let seeds = seeds(target);
        let rounds = rounds.max(ROUNDS_OF_A_SEED * seeds.len() as u64);
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for seed in &seeds {
            survive(target, read, seed);
        }
        for _ in 0..rounds {
            survive(target, read, &mutated(&seeds, &mut random));
        }
    }
}

#[test]
fn every_fuzz_target_is_a_reader_and_every_reader_a_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
        let code = fs::read_to_string(folder.join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(
            code.contains(&format!("hostile::run(\"{target}\"")),
            "{target}"
        );
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
