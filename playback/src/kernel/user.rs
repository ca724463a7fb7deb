//! All that is kept of one user of one site: sessions, resume positions, impressions. The log is keyed by user, so
//! whatever must meet meets here.

use super::id::Id;
use super::impressions::Impressions;
use super::list::{Entry, Key, List};
use super::session::Session;
use crate::facts::{Facts, ResumeFact};
use crate::record::Record;
use crate::texts::TextCode;
use crate::words::{WordCode, Words};
use serde::{Deserialize, Serialize};

/// State of one user of one site. Texts that many users share are numbers among the kernel's words.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) site: WordCode,
    user_id: Id,
    pub(super) sessions: List<Session>,
    titles: List<Title>,
    /// Most users have seen no ad.
    pub(super) impressions: Option<Box<Impressions>>,
    /// Number of the last save that has it, or that it was too new for.
    #[serde(skip)]
    pub(super) save: u32,
}

/// Most users have one session of one title: all of them is in one piece of memory of an allocator's class.
const _: () = assert!(size_of::<User>() <= 320, "a user takes more memory");

/// Whose something is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) site: WordCode,
    pub(super) user_id: &'a str,
}

/// Where the facts of one user are put out.
pub(super) struct UserFacts<'a> {
    pub(super) owner: Owner<'a>,
    /// What the user's state names by number.
    pub(super) words: &'a Words,
    /// Those of the open epoch.
    pub(super) epoch: &'a mut Facts,
}

impl UserFacts<'_> {
    /// A word of the kernel as a text of the facts.
    pub(super) fn word(&mut self, word: WordCode) -> TextCode {
        self.epoch.word(word, self.words)
    }

    pub(super) fn site(&mut self) -> TextCode {
        self.word(self.owner.site)
    }

    pub(super) fn user_id(&mut self) -> TextCode {
        self.epoch.texts.code(self.owner.user_id)
    }
}

/// Where the user would resume a title, and the stamp of the report that said so.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Title {
    video: WordCode,
    /// Which of the user's sessions the report is of. A title goes before its session does, which has heard later of the report.
    session_index: u32,
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
    fn new(video: WordCode, session_index: u32) -> Title {
        Title { video, session_index, event_time: i64::MIN, seq: 0, position_ms: 0, furthest_ms: 0 }
    }
}

impl User {
    /// A user of whom nothing is known yet, who is too new for this save.
    pub(super) fn new(site: WordCode, user_id: &str, save: u32) -> User {
        let (sessions, titles) = (List::default(), List::default());
        User { site, user_id: Id::new(user_id), sessions, titles, impressions: None, save }
    }

    /// Whether this is its name.
    pub(super) fn is(&self, site: WordCode, user_id: &str) -> bool {
        self.site == site && self.user_id.is(user_id)
    }

    /// Calls `with` its name.
    pub(super) fn with_name<R>(&self, with: impl FnOnce(WordCode, &str) -> R) -> R {
        self.user_id.with_text(|user_id| with(self.site, user_id))
    }

    /// Index of the session with this id and title, if there is one. Only among many sessions is the title's own number asked
    /// for; a title that no session has may have no number.
    pub(super) fn find(
        &mut self,
        session_id: &str,
        title: impl FnOnce() -> Option<WordCode>,
        is_title: impl Fn(WordCode) -> bool,
    ) -> Option<usize> {
        let feed = |key: &mut Key| {
            key.text(session_id);
            title().into_iter().for_each(|video| key.word(video));
        };
        self.sessions.find(feed, |session| session.session_id.is(session_id) && is_title(session.video))
    }

    /// Number of the session of a record, which is begun if there is none.
    pub(super) fn open(&mut self, record: &Record, words: &mut Words, serials: &mut u32) -> usize {
        let (session_id, video_id) = (&record.session_id, &record.video_id);
        // Compares title texts: the one in the session has been read ahead, while a number would have to be looked up.
        if let Some(index) = self.find(session_id, || words.find(video_id), |video| words.is(video, video_id)) {
            return index;
        }
        let video = words.code(video_id);
        *serials = serials.wrapping_add(1);
        self.sessions.push(Session::new(Id::new(session_id), video, *serials))
    }

