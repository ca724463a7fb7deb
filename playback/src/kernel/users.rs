//! The users of a partition, and how they are saved: as they were at one moment, a few at a time while records are folded. A
//! user that a record is about to change before its turn is saved right then.

use super::user::User;
use super::{READ_AHEAD, Saved};
use crate::words::{WordCode, Words};
use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};

/// A part of a save is full at this many bytes: a part that grew further would have to be copied from time to time.
const PART_BYTES: usize = 256 << 10;

/// The tables that a partition's users are spread over. A table doubles all at once, and records wait for every user in it.
const TABLES: usize = 64;

/// The users of a partition, found by site and name.
#[derive(Debug)]
pub(super) struct Users {
    /// By the hash of the name.
    tables: [HashTable<Box<User>>; TABLES],
    names: Names,
    saving: Saving,
}

/// Hashes names, by a seed of its own: strangers choose them. The order of the users, which follows from it, reaches no fact.
#[derive(Debug, Default)]
struct Names(DefaultHashBuilder);

/// A save on its way, or the last one.
#[derive(Debug, Default)]
struct Saving {
    /// Its number. Users that have another are still to be saved.
    number: u32,
    /// How many those are.
    left: usize,
    /// The table, and the place of it, that were looked at last.
    table: usize,
    place: usize,
    /// The clock when it began, and the lateness bound; ms.
    clock: i64,
    lateness_ms: i64,
    is_under_way: bool,
    /// What was saved since it was last asked for.
    parts: Vec<Vec<u8>>,
}

impl Names {
    fn hash(&self, site: WordCode, user_id: &str) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(user_id.as_bytes());
        hasher.write_u32(site.0);
        hasher.finish()
    }

    fn hash_of(&self, user: &User) -> u64 {
        user.with_name(|site, user_id| self.hash(site, user_id))
    }
}

impl Default for Users {
    fn default() -> Users {
        Users { tables: std::array::from_fn(|_| HashTable::new()), names: Names::default(), saving: Saving::default() }
    }
}

/// The number of a table. The table itself looks at the first and the last bits of a hash.
fn table_of(hash: u64) -> usize {
    (hash >> 48) as usize % TABLES
}

impl Users {
    /// The user of this name, if there is one, to be changed.
    pub(super) fn get_mut(&mut self, site: WordCode, user_id: &str, words: &mut Words) -> Option<&mut User> {
        let hash = self.names.hash(site, user_id);
        let user = self.tables[table_of(hash)].find_mut(hash, |user| user.is(site, user_id))?;
        self.saving.before_change(user, words);
        Some(user)
    }

    /// The user of this name, who is new if there is none, to be changed.
    pub(super) fn open(&mut self, site: WordCode, user_id: &str, words: &mut Words) -> &mut User {
        let Users { tables, names, saving } = self;
        let hash = names.hash(site, user_id);
        let entry = tables[table_of(hash)].entry(hash, |user| user.is(site, user_id), |user| names.hash_of(user));
        let user = entry.or_insert_with(|| Box::new(User::new(site, user_id, saving.number))).into_mut();
        saving.before_change(user, words);
        user
    }

    /// The users with these names, or others with similar hashes: no memory of a user is read to find them.
    pub(super) fn prefetch_candidates<'a>(
        &self,
        names: impl Iterator<Item = (WordCode, &'a str)>,
    ) -> SmallVec<[&User; READ_AHEAD]> {
        let hashes: SmallVec<[u64; READ_AHEAD]> = names.map(|(site, user_id)| self.names.hash(site, user_id)).collect();
        let first = |hash: &u64| self.tables[table_of(*hash)].iter_hash(*hash).next();
        hashes.iter().filter_map(first).map(|user| &**user).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &User> {
        self.tables.iter().flatten().map(|user| &**user)
    }

    /// Begins to save all of them behind a first `part`, as they are now. A save that is under way is given up.
    pub(super) fn begin_save(&mut self, clock: i64, lateness_ms: i64, part: Vec<u8>) {
        let (number, left) = (self.saving.number.wrapping_add(1), self.tables.iter().map(HashTable::len).sum());
        self.saving =
            Saving { number, left, table: 0, place: 0, clock, lateness_ms, is_under_way: true, parts: vec![part] };
    }

    /// Whether a save is under way.
    pub(super) fn is_save_under_way(&self) -> bool {
        self.saving.is_under_way
    }

    /// Saves at most this many more users; an empty slot of a table counts as one. Returns what was saved since the last call.
    pub(super) fn save_some(&mut self, users: usize, words: &mut Words) -> Saved {
        let Users { tables, saving, .. } = self;
        for _ in 0..users {
            if saving.left == 0 {
                saving.end();
                break;
            }
            // When a table grows, users move to slots before or after this one: the search goes around until no user is left.
            saving.place += 1;
            if saving.place >= tables[saving.table].num_buckets() {
                (saving.table, saving.place) = ((saving.table + 1) % TABLES, 0);
            }
            if let Ok(mut entry) = tables[saving.table].get_bucket_entry(saving.place) {
                saving.before_change(entry.get_mut(), words);
                if entry.get().is_empty() {
                    entry.remove();
                }
            }
        }
        Saved { parts: std::mem::take(&mut saving.parts), is_last: !saving.is_under_way }
    }

    /// Adds a user whose name none has.
    pub(super) fn insert(&mut self, user: Box<User>) {
        let hash = self.names.hash_of(&user);
        self.tables[table_of(hash)].insert_unique(hash, user, |user| self.names.hash_of(user));
    }
}

impl Saving {
    /// To be called before a user changes.
    fn before_change(&mut self, user: &mut User, words: &mut Words) {
        if user.save != self.number {
            self.save(user, words);
        }
    }

    /// Saves a user, without whatever no report that was in time when the save began can change: dropping that has no effect on
    /// facts, and no facts that are held refer to it.
    #[cold]
    fn save(&mut self, user: &mut User, words: &mut Words) {
        user.save = self.number;
        user.forget(self.clock, self.lateness_ms);
        user.words(|word| words.name(word));
        self.left -= 1;
        if !user.is_empty() {
            self.push(Some(user));
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_under_way) {
            self.push(None);
        }
    }

    /// Adds one more user, or the mark behind the last.
    fn push(&mut self, user: Option<&User>) {
        let part = self.parts.pop_if(|part| part.len() < PART_BYTES).unwrap_or_default();
        self.parts.push(postcard::to_extend(&user, part).expect("a user is plain data"));
    }
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::words::WordCode;

    #[test]
    fn nobody_can_know_which_users_have_the_same_hash() {
        let [one, other] = [(); 2].map(|()| Names::default().hash(WordCode(0), "u"));
        assert_ne!(one, other);
    }
}
