//! How far an encoded rendition has come in the list, and what its playlists have shown of that. Knows numbers and times only.

use std::time::Duration;

/// The end of the list, for one rendition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    /// The newest number that is listed.
    pub(super) listed: u64,
    /// The newest listed number that the rendition has.
    pub(super) had: Option<u64>,
}

/// One rendition.
#[derive(Debug)]
pub(super) struct Progress {
    /// Up to here its playlists have shown what it has and what it lacks.
    shown: Option<u64>,
    /// The newest listed number that it has.
    had: Option<u64>,
    /// When its playlist grew the last time.
    grown: Duration,
    /// It was waited for in vain: its playlist goes to the end of the list, gaps and all, until it is there again.
    is_given_up: bool,
    /// It is not made until somebody asks for it.
    is_off: bool,
}

impl Progress {
    /// A rendition of which nothing has come.
    pub(super) fn new(is_off: bool, now: Duration) -> Self {
        Self {
            shown: None,
            had: None,
            grown: now,
            is_given_up: false,
            is_off,
        }
    }

    /// It is made from now on, or not.
    pub(super) fn switched(&mut self, is_off: bool, now: Duration) {
        self.is_off = is_off;
        self.is_given_up = false;
        self.grown = now;
    }

    /// The list has changed, or time has passed.
    pub(super) fn see(&mut self, newest: Newest, now: Duration, patience: Duration) {
        if newest.had > self.had {
            self.grown = now;
        }
        self.had = newest.had;
        let is_waited_for = self
            .lapses_at(newest.listed, patience)
            .is_none_or(|at| now < at);
        let Some(had) = newest.had else {
            // Without a segment it has no playlist that could show anything.
            self.is_given_up = false;
            return;
        };
        if had == newest.listed {
            self.is_given_up = false;
        } else if !is_waited_for {
            self.is_given_up = true;
        }
        let shown = if self.is_given_up { newest.listed } else { had };
        self.shown = self.shown.max(Some(shown));
    }

    /// Whether what it lacks at the end may still come.
    pub(super) fn is_behind(&self, listed: u64) -> bool {
        !self.is_given_up && self.had != Some(listed)
    }

    /// Whether nobody has been shown that it lacks this number.
    pub(super) fn is_open(&self, number: u64) -> bool {
        self.shown.is_none_or(|shown| number > shown)
    }

    /// When it is waited for no longer, if it is.
    pub(super) fn lapses_at(&self, listed: u64, patience: Duration) -> Option<Duration> {
        let is_missed = self.had.is_some() && !self.is_off && self.is_behind(listed);
        is_missed.then_some(self.grown + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(6);

    /// What is listed and had at so many seconds; whether it is behind then, and the first number that is open.
    fn follow(steps: &[(u64, u64, Option<u64>)]) -> Vec<(bool, u64)> {
        let mut progress = Progress::new(false, Duration::ZERO);
        let steps = steps.iter().map(|&(seconds, listed, had)| {
            let now = Duration::from_secs(seconds);
            progress.see(Newest { listed, had }, now, PATIENCE);
            let open = (0..100).find(|number| progress.is_open(*number)).unwrap();
            (progress.is_behind(listed), open)
        });
        steps.collect()
    }

    #[test]
    fn what_lacks_at_the_end_is_open_until_players_would_lose_patience() {
        let steps = [
            (0, 5, Some(5)),
            (2, 6, Some(5)),
            (4, 7, Some(5)),
            (5, 7, Some(6)),
            (11, 9, Some(6)),
        ];
        let expected = [(false, 6), (true, 6), (true, 6), (true, 7), (false, 10)];
        assert_eq!(follow(&steps), expected);
    }

    #[test]
    fn what_was_given_up_stays_so_until_it_is_at_the_end_again() {
        let steps = [
            (0, 5, Some(5)),
            (6, 7, Some(5)),
            (7, 8, Some(5)),
            (8, 9, Some(9)),
            (10, 10, Some(9)),
        ];
        let expected = [(false, 6), (false, 8), (false, 9), (false, 10), (true, 10)];
        assert_eq!(follow(&steps), expected);
    }

    #[test]
    fn what_is_switched_off_is_open_however_long_it_takes_and_waited_for_once_it_is_on() {
        let mut progress = Progress::new(false, Duration::ZERO);
        let see = |progress: &mut Progress, seconds| {
            let newest = Newest {
                listed: 7,
                had: Some(5),
            };
            progress.see(newest, Duration::from_secs(seconds), PATIENCE);
            (progress.is_behind(7), progress.is_open(6))
        };
        assert_eq!(see(&mut progress, 1), (true, true));
        progress.switched(true, Duration::from_secs(2));
        assert_eq!(see(&mut progress, 100), (true, true));
        progress.switched(false, Duration::from_secs(100));
        assert_eq!(see(&mut progress, 105), (true, true));
        assert_eq!(see(&mut progress, 106), (false, false));
    }

    #[test]
    fn without_a_segment_nothing_is_shown() {
        let steps = [
            (0, 5, None),
            (60, 50, None),
            (61, 50, Some(44)),
            (66, 52, Some(44)),
            (67, 53, Some(44)),
            (99, 70, None),
        ];
        let expected = [
            (true, 0),
            (true, 0),
            (true, 45),
            (true, 45),
            (false, 54),
            (true, 54),
        ];
        assert_eq!(follow(&steps), expected);
    }
}
