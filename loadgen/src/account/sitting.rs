//! A session that is being watched, and the sums by title that it adds to.

use super::{DAY_MS, HOUR_MS, MINUTE_MS, SessionRef, Watched, index, session_ref};
use crate::report::{Report, Who};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// Resolution of the retention curve; ms of content.
const BUCKET_MS: u32 = 10_000;
/// So much unique content makes a view, or half of a shorter title; ms.
const VIEW_MS: u32 = 30_000;
const COMPLETE_PERCENT: u64 = 90;

/// Sums by title.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// Title, minute: wall time in ms, sessions.
    pub(crate) minutes: FxHashMap<(u32, u32), [i64; 2]>,
    /// Title, territory, hour: gross, qualified and wall time in ms, starts, views, completes.
    pub(crate) hours: FxHashMap<(u32, u8, u32), [i64; 6]>,
    /// Title, day, bucket: gross in ms.
    pub(crate) retention: FxHashMap<(u32, u32, u32), i64>,
}

/// Content `[from_ms, to_ms)` that was seen in `[start, end)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Credit {
    pub(super) from_ms: u32,
    pub(super) to_ms: u32,
    pub(super) start: i64,
    pub(super) end: i64,
}

/// A session so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sitting {
    pub(super) number: u32,
    session: SessionRef,
    sum: Watched,
    duration_ms: u32,
    /// Whether its times are unknown and all count as one.
    blurred: bool,
    covered: Vec<(u32, u32)>,
    /// Hour of the first credit.
    first_hour: Option<u32>,
    /// The last minute in which it counted as a viewer.
    counted_minute: u32,
    /// Gross by hour that becomes qualified if this becomes a view.
    unqualified: Vec<(u32, i64)>,
}

impl Sitting {
    pub(super) fn new(who: Who, report: &Report, blurred: bool) -> Sitting {
        let sum = Watched {
            title: report.title,
            territory: who.territory,
            device: who.device,
            is_view: false,
            is_complete: false,
            gross_ms: 0,
            unique_ms: 0,
            wall_ms: 0,
            heartbeats: 0,
            started_at: report.at_ms,
            last_at: report.at_ms,
            segments: Box::default(),
        };
        Sitting {
            number: report.session,
            session: session_ref(who, report.session),
            sum,
            duration_ms: report.duration_ms,
            blurred,
            covered: Vec::new(),
            first_hour: None,
            counted_minute: 0,
            unqualified: Vec::new(),
        }
    }

    pub(super) fn heard(&mut self, report: &Report) {
        self.sum.heartbeats += 1;
        self.sum.started_at = self.sum.started_at.min(report.at_ms);
        self.sum.last_at = self.sum.last_at.max(report.at_ms);
    }

    pub(super) fn end(self) -> (SessionRef, Watched) {
        (self.session, Watched { segments: self.covered.into_boxed_slice(), ..self.sum })
    }

    pub(super) fn credit(&mut self, credit: Credit, sums: &mut Sums) {
        let (title, gross, wall) = (self.sum.title, credit.to_ms - credit.from_ms, credit.end - credit.start);
        self.sum.gross_ms += gross;
        self.sum.wall_ms += wall as u32;
        self.cover(credit.from_ms, credit.to_ms);
        self.add_minutes(credit, sums);
        self.add_hours(credit, sums);
        self.become_view(sums);
        let day = if self.blurred { 0 } else { index(credit.end, DAY_MS) };
        let mut from_ms = credit.from_ms;
        while from_ms < credit.to_ms {
            let bucket = from_ms / BUCKET_MS;
            let to_ms = credit.to_ms.min((bucket + 1) * BUCKET_MS);
            *sums.retention.entry((title, day, bucket)).or_default() += i64::from(to_ms - from_ms);
            from_ms = to_ms;
        }
    }

    /// Joins what was seen now with what was seen before: touching stretches are one.
    fn cover(&mut self, mut from_ms: u32, mut to_ms: u32) {
        let first = self.covered.partition_point(|&(_, to)| to < from_ms);
        let touched = self.covered[first..].iter().take_while(|&&(from, _)| from <= to_ms).count();
        for (from, to) in self.covered.drain(first..first + touched) {
            from_ms = from_ms.min(from);
            to_ms = to_ms.max(to);
            self.sum.unique_ms -= to - from;
        }
        self.covered.insert(first, (from_ms, to_ms));
        self.sum.unique_ms += to_ms - from_ms;
    }

    fn add_minutes(&mut self, credit: Credit, sums: &mut Sums) {
        let mut at = credit.start;
        while at < credit.end {
            let minute = index(at, MINUTE_MS);
            let until = credit.end.min((i64::from(minute) + 1) * MINUTE_MS);
            let key = if self.blurred { 0 } else { minute };
            let row = sums.minutes.entry((self.sum.title, key)).or_default();
            row[0] += until - at;
            if !self.blurred && minute != self.counted_minute {
                self.counted_minute = minute;
                row[1] += 1;
            }
            at = until;
        }
    }

    fn add_hours(&mut self, credit: Credit, sums: &mut Sums) {
        let (gross, wall) = (i64::from(credit.to_ms - credit.from_ms), credit.end - credit.start);
        let (mut at, mut gross_so_far) = (credit.start, 0);
        while at < credit.end {
            let hour = index(at, HOUR_MS);
            let until = credit.end.min((i64::from(hour) + 1) * HOUR_MS);
            let upto = gross * (until - credit.start) / wall;
            let key = if self.blurred { 0 } else { hour };
            let row = sums.hours.entry((self.sum.title, self.sum.territory, key)).or_default();
            row[0] += upto - gross_so_far;
            row[2] += until - at;
            if self.first_hour.is_none() {
                self.first_hour = Some(key);
                row[3] += 1;
            }
            if self.sum.is_view {
                row[1] += upto - gross_so_far;
            } else {
                self.unqualified.push((key, upto - gross_so_far));
            }
            (at, gross_so_far) = (until, upto);
        }
    }

    fn become_view(&mut self, sums: &mut Sums) {
        let Some(first_hour) = self.first_hour else { return };
        let (title, territory) = (self.sum.title, self.sum.territory);
        let enough = if self.duration_ms == 0 { VIEW_MS } else { VIEW_MS.min(self.duration_ms / 2) };
        if !self.sum.is_view && self.sum.unique_ms >= enough {
            self.sum.is_view = true;
            sums.hours.entry((title, territory, first_hour)).or_default()[4] += 1;
            for (hour, gross) in std::mem::take(&mut self.unqualified) {
                sums.hours.entry((title, territory, hour)).or_default()[1] += gross;
            }
        }
        let is_complete = u64::from(self.sum.unique_ms) * 100 >= u64::from(self.duration_ms) * COMPLETE_PERCENT;
        if !self.sum.is_complete && self.duration_ms > 0 && is_complete {
            self.sum.is_complete = true;
            sums.hours.entry((title, territory, first_hour)).or_default()[5] += 1;
        }
    }
}

impl Sums {
    pub(super) fn merge(&mut self, other: Sums) {
        add(&mut self.minutes, other.minutes);
        add(&mut self.hours, other.hours);
        for (key, gross) in other.retention {
            *self.retention.entry(key).or_default() += gross;
        }
    }
}

fn add<K: std::hash::Hash + Eq, const N: usize>(sums: &mut FxHashMap<K, [i64; N]>, more: FxHashMap<K, [i64; N]>)
where
    [i64; N]: Default,
{
    for (key, row) in more {
        let sum = sums.entry(key).or_default();
        sum.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
    }
}
