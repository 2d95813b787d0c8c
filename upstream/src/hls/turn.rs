//! Which of a source's playlists is next, and with what. Pure; knows where each stands and nothing of addresses.

use std::time::Duration;

use super::follow::Next;
use crate::input::Track;

/// Segments of one playlist that are handed on while another waits at a seam. Where they do not meet there, what waits has waited
/// long enough.
pub(super) const BEYOND_MAXIMUM: u32 = 3;

/// What is to be done, and with which.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin anew with all of them: they have come to a seam.
    Begin,
    /// Fetch the next segment of this one.
    Deliver(usize),
    /// Load this one at that time.
    Reload(usize, Duration),
    /// Nothing: this one says that it is over.
    Ended(usize),
    /// Nothing new was listed by this one for so long that nothing is expected any more.
    Stalled(usize, Duration),
}

/// Where one of them stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// What it would do by itself.
    pub(super) next: Next,
    /// What it has.
    pub(super) track: Track,
    /// How far its media have been handed on, in milliseconds.
    pub(super) position: i64,
    /// A segment of it waits at a seam.
    pub(super) is_held: bool,
}

/// The next step. The one that is behind goes on first, so that no track runs far ahead of the others.
pub(super) fn step(standings: &[Standing], beyond: u32, now: Duration) -> Step {
    let held = standings.iter().filter(|one| one.is_held).count();
    if held > 0 && (held == standings.len() || beyond >= BEYOND_MAXIMUM) {
        return Step::Begin;
    }
    let (mut ready, mut ended, mut later) = (None, None, None);
    for (place, one) in standings.iter().enumerate() {
        match one.next {
            Next::Stalled(waited) => return Step::Stalled(place, waited),
            Next::Reload(at) if at <= now => return Step::Reload(place, at),
            Next::Reload(at) => later = later.into_iter().chain([(at, place)]).min(),
            Next::Fetch | Next::Ended if one.is_held => {}
            Next::Fetch => {
                // Sound before the pictures of the same time: it is little, and these cannot be shown without.
                let turn = (one.position, one.track == Track::Main, place);
                ready = ready.into_iter().chain([turn]).min();
            }
            Next::Ended => ended = Some(place),
        }
    }
    match (ready, later, ended) {
        (Some((_, _, place)), _, _) => Step::Deliver(place),
        // One that is over has nothing more to wait for.
        (None, _, Some(_)) if held > 0 => Step::Begin,
        (None, _, Some(place)) => Step::Ended(place),
        (None, Some((at, place)), None) => Step::Reload(place, at),
        (None, None, None) => Step::Begin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const LATER: Duration = Duration::from_secs(104);

    fn at(next: Next, track: Track, position: i64) -> Standing {
        Standing {
            next,
            track,
            position,
            is_held: false,
        }
    }

    fn main(next: Next, position: i64) -> Standing {
        at(next, Track::Main, position)
    }

    fn audio(next: Next, position: i64) -> Standing {
        at(next, Track::Audio, position)
    }

    fn held(standing: Standing) -> Standing {
        Standing {
            is_held: true,
            ..standing
        }
    }

    #[test]
    fn who_is_behind_goes_first_and_sound_before_pictures() {
        use Next::{Ended, Fetch, Reload, Stalled};
        for (standings, beyond, expected) in [
            ([main(Fetch, 0), audio(Fetch, 0)], 0, Step::Deliver(1)),
            ([main(Fetch, -2), audio(Fetch, 0)], 0, Step::Deliver(0)),
            (
                [main(Fetch, 9), audio(Reload(LATER), 0)],
                0,
                Step::Deliver(0),
            ),
            (
                [main(Fetch, 0), audio(Reload(NOW), 9)],
                0,
                Step::Reload(1, NOW),
            ),
            (
                [main(Reload(LATER), 0), audio(Reload(LATER), 0)],
                0,
                Step::Reload(0, LATER),
            ),
            (
                [main(Fetch, 0), audio(Stalled(NOW), 9)],
                0,
                Step::Stalled(1, NOW),
            ),
            ([main(Fetch, 0), audio(Ended, 0)], 0, Step::Deliver(0)),
            ([main(Reload(LATER), 0), audio(Ended, 0)], 0, Step::Ended(1)),
            // A seam is passed by both at once.
            ([held(main(Fetch, 0)), audio(Fetch, 9)], 2, Step::Deliver(1)),
            (
                [held(main(Fetch, 0)), audio(Reload(LATER), 9)],
                2,
                Step::Reload(1, LATER),
            ),
            (
                [held(main(Fetch, 0)), held(audio(Ended, 9))],
                0,
                Step::Begin,
            ),
            (
                [main(Fetch, 0), held(audio(Fetch, 9))],
                BEYOND_MAXIMUM,
                Step::Begin,
            ),
            ([main(Ended, 0), held(audio(Ended, 9))], 0, Step::Begin),
        ] {
            assert_eq!(step(&standings, beyond, NOW), expected, "{standings:?}");
        }
    }
}
