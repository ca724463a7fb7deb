//! Which `seq`s of a session are in, which points wait for their place, and which places were passed. It knows
//! nothing of credit: it says what a point is to be judged against, and when.

use crate::credit::{Playhead, Territory};
use crate::ordered::Ordered;
use serde::{Deserialize, Serialize};

/// A point report that waits for the report before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) event_time: i64,
    pub(super) received_at: i64,
    pub(super) position_ms: u32,
    pub(super) territory: Territory,
    /// Clock at which its wait ends.
    pub(super) until: i64,
    /// Accepted reports of the session when it came, itself included.
    pub(super) heartbeats: u32,
}

/// The `seq`s of one session. Mostly one run from 0; in formats that do not count their reports, each report is a run of its
/// own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sequence {
    /// Runs of consecutive `seq`s that are all in: the last of each by its first.
    runs: Ordered<u32>,
    /// The last report of the last run: what a point after it is judged against.
    tail: Option<Playhead>,
    /// The gap before the first run is closed.
    start_closed: bool,
    /// None: nothing is missing between runs, or points may come into no gap there any more.
    open: Option<Box<Open>>,
}

/// What is kept of a session's gaps while points may still come into them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    /// The last reports of the runs before the last run, by `seq`. If a run has none here, the gap after it is closed: a point
    /// was judged across it, and points that belong there come too late.
    tails: Ordered<Playhead>,
    /// The points that wait, by `seq`; each is the first report of its run. They are few, because none waits
    /// for many later reports.
    waiting: Vec<(u32, Waiting)>,
}

/// Where no `seq` is in: after a run, if there is one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// First and last of that run.
    before: Option<(u32, u32)>,
    /// Whether no run comes after it.
    is_end: bool,
}

