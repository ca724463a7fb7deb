//! A list of entries found by key: by search while the list is short, as nearly all are, and by an index when it is long, so
//! that one user with many sessions costs no more per record than others do. The index is no part of the state. A single entry,
//! which is all that most lists have, is stored in the list itself.

use crate::words::WordCode;
use hashbrown::{DefaultHashBuilder, DefaultHasher};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};
use std::ops::{Deref, DerefMut};
use std::slice;

/// A list up to this long is searched faster than an index.
pub(super) const SHORT: usize = 16;

/// Something with a key, which never changes.
pub(super) trait Entry {
    /// Feeds its key to `key`.
    fn feed(&self, key: &mut Key);
}

/// The hash of a key in the making.
pub(super) struct Key(DefaultHasher);

/// Entries, and where they are once there are many.
#[derive(Debug, Clone, Default)]
pub(super) enum List<T> {
    #[default]
    Empty,
    One(T),
    Many(Box<Many<T>>),
}

#[derive(Debug, Clone)]
pub(super) struct Many<T> {
    entries: Vec<T>,
    index: Index,
}

#[derive(Debug, Clone, Default)]
struct Index {
    /// Seeded at random, since strangers choose most keys.
    hasher: DefaultHashBuilder,
    by_hash: FxHashMap<u64, SmallVec<[u32; 1]>>,
    /// So many entries are in it; those after them were pushed since.
    entries: usize,
}

impl Key {
    /// Takes in one text of the key.
    pub(super) fn text(&mut self, text: &str) {
        self.0.write(text.as_bytes());
        self.0.write_u8(0);
    }

    /// Takes in the number of a text.
    pub(super) fn word(&mut self, word: WordCode) {
        self.0.write_u32(word.0);
    }
}

impl<T: Entry> List<T> {
    /// Number of the entry that satisfies `is_it`; `feed` gives its key.
    pub(super) fn find(&mut self, feed: impl FnOnce(&mut Key), is_it: impl Fn(&T) -> bool) -> Option<usize> {
        match self {
            List::Many(many) if many.entries.len() > SHORT => many.find(feed, is_it),
            short => short.iter().position(is_it),
        }
    }

    /// Adds an entry behind the others; its number is that of the last.
    pub(super) fn push(&mut self, entry: T) -> usize {
        if let List::Many(many) = self {
            many.push(entry);
        } else {
            *self = match std::mem::take(self) {
                List::One(first) => List::from(vec![first, entry]),
                _ => List::One(entry),
            };
        }
        self.len() - 1
    }

    /// Keeps the entries that `is_kept`; says whether others went.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&T) -> bool) -> bool {
        let before = self.len();
        match self {
            List::Many(many) => {
                many.entries.retain(is_kept);
                if many.entries.len() < before {
                    *self = List::from(std::mem::take(&mut many.entries)); // the others have other numbers now
                }
            }
            List::One(entry) if !is_kept(entry) => *self = List::Empty,
            _ => {}
        }
        self.len() < before
    }
}

impl<T: Entry> Many<T> {
    fn find(&mut self, feed: impl FnOnce(&mut Key), is_it: impl Fn(&T) -> bool) -> Option<usize> {
        let index = &mut self.index;
        while let Some(entry) = self.entries.get(index.entries) {
            let number = u32::try_from(index.entries).expect("memory ends before a list has 2^32 entries");
            index.by_hash.entry(index.hash(|key| entry.feed(key))).or_default().push(number);
            index.entries += 1;
        }
        let numbers = index.by_hash.get(&index.hash(feed))?;
        numbers.iter().map(|number| *number as usize).find(|number| is_it(&self.entries[*number]))
    }
}

impl<T> Many<T> {
    /// Few lists become long: they take no more memory than they need until they are.
    fn push(&mut self, entry: T) {
        if self.entries.len() < 4 {
            self.entries.reserve_exact(1);
        }
        self.entries.push(entry);
    }

    fn of(entries: Vec<T>) -> Many<T> {
        Many { entries, index: Index::default() }
    }
}

impl Index {
    fn hash(&self, feed: impl FnOnce(&mut Key)) -> u64 {
        let mut key = Key(self.hasher.build_hasher());
        feed(&mut key);
        key.0.finish()
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(mut entries: Vec<T>) -> List<T> {
        match entries.len() {
            0 | 1 => entries.pop().map_or(List::Empty, List::One),
            _ => List::Many(Box::new(Many::of(entries))),
        }
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            List::Empty => &[],
            List::One(entry) => slice::from_ref(entry),
            List::Many(many) => &many.entries,
        }
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            List::Empty => &mut [],
            List::One(entry) => slice::from_mut(entry),
            List::Many(many) => &mut many.entries,
        }
    }
}

/// As its entries, in their order.
impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        Vec::deserialize(deserializer).map(List::from)
    }
}

#[cfg(test)]
mod tests {
    use super::Index;

    #[test]
    fn nobody_can_know_which_entries_have_the_same_hash() {
        let [one, other] = [(); 2].map(|()| Index::default().hash(|key| key.text("s")));
        assert_ne!(one, other);
    }
}
