//! All that is kept of one user of one site: sessions, resume positions, impressions. The log is keyed by user, so
//! whatever must meet meets here.

use super::READ_AHEAD;
use super::id::Id;
use super::impressions::Impressions;
use super::list::{Entry, Key, List};
use super::session::Session;
use crate::facts::{Facts, ResumeFact};
use crate::record::Record;
use crate::texts::{TextCode, Texts};
use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher};

/// State of one user of one site. Texts that many users share are words: numbers among the kernel's texts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) site: TextCode,
    user_id: Id,
    pub(super) sessions: List<Session>,
    titles: List<Title>,
    /// Most users have seen no ad.
    pub(super) impressions: Option<Box<Impressions>>,
}

/// Most users have one session of one title: all of them is in one piece of memory of an allocator's class.
const _: () = assert!(size_of::<User>() <= 320, "a user takes more memory");

/// Whose something is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) site: TextCode,
    pub(super) user_id: &'a str,
}

/// Where the user would resume a title, and the stamp of the report that said so.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Title {
    video: TextCode,
    /// Number of the report's session. A title goes before its session does, which has heard later of the report.
    session: u32,
    event_time: i64,
    seq: u32,
    position_ms: u32,
    furthest_ms: u32,
}

impl Entry for Title {
    fn feed(&self, key: &mut Key) {
        key.word(self.video);
    }
}

impl Title {
    /// A title of which nothing is known yet.
    fn new(video: TextCode, session: u32) -> Title {
        Title { video, session, event_time: i64::MIN, seq: 0, position_ms: 0, furthest_ms: 0 }
    }
}

impl User {
    fn new(site: TextCode, user_id: &str) -> User {
        User { site, user_id: Id::new(user_id), sessions: List::default(), titles: List::default(), impressions: None }
    }

    /// Number of the session of this id and title, if there is one. Only where there are many the title's own number is asked
    /// for, which is none of a title that no session has.
    pub(super) fn find(
        &mut self,
        session_id: &str,
        title: impl FnOnce() -> Option<TextCode>,
        is_title: impl Fn(TextCode) -> bool,
    ) -> Option<usize> {
        let feed = |key: &mut Key| {
            key.text(session_id);
            title().into_iter().for_each(|video| key.word(video));
        };
        self.sessions.find(feed, |session| session.session_id.is(session_id) && is_title(session.video))
    }

    /// Number of the session of a record, which is begun if there is none.
    pub(super) fn open(&mut self, record: &Record, words: &mut Texts, serials: &mut u32) -> usize {
        let (session_id, video_id) = (&record.session_id, &record.video_id);
        // The title of the session that is there has been read ahead; its number would have to be looked up.
        if let Some(index) = self.find(session_id, || words.find(video_id), |video| words.is(video, video_id)) {
            return index;
        }
        let video = words.code(video_id);
        *serials = serials.wrapping_add(1);
        self.sessions.push(Session::new(Id::new(session_id), video, *serials))
    }

    /// Takes in the position of a content report of the session of this number. A title whose stamp is before `oldest`
    /// begins anew, whether it was dropped from memory yet or not.
    pub(super) fn resume(&mut self, record: &Record, session: usize, oldest: i64, facts: &mut Facts) {
        let video = self.sessions[session].video;
        let number = u32::try_from(session).expect("memory ends before a user has 2^32 sessions");
        let index = match self.titles.find(|key| key.word(video), |title| title.video == video) {
            Some(index) => {
                if self.titles[index].event_time < oldest {
                    self.titles[index] = Title::new(video, number);
                }
                index
            }
            None => self.titles.push(Title::new(video, number)),
        };
        let title = &mut self.titles[index];
        let newest = (record.event_time, record.seq) > (title.event_time, title.seq);
        let newest = if title.session == number || record.event_time != title.event_time {
            newest
        } else {
            // Of two sessions at the same moment the one whose name is greater.
            self.sessions[session].session_id.is_after(&self.sessions[title.session as usize].session_id)
        };
        let further = record.position_ms > title.furthest_ms;
        if newest {
            title.event_time = record.event_time;
            title.session = number;
            title.seq = record.seq;
            title.position_ms = record.position_ms;
        }
        title.furthest_ms = title.furthest_ms.max(record.position_ms);
        if newest || further {
            facts.resumes.push(ResumeFact {
                session: self.sessions[session].number(),
                position_ms: title.position_ms,
                furthest_ms: title.furthest_ms,
                event_time: title.event_time,
            });
        }
    }

    /// Drops what is before `oldest`: every report that is not late is newer.
    pub(super) fn forget(&mut self, clock: i64, lateness_ms: i64) {
        let oldest = clock - lateness_ms;
        self.titles.retain(|title| title.event_time >= oldest);
        let (mut numbers, mut kept) = (Vec::new(), 0);
        if self.sessions.iter().any(|session| session.is_over(oldest)) {
            self.sessions.retain(|session| {
                let stays = !session.is_over(oldest);
                numbers.push(kept);
                kept += u32::from(stays);
                stays
            });
            self.titles.iter_mut().for_each(|title| title.session = numbers[title.session as usize]);
        }
        if let Some(impressions) = &mut self.impressions {
            impressions.forget(clock, lateness_ms);
            if impressions.is_empty() {
                self.impressions = None;
            }
        }
    }

