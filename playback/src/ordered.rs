//! A map with numbers as keys, in key order. Nearly all of ours have one entry, which is kept in place; some are a list, and
//! large ones are a tree, so that a player that reports out of order costs no more per report than others do.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound::{Excluded, Unbounded};

/// Up to this many entries are a list, which takes less memory than a tree; making room in its middle takes less than a
/// microsecond.
const FEW: usize = 512;

/// A map from numbers, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Ordered<V>(Entries<V>);

#[derive(Debug, Clone)]
enum Entries<V> {
    Empty,
    One(u32, V),
    #[allow(clippy::box_collection)] // sessions are counted in bytes, and nearly none has this
    Few(Box<Vec<(u32, V)>>),
    #[allow(clippy::box_collection)]
    Many(Box<BTreeMap<u32, V>>),
}

impl<V: Copy> Ordered<V> {
    /// Whether it has no entry.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.0, Entries::Empty)
    }

    /// The entry with the greatest key.
    pub(crate) fn last(&self) -> Option<(u32, V)> {
        match &self.0 {
            Entries::Empty => None,
            Entries::One(key, value) => Some((*key, *value)),
            Entries::Few(list) => list.last().copied(),
            Entries::Many(tree) => tree.last_key_value().map(owned),
        }
    }

    /// The same, to be changed.
    pub(crate) fn last_mut(&mut self) -> Option<(u32, &mut V)> {
        match &mut self.0 {
            Entries::Empty => None,
            Entries::One(key, value) => Some((*key, value)),
            Entries::Few(list) => list.last_mut().map(|(key, value)| (*key, value)),
            Entries::Many(tree) => tree.last_entry().map(|entry| (*entry.key(), entry.into_mut())),
        }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: u32) -> Option<V> {
        self.up_to(key).filter(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// The entry with the greatest key that is not above `key`.
    pub(crate) fn up_to(&self, key: u32) -> Option<(u32, V)> {
        match &self.0 {
            Entries::Empty => None,
            Entries::One(only, value) => (*only <= key).then_some((*only, *value)),
            Entries::Few(list) => list[..list.partition_point(|(other, _)| *other <= key)].last().copied(),
            Entries::Many(tree) => tree.range(..=key).next_back().map(owned),
        }
    }

    /// The entry with the least key that is above `key`.
    pub(crate) fn after(&self, key: u32) -> Option<(u32, V)> {
        match &self.0 {
            Entries::Empty => None,
            Entries::One(only, value) => (*only > key).then_some((*only, *value)),
            Entries::Few(list) => list.get(list.partition_point(|(other, _)| *other <= key)).copied(),
            Entries::Many(tree) => tree.range((Excluded(key), Unbounded)).next().map(owned),
        }
    }

    /// Gives `key` this value, whatever it had.
    pub(crate) fn insert(&mut self, key: u32, value: V) {
        match &mut self.0 {
            Entries::Empty => self.0 = Entries::One(key, value),
            Entries::One(only, known) if *only == key => *known = value,
            Entries::One(only, known) => {
                let mut list = vec![(*only, *known), (key, value)];
                list.sort_unstable_by_key(|(key, _)| *key);
                self.0 = Entries::Few(Box::new(list));
            }
            Entries::Few(list) => match list.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(index) => list[index].1 = value,
                Err(index) if list.len() < FEW => list.insert(index, (key, value)),
                Err(_) => {
                    let tree = list.iter().copied().chain([(key, value)]).collect();
                    self.0 = Entries::Many(Box::new(tree));
                }
            },
            Entries::Many(tree) => drop(tree.insert(key, value)),
        }
    }

    /// Takes out the entry of `key`.
    pub(crate) fn remove(&mut self, key: u32) -> Option<V> {
        match &mut self.0 {
            Entries::Empty => None,
            Entries::One(only, value) => {
                let taken = (*only == key).then_some(*value);
                if taken.is_some() {
                    self.0 = Entries::Empty;
                }
                taken
            }
            Entries::Few(list) => {
                let index = list.binary_search_by_key(&key, |(key, _)| *key).ok()?;
                let taken = list.remove(index).1;
                if let [(only, value)] = list[..] {
                    self.0 = Entries::One(only, value);
                }
                Some(taken)
            }
            Entries::Many(tree) => {
                let taken = tree.remove(&key);
                if tree.len() <= FEW / 2 {
                    self.0 = Entries::Few(Box::new(tree.iter().map(owned).collect()));
                }
                taken
            }
        }
    }

    /// Gives all entries, in order, to `take`.
    pub(crate) fn with_entries<T>(&self, take: impl FnOnce(&[(u32, V)]) -> T) -> T {
        match &self.0 {
            Entries::Empty => take(&[]),
            Entries::One(key, value) => take(&[(*key, *value)]),
            Entries::Few(list) => take(list),
            Entries::Many(tree) => take(&tree.iter().map(owned).collect::<Vec<_>>()),
        }
    }
}

