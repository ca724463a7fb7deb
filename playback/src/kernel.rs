//! The session kernel: folds the log of one partition, record by record, into facts. It deduplicates, lets points
//! wait for their place, credits, and keeps each session's union.
//!
//! State is a pure function of the records, their log times and [`Parameters`]; so are the facts, however the log
//! is cut. Nothing here reads a clock: time is what [`Kernel::advance`] was told.

mod held;
mod id;
mod impressions;
mod judge;
mod ledger;
mod list;
mod sequence;
mod session;
mod user;
mod users;

use crate::credit::Disposition;
use crate::facts::Facts;
use crate::record::Record;
use crate::words::{WordCode, Words};
use impressions::AdReport;
use judge::Judge;
pub use ledger::Ledger;
use sequence::Place;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::hint::black_box;
use user::{Owner, User, UserFacts};
use users::Users;

/// Changes whenever the kernel would put out other facts for the same log, or keeps its state in another form.
pub const KERNEL_VERSION: u32 = 8;

/// Records to be [prefetched](Kernel::prefetch) at a time: enough to keep memory busy, and few enough for the nearest cache.
pub const READ_AHEAD: usize = 32;

/// Users to be [saved](Kernel::save_some) at a time: records wait for it about a millisecond.
pub const SAVE_AT_ONCE: usize = 2_048;

/// After this many rows of facts, the remaining points whose wait is over are left to the next record or tick, so that what one
/// record or tick puts out is bounded, however many points wait and however far the clock jumps.
const MAX_DUE_ROWS: usize = 4_096;

/// What the crediting rules leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// A report that reaches the log more than this after its event time is late; ms.
    pub lateness_ms: i64,
    /// A point is judged at most this much log time after it came; ms.
    pub point_wait_ms: i64,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters { lateness_ms: 24 * 3_600_000, point_wait_ms: 60_000 }
    }
}

/// State of one partition after some prefix of its log.
#[derive(Debug)]
pub struct Kernel {
    parameters: Parameters,
    clock: i64,
    ledger: Ledger,
    users: Users,
    /// When the wait of each waiting point ends, in order.
    deadlines: VecDeque<Deadline>,
    /// Texts that many users share: sites, titles, devices, ad lines.
    words: Words,
    /// Sessions begun so far, modulo 2^32.
    serials: u32,
}

