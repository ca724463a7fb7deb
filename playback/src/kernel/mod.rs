//! The session kernel: folds the log of one partition, record by record, into facts. It deduplicates, lets points
//! wait for their place, credits, and keeps each session's union.
//!
//! State is a pure function of the records, their log times and [`Parameters`]; so are the facts, however the log
//! is cut. Nothing here reads a clock: time is what [`Kernel::advance`] was told.

mod impressions;
mod list;
mod sequence;
mod session;
mod user;

use crate::credit::{Disposition, Playhead};
use crate::facts::{DispositionFact, Facts, SessionKey};
use crate::record::{self, Record};
use impressions::AdReport;
use rustc_hash::{FxHashMap, FxHashSet};
use sequence::{Place, Waiting};
use serde::{Deserialize, Serialize};
use session::Session;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;
use user::User;

/// Changes whenever the kernel would put out other facts for the same log, or keeps its state in another form.
pub const KERNEL_VERSION: u32 = 3;

/// A point is judged at this many later reports of its session at the latest.
const MAX_LATER_REPORTS: u32 = 16;

/// What the crediting rules leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// A report that reaches the log this much after its event time is late; ms.
    pub lateness_ms: i64,
    /// A point is judged this much log time after it at the latest; ms.
    pub point_wait_ms: i64,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters { lateness_ms: 24 * 3_600_000, point_wait_ms: 60_000 }
    }
}

/// How the records of a partition ended; with the waiting points and the ticks they add up to the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the dispositions
pub struct Ledger {
    pub ticks: u64,
    pub waiting: u64,
    pub credited: u64,
    pub idle: u64,
    pub duplicate: u64,
    pub overrun: u64,
    pub gap: u64,
    pub late: u64,
    pub ad: u64,
}

/// State of one partition after some prefix of its log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kernel {
    parameters: Parameters,
    clock: i64,
    ledger: Ledger,
    users: FxHashMap<Box<[u8]>, User>,
    /// When each waiting point is judged at the latest, in order.
    deadlines: VecDeque<Deadline>,
    strings: Strings,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Deadline {
    clock: i64,
    user: Box<[u8]>,
    session: Arc<SessionKey>,
    seq: u32,
}

impl Kernel {
    /// The state before any record.
    pub fn new(parameters: Parameters) -> Kernel {
        Kernel {
            parameters,
            clock: 0,
            ledger: Ledger::default(),
            users: FxHashMap::default(),
            deadlines: VecDeque::new(),
            strings: FxHashSet::default(),
        }
    }

    /// Greatest log time so far; ms since the epoch.
    pub fn clock(&self) -> i64 {
        self.clock
    }

    /// The account of the log so far.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Clock at which the next waiting point is due, if any waits.
    pub fn next_deadline(&self) -> Option<i64> {
        if self.ledger.waiting == 0 { None } else { self.deadlines.front().map(|deadline| deadline.clock) }
    }

    /// Folds a tick: a record that says nothing but the time.
    pub fn tick(&mut self, logged_at: i64, facts: &mut Facts) {
        self.advance(logged_at, facts);
        self.ledger.ticks += 1;
    }

    /// Folds one record. True: it is late, and belongs on the late topic.
    pub fn report(&mut self, record: &Record, logged_at: i64, facts: &mut Facts) -> bool {
        self.advance(logged_at, facts);
        let disposition = self.place(record, facts);
        if let Some(disposition) = disposition {
            let site = intern(&mut self.strings, &record.site);
            self.settle(site, record.received_at, disposition, facts);
        }
        disposition == Some(Disposition::Late)
    }

    /// Forgets what no later record can change. It has no effect on facts, only on memory.
    pub fn forget(&mut self) {
        let (clock, lateness_ms) = (self.clock, self.parameters.lateness_ms);
        self.users.retain(|_, user| {
            user.sessions.retain(|session| session.last_at >= clock - lateness_ms);
            user.forget_titles(clock - lateness_ms);
            user.impressions.forget(clock, lateness_ms);
            !user.is_empty()
        });
        self.strings.retain(|string| Arc::strong_count(string) > 1);
    }

    /// Number of sessions kept.
    pub fn sessions(&self) -> usize {
        self.users.values().map(|user| user.sessions.len()).sum()
    }

    /// Moves the clock, and judges the points whose wait is over.
    fn advance(&mut self, logged_at: i64, facts: &mut Facts) {
        self.clock = self.clock.max(logged_at);
        while self.deadlines.front().is_some_and(|deadline| deadline.clock <= self.clock) {
            let deadline = self.deadlines.pop_front().expect("there is a first deadline");
            let Some(user) = self.users.get_mut(&deadline.user) else { continue };
            let Some(index) = user.find(&deadline.session.session_id, &deadline.session.video_id) else { continue };
            let expired = user.sessions[index].sequence.expire(deadline.seq);
            if let Some((waiting, before)) = expired {
                let disposition = user.sessions[index].judge(waiting, before, facts);
                self.ledger.waiting -= 1;
                self.settle(deadline.session.site.clone(), waiting.received_at, disposition, facts);
            }
        }
    }

