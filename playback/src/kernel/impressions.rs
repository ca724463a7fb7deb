//! Impressions of one user: what is known of each showing of an ad, and which lines reached the user on which day.

use crate::credit::VIEWABLE_MS;
use crate::facts::{Facts, ImpressionFact};
use crate::record::RecordAd;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// The impressions of one user of one site that a report may still change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Impressions {
    seen: Vec<Impression>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Impression {
    impression_id: Box<str>,
    line_id: Arc<str>,
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
    pub(super) event_time: i64,
    pub(super) clock: i64,
    pub(super) lateness_ms: i64,
}

impl Impressions {
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Takes in one ad report of `user_id`; `line_id` is its line, interned.
    pub(super) fn report(
        &mut self,
        report: &AdReport<'_>,
        site: &Arc<str>,
        user_id: &Arc<str>,
        line_id: Arc<str>,
        facts: &mut Facts,
    ) {
        self.forget(report.clock, report.lateness_ms);
        let ad = report.ad;
        let hour = report.event_time - report.event_time.rem_euclid(HOUR_MS);
        let known = self.seen.iter().position(|seen| *seen.impression_id == *ad.impression_id);
        let before = known.map(|index| self.seen.swap_remove(index));
        let mut now = before.clone().unwrap_or(Impression {
            impression_id: ad.impression_id.as_str().into(),
            line_id,
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
            let others =
                self.seen.iter().any(|seen| seen.line_id == impression.line_id && seen.day() == impression.day());
            facts.impressions.push(impression.fact(site, user_id, sign, !others));
        };
        match &before {
            Some(before) if before.counts_like(&now) => {}
            Some(before) => {
                put(before, -1);
                put(&now, 1);
            }
            None => put(&now, 1),
        }
        self.seen.push(now);
    }

    /// Drops what no report that is not late can change, neither itself nor the reach of its day.
    pub(super) fn forget(&mut self, clock: i64, lateness_ms: i64) {
        self.seen.retain(|seen| clock <= seen.last_at.max(seen.day() + DAY_MS) + lateness_ms);
    }
}

impl Impression {
    fn day(&self) -> i64 {
        self.hour - self.hour.rem_euclid(DAY_MS)
    }

    fn counts_like(&self, other: &Impression) -> bool {
        (self.hour, self.measurable, self.viewable, self.quartile)
            == (other.hour, other.measurable, other.viewable, other.quartile)
    }

    fn fact(&self, site: &Arc<str>, user_id: &Arc<str>, sign: i64, only_one_of_its_day: bool) -> ImpressionFact {
        ImpressionFact {
            site: site.clone(),
            user_id: user_id.clone(),
            line_id: self.line_id.clone(),
            hour: self.hour,
            impressions: sign,
            measurable: sign * i64::from(self.measurable),
            viewable: sign * i64::from(self.viewable),
            quartiles: [1, 2, 3, 4].map(|quartile| sign * i64::from(self.quartile >= quartile)),
            users: sign * i64::from(only_one_of_its_day),
        }
    }
}
