//! A list of entries that are found by key: searched while it is short, as nearly all are, by an index when it is long. So
//! one user with many sessions costs no more per record than others do. The index is no part of the state.

use crate::texts::TextCode as Word;
use rustc_hash::{FxHashMap, FxHasher};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::hash::Hasher;
use std::ops::{Deref, DerefMut};

/// A list up to this long is searched faster than an index.
pub(super) const SHORT: usize = 16;

/// Something with a key, which never changes.
pub(super) trait Entry {
    /// Feeds its key to `key`.
    fn feed(&self, key: &mut Key);
}

/// The hash of a key in the making.
#[derive(Default)]
pub(super) struct Key(FxHasher);

/// Entries, and where they are once there are many.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct List<T> {
    entries: Vec<T>,
    #[serde(skip)]
    index: Option<Box<Index>>,
}

#[derive(Debug, Clone, Default)]
struct Index {
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
    pub(super) fn word(&mut self, word: Word) {
        self.0.write_u32(word.0);
    }
}

impl<T: Entry> List<T> {
    /// Number of the entry that `is_it`, whose key `feed` tells.
    pub(super) fn find(&mut self, feed: impl FnOnce(&mut Key), is_it: impl Fn(&T) -> bool) -> Option<usize> {
        if self.entries.len() <= SHORT {
            return self.entries.iter().position(is_it);
        }
        let index = self.index.get_or_insert_default();
        while let Some(entry) = self.entries.get(index.entries) {
            let number = u32::try_from(index.entries).expect("memory ends before a list has 2^32 entries");
            index.by_hash.entry(hash(|key| entry.feed(key))).or_default().push(number);
            index.entries += 1;
        }
        let numbers = index.by_hash.get(&hash(feed))?;
        numbers.iter().map(|number| *number as usize).find(|number| is_it(&self.entries[*number]))
    }

    /// Adds an entry behind the others; its number is that of the last. Most lists have one entry and stay so: they take
    /// the memory of one.
    pub(super) fn push(&mut self, entry: T) -> usize {
        if self.entries.len() < 4 {
            self.entries.reserve_exact(1);
        }
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// Keeps the entries that `is_kept`; says whether others went.
    pub(super) fn retain(&mut self, is_kept: impl FnMut(&T) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(is_kept);
        let some_went = self.entries.len() < before;
        if some_went {
            self.index = None; // the others have other numbers now
        }
        some_went
    }
}

impl<T> List<T> {
    /// To be called when the keys of entries have changed.
    pub(super) fn rekeyed(&mut self) {
        self.index = None;
    }
}

fn hash(feed: impl FnOnce(&mut Key)) -> u64 {
    let mut key = Key::default();
    feed(&mut key);
    key.0.finish()
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { entries: Vec::new(), index: None }
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.entries
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.entries
    }
}