/// Where a `seq` would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is in already.
    Taken,
    /// A gap; `closed`: points were judged across it.
    Free {
        /// Which one.
        gap: Gap,
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
    pub(super) fn touch(&self) -> i64 {
        self.tail.map_or(0, |tail| tail.event_time)
    }

    /// Where `seq` would go.
    pub(super) fn place(&self, seq: u32) -> Place {
        let gap = match self.runs.last() {
            Some(run) if run.1 < seq => Gap { before: Some(run), is_end: true }, // nearly always
            last => Gap { before: self.runs.up_to(seq), is_end: last.is_none() },
        };
        match gap.before {
            Some((_, last)) if seq <= last => Place::Taken,
            _ => Place::Free { gap, closed: self.is_closed(gap) },
        }
    }

    /// Whether a gap is closed to points.
    fn is_closed(&self, gap: Gap) -> bool {
        match gap.before {
            _ if gap.is_end => false,
            None => self.start_closed,
            Some((_, last)) => self.open.as_ref().is_none_or(|open| open.tails.get(last).is_none()),
        }
    }

    /// Puts a report in its gap, as [`Sequence::place`] gave it. `point` is set when it needs the report before it.
    pub(super) fn insert(&mut self, gap: Gap, seq: u32, playhead: Playhead, point: Option<Waiting>) -> Placed {
        let Gap { before: run, is_end } = gap;
        let follows = run.filter(|(_, last)| last + 1 == seq);
        if is_end
            && follows.is_some()
            && let Some((_, last)) = self.runs.last_mut()
        {
            *last = seq; // nearly always
            return Placed { before: Some(self.tail.replace(playhead)), released: None };
        }
        let precedes = self.runs.get(seq + 1).is_some();
        let is_closed = self.is_closed(gap);
        let before = match (follows, seq) {
            (Some((_, last)), _) => Some(self.take_tail(last)),
            (None, 0) => Some(None),
            (None, _) => None,
        };
        let released = if precedes { self.take_waiting(seq + 1) } else { None };
        if let Some(point) = point.filter(|_| before.is_none()) {
            let waiting = &mut self.open.get_or_insert_default().waiting;
            waiting.insert(waiting.partition_point(|(other, _)| *other < seq), (seq, point));
        }
        if is_end {
            self.end_with(playhead);
        } else if !precedes && !is_closed {
            self.open.get_or_insert_default().tails.insert(seq, playhead);
        }
        let last = if precedes { self.runs.remove(seq + 1) } else { None };
        self.runs.insert(follows.map_or(seq, |(first, _)| first), last.unwrap_or(seq));
        Placed { before, released }
    }

    /// Ends the wait of the point `seq`, if it still waits: it is judged against the nearest report before it, and
    /// the gap between them is closed to points.
    pub(super) fn expire(&mut self, seq: u32) -> Option<(Waiting, Option<Playhead>)> {
        let waiting = self.take_waiting(seq)?;
        let before = seq.checked_sub(1).and_then(|seq| self.runs.up_to(seq));
        if before.is_none() {
            self.start_closed = true;
        }
        Some((waiting, before.and_then(|(_, last)| self.take_tail(last))))
    }

    /// Whether a point waits.
    pub(super) fn waits(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.waiting.is_empty())
    }

    /// Of the points whose wait is over, the one that came first.
    pub(super) fn due(&self, clock: i64) -> Option<u32> {
        let open = self.open.as_ref()?; // nearly never
        let due = open.waiting.iter().filter(|(_, waiting)| waiting.until <= clock);
        due.min_by_key(|(_, waiting)| waiting.heartbeats).map(|(seq, _)| *seq)
    }

    /// A point that has seen `reports` later reports of its session, which now has `heartbeats`.
    pub(super) fn overdue(&self, heartbeats: u32, reports: u32) -> Option<u32> {
        let open = self.open.as_ref()?; // nearly never
        let overdue = |waiting: &Waiting| heartbeats - waiting.heartbeats >= reports;
        open.waiting.iter().find(|(_, waiting)| overdue(waiting)).map(|(seq, _)| *seq)
    }

    /// Takes out the last report of the run that ends with `last`, if a point behind it may still be judged against it.
    fn take_tail(&mut self, last: u32) -> Option<Playhead> {
        self.take(|open| open.tails.remove(last))
    }

    fn take_waiting(&mut self, seq: u32) -> Option<Waiting> {
        self.take(|open| {
            let index = open.waiting.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
            Some(open.waiting.remove(index).1)
        })
    }

    /// Takes something out of `open`, and drops `open` once nothing is left in it.
    fn take<T>(&mut self, take: impl FnOnce(&mut Open) -> Option<T>) -> Option<T> {
        let open = self.open.as_mut()?;
        let taken = take(open);
        if open.tails.is_empty() && open.waiting.is_empty() {
            self.open = None;
        }
        taken
    }

    /// Takes in a report that comes after all others and after a gap: the previous last report is kept for what comes into that
    /// gap.
    fn end_with(&mut self, playhead: Playhead) {
        if let (Some(tail), Some((_, last))) = (self.tail.replace(playhead), self.runs.last()) {
            self.open.get_or_insert_default().tails.insert(last, tail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Later reports that a point waits for.
    const LATER: u32 = 4;

    /// A report whose time tells its place.
    fn playhead(seq: u32) -> Playhead {
        Playhead { event_time: seq.into(), position_ms: 0, rate: 1_000, playing: true }
    }

    fn waiting(seq: u32, heartbeats: u32) -> Waiting {
        let territory = Territory::UNKNOWN;
        Waiting { event_time: seq.into(), received_at: 0, position_ms: 0, territory, until: 0, heartbeats }
    }

    /// Every point that was judged, in order, and what it was judged against.
    type Judged = Vec<(u32, Option<u32>)>;

    /// Puts in these reports, points or not, as a session does, and judges points when they need not wait any more.
    fn judged(reports: &[(u32, bool)]) -> (Sequence, Judged) {
        let (mut sequence, mut judged, mut heartbeats) = (Sequence::default(), Judged::new(), 0);
        let seq_of = |before: Option<Playhead>| before.map(|before| before.event_time as u32);
        for &(seq, is_point) in reports {
            let Place::Free { gap, closed } = sequence.place(seq) else { continue };
            if is_point && closed {
                continue;
            }
            heartbeats += 1;
            let placed = sequence.insert(gap, seq, playhead(seq), is_point.then(|| waiting(seq, heartbeats)));
            if let Some(before) = placed.before.filter(|_| is_point) {
                judged.push((seq, seq_of(before)));
            }
            judged.extend(placed.released.map(|waiting| (waiting.event_time as u32, Some(seq))));
            while let Some(seq) = sequence.overdue(heartbeats, LATER) {
                let (_, before) = sequence.expire(seq).expect("an overdue point waits");
                judged.push((seq, seq_of(before)));
            }
        }
        (sequence, judged)
    }

    /// The same by looking at all reports again and again.
    fn judged_slowly(reports: &[(u32, bool)]) -> Judged {
        let mut judged = Judged::new();
        // In the order in which they came, with whether each still waits.
        let mut taken: Vec<(u32, bool)> = Vec::new();
        let mut passed: Vec<bool> = vec![false; 1_000];
        for &(seq, is_point) in reports {
            if taken.iter().any(|(other, _)| *other == seq) || is_point && passed[seq as usize] {
                continue;
            }
            let is_in = |taken: &[(u32, bool)], seq: u32| taken.iter().any(|(other, _)| *other == seq);
            let is_sure = seq == 0 || is_in(&taken, seq - 1);
            if is_point && is_sure {
                judged.push((seq, seq.checked_sub(1)));
            }
            if let Some((next, waits)) = taken.iter_mut().find(|(other, _)| *other == seq + 1)
                && std::mem::take(waits)
            {
                judged.push((*next, Some(seq)));
            }
            taken.push((seq, is_point && !is_sure));
            let overdue = taken.len().saturating_sub(LATER as usize);
            if let Some((late, waits)) = taken[..overdue].iter_mut().filter(|(_, waits)| *waits).min() {
                *waits = false;
                let late = *late;
                let before = taken.iter().map(|(other, _)| *other).filter(|other| *other < late).max();
                passed[before.map_or(0, |before| before as usize + 1)..late as usize].fill(true);
                judged.push((late, before));
            }
        }
        judged
    }

    proptest! {
        #[test]
        fn points_are_judged_as_if_all_reports_were_looked_at(reports in prop::collection::vec((0u32..60, prop::bool::weighted(0.7)), 0..120)) {
            prop_assert_eq!(judged(&reports).1, judged_slowly(&reports));
        }
    }

    #[test]
    fn of_points_that_are_numbered_with_gaps_little_is_kept_and_little_is_looked_at() {
        let reports: Vec<_> = (0..1_000).map(|number| (300 * number, true)).collect();
        for end in 1..=reports.len() {
            let (sequence, _) = judged(&reports[..end]);
            let open = sequence.open.unwrap_or_default();
            let length = |of: &Ordered<_>| of.with_entries(<[_]>::len);
            assert_eq!((open.waiting.len(), length(&open.tails)), ((end - 1).min(4), (end - 1).min(4)));
            assert_eq!(sequence.runs.with_entries(<[_]>::len), end);
        }
    }

    #[test]
    fn nothing_is_kept_beside_a_sequence_in_which_nothing_is_missing_any_more() {
        let (sequence, _) = judged(&[(3, true), (0, true), (2, false), (1, true), (4, true)]);
        assert_eq!((sequence.runs.with_entries(<[_]>::len), sequence.open), (1, None));
    }
}