/// What was saved of the state since the last time.
#[derive(Debug)]
pub struct Saved {
    /// The next bytes, in parts of some hundred kilobytes.
    pub parts: Vec<Vec<u8>>,
    /// Whether that is all.
    pub is_last: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Deadline {
    clock: i64,
    site: WordCode,
    video: WordCode,
    user_id: Box<str>,
    session_id: Box<str>,
}

impl Kernel {
    /// The state before any record.
    pub fn new(parameters: Parameters) -> Kernel {
        Kernel {
            parameters,
            clock: 0,
            ledger: Ledger::default(),
            users: Users::default(),
            deadlines: VecDeque::new(),
            words: Words::default(),
            serials: 0,
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

    /// Clock at which the next waiting point is due, if any waits; it has already passed if points are left to the next record
    /// or tick.
    pub fn next_deadline(&self) -> Option<i64> {
        if self.ledger.waiting == 0 { None } else { self.deadlines.front().map(|deadline| deadline.clock) }
    }

    /// Folds a tick: a record that says nothing but the time.
    pub fn tick(&mut self, logged_at: i64, facts: &mut Facts) {
        self.advance(logged_at, facts);
        self.ledger.ticks += 1;
    }

    /// Folds one record, and says how it ended. None: it is a point that waits for its place.
    pub fn fold(&mut self, record: &Record, logged_at: i64, facts: &mut Facts) -> Option<Disposition> {
        self.advance(logged_at, facts);
        let owner = Owner { site: self.words.code_again(&record.site), user_id: &record.user_id };
        let disposition = self.place(record, owner, facts)?;
        let facts = UserFacts { owner, words: &self.words, epoch: facts };
        Judge { ledger: &mut self.ledger, facts }.settle(record.received_at, disposition);
        Some(disposition)
    }

    /// Reads what folding these records will read, and changes nothing: memory of the users is waited for once for all of them
    /// instead of once for each. To be called with the next [`READ_AHEAD`] records.
    pub fn prefetch<'a>(&self, records: impl Iterator<Item = &'a Record>) {
        let names = records.filter_map(|record| Some((self.words.find(&record.site)?, record.user_id.as_str())));
        for user in self.users.prefetch_candidates(names) {
            black_box(user.touch(&self.words));
        }
    }

    /// Begins to save the state as it is now, after the bytes `before` that the caller has saved already; [`Kernel::save_some`]
    /// continues while records are folded. To be called when no facts are held. Gives up a save that is under way.
    pub fn begin_save(&mut self, before: Vec<u8>) {
        for deadline in &self.deadlines {
            self.words.name(deadline.site);
            self.words.name(deadline.video);
        }
        if !self.users.is_save_under_way() {
            self.words.sweep(); // the last save has asked all users
        }
        let state = (self.parameters, self.clock, self.ledger, &self.deadlines, &self.words, self.serials);
        let part = postcard::to_extend(&state, before).expect("state is plain data");
        self.users.begin_save(self.clock, self.parameters.lateness_ms, part);
    }

    /// Saves at most this many more users, and forgets whatever of theirs no later record can change; forgetting has no effect
    /// on facts. All parts one after another are the state as it was when the save began.
    pub fn save_some(&mut self, users: usize) -> Saved {
        self.users.save_some(users, &mut self.words)
    }

    /// The state whose saved parts, one after another, are `saved`.
    pub fn restore(saved: &[u8]) -> Result<Kernel, postcard::Error> {
        let ((parameters, clock, ledger, deadlines, words, serials), mut left) = postcard::take_from_bytes(saved)?;
        let mut kernel = Kernel { parameters, clock, ledger, users: Users::default(), deadlines, words, serials };
        while let (Some(user), next) = postcard::take_from_bytes::<Option<Box<User>>>(left)? {
            kernel.users.insert(user);
            left = next;
        }
        Ok(kernel)
    }

    /// Number of sessions kept.
    pub fn sessions(&self) -> usize {
        self.users.iter().map(|user| user.sessions.len()).sum()
    }

    /// Moves the clock, and judges points whose wait is over.
    fn advance(&mut self, logged_at: i64, facts: &mut Facts) {
        self.clock = self.clock.max(logged_at);
        if self.deadlines.front().is_some_and(|deadline| deadline.clock <= self.clock) {
            self.judge_due(facts); // seldom
        }
    }

    /// Judges points whose wait is over. Those that are left are judged by the next calls, or before anything else comes to
    /// their session, so the outcome is the same as if they were judged now.
    fn judge_due(&mut self, facts: &mut Facts) {
        let enough = facts.rows() + MAX_DUE_ROWS;
        while facts.rows() < enough
            && let Some(deadline) = self.deadlines.pop_front_if(|deadline| deadline.clock <= self.clock)
        {
            let Some(user) = self.users.get_mut(deadline.site, &deadline.user_id, &mut self.words) else { continue };
            let video = deadline.video;
            let found = user.find(&deadline.session_id, || Some(video), |other| other == video);
            let Some(index) = found else { continue };
            let owner = Owner { site: deadline.site, user_id: &deadline.user_id };
            let facts = UserFacts { owner, words: &self.words, epoch: facts };
            Judge { ledger: &mut self.ledger, facts }.due(&mut user.sessions[index], self.clock);
        }
    }

    /// Puts a record in its session. None: it waits.
    fn place(&mut self, record: &Record, owner: Owner<'_>, facts: &mut Facts) -> Option<Disposition> {
        let Kernel { parameters, clock, ledger, users, deadlines, words, serials } = self;
        let (clock, oldest) = (*clock, *clock - parameters.lateness_ms);
        if record.event_time < oldest {
            return Some(Disposition::Late);
        }
        let user = users.open(owner.site, owner.user_id, words);
        let index = user.open(record, words, serials);
        let session = &mut user.sessions[index];
        Judge { ledger, facts: UserFacts { owner, words, epoch: facts } }.due(session, clock);
        session.hear(clock, record.event_time, oldest);
        let is_point = record.ad.is_none() && record.from_ms.is_none();
        let gap = match session.sequence.place(record.seq) {
            Place::Taken => return Some(Disposition::Duplicate),
            Place::Free { closed: true, .. } if is_point => return Some(Disposition::Late),
            Place::Free { gap, .. } => gap,
        };
        let says_device = !record.device.is_empty() && session.takes_device(record.seq);
        let device = says_device.then(|| words.code(&record.device));
        let ad = record.ad.as_ref().map(|ad| (ad, words.code(&ad.line_id)));
        let until = clock.saturating_add(parameters.point_wait_ms);
        let mut facts = UserFacts { owner, words, epoch: facts };
        let accepted = session.accept(record, gap, until, device, &mut facts);
        match ad {
            Some((ad, line)) => {
                let lateness_ms = parameters.lateness_ms;
                let report = AdReport { ad, line, event_time: record.event_time, clock, lateness_ms };
                user.impressions.get_or_insert_default().report(&report, &mut facts);
            }
            None => user.resume(record, index, oldest, facts.epoch),
        }
        let session = &mut user.sessions[index];
        if accepted.disposition.is_none() {
            ledger.waiting += 1;
            deadlines.push_back(Deadline::new(until, owner, session.video, &record.session_id));
        }
        Judge { ledger, facts }.release(session, accepted.released);
        accepted.disposition
    }
}

impl Deadline {
    fn new(clock: i64, owner: Owner<'_>, video: WordCode, session_id: &str) -> Deadline {
        Deadline { clock, site: owner.site, video, user_id: owner.user_id.into(), session_id: session_id.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, Kernel, Parameters, Record};

    /// A deadline outlives the wait of its point, and perhaps its session: the words it names must not be given to other texts.
    #[test]
    fn a_deadline_keeps_the_words_that_it_names() {
        let mut kernel = Kernel::new(Parameters { lateness_ms: 1_000, ..Parameters::default() });
        let mut facts = Facts::default();
        for seq in [1, 0] {
            let point = Record { site: "old".into(), video_id: "v".into(), seq, from_ms: None, ..Record::default() };
            kernel.fold(&point, 0, &mut facts);
        }
        kernel.tick(20_000, &mut facts);
        facts.clear();
        for _ in 0..3 {
            kernel.begin_save(Vec::new());
            assert!(kernel.save_some(usize::MAX).is_last);
        }
        assert_eq!(kernel.sessions(), 0);
        let words = |code| kernel.words.get(code);
        let named: Vec<_> = kernel.deadlines.iter().map(|one| (words(one.site), words(one.video))).collect();
        assert_eq!(named, [("old", "v")]);
    }
}
