//! Rows in order, in pieces that lists share: a changed copy copies one piece, and a walk meets neighbours in memory as they stand.
//! Holds one row of each place.

use std::sync::Arc;

use crate::model::{Channel, Group, User};

/// Rows of a piece at most: what a change copies.
const PIECE: usize = 512;

/// What stands somewhere in a list.
pub(super) trait Placed {
    /// Where.
    fn place(&self) -> (u32, &str);
}

/// Rows by place.
#[derive(Clone)]
pub(super) struct Ordered<T> {
    /// None of them is empty.
    pieces: Vec<Arc<Vec<Arc<T>>>>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T: Placed> Ordered<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    /// What stands behind a place, whether anything stands there or not.
    pub(super) fn after<'a>(&'a self, place: (u32, &'a str)) -> impl Iterator<Item = &'a Arc<T>> {
        let pieces = self.pieces.get(self.piece_of(place)..).unwrap_or_default();
        let rows = pieces.iter().flat_map(|piece| piece.iter());
        rows.skip_while(move |row| row.place() <= place)
    }

    pub(super) fn get(&self, place: (u32, &str)) -> Option<&Arc<T>> {
        let piece = self.pieces.get(self.piece_of(place))?;
        let index = find(piece, place).ok()?;
        piece.get(index)
    }

    /// Puts a row in, instead of the one of its place.
    pub(super) fn insert(&mut self, row: Arc<T>) {
        // What comes last of all goes into the last piece.
        let index = self
            .piece_of(row.place())
            .min(self.pieces.len().saturating_sub(1));
        let Some(piece) = self.pieces.get_mut(index) else {
            return self.pieces.push(Arc::new(vec![row]));
        };
        let piece = Arc::make_mut(piece);
        match find(piece, row.place()) {
            Ok(index) => piece[index] = row,
            Err(index) => piece.insert(index, row),
        }
        if piece.len() > PIECE {
            let rest = piece.split_off(PIECE / 2);
            self.pieces.insert(index + 1, Arc::new(rest));
        }
    }

    pub(super) fn remove(&mut self, place: (u32, &str)) {
        let index = self.piece_of(place);
        let Some(piece) = self.pieces.get_mut(index) else {
            return;
        };
        let Ok(row) = find(piece, place) else {
            return;
        };
        let piece = Arc::make_mut(piece);
        piece.remove(row);
        if piece.is_empty() {
            self.pieces.remove(index);
        }
    }

    /// The first piece that does not end before the place.
    fn piece_of(&self, place: (u32, &str)) -> usize {
        let ends_before = |piece: &Arc<Vec<Arc<T>>>| {
            let last = piece.last();
            last.is_some_and(|last| last.place() < place)
        };
        self.pieces.partition_point(ends_before)
    }
}

fn find<T: Placed>(piece: &[Arc<T>], place: (u32, &str)) -> Result<usize, usize> {
    piece.binary_search_by(|row| row.place().cmp(&place))
}

impl Placed for Channel {
    fn place(&self) -> (u32, &str) {
        (self.order, &self.slug)
    }
}

impl Placed for Group {
    fn place(&self) -> (u32, &str) {
        (self.order, &self.id)
    }
}

impl Placed for User {
    fn place(&self) -> (u32, &str) {
        (0, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use super::*;

    fn group(order: u32, id: &str) -> Arc<Group> {
        Arc::new(Group {
            id: id.to_owned(),
            name: String::new(),
            order,
        })
    }

    /// A walk through all numbers that is the same each time.
    fn numbers(count: u32) -> impl Iterator<Item = u32> {
        (0..count).map(move |step| step.wrapping_mul(2_654_435_761) % 4_000)
    }

    #[test]
    fn it_holds_what_a_map_by_place_holds_and_copies_stay_as_they_were() {
        let mut list = Ordered::default();
        let mut map = BTreeMap::new();
        let mut copies = Vec::new();
        for (step, number) in numbers(20_000).enumerate() {
            let (order, id) = (number % 7, number.to_string());
            if step % 3 == 2 || step > 15_000 {
                list.remove((order, &id));
                map.remove(&(order, id));
            } else {
                let row = group(order, &id);
                list.insert(row.clone());
                map.insert((order, id), row);
            }
            if step % 4_000 == 0 {
                copies.push((list.clone(), map.clone()));
            }
        }
        copies.push((list, map));
        for (list, map) in copies {
            assert!(list.iter().eq(map.values()));
            for number in 0..4_000_u32 {
                let (order, id) = (number % 7, number.to_string());
                assert_eq!(list.get((order, &id)), map.get(&(order, id.clone())));
            }
            for number in [0, 1, 777, 3_999] {
                let place = (number % 7, number.to_string());
                let behind = (Bound::Excluded(place.clone()), Bound::Unbounded);
                let behind = map.range(behind).map(|(_, row)| row);
                assert!(list.after((place.0, &place.1)).eq(behind));
            }
            assert!(list.after((0, "")).eq(map.values()));
            assert_eq!(list.after((7, "")).count(), 0);
            assert!(
                list.pieces
                    .iter()
                    .all(|piece| (1..=PIECE).contains(&piece.len()))
            );
        }
    }

    #[test]
    fn a_changed_copy_shares_all_pieces_but_one() {
        let mut before = Ordered::default();
        for number in 0..10_000 {
            before.insert(group(number, "x"));
        }
        let mut after = before.clone();
        after.insert(group(5_000, "y"));
        let pairs = before.pieces.iter().zip(&after.pieces);
        let shared = pairs.filter(|(one, other)| Arc::ptr_eq(one, other)).count();
        assert_eq!(shared, before.pieces.len() - 1);
        assert!(before.pieces.len() > 10);
    }
}
