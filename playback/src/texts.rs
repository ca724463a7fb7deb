//! Texts, each kept once and named by a number: what travels and is compared is the number.

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

/// Number of a text in the table that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TextCode(pub u32);

/// A table of texts, numbered from 0 in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    all: String,
    /// Where each text ends in `all`.
    ends: Vec<u32>,
    codes: HashTable<u32>,
    /// Seeded at random, since strangers choose the texts. What it gives reaches nothing but `codes`.
    hasher: DefaultHashBuilder,
}

impl Texts {
    /// Number of `text`, which gets the next one if it is new.
    pub fn code(&mut self, text: &str) -> TextCode {
        let (all, ends, hasher) = (self.all.as_bytes(), &self.ends, &self.hasher);
        let is_it = |code: &u32| all[place(ends, *code)] == *text.as_bytes();
        match self.codes.entry(hash(hasher, text.as_bytes()), is_it, |code| hash(hasher, &all[place(ends, *code)])) {
            Entry::Occupied(entry) => TextCode(*entry.get()),
            Entry::Vacant(entry) => {
                let code = u32::try_from(self.ends.len()).expect("an epoch has far fewer than 2^32 texts");
                entry.insert(code);
                self.all.push_str(text);
                self.ends.push(u32::try_from(self.all.len()).expect("the texts of an epoch are far shorter than 4 GB"));
                TextCode(code)
            }
        }
    }

    /// The text of a number.
    pub fn get(&self, code: TextCode) -> &str {
        &self.all[place(&self.ends, code.0)]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Length of all of them together.
    pub fn bytes(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them one after another, and where each ends.
    pub fn parts(&self) -> (&str, &[u32]) {
        (&self.all, &self.ends)
    }

    /// Forgets all, keeps the memory.
    pub fn clear(&mut self) {
        self.all.clear();
        self.ends.clear();
        self.codes.clear();
    }
}

impl PartialEq for Texts {
    fn eq(&self, other: &Texts) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Texts {}

/// Where a text is among all of them.
fn place(ends: &[u32], code: u32) -> Range<usize> {
    let code = code as usize;
    let start = if code == 0 { 0 } else { ends[code - 1] };
    start as usize..ends[code] as usize
}

/// Hash of a text in a table whose hasher this is.
pub(crate) fn hash(hasher: &DefaultHashBuilder, text: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{Texts, hash};

    #[test]
    fn a_text_has_one_number_however_often_it_comes() {
        let mut texts = Texts::default();
        let words = ["", "a", "tv", "a", "", "ä", "tv"];
        let codes = words.map(|word| texts.code(word));
        assert_eq!(codes.map(|code| code.0), [0, 1, 2, 1, 0, 3, 2]);
        assert_eq!(codes.map(|code| texts.get(code).to_owned()), words);
        texts.clear();
        assert_eq!((texts.code("tv").0, texts.len()), (0, 1));
    }

    #[test]
    fn nobody_can_know_which_texts_have_the_same_hash() {
        let [one, other] = [(); 2].map(|()| Texts::default().hasher);
        assert_ne!(hash(&one, b"a"), hash(&other, b"a"));
    }
}
