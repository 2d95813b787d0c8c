//! Lists as servers send them one after another, and what follows from each.

use super::*;

fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

fn base() -> Url {
    Url::parse("http://a.example/live/index.m3u8").unwrap()
}

fn segment(uri: String, duration: Duration) -> Segment {
    Segment {
        uri,
        duration,
        range: None,
        encryption: Encryption::None,
        map: None,
        discontinuity: false,
        gap: false,
    }
}

/// Segments of a full target duration each.
fn list(target: u64, first: u64, count: u64) -> MediaPlaylist {
    let numbers = first..first + count;
    MediaPlaylist {
        target_duration: seconds(target),
        media_sequence: first,
        ended: false,
        segments: numbers
            .map(|number| segment(format!("{number}.ts?token={first}"), seconds(target)))
            .collect(),
    }
}

fn learn(follower: &mut Follower, list: MediaPlaylist, at: u64) -> Option<Pace> {
    let joined = follower.learn(list, &base(), Run::Same, seconds(at));
    joined.unwrap().map(|joined| joined.pace)
}

/// The numbers that are fetched until something else is to be done, and what that is.
fn fetched(follower: &mut Follower, now: u64) -> (Vec<u64>, Next) {
    let mut numbers = Vec::new();
    loop {
        match follower.next(seconds(now)) {
            Next::Fetch => numbers.push(follower.take().unwrap().sequence),
            other => return (numbers, other),
        }
    }
}

#[test]
fn a_list_is_joined_three_targets_before_its_end_and_a_segment_and_a_half_is_kept_back() {
    for (target, listed, expected, burst) in [
        (6, 6, vec![103, 104, 105], 4),
        (2, 10, vec![107, 108, 109], 2),
        (10, 3, vec![100, 101, 102], 4),
        (10, 1, vec![100], 2),
    ] {
        let mut follower = Follower::new(3, seconds(0));
        let pace = learn(&mut follower, list(target, 100, listed), 0);
        let (target, burst) = (seconds(target), seconds(burst));
        let is_live = true;
        let expected_pace = Pace {
            target,
            burst,
            is_live,
        };
        assert_eq!(pace, Some(expected_pace));
        assert_eq!(fetched(&mut follower, 0), (expected, Next::Reload(target)));
    }
}

#[test]
fn a_list_is_loaded_again_after_a_target_and_sooner_when_it_did_not_grow() {
    let mut follower = Follower::new(3, seconds(0));
    learn(&mut follower, list(6, 100, 3), 0);
    assert_eq!(fetched(&mut follower, 1).1, Next::Reload(seconds(6)));
    learn(&mut follower, list(6, 100, 3), 6);
    assert_eq!(
        fetched(&mut follower, 6),
        (vec![], Next::Reload(seconds(9)))
    );
    assert_eq!(learn(&mut follower, list(6, 101, 3), 9), None);
    assert_eq!(
        fetched(&mut follower, 9),
        (vec![103], Next::Reload(seconds(15)))
    );
    assert!(!follower.missed(seconds(16)));
    assert_eq!(fetched(&mut follower, 16).1, Next::Reload(seconds(19)));
}

#[test]
fn a_list_that_moved_on_meanwhile_is_joined_anew_once_what_was_listed_is_gone() {
    let mut follower = Follower::new(3, seconds(0));
    learn(&mut follower, list(2, 100, 5), 0);
    assert_eq!(follower.take().unwrap().sequence, 102);
    // 103 and 104 have left the list, and are there for as long as it was.
    learn(&mut follower, list(2, 106, 5), 12);
    assert_eq!(
        fetched(&mut follower, 12).0,
        [103, 104, 106, 107, 108, 109, 110]
    );
    let pace = learn(&mut follower, list(2, 200, 5), 200);
    assert!(pace.is_some());
    assert_eq!(fetched(&mut follower, 200).0, [202, 203, 204]);
}

#[test]
fn an_older_copy_is_told_from_a_server_that_began_anew() {
    let mut follower = Follower::new(3, seconds(0));
    learn(&mut follower, list(2, 100, 5), 0);
    assert_eq!(fetched(&mut follower, 0).0, [102, 103, 104]);
    learn(&mut follower, list(2, 98, 5), 2);
    assert_eq!(
        fetched(&mut follower, 2),
        (vec![], Next::Reload(seconds(3)))
    );
    let mut other = list(2, 98, 5);
    for (index, segment) in other.segments.iter_mut().enumerate() {
        segment.uri = format!("new-{index}.ts");
    }
    assert!(learn(&mut follower, other, 3).is_some());
    assert_eq!(fetched(&mut follower, 3).0, [100, 101, 102]);
    assert!(learn(&mut follower, list(2, 0, 2), 5).is_some());
    assert_eq!(fetched(&mut follower, 5).0, [0, 1]);
}

#[test]
fn a_list_that_does_not_grow_is_silence_after_three_targets_and_not_before_ten_seconds() {
    for (target, silent_at) in [(2, 10), (6, 18)] {
        let mut follower = Follower::new(3, seconds(0));
        learn(&mut follower, list(target, 100, 3), 0);
        fetched(&mut follower, 0);
        learn(&mut follower, list(target, 100, 3), target);
        learn(&mut follower, list(target, 100, 3), silent_at - 1);
        assert!(matches!(
            follower.next(seconds(silent_at - 1)),
            Next::Reload(_)
        ));
        let stalled = Next::Stalled(seconds(silent_at));
        assert_eq!(follower.next(seconds(silent_at)), stalled);
    }
}

