//! Who has a connection of a provider, who may have one, and who has none any more. Pure: entries go in, entries come out.
//! There are never more entries than the account allows connections, and none is dropped while its connection may still be open.
//!
//! The order of a start is: the status of the stream names the attempt, the slot is entered, the pod is created. An entry without a pod
//! is then of an attempt that is named, so that no other operator takes it for a leftover; and a pod, which connects by itself, has its
//! entry before it is there. Whoever dies in between leaves an attempt that is named, and perhaps an entry, and the next one goes on from
//! that. An entry goes when its attempt can not have a connection any more: its pod is gone, or has said that its source is closed.

use std::collections::BTreeSet;

use api::provider::ProviderSlot;

/// Who asks for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder<'a> {
    pub(crate) stream: &'a str,
    pub(crate) stream_uid: &'a str,
    pub(crate) attempt: i32,
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
    if slots
        .iter()
        .filter(own)
        .any(|slot| slot.attempt == holder.attempt)
    {
        return Claim::Held;
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

    /// `a1 a2 b1`: streams are letters, attempts digits.
    fn slots(text: &str) -> Vec<ProviderSlot> {
        text.split_whitespace()
            .map(|word| ProviderSlot {
                stream_uid: format!("uid-{}", &word[..1]),
                attempt: word[1..].parse().unwrap(),
                stream: word[..1].to_owned(),
            })
            .collect()
    }

    fn text(slots: &[ProviderSlot]) -> String {
        let words = slots.iter();
        let words: Vec<_> = words
            .map(|slot| format!("{}{}", slot.stream, slot.attempt))
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
    fn only_the_entries_that_are_meant_go() {
        let slots = slots("a1 b1 a2 b2");
        let left = without(&slots, "uid-a", &[1, 3].into());
        assert_eq!(text(&left), "b1 a2 b2");
        assert_eq!(attempts(&left, "uid-b"), [1, 2].into());
        assert_eq!(holders(&left), ["a", "b"]);
    }
}
