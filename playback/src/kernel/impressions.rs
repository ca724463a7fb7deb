//! Impressions of one user: what is known of each showing of an ad, and which lines reached the user on which day.

use super::list::{self, Key, List, SHORT};
use super::user::UserFacts;
use crate::credit::VIEWABLE_MS;
use crate::facts::ImpressionFact;
use crate::record::RecordAd;
use crate::words::WordCode;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::hash_map::Entry;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// The impressions of one user of one site that a report may still change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Impressions {
    seen: List<Impression>,
    /// The clock's day when it was last looked for what to forget.
    day: i64,
    /// How many impressions each line has on each day, while there are many; no part of the state.
    #[serde(skip)]
    reach: Option<Box<Reach>>,
}

type Reach = FxHashMap<(WordCode, i64), u32>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Impression {
    impression_id: Box<str>,
    line: WordCode,
    /// Start of the earliest hour it reported; ms since the epoch.
    hour: i64,
    measurable: bool,
    viewable: bool,
    quartile: u8,
    /// The greatest clock and event time of its reports.
    last_at: i64,
}

/// What an ad report says, and when.
pub(super) struct AdReport<'a> {
    pub(super) ad: &'a RecordAd,
    pub(super) line: WordCode,
    pub(super) event_time: i64,
    pub(super) clock: i64,
    pub(super) lateness_ms: i64,
}

impl Impressions {
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Takes in one ad report of a user.
    pub(super) fn report(&mut self, report: &AdReport<'_>, facts: &mut UserFacts<'_>) {
        if self.day != day_of(report.clock) {
            self.forget(report.clock, report.lateness_ms);
            self.day = day_of(report.clock);
        }
        let ad = report.ad;
        let hour = report.event_time - report.event_time.rem_euclid(HOUR_MS);
        let id = ad.impression_id.as_str();
        let known = self.seen.find(|impression| impression.text(id), |seen| *seen.impression_id == *id);
        let before = known.map(|index| self.seen[index].clone());
        let mut now = before.clone().unwrap_or(Impression {
            impression_id: id.into(),
            line: report.line,
            hour,
            measurable: false,
            viewable: false,
            quartile: 0,
            last_at: report.clock,
        });
        now.hour = now.hour.min(hour);
        now.measurable |= ad.viewable_ms.is_some();
        now.viewable |= ad.viewable_ms.unwrap_or(0) >= VIEWABLE_MS;
        now.quartile = now.quartile.max(ad.quartile as u8);
        now.last_at = now.last_at.max(report.clock).max(report.event_time);
        let mut put = |impression: &Impression, sign: i64| {
            let alone = !self.has_others(impression, known);
            let fact = impression.fact(sign, alone, facts);
            facts.epoch.impressions.push(fact);
        };
        match &before {
            Some(before) if before.counts_like(&now) => {}
            Some(before) => {
                put(before, -1);
                put(&now, 1);
            }
            None => put(&now, 1),
        }
        self.keep(known, now);
    }

    /// Whether the user has other impressions of the line and day of this one; `known` is its number, if it has one.
    fn has_others(&mut self, impression: &Impression, known: Option<usize>) -> bool {
        if self.seen.len() <= SHORT {
            let is_other =
                |(index, seen): (usize, &Impression)| Some(index) != known && seen.place() == impression.place();
            return self.seen.iter().enumerate().any(is_other);
        }
        let reach = self.reach.get_or_insert_with(|| {
            let mut reach = Reach::default();
            self.seen.iter().for_each(|seen| *reach.entry(seen.place()).or_default() += 1);
            Box::new(reach)
        });
        let is_itself = known.is_some_and(|index| self.seen[index].place() == impression.place());
        reach.get(&impression.place()).is_some_and(|count| *count > u32::from(is_itself))
    }

    /// Puts an impression in the place it has, or behind the others.
    fn keep(&mut self, known: Option<usize>, now: Impression) {
        if let Some(reach) = &mut self.reach {
            *reach.entry(now.place()).or_default() += 1;
            if let Some(index) = known
                && let Entry::Occupied(mut count) = reach.entry(self.seen[index].place())
            {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        match known {
            Some(index) => self.seen[index] = now,
            None => drop(self.seen.push(now)),
        }
    }

    /// Every word it names.
    pub(super) fn words(&self, mut each: impl FnMut(WordCode)) {
        self.seen.iter().for_each(|seen| each(seen.line));
    }

    /// Drops impressions if no report in time can change them or the reach of their day. By whole days of the clock, so that
    /// the effect is the same whenever within a day it is done.
    pub(super) fn forget(&mut self, clock: i64, lateness_ms: i64) {
        let today = day_of(clock);
        if self.seen.retain(|seen| today <= day_of(seen.last_at.max(seen.day() + DAY_MS) + lateness_ms)) {
            self.reach = None;
        }
    }
}

fn day_of(at: i64) -> i64 {
    at - at.rem_euclid(DAY_MS)
}

impl list::Entry for Impression {
    fn feed(&self, key: &mut Key) {
        key.text(&self.impression_id);
    }
}

impl Impression {
    fn day(&self) -> i64 {
        day_of(self.hour)
    }

    /// Where it counts for reach.
    fn place(&self) -> (WordCode, i64) {
        (self.line, self.day())
    }

    fn counts_like(&self, other: &Impression) -> bool {
        (self.hour, self.measurable, self.viewable, self.quartile)
            == (other.hour, other.measurable, other.viewable, other.quartile)
    }

    fn fact(&self, sign: i64, only_one_of_its_day: bool, facts: &mut UserFacts<'_>) -> ImpressionFact {
        ImpressionFact {
            site: facts.site(),
            user_id: facts.user_id(),
            line_id: facts.word(self.line),
            hour: self.hour,
            impressions: sign,
            measurable: sign * i64::from(self.measurable),
            viewable: sign * i64::from(self.viewable),
            quartiles: [1, 2, 3, 4].map(|quartile| sign * i64::from(self.quartile >= quartile)),
            users: sign * i64::from(only_one_of_its_day),
        }
    }
}
