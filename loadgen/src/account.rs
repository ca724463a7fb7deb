//! What the viewers really did, summed up row by row as the tables must say it: the judge of a run.
//!
//! It is built from deeds, never from reports. It shares no rule with the pipeline or with the model of the pipeline's
//! crediting rules, only the names of dispositions and the definitions of the columns. It keeps no reports, so it grows with
//! sessions and titles, not with heartbeats. Accounts of disjoint sets of viewers can be added up.

mod file;
mod rows;
mod sitting;

pub use file::AccountFile;
#[cfg(test)]
pub(crate) use rows::Labels;
pub(crate) use rows::Rows;

use crate::report::{CORRECTED_TITLE, Deed, Report, Shown, Step, Who};
use playback::credit::Disposition;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use sitting::{Credit, Sitting, Sums};
use std::cmp::Ordering;
use std::collections::BTreeMap;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Account, device (in the highest bit) and number of a session.
pub(crate) type SessionRef = (u32, u32);

/// A session that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watched {
    pub(crate) title: u32,
    pub(crate) territory: u8,
    pub(crate) device: u8,
    pub(crate) is_view: bool,
    pub(crate) is_complete: bool,
    pub(crate) gross_ms: u32,
    pub(crate) unique_ms: u32,
    pub(crate) wall_ms: u32,
    pub(crate) heartbeats: u32,
    pub(crate) started_at: i64,
    pub(crate) last_at: i64,
    /// The content seen at least once.
    pub(crate) segments: Box<[(u32, u32)]>,
}

/// Where an account is in a title.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resume {
    pub(crate) at_ms: i64,
    pub(crate) session: SessionRef,
    pub(crate) position_ms: u32,
    pub(crate) furthest_ms: u32,
}

/// The sums of a run, or of a part of one. Keys are numbers of viewers, titles and lines, and minutes, hours and days
/// since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Whether the time of every report on the log is known. Where a gateway corrects clocks it is not: titles that only
    /// such devices watch have one row for all times, and one for all minutes.
    pub(crate) knows_times: bool,
    pub(crate) sums: Sums,
    pub(crate) sessions: FxHashMap<SessionRef, Watched>,
    pub(crate) resumes: FxHashMap<(u32, u32), Resume>,
    /// Impressions, measurable, viewable, four quartiles.
    pub(crate) ad_hours: FxHashMap<(u16, u32), [i64; 7]>,
    pub(crate) reached: FxHashSet<(u16, u32, u32)>,
    pub(crate) ledger: BTreeMap<(u32, Disposition), u64>,
    /// Sessions that are not over, by the number of their device in this process.
    #[serde(skip)]
    open: Vec<Option<Sitting>>,
}

impl Account {
    /// An empty account of so many devices.
    pub(crate) fn new(devices: usize, knows_times: bool) -> Account {
        Account { knows_times, open: vec![None; devices], ..Account::default() }
    }

    /// Enters what a device did. The gateway receives its report at `received_ms`.
    pub(crate) fn enter(&mut self, device: usize, who: Who, step: &Step, received_ms: i64) {
        let Step { report, deed } = step;
        let disposition = match deed {
            Deed::Played { .. } => Disposition::Credited,
            Deed::Stood => Disposition::Idle,
            Deed::Unproven => Disposition::Gap,
            Deed::Claimed => Disposition::Overrun,
            Deed::Shown(_) => Disposition::Ad,
            Deed::Old => Disposition::Late,
        };
        self.count(disposition, received_ms);
        if disposition == Disposition::Late {
            return;
        }
        let blurred = self.is_blurred(report.title);
        let mut sitting = match self.open[device].take() {
            Some(sitting) if sitting.number == report.session => sitting,
            before => {
                before.into_iter().for_each(|before| self.close(before));
                Sitting::new(who, report, blurred)
            }
        };
        sitting.heard(report);
        match *deed {
            Deed::Played { from_ms, wall_ms } => {
                let end = report.at_ms;
                let start = end - i64::from(wall_ms);
                sitting.credit(Credit { from_ms, to_ms: report.position_ms, start, end }, &mut self.sums);
            }
            Deed::Shown(shown) => self.show(who, report, shown),
            Deed::Stood | Deed::Unproven | Deed::Claimed | Deed::Old => {}
        }
        if report.ad.is_none() {
            self.resume(who, report);
        }
        self.open[device] = Some(sitting);
    }