fn owned<V: Copy>((key, value): (&u32, &V)) -> (u32, V) {
    (*key, *value)
}

impl<V> Default for Ordered<V> {
    fn default() -> Ordered<V> {
        Ordered(Entries::Empty)
    }
}

impl<V: Copy + PartialEq> PartialEq for Ordered<V> {
    fn eq(&self, other: &Ordered<V>) -> bool {
        self.with_entries(|ours| other.with_entries(|theirs| ours == theirs))
    }
}

impl<V: Copy + Eq> Eq for Ordered<V> {}

/// As a list of its entries.
impl<V: Copy + Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_entries(|entries| entries.serialize(serializer))
    }
}

impl<'de, V: Copy + Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ordered<V>, D::Error> {
        deserializer.deserialize_seq(Entering(PhantomData))
    }
}

/// Enters one entry after the other: most maps have one, for which a list would be made only to be dropped.
struct Entering<V>(PhantomData<V>);

impl<'de, V: Copy + Deserialize<'de>> Visitor<'de> for Entering<V> {
    type Value = Ordered<V>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Ordered<V>, A::Error> {
        let mut ordered = Ordered::default();
        while let Some((key, value)) = entries.next_element()? {
            ordered.insert(key, value);
        }
        Ok(ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn it_is_a_map_in_order_however_large_it_is_and_was() {
        for keys in [2, 30, 2 * FEW as u64, 8 * FEW as u64] {
            let (mut random, mut expected, mut ordered) = (Random::new(keys), BTreeMap::new(), Ordered::default());
            for round in 0..6 * keys as u32 {
                let key = random.below(keys) as u32;
                let removed_of_ten = if round < 3 * keys as u32 { 2 } else { 8 }; // it grows, then it shrinks
                if random.below(10) < removed_of_ten {
                    assert_eq!(ordered.remove(key), expected.remove(&key));
                } else {
                    expected.insert(key, round);
                    ordered.insert(key, round);
                }
                assert_eq!(ordered.last(), expected.last_key_value().map(owned));
                assert_eq!(ordered.last_mut().map(|(key, value)| (key, *value)), ordered.last());
                let key = random.below(keys) as u32;
                assert_eq!(ordered.get(key), expected.get(&key).copied());
                assert_eq!(ordered.up_to(key), expected.range(..=key).next_back().map(owned));
                assert_eq!(ordered.after(key), expected.range(key + 1..).next().map(owned));
                assert_eq!(ordered.is_empty(), expected.is_empty());
            }
            let entries: Vec<_> = expected.into_iter().collect();
            ordered.with_entries(|found| assert_eq!(found, entries));
            let stored = postcard::to_allocvec(&ordered).unwrap();
            assert_eq!(stored, postcard::to_allocvec(&entries).unwrap());
            assert_eq!(postcard::from_bytes::<Ordered<u32>>(&stored).unwrap(), ordered);
        }
    }

    #[test]
    fn many_entries_are_a_tree_and_few_that_are_left_a_list_again() {
        let mut ordered = Ordered::default();
        (0..=FEW as u32).for_each(|key| ordered.insert(key, ()));
        assert!(matches!(ordered.0, Entries::Many(_)), "it would be slow to grow in any order");
        (1..=FEW as u32).for_each(|key| assert!(ordered.remove(key).is_some()));
        assert!(matches!(ordered.0, Entries::One(0, ())));
    }
}