    /// Puts a record in its session. None: it waits.
    fn place(&mut self, record: &Record, facts: &mut Facts) -> Option<Disposition> {
        let oldest = self.clock - self.parameters.lateness_ms;
        if record.event_time < oldest {
            return Some(Disposition::Late);
        }
        let user_key = record::key(&record.site, &record.user_id);
        let user = open_user(&mut self.users, &user_key, record, &mut self.strings);
        let index = open_session(user, record, oldest, &mut self.strings);
        let session = &mut user.sessions[index];
        let is_point = record.ad.is_none() && record.from_ms.is_none();
        let next = match session.sequence.place(record.seq) {
            Place::Taken => return Some(Disposition::Duplicate),
            Place::Free { closed: true, .. } if is_point => return Some(Disposition::Late),
            Place::Free { next, .. } => next,
        };
        let device = (!record.device.is_empty()).then(|| intern(&mut self.strings, &record.device));
        let accepted = session.accept(record, next, device, self.clock, facts);
        let key = session.key.clone();
        match &record.ad {
            Some(ad) => {
                let report = AdReport {
                    ad,
                    event_time: record.event_time,
                    clock: self.clock,
                    lateness_ms: self.parameters.lateness_ms,
                };
                let line_id = intern(&mut self.strings, &ad.line_id);
                user.impressions.report(&report, &user.site, &user.user_id, line_id, facts);
            }
            None => user.resume(record, &key, oldest, facts),
        }
        if accepted.disposition.is_none() {
            self.ledger.waiting += 1;
            let clock = self.clock.saturating_add(self.parameters.point_wait_ms);
            self.deadlines.push_back(Deadline { clock, user: user_key.clone().into(), session: key, seq: record.seq });
        }
        self.release(&user_key, index, accepted.released, facts);
        accepted.disposition
    }

    /// Judges the points of a session that need not wait any more now that a report of it came: the one right after
    /// that report, and those that have seen too many later ones.
    fn release(&mut self, user_key: &[u8], index: usize, released: Option<(Waiting, Playhead)>, facts: &mut Facts) {
        let session = &mut self.users.get_mut(user_key).expect("the session's user is there").sessions[index];
        let site = session.key.site.clone();
        let mut judged = SmallVec::<[(i64, Disposition); 2]>::new();
        if let Some((waiting, before)) = released {
            judged.push((waiting.received_at, session.judge(waiting, Some(before), facts)));
        }
        while let Some(seq) = session.sequence.overdue(session.heartbeats, MAX_LATER_REPORTS) {
            let (waiting, before) = session.sequence.expire(seq).expect("an overdue point waits");
            judged.push((waiting.received_at, session.judge(waiting, before, facts)));
        }
        for (received_at, disposition) in judged {
            self.ledger.waiting -= 1;
            self.settle(site.clone(), received_at, disposition, facts);
        }
    }

    fn settle(&mut self, site: Arc<str>, received_at: i64, disposition: Disposition, facts: &mut Facts) {
        let count = match disposition {
            Disposition::Credited => &mut self.ledger.credited,
            Disposition::Idle => &mut self.ledger.idle,
            Disposition::Duplicate => &mut self.ledger.duplicate,
            Disposition::Overrun => &mut self.ledger.overrun,
            Disposition::Gap => &mut self.ledger.gap,
            Disposition::Late => &mut self.ledger.late,
            Disposition::Ad => &mut self.ledger.ad,
        };
        *count += 1;
        facts.dispositions.push(DispositionFact { site, received_at, disposition });
    }
}

fn open_user<'a>(
    users: &'a mut FxHashMap<Box<[u8]>, User>,
    key: &[u8],
    record: &Record,
    strings: &mut Strings,
) -> &'a mut User {
    if !users.contains_key(key) {
        users.insert(key.into(), User::new(intern(strings, &record.site), record.user_id.as_str().into()));
    }
    users.get_mut(key).expect("the user was just put there")
}

/// Number of the record's session; one that was silent since before `oldest` is forgotten and begins anew.
fn open_session(user: &mut User, record: &Record, oldest: i64, strings: &mut Strings) -> usize {
    let known = user.find(&record.session_id, &record.video_id);
    if let Some(index) = known {
        if user.sessions[index].last_at < oldest {
            user.sessions[index] = Session::new(user.sessions[index].key.clone());
        }
        return index;
    }
    let key = SessionKey {
        site: user.site.clone(),
        user_id: user.user_id.clone(),
        session_id: record.session_id.as_str().into(),
        video_id: intern(strings, &record.video_id),
    };
    user.sessions.push(Session::new(Arc::new(key)))
}

/// One copy of each string that many sessions share.
type Strings = FxHashSet<Arc<str>>;

fn intern(strings: &mut Strings, string: &str) -> Arc<str> {
    if let Some(known) = strings.get(string) {
        return known.clone();
    }
    let fresh: Arc<str> = string.into();
    strings.insert(fresh.clone());
    fresh
}
