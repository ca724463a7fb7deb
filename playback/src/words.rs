//! Words: texts that many users of the session kernel share. Each is kept once, for as long as anything refers to it, and is
//! referred to by a number; the number of a text that nothing refers to any more is given to another text.
//!
//! Which words are in use is found out little by little: between two [sweeps](Words::sweep) everything that refers to words is
//! asked once, in any order and while new words come. A word neither [named](Words::name) nor given out again by then is unused.

use crate::texts::hash;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;

/// Number of a word among those of a kernel; a text of the facts has a number of its own, which is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct WordCode(pub(crate) u32);

/// A table of words.
#[derive(Debug, Default)]
pub(crate) struct Words {
    words: Vec<Word>,
    codes: HashTable<u32>,
    /// Numbers without a text. The least is the next to be used, so that there are not many.
    free: BTreeSet<u32>,
    /// Seeded at random, since strangers choose the texts. What it gives reaches nothing but `codes`.
    hasher: DefaultHashBuilder,
    /// The number of a text that was asked for before, to be tried first.
    recent: u32,
}

#[derive(Debug, Default)]
struct Word {
    /// None: the number is free.
    text: Option<Box<str>>,
    /// Whether somebody named it since the last sweep.
    is_named: bool,
}

impl Word {
    fn text(&self) -> &str {
        self.text.as_deref().expect("what is named has a text")
    }

    fn is(&self, text: &str) -> bool {
        self.text.as_deref() == Some(text)
    }
}

impl Words {
    /// Number of `text`, which gets one if it is new.
    pub(crate) fn code(&mut self, text: &str) -> WordCode {
        let (words, hasher) = (&mut self.words, &self.hasher);
        let is_it = |code: &u32| words[*code as usize].is(text);
        let hash_of = |code: &u32| hash(hasher, words[*code as usize].text().as_bytes());
        let code = match self.codes.entry(hash(hasher, text.as_bytes()), is_it, hash_of) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let code = self.free.pop_first().unwrap_or_else(|| {
                    words.push(Word::default());
                    u32::try_from(words.len() - 1).expect("memory ends before there are 2^32 words")
                });
                words[code as usize].text = Some(text.into());
                entry.insert(code);
                code
            }
        };
        words[code as usize].is_named = true;
        WordCode(code)
    }

    /// The same for a text that is mostly the one of the last such call.
    pub(crate) fn code_again(&mut self, text: &str) -> WordCode {
        match self.words.get_mut(self.recent as usize) {
            Some(word) if word.is(text) => word.is_named = true,
            _ => self.recent = self.code(text).0,
        }
        WordCode(self.recent)
    }

    /// Number of `text`, if it has one: to look something up, not to be kept.
    pub(crate) fn find(&self, text: &str) -> Option<WordCode> {
        if self.words.get(self.recent as usize).is_some_and(|word| word.is(text)) {
            return Some(WordCode(self.recent));
        }
        let hash = hash(&self.hasher, text.as_bytes());
        self.codes.find(hash, |code| self.is(WordCode(*code), text)).map(|code| WordCode(*code))
    }

    /// The text of a number.
    pub(crate) fn get(&self, code: WordCode) -> &str {
        self.words[code.0 as usize].text()
    }

    /// Whether `text` is that of a number.
    pub(crate) fn is(&self, code: WordCode, text: &str) -> bool {
        self.words[code.0 as usize].is(text)
    }

    /// Notes that somebody names this word.
    pub(crate) fn name(&mut self, code: WordCode) {
        self.words[code.0 as usize].is_named = true;
    }

    /// Frees the numbers of the words that nobody named since the last sweep; to be called when everybody was asked since.
    pub(crate) fn sweep(&mut self) {
        for (code, word) in (0..).zip(&mut self.words) {
            if std::mem::take(&mut word.is_named) {
                continue;
            }
            if let Some(text) = word.text.take() {
                let entry = self.codes.find_entry(hash(&self.hasher, text.as_bytes()), |found| *found == code);
                entry.expect("each text is found by its hash").remove();
                self.free.insert(code);
            }
        }
        while self.words.pop_if(|word| word.text.is_none()).is_some() {
            self.free.pop_last();
        }
    }
}

/// As the texts in the order of their numbers.
impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.words.iter().map(|word| &word.text))
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        let texts = Vec::<Option<Box<str>>>::deserialize(deserializer)?;
        let words = texts.into_iter().map(|text| Word { text, is_named: true }).collect();
        let mut table = Words { words, ..Words::default() };
        let (words, hasher) = (&table.words, &table.hasher);
        let hash_of = |code: &u32| hash(hasher, words[*code as usize].text().as_bytes());
        for (code, word) in (0..).zip(words) {
            match word.text {
                Some(_) => drop(table.codes.insert_unique(hash_of(&code), code, hash_of)),
                None => drop(table.free.insert(code)),
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(words: &Words) -> Words {
        postcard::from_bytes(&postcard::to_allocvec(words).unwrap()).unwrap()
    }

    #[test]
    fn a_text_has_one_number_and_keeps_it() {
        let mut words = Words::default();
        let texts = ["", "a", "a", "b", "a", "c", "c", "b", ""];
        assert_eq!(texts.map(|text| words.code_again(text).0), [0, 1, 1, 2, 1, 3, 3, 2, 0]);
        for words in [&words, &restored(&words)] {
            assert_eq!(
                ["c", "b", "d", ""].map(|text| words.find(text).map(|code| code.0)),
                [Some(3), Some(2), None, Some(0)]
            );
            assert_eq!([0, 1, 2, 3].map(|code| words.get(WordCode(code))), ["", "a", "b", "c"]);
            assert!(words.is(WordCode(1), "a") && !words.is(WordCode(1), "b"));
        }
    }

    #[test]
    fn only_the_number_of_a_word_that_nobody_named_goes_to_another() {
        let mut words = Words::default();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|text| words.code_again(text));
        words.sweep();
        words.name(a);
        assert_eq!((words.code("b"), words.code_again("d")), (b, d));
        words.sweep();
        assert_eq!(["a", "b", "c", "d"].map(|text| words.find(text)), [Some(a), Some(b), None, Some(d)]);
        let mut restored = restored(&words);
        for words in [&mut words, &mut restored] {
            assert_eq!((words.code("e"), words.code("c").0), (c, 4));
            assert_eq!((words.find("e"), words.get(c)), (Some(c), "e"));
        }
        // Whoever named one before the restart was not asked since.
        restored.sweep();
        assert_eq!(restored.find("a"), Some(a));
        restored.name(b);
        restored.sweep();
        assert_eq!(["x", "y", "z"].map(|text| restored.code(text).0), [0, 2, 3]);
    }

    #[test]
    fn nobody_can_know_which_texts_have_the_same_hash() {
        let [one, other] = [(); 2].map(|()| Words::default().hasher);
        assert_ne!(hash(&one, b"a"), hash(&other, b"a"));
    }
}
