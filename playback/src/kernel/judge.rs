//! Settles the reports of one user: enters each disposition in the account and puts it out, and judges points whose wait is over.

use super::ledger::Ledger;
use super::sequence::Waiting;
use super::session::Session;
use super::user::UserFacts;
use crate::credit::{Disposition, Playhead};
use crate::facts::DispositionFact;

/// A point is judged at this many later reports of its session at the latest.
const MAX_LATER_REPORTS: u32 = 16;

/// What settling a report of one user changes beside the user.
pub(super) struct Judge<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) facts: UserFacts<'a>,
}

impl Judge<'_> {
    /// Judges the points of a session whose wait is over, in the order in which they came.
    pub(super) fn due(&mut self, session: &mut Session, clock: i64) {
        while let Some(seq) = session.sequence.due(clock) {
            self.expire(session, seq);
        }
    }

    /// Judges the points of a session that need not wait any more now that a report of it came: the one right after that
    /// report, and those that have seen too many later ones.
    pub(super) fn release(&mut self, session: &mut Session, released: Option<(Waiting, Playhead)>) {
        if let Some((waiting, before)) = released {
            self.judge(session, waiting, Some(before));
        }
        while let Some(seq) = session.sequence.overdue(session.heartbeats, MAX_LATER_REPORTS) {
            self.expire(session, seq);
        }
    }

    /// Judges the point `seq`, whose wait is over.
    fn expire(&mut self, session: &mut Session, seq: u32) {
        let (waiting, before) = session.sequence.expire(seq).expect("an overdue point waits");
        self.judge(session, waiting, before);
    }

    /// Judges a point that waited.
    fn judge(&mut self, session: &mut Session, waiting: Waiting, before: Option<Playhead>) {
        let disposition = session.judge(waiting, before, &mut self.facts);
        self.ledger.waiting -= 1;
        self.settle(waiting.received_at, disposition);
    }

    /// Enters the disposition of one record.
    pub(super) fn settle(&mut self, received_at: i64, disposition: Disposition) {
        self.ledger.dispositions[disposition as usize] += 1;
        let site = self.facts.site();
        self.facts.epoch.dispositions.push(DispositionFact { site, received_at, disposition });
    }
}