    /// Every word it names, to be counted or changed.
    pub(super) fn words(&mut self, mut each: impl FnMut(&mut TextCode)) {
        each(&mut self.site);
        self.sessions.iter_mut().flat_map(Session::words).for_each(&mut each);
        self.titles.iter_mut().for_each(|title| each(&mut title.video));
        if let Some(impressions) = &mut self.impressions {
            impressions.words(each);
        }
    }

    /// Reads something of every part of it that a report of the newest session needs; the sum is of no meaning.
    pub(super) fn peek(&self, words: &Texts) -> i64 {
        let title = self.titles.last().map_or(0, |title| title.event_time);
        self.sessions.last().map_or(0, |session| session.peek(words)) ^ title
    }

    /// Whether nothing is kept of the user any more.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.titles.is_empty() && self.impressions.is_none()
    }
}

/// The users of a partition, found by site and name.
#[derive(Debug, Clone, Default)]
pub(super) struct Users {
    table: HashTable<Box<User>>,
    names: Names,
}

/// Hashes names, by a seed of its own: strangers choose them. The order of the users, which follows from it, reaches no fact.
#[derive(Debug, Clone, Default)]
struct Names(DefaultHashBuilder);

impl Names {
    fn hash(&self, site: TextCode, user_id: &str) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(user_id.as_bytes());
        hasher.write_u32(site.0);
        hasher.finish()
    }

    fn hash_of(&self, user: &User) -> u64 {
        user.user_id.with_text(|user_id| self.hash(user.site, user_id))
    }
}

impl Users {
    /// The user of this name, if there is one.
    pub(super) fn get_mut(&mut self, site: TextCode, user_id: &str) -> Option<&mut User> {
        let hash = self.names.hash(site, user_id);
        self.table.find_mut(hash, |user| user.is(site, user_id)).map(|user| &mut **user)
    }

    /// The user of this name, who is new if there is none.
    pub(super) fn open(&mut self, site: TextCode, user_id: &str) -> &mut User {
        let (hash, names) = (self.names.hash(site, user_id), &self.names);
        let entry = self.table.entry(hash, |user| user.is(site, user_id), |user| names.hash_of(user));
        entry.or_insert_with(|| Box::new(User::new(site, user_id))).into_mut()
    }

    /// The users of these names, or others whose hashes are alike: nothing of them is read to find them.
    pub(super) fn likely<'a>(&self, names: impl Iterator<Item = (TextCode, &'a str)>) -> SmallVec<[&User; READ_AHEAD]> {
        let hashes: SmallVec<[u64; READ_AHEAD]> = names.map(|(site, user_id)| self.names.hash(site, user_id)).collect();
        hashes.iter().filter_map(|hash| self.table.iter_hash(*hash).next()).map(|user| &**user).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &User> {
        self.table.iter().map(|user| &**user)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut User> {
        self.table.iter_mut().map(|user| &mut **user)
    }

    /// Drops what no later record can change.
    pub(super) fn forget(&mut self, clock: i64, lateness_ms: i64) {
        self.table.retain(|user| {
            user.forget(clock, lateness_ms);
            !user.is_empty()
        });
    }

    /// To be called when the numbers of words have changed: whatever is found by them is found anew.
    pub(super) fn rekeyed(&mut self) {
        let users = std::mem::take(&mut self.table);
        self.reserve(users.len());
        for mut user in users {
            user.sessions.rekeyed();
            user.titles.rekeyed();
            if let Some(impressions) = &mut user.impressions {
                impressions.rekeyed();
            }
            self.insert(user);
        }
    }

    fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional, |user| self.names.hash_of(user));
    }

    /// Adds a user whose name none has.
    fn insert(&mut self, user: Box<User>) {
        self.table.insert_unique(self.names.hash_of(&user), user, |user| self.names.hash_of(user));
    }
}

impl User {
    fn is(&self, site: TextCode, user_id: &str) -> bool {
        self.site == site && self.user_id.is(user_id)
    }
}

impl Serialize for Users {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.table)
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Users, D::Error> {
        let mut users = Users::default();
        for user in Vec::<Box<User>>::deserialize(deserializer)? {
            users.insert(user);
        }
        Ok(users)
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Record, TextCode, Texts, User};
    use std::cell::Cell;

    #[test]
    fn sessions_of_one_id_and_many_titles_are_found_without_a_look_at_the_others() {
        let (mut user, mut words, mut serials) = (User::new(TextCode(0), "u"), Texts::default(), 0);
        let record = |title: u32| Record { session_id: "s".into(), video_id: title.to_string(), ..Record::default() };
        for _ in 0..2 {
            assert!((0..100).map(|title| user.open(&record(title), &mut words, &mut serials)).eq(0..100));
        }
        let looks = Cell::new(0);
        let is_title = |video| {
            looks.set(looks.get() + 1);
            video == TextCode(99)
        };
        assert_eq!(user.find("s", || Some(TextCode(99)), is_title), Some(99));
        assert_eq!(looks.get(), 1);
    }

    #[test]
    fn nobody_can_know_which_users_have_the_same_hash() {
        let [one, other] = [(); 2].map(|()| Names::default().hash(TextCode(0), "u"));
        assert_ne!(one, other);
    }
}
