//! What is remembered of whoever asks, in a fixed number of places: the memory is the same for ten addresses and for ten million.
//! Nothing is swept: a place is taken over when it is needed, from whoever is worth remembering least.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

/// Sets of places; a power of two. With [`WAYS`], 32,768 places.
const SETS: usize = 4096;

/// Places that one key may be at.
const WAYS: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Place<V> {
    /// The hash of whom it is about; it stands for them. That two share one costs them a moment's patience, and nobody can choose it.
    key: u64,
    value: V,
}

/// Remembers a value for each key, and gives the smallest one up when there is no place. A key without a place has the default value.
pub(super) struct Table<V> {
    sets: Box<[Mutex<[Place<V>; WAYS]>]>,
    hasher: RandomState,
}

impl<V> fmt::Debug for Table<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Table(…)")
    }
}

impl<V: Copy + Default + Ord> Table<V> {
    pub(super) fn new() -> Self {
        let sets = (0..SETS).map(|_| Mutex::new([Place::default(); WAYS]));
        Self {
            sets: sets.collect(),
            hasher: RandomState::new(),
        }
    }

    /// The hash of anything, which differs from process to process.
    pub(super) fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The value of a key, if one is remembered.
    pub(super) fn get(&self, key: impl Hash) -> Option<V> {
        let key = self.hash(key);
        let set = self.set(key).lock().unwrap_or_else(PoisonError::into_inner);
        let place = set.iter().find(|place| place.key == key);
        place.map(|place| place.value)
    }

    /// Changes the value of a key.
    pub(super) fn update<R>(&self, key: impl Hash, change: impl FnOnce(&mut V) -> R) -> R {
        let key = self.hash(key);
        let mut set = self.set(key).lock().unwrap_or_else(PoisonError::into_inner);
        let found = set.iter().position(|place| place.key == key);
        let index = found.unwrap_or_else(|| least(&*set));
        let place = &mut set[index];
        if found.is_none() {
            *place = Place {
                key,
                value: V::default(),
            };
        }
        change(&mut place.value)
    }

    fn set(&self, key: u64) -> &Mutex<[Place<V>; WAYS]> {
        &self.sets[key as usize % SETS]
    }
}

fn least<V: Ord>(set: &[Place<V>]) -> usize {
    let places = set.iter().enumerate();
    let least = places.min_by(|(_, one), (_, other)| one.value.cmp(&other.value));
    least.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_value_of_its_own() {
        let table: Table<u64> = Table::new();
        for key in 0..1000_u64 {
            table.update(key, |value| *value += key + 1);
        }
        for key in 0..1000_u64 {
            assert_eq!(table.get(key), Some(key + 1));
        }
        assert_eq!(table.get(1000_u64), None);
    }

    #[test]
    fn without_a_place_the_smallest_value_is_given_up() {
        let table: Table<u64> = Table::new();
        let many = 20 * (SETS * WAYS) as u64;
        table.update("precious", |value| *value = u64::MAX);
        for key in 0..many {
            table.update(key, |value| *value = key + 1);
        }
        assert_eq!(table.get("precious"), Some(u64::MAX));
        let kept = (0..many).filter(|key| table.get(key).is_some()).count();
        assert!(kept < SETS * WAYS);
        let late = (many - 100..many).filter(|key| table.get(key).is_some());
        assert!(late.count() > 90, "the largest ones are kept");
    }
}
