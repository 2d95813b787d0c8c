//! Who has a connection of a provider, who may have one, and who has none any more. Pure: entries go in, entries come out.
//! There are never more entries than the account allows connections, and none is dropped while its connection may still be open.
//!
//! The order of a start is: the status of the stream names the attempt, the slot is entered, the pod is created. An entry without a pod
//! is then of an attempt that is named, so that no other operator takes it for a leftover; and a pod, which connects by itself, has its
//! entry before it is there. Whoever dies in between leaves an attempt that is named, and perhaps an entry, and the next one goes on from
//! that. An entry goes when its attempt can not have a connection any more: its pod is gone, or has said that its source is closed.
//!
//! A pod that runs may ask for a connection of another account (see "Grants" in `api::control`). That is entered with the number of its
//! request before the pod is told, and what it had goes when it says that it has left it. A number tells an entry that is of no use any
//! more from one for a request that whoever looks has not heard of yet.

use std::collections::BTreeSet;

use api::provider::ProviderSlot;

/// Who asks for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder<'a> {
    pub(crate) stream: &'a str,
    pub(crate) stream_uid: &'a str,
    pub(crate) attempt: i32,
    /// Which request of the attempt, 0 for what it is made with.
    pub(crate) request: i32,
}

/// What asking for a connection comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It has one.
    Held,
    /// It gets one: these are the entries then.
    Take(Vec<ProviderSlot>),
    /// It gets one as soon as the connection of its own earlier attempt is closed for certain.
    AfterOwn(i32),
    /// Others have all of them.
    Full,
}

/// Asks for a connection of an account that allows `limit`. `closed` are attempts of the same stream without a connection.
pub(crate) fn claim(
    slots: &[ProviderSlot],
    limit: usize,
    holder: Holder<'_>,
    closed: &BTreeSet<i32>,
) -> Claim {
    let own = |slot: &&ProviderSlot| slot.stream_uid == holder.stream_uid;
    let mut of_attempt = slots.iter().filter(own);
    match of_attempt.find(|slot| slot.attempt == holder.attempt) {
        Some(slot) if slot.request == holder.request => return Claim::Held,
        // Of a request before: it goes first.
        Some(_) => return Claim::AfterOwn(holder.attempt),
        None => {}
    }
    let mut left = without(slots, holder.stream_uid, closed);
    let others = left.iter().filter(|slot| !own(slot)).count();
    if others >= limit {
        return Claim::Full;
    }
    if left.len() >= limit {
        let open = left.iter().filter(own).map(|slot| slot.attempt).max();
        return open.map_or(Claim::Full, Claim::AfterOwn);
    }
    left.push(ProviderSlot {
        stream_uid: holder.stream_uid.to_owned(),
        attempt: holder.attempt,
        stream: holder.stream.to_owned(),
        request: holder.request,
    });
    Claim::Take(left)
}

/// The entries without those of these attempts of a stream.
pub(crate) fn without(
    slots: &[ProviderSlot],
    stream_uid: &str,
    attempts: &BTreeSet<i32>,
) -> Vec<ProviderSlot> {
    let goes =
        |slot: &ProviderSlot| slot.stream_uid == stream_uid && attempts.contains(&slot.attempt);
    slots.iter().filter(|slot| !goes(slot)).cloned().collect()
}

/// The entries without those of an attempt that answered its requests up to this one.
pub(crate) fn after_leaving(
    slots: &[ProviderSlot],
    stream_uid: &str,
    attempt: i32,
    request: i32,
) -> Vec<ProviderSlot> {
    let goes = |slot: &ProviderSlot| {
        slot.stream_uid == stream_uid && slot.attempt == attempt && slot.request <= request
    };
    slots.iter().filter(|slot| !goes(slot)).cloned().collect()
}

/// The attempts of a stream that have an entry.
pub(crate) fn attempts(slots: &[ProviderSlot], stream_uid: &str) -> BTreeSet<i32> {
    let own = slots.iter().filter(|slot| slot.stream_uid == stream_uid);
    own.map(|slot| slot.attempt).collect()
}

