//! What happens to a stream's sources and when, from a seed. Everything ends after some seconds; nothing here waits for the stream.

use std::time::Duration;

use testkit::source::{Cut, Faults, LiveSource, Malformed, Mute, Tables};
use tokio::time::{Instant, sleep};

use crate::attempt::Attempt;

/// Marsaglia's xorshift: the same numbers for the same seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, stream: usize) -> Self {
        let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (stream as u64 + 1) << 17;
        Self(mixed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Does one thing after the other until `end`.
pub(super) async fn disturb(attempt: &Attempt, stream: usize, mut random: Random, end: Instant) {
    let began = Instant::now();
    loop {
        sleep(random.milliseconds(1000, 8000)).await;
        if Instant::now() >= end {
            break;
        }
        let channel = ["a", "a", "a", "b"][usize::try_from(random.below(4)).unwrap()];
        let what = one_thing(&attempt.source, channel, &mut random);
        let at = began.elapsed().as_secs_f32();
        println!("{at:7.1} stream {stream}: {channel} {what}");
        // A pause that is shorter than what counts as silence is a loss of packets, and pictures behind one do not decode.
        sleep(random.milliseconds(5000, 8000)).await;
        attempt
            .source
            .set_faults(channel, Faults::default())
            .unwrap();
    }
}

/// What a source does wrong, or otherwise, from now on, and how it ends its connections first. Nothing that sends other pictures under times that go
/// on: such a source cannot be told from one that goes on.
type Wrong = (fn(&mut Faults), Option<Cut>);

const WRONGS: [Wrong; 13] = [
    (|faults| faults.resized = Some(true), None),
    (|faults| faults.mute = Some(Mute::Audio), None),
    (|faults| faults.tables = Some(Tables::Moved), None),
    (|faults| faults.tables = Some(Tables::AudioMoved), None),
    (|faults| faults.tables = Some(Tables::WithoutAudio), None),
    (|_| {}, Some(Cut::Clean)),
    (|_| {}, Some(Cut::Abort)),
    (|faults| faults.silence = Some(true), None),
    (|faults| faults.status = Some(404), Some(Cut::Clean)),
    (
        |faults| (faults.status, faults.retry_after) = (Some(503), Some(1)),
        Some(Cut::Abort),
    ),
    (|faults| faults.burst = Some(4.0), Some(Cut::Abort)),
    (
        |faults| faults.malformed = Some(Malformed::Html),
        Some(Cut::Clean),
    ),
    (|faults| faults.delay = Some(2.0), Some(Cut::Clean)),
];

fn one_thing(source: &LiveSource, channel: &str, random: &mut Random) -> String {
    let choice = usize::try_from(random.below(1 + WRONGS.len() as u64)).unwrap();
    let Some((change, cut)) = WRONGS.get(choice) else {
        let seconds = f64::from(u32::try_from(random.below(7200)).unwrap()) - 3600.0;
        source.jump(channel, seconds).unwrap();
        return format!("jumps by {seconds} s");
    };
    let mut faults = Faults::default();
    change(&mut faults);
    source.set_faults(channel, faults.clone()).unwrap();
    if let Some(how) = cut {
        source.cut(channel, *how).unwrap();
    }
    format!("{cut:?} {}", serde_json::to_string(&faults).unwrap())
}