    /// Takes in the position of a content report of the session at this index. A title whose stamp is before `oldest`
    /// begins anew, whether it was dropped from memory yet or not.
    pub(super) fn resume(&mut self, record: &Record, session: usize, oldest: i64, facts: &mut Facts) {
        let video = self.sessions[session].video;
        let session_index = u32::try_from(session).expect("memory ends before a user has 2^32 sessions");
        let index = match self.titles.find(|key| key.word(video), |title| title.video == video) {
            Some(index) => {
                if self.titles[index].event_time < oldest {
                    self.titles[index] = Title::new(video, session_index);
                }
                index
            }
            None => self.titles.push(Title::new(video, session_index)),
        };
        let title = &mut self.titles[index];
        let newest = (record.event_time, record.seq) > (title.event_time, title.seq);
        let newest = if title.session_index == session_index || record.event_time != title.event_time {
            newest
        } else {
            // Of two sessions at the same moment the one whose name is greater.
            self.sessions[session].session_id.is_after(&self.sessions[title.session_index as usize].session_id)
        };
        let further = record.position_ms > title.furthest_ms;
        if newest {
            title.event_time = record.event_time;
            title.session_index = session_index;
            title.seq = record.seq;
            title.position_ms = record.position_ms;
        }
        title.furthest_ms = title.furthest_ms.max(record.position_ms);
        if newest || further {
            facts.resumes.push(ResumeFact {
                session: self.sessions[session].fact_key(),
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
        let (mut indices, mut kept) = (Vec::new(), 0);
        if self.sessions.iter().any(|session| session.is_over(oldest)) {
            self.sessions.retain(|session| {
                let stays = !session.is_over(oldest);
                indices.push(kept);
                kept += u32::from(stays);
                stays
            });
            self.titles.iter_mut().for_each(|title| title.session_index = indices[title.session_index as usize]);
        }
        if let Some(impressions) = &mut self.impressions {
            impressions.forget(clock, lateness_ms);
            if impressions.is_empty() {
                self.impressions = None;
            }
        }
    }

    /// Every word it names.
    pub(super) fn words(&self, mut each: impl FnMut(WordCode)) {
        each(self.site);
        self.sessions.iter().flat_map(Session::words).for_each(&mut each);
        self.titles.iter().for_each(|title| each(title.video));
        if let Some(impressions) = &self.impressions {
            impressions.words(each);
        }
    }

    /// Reads something of every part of it that a report of the newest session needs; the sum is of no meaning.
    pub(super) fn touch(&self, words: &Words) -> i64 {
        let title = self.titles.last().map_or(0, |title| title.event_time);
        self.sessions.last().map_or(0, |session| session.touch(words)) ^ title
    }

    /// Whether nothing is kept of the user any more.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.titles.is_empty() && self.impressions.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{Record, User, WordCode, Words};
    use std::cell::Cell;

    #[test]
    fn sessions_of_one_id_and_many_titles_are_found_without_a_look_at_the_others() {
        let (mut user, mut words, mut serials) = (User::new(WordCode(0), "u", 0), Words::default(), 0);
        let record = |title: u32| Record { session_id: "s".into(), video_id: title.to_string(), ..Record::default() };
        for _ in 0..2 {
            assert!((0..100).map(|title| user.open(&record(title), &mut words, &mut serials)).eq(0..100));
        }
        let looks = Cell::new(0);
        let is_title = |video| {
            looks.set(looks.get() + 1);
            video == WordCode(99)
        };
        assert_eq!(user.find("s", || Some(WordCode(99)), is_title), Some(99));
        assert_eq!(looks.get(), 1);
    }
}
