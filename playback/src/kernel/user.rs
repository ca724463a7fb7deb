//! All that is kept of one user of one site: sessions, resume positions, impressions. The log is keyed by user, so
//! whatever must meet meets here.

use super::impressions::Impressions;
use super::list::{Entry, Key, List};
use super::session::Session;
use crate::facts::{Facts, ResumeFact, SessionKey};
use crate::record::Record;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// State of one user of one site.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) site: Arc<str>,
    pub(super) user_id: Arc<str>,
    pub(super) sessions: List<Session>,
    titles: List<Title>,
    pub(super) impressions: Impressions,
}

/// Where the user would resume a title, and the stamp of the report that said so.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Title {
    video_id: Arc<str>,
    event_time: i64,
    session_id: Arc<str>,
    seq: u32,
    position_ms: u32,
    furthest_ms: u32,
}

impl Entry for Title {
    fn feed(&self, key: &mut Key) {
        key.text(&self.video_id);
    }
}

impl Title {
    /// A title of which nothing is known yet.
    fn new(key: &SessionKey) -> Title {
        Title {
            video_id: key.video_id.clone(),
            event_time: i64::MIN,
            session_id: key.session_id.clone(),
            seq: 0,
            position_ms: 0,
            furthest_ms: 0,
        }
    }
}

impl User {
    pub(super) fn new(site: Arc<str>, user_id: Arc<str>) -> User {
        User { site, user_id, sessions: List::default(), titles: List::default(), impressions: Impressions::default() }
    }

    /// Number of the session of a key, if there is one.
    pub(super) fn find(&mut self, session_id: &str, video_id: &str) -> Option<usize> {
        let feed = |key: &mut Key| {
            key.text(session_id);
            key.text(video_id);
        };
        self.sessions.find(feed, |session| *session.key.session_id == *session_id && *session.key.video_id == *video_id)
    }

    /// Takes in the position of a content report. A title whose stamp is before `oldest` begins anew, whether it was dropped
    /// from memory yet or not.
    pub(super) fn resume(&mut self, record: &Record, key: &Arc<SessionKey>, oldest: i64, facts: &mut Facts) {
        let stamp = (record.event_time, key.session_id.as_bytes(), record.seq);
        let known = self.titles.find(|title| title.text(&key.video_id), |title| *title.video_id == *key.video_id);
        let index = match known {
            Some(index) => {
                if self.titles[index].event_time < oldest {
                    self.titles[index] = Title::new(key);
                }
                index
            }
            None => self.titles.push(Title::new(key)),
        };
        let title = &mut self.titles[index];
        let newest = stamp > (title.event_time, title.session_id.as_bytes(), title.seq);
        let further = record.position_ms > title.furthest_ms;
        if newest {
            title.event_time = record.event_time;
            title.session_id = key.session_id.clone();
            title.seq = record.seq;
            title.position_ms = record.position_ms;
        }
        title.furthest_ms = title.furthest_ms.max(record.position_ms);
        if newest || further {
            facts.resumes.push(ResumeFact {
                key: key.clone(),
                position_ms: title.position_ms,
                furthest_ms: title.furthest_ms,
                event_time: title.event_time,
            });
        }
    }

    /// Drops titles whose stamp is before `oldest`: every report that is not late is newer.
    pub(super) fn forget_titles(&mut self, oldest: i64) {
        self.titles.retain(|title| title.event_time >= oldest);
    }

    /// Whether nothing is kept of the user any more.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.titles.is_empty() && self.impressions.is_empty()
    }
}