#[test]
fn who_reads_slowly_is_not_told_that_the_source_is_silent() {
    let mut follower = Follower::new(3, seconds(0));
    learn(&mut follower, list(2, 100, 3), 0);
    fetched(&mut follower, 0);
    assert_eq!(follower.next(seconds(60)), Next::Reload(seconds(60)));
    learn(&mut follower, list(2, 100, 3), 60);
    assert_eq!(follower.next(seconds(60)), Next::Reload(seconds(61)));
    assert!(follower.missed(seconds(61)));
}

#[test]
fn what_is_over_is_played_from_its_start_to_its_end() {
    let mut follower = Follower::new(3, seconds(0));
    let mut film = list(6, 0, 100);
    film.ended = true;
    let pace = learn(&mut follower, film, 0).unwrap();
    assert_eq!((pace.burst, pace.is_live), (seconds(4), false));
    let (numbers, then) = fetched(&mut follower, 1000);
    assert_eq!((numbers.len(), then), (100, Next::Ended));
}

#[test]
fn a_list_without_segments_is_waited_for_and_given_up() {
    let mut follower = Follower::new(3, seconds(0));
    for at in [0, 5, 9] {
        assert_eq!(learn(&mut follower, list(2, 0, 0), at), None);
        assert_eq!(
            fetched(&mut follower, at),
            (vec![], Next::Reload(seconds(at + 1)))
        );
    }
    assert_eq!(follower.next(seconds(10)), Next::Stalled(seconds(10)));
    assert!(learn(&mut follower, list(2, 0, 1), 10).is_some());
    assert_eq!(fetched(&mut follower, 10).0, [0]);
}

#[test]
fn a_segment_that_is_missing_is_passed_over() {
    let mut follower = Follower::new(3, seconds(0));
    let mut gap = list(2, 100, 5);
    gap.segments[3].gap = true;
    learn(&mut follower, gap, 0);
    assert_eq!(fetched(&mut follower, 0).0, [102, 104]);
}

#[test]
fn what_does_not_go_on_where_the_last_one_ended_is_a_seam() {
    let mut follower = Follower::new(3, seconds(0));
    let mut odd = list(2, 100, 9);
    odd.segments[7].gap = true;
    odd.ended = true;
    odd.segments[3].discontinuity = true;
    learn(&mut follower, odd, 0);
    let seams = |follower: &mut Follower| {
        let taken = std::iter::from_fn(|| follower.take());
        let seams = taken.filter(|listed| listed.is_seam);
        seams.map(|listed| listed.sequence).collect::<Vec<_>>()
    };
    let mut again = Follower::new(3, seconds(0));
    learn(&mut again, list(2, 100, 9), 0);
    assert_eq!(seams(&mut follower), [100, 103, 108]);
    assert_eq!(seams(&mut again), [106]);
    learn(&mut again, list(2, 101, 9), 2);
    assert_eq!(seams(&mut again), [0; 0]);
    learn(&mut again, list(2, 300, 9), 400);
    let first = again.take().unwrap();
    assert!(first.is_seam);
    again.put_back(first);
    assert_eq!(seams(&mut again), [306]);
}

#[test]
fn sound_that_has_a_list_of_its_own_is_joined_earlier() {
    let mut follower = Follower::new(4, seconds(0));
    let joined = follower.learn(list(2, 100, 9), &base(), Run::Same, seconds(0));
    assert_eq!(joined.unwrap().unwrap().ahead, seconds(8));
    assert_eq!(follower.take().unwrap().sequence, 105);
}

#[test]
fn what_cannot_be_played_is_named_where_it_would_be_fetched() {
    let unsupported = |change: fn(&mut Segment), index: usize| {
        let mut follower = Follower::new(3, seconds(0));
        let mut list = list(2, 100, 5);
        change(&mut list.segments[index]);
        follower.learn(list, &base(), Run::Same, seconds(0)).err()
    };
    let sample = |segment: &mut Segment| {
        segment.encryption = Encryption::Other("SAMPLE-AES".to_owned());
    };
    assert_eq!(unsupported(sample, 1), None);
    let expected = Unsupported::Encryption("SAMPLE-AES".to_owned());
    assert_eq!(unsupported(sample, 2), Some(expected));
}

#[test]
fn what_could_not_be_fetched_is_asked_for_at_its_new_address() {
    let mut follower = Follower::new(3, seconds(0));
    learn(&mut follower, list(2, 100, 5), 0);
    let listed = follower.take().unwrap();
    follower.put_back(listed);
    let elsewhere = Url::parse("http://b.example/index.m3u8").unwrap();
    let fresh = follower.learn(list(2, 101, 5), &elsewhere, Run::Fresh, seconds(1));
    assert_eq!(fresh, Ok(None));
    let listed = follower.take().unwrap();
    assert_eq!((listed.sequence, &*listed.base), (102, &elsewhere));
    assert_eq!(listed.segment.uri, "102.ts?token=101");
}

#[test]
fn no_list_however_odd_breaks_anything() {
    let mut follower = Follower::new(3, seconds(0));
    for (target, first, count) in [
        (0, u64::MAX >> 1, 3),
        (u64::MAX, 0, 0),
        (1, 5, 2000),
        (0, 0, 1),
        (9, u64::MAX >> 1, 1),
    ] {
        let mut list = list(1, first, count);
        list.target_duration = seconds(target);
        learn(&mut follower, list, 1);
        let (numbers, _) = fetched(&mut follower, 1);
        assert!(numbers.len() <= 2000);
        assert!((SHORTEST_TARGET..=LONGEST_TARGET).contains(&follower.target));
    }
    assert!(follower.names.len() <= NAMES_MAXIMUM);
}