    /// The gateway took a report for a second time.
    pub(crate) fn enter_copy(&mut self, deed: &Deed, received_ms: i64) {
        let is_late = *deed == Deed::Old;
        self.count(if is_late { Disposition::Late } else { Disposition::Duplicate }, received_ms);
    }

    /// Ends all sessions.
    pub(crate) fn close_all(&mut self) {
        for sitting in std::mem::take(&mut self.open).into_iter().flatten() {
            self.close(sitting);
        }
    }

    /// Adds the account of other viewers.
    pub(crate) fn merge(&mut self, other: Account) {
        self.sums.merge(other.sums);
        self.sessions.extend(other.sessions);
        self.resumes.extend(other.resumes);
        self.reached.extend(other.reached);
        for (key, row) in other.ad_hours {
            let sums = self.ad_hours.entry(key).or_default();
            sums.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
        }
        for (key, count) in other.ledger {
            *self.ledger.entry(key).or_default() += count;
        }
    }

    /// Whether the times of this title's reports are not known.
    pub(crate) fn is_blurred(&self, title: u32) -> bool {
        !self.knows_times && title & CORRECTED_TITLE != 0
    }

    fn count(&mut self, disposition: Disposition, received_ms: i64) {
        // If a gateway sets the time of receipt, nobody else knows the minute.
        let minute = if self.knows_times { index(received_ms, MINUTE_MS) } else { 0 };
        *self.ledger.entry((minute, disposition)).or_default() += 1;
    }

    fn close(&mut self, sitting: Sitting) {
        let (session, watched) = sitting.end();
        self.sessions.insert(session, watched);
    }

    /// The latest position counts. If two devices report at the same instant, the session whose name is greater wins.
    fn resume(&mut self, who: Who, report: &Report) {
        let now = Resume {
            at_ms: report.at_ms,
            session: session_ref(who, report.session),
            position_ms: report.position_ms,
            furthest_ms: report.position_ms,
        };
        let known = self.resumes.entry((who.number, report.title)).or_insert(now);
        let furthest_ms = known.furthest_ms.max(now.furthest_ms);
        let is_later = match now.at_ms.cmp(&known.at_ms) {
            Ordering::Equal => by_name(now.session) >= by_name(known.session),
            order => order.is_gt(),
        };
        if is_later {
            *known = now;
        }
        known.furthest_ms = furthest_ms;
    }

    fn show(&mut self, who: Who, report: &Report, shown: Shown) {
        let Some(ad) = report.ad else { return };
        let row = self.ad_hours.entry((ad.line, index(shown.since_ms, HOUR_MS))).or_default();
        row[0] += i64::from(shown.is_first);
        row[1] += i64::from(shown.measurable);
        row[2] += i64::from(shown.viewable);
        if ad.quartile > 0 {
            row[2 + usize::from(ad.quartile)] += 1;
        }
        if shown.is_first {
            self.reached.insert((ad.line, index(shown.since_ms, DAY_MS), who.number));
        }
    }
}

fn session_ref(who: Who, session: u32) -> SessionRef {
    (who.number, u32::from(who.player) << 31 | session)
}

/// What orders the sessions of one account by name: device, then the digits of the number.
fn by_name((_, session): SessionRef) -> (u32, String) {
    (session >> 31, (session & (u32::MAX >> 1)).to_string())
}

/// Number of the step that a time falls in.
fn index(time_ms: i64, step_ms: i64) -> u32 {
    u32::try_from(time_ms.div_euclid(step_ms)).unwrap_or(0)
}