/// The streams that have connections, by name, each once and in order.
pub(crate) fn holders(slots: &[ProviderSlot]) -> Vec<&str> {
    let names: BTreeSet<_> = slots.iter().map(|slot| slot.stream.as_str()).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a1 a2 b1'`: streams are letters, attempts digits, and requests as many strokes.
    fn slots(text: &str) -> Vec<ProviderSlot> {
        text.split_whitespace()
            .map(|word| ProviderSlot {
                stream_uid: format!("uid-{}", &word[..1]),
                attempt: word[1..2].parse().unwrap(),
                stream: word[..1].to_owned(),
                request: word
                    .get(2..)
                    .map_or(0, |number| number.len().try_into().unwrap()),
            })
            .collect()
    }

    fn text(slots: &[ProviderSlot]) -> String {
        let words = slots.iter();
        let words: Vec<_> = words
            .map(|slot| {
                let strokes = "'".repeat(slot.request.try_into().unwrap());
                format!("{}{}{strokes}", slot.stream, slot.attempt)
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn who_may_have_a_connection() {
        for (before, limit, attempt, closed, expected) in [
            ("", 1, 1, &[][..], "take a1"),
            ("a1", 1, 1, &[], "held"),
            ("b1", 1, 1, &[], "full"),
            ("b1", 2, 1, &[], "take b1 a1"),
            ("b1 c4", 2, 1, &[], "full"),
            // Its own attempt before still has the only connection, or has closed it.
            ("a1", 1, 2, &[], "after 1"),
            ("a1", 1, 2, &[1], "take a2"),
            ("a1 b1", 2, 2, &[], "after 1"),
            ("a1", 2, 2, &[], "take a1 a2"),
            // What others have closed is not for this one to say.
            ("b1", 1, 2, &[1], "full"),
            // The limit was lowered.
            ("b1 c1 a1", 1, 2, &[1], "full"),
            ("b1 c1 a1", 1, 1, &[], "held"),
        ] {
            let holder = Holder {
                stream: "a",
                stream_uid: "uid-a",
                attempt,
                request: 0,
            };
            let closed = closed.iter().copied().collect();
            let claim = match claim(&slots(before), limit, holder, &closed) {
                Claim::Held => "held".to_owned(),
                Claim::Full => "full".to_owned(),
                Claim::AfterOwn(attempt) => format!("after {attempt}"),
                Claim::Take(slots) => {
                    assert!(slots.len() <= limit, "{before}");
                    format!("take {}", text(&slots))
                }
            };
            assert_eq!(claim, expected, "{before:?} of {limit}, attempt {attempt}");
        }
    }

    #[test]
    fn a_request_has_an_entry_of_its_own() {
        for (before, limit, request, expected) in [
            ("", 1, 1, "take a1'"),
            ("b1", 1, 1, "full"),
            ("a1'", 1, 1, "held"),
            // Of what it was made with, or of a request that is over; and of one that nobody here has heard of.
            ("a1", 2, 1, "after 1"),
            ("a1'", 2, 2, "after 1"),
            ("a1''", 2, 1, "after 1"),
        ] {
            let holder = Holder {
                stream: "a",
                stream_uid: "uid-a",
                attempt: 1,
                request,
            };
            let claim = match claim(&slots(before), limit, holder, &BTreeSet::new()) {
                Claim::Held => "held".to_owned(),
                Claim::Full => "full".to_owned(),
                Claim::AfterOwn(attempt) => format!("after {attempt}"),
                Claim::Take(slots) => format!("take {}", text(&slots)),
            };
            assert_eq!(claim, expected, "{before:?} of {limit}, request {request}");
        }
    }

    #[test]
    fn what_an_attempt_leaves_is_what_was_entered_for_earlier_requests() {
        let slots = slots("a1 a2 b1 a1'");
        assert_eq!(text(&after_leaving(&slots, "uid-a", 1, 0)), "a2 b1 a1'");
        assert_eq!(text(&after_leaving(&slots, "uid-a", 1, 1)), "a2 b1");
        assert_eq!(text(&after_leaving(&slots, "uid-c", 1, 9)), text(&slots));
    }

    #[test]
    fn only_the_entries_that_are_meant_go() {
        let slots = slots("a1 b1 a2 b2");
        let left = without(&slots, "uid-a", &[1, 3].into());
        assert_eq!(text(&left), "b1 a2 b2");
        assert_eq!(attempts(&left, "uid-b"), [1, 2].into());
        assert_eq!(holders(&left), ["a", "b"]);
    }
}
