//! Which `seq`s of a session are in, which points wait for their place, and which places were passed. It knows
//! nothing of credit: it says what a point is to be judged against, and when.

use crate::credit::{Playhead, Territory};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A point report that waits for the report before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) event_time: i64,
    pub(super) received_at: i64,
    pub(super) position_ms: u32,
    pub(super) territory: Territory,
    /// Accepted reports of the session when it came, itself included.
    pub(super) heartbeats: u32,
}

/// Consecutive `seq`s that are all in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: u32,
    last: u32,
    /// The report `last`: what a point after it is judged against.
    tail: Playhead,
    /// The report `first`, while it is a point that waits.
    head: Option<Box<Waiting>>,
    /// A point was judged across the gap before this run: points that belong there come too late.
    gap_closed: bool,
}

/// The `seq`s of one session. Mostly one run from 0, which is kept in place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sequence {
    runs: SmallVec<[Run; 1]>,
    waiting: u32,
}

/// Where a `seq` would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is in already.
    Taken,
    /// A gap; `closed`: points were judged across it.
    Free {
        /// Number of the run that follows the gap.
        next: usize,
        /// Whether points that belong there come too late.
        closed: bool,
    },
}

/// What follows from putting a report in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// For a point: what to judge it against, if that is certain now. Else it waits.
    pub(super) before: Option<Option<Playhead>>,
    /// The point right after it, which waited for it.
    pub(super) released: Option<Waiting>,
}

impl Sequence {
    /// Reads something of its last run.
    pub(super) fn peek(&self) -> i64 {
        self.runs.last().map_or(0, |run| run.tail.event_time)
    }

    /// Where `seq` would go.
    pub(super) fn place(&self, seq: u32) -> Place {
        let next = match self.runs.last() {
            Some(run) if seq > run.last => self.runs.len(), // nearly always
            _ => self.runs.partition_point(|run| run.last < seq),
        };
        match self.runs.get(next) {
            Some(run) if run.first <= seq => Place::Taken,
            Some(run) => Place::Free { next, closed: run.gap_closed },
            None => Place::Free { next, closed: false },
        }
    }

    /// Puts a report in the gap before run `next`, as [`Sequence::place`] gave it. `point` is set when it needs the
    /// report before it.
    pub(super) fn insert(&mut self, next: usize, seq: u32, playhead: Playhead, point: Option<Waiting>) -> Placed {
        let follows = next > 0 && self.runs[next - 1].last + 1 == seq;
        let precedes = self.runs.get(next).is_some_and(|run| run.first == seq + 1);
        let before = match (follows, seq) {
            (true, _) => Some(Some(self.runs[next - 1].tail)),
            (false, 0) => Some(None),
            (false, _) => None,
        };
        let head = point.filter(|_| before.is_none()).map(Box::new);
        self.waiting += u32::from(head.is_some());
        let released = precedes.then(|| self.runs[next].head.take()).flatten().map(|waiting| *waiting);
        self.waiting -= u32::from(released.is_some());
        match (follows, precedes) {
            (true, true) => {
                let following = self.runs.remove(next);
                let run = &mut self.runs[next - 1];
                (run.last, run.tail) = (following.last, following.tail);
            }
            (true, false) => {
                let run = &mut self.runs[next - 1];
                (run.last, run.tail) = (seq, playhead);
            }
            (false, true) => {
                let run = &mut self.runs[next];
                (run.first, run.head) = (seq, head);
            }
            (false, false) => {
                let gap_closed = self.runs.get(next).is_some_and(|run| run.gap_closed);
                self.runs.insert(next, Run { first: seq, last: seq, tail: playhead, head, gap_closed });
            }
        }
        Placed { before, released }
    }

    /// Ends the wait of the point `seq`, if it still waits: it is judged against the nearest report before it, and
    /// the gap between them is closed to points.
    pub(super) fn expire(&mut self, seq: u32) -> Option<(Waiting, Option<Playhead>)> {
        let index = self.runs.partition_point(|run| run.first < seq);
        let run = self.runs.get_mut(index).filter(|run| run.first == seq)?;
        let waiting = run.head.take()?;
        run.gap_closed = true;
        self.waiting -= 1;
        Some((*waiting, index.checked_sub(1).map(|before| self.runs[before].tail)))
    }

    /// A point that has seen `reports` later reports of its session, which now has `heartbeats`.
    pub(super) fn overdue(&self, heartbeats: u32, reports: u32) -> Option<u32> {
        if self.waiting == 0 {
            return None; // nearly always
        }
        let overdue = |waiting: &Waiting| heartbeats - waiting.heartbeats >= reports;
        self.runs.iter().find(|run| run.head.as_deref().is_some_and(overdue)).map(|run| run.first)
    }
}
