//! The crediting rules as a slow, obvious model: a whole log in, all tables out. It is the judge in tests,
//! so it shares no code with the kernel and no program has it.
//!
//! It judges points as if no report came too late for them: it knows nothing of the bounded wait, nor that sessions and
//! impressions are forgotten. A log that stays within these bounds must end in exactly the model's tables.

mod judge;
mod random;
mod sums;

pub use random::{RandomLog, body, line, message, random_log};

use crate::record::{Record, RecordAd};
use crate::tables::{Cell, Tables};
use judge::{Credit, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use sums::Sums;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Time in view that makes an impression viewable.
const VIEWABLE_MS: u32 = 2_000;

/// A record as it stands on the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// What the gateway accepted.
    pub record: Record,
    /// Log time; ms since the epoch.
    pub logged_at: i64,
}

/// What of the rules can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// A report logged longer than this after its event time is late.
    pub lateness_ms: i64,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters { lateness_ms: DAY_MS }
    }
}

/// The tables that a log must end in, whatever was duplicated or reordered on the way to it.
pub fn run(log: &[Logged], parameters: Parameters) -> Tables {
    let mut taken = Taken::default();
    for logged in log {
        taken.take(logged, parameters);
    }
    taken.tables()
}

/// Site and user.
type User = (String, String);
/// Site, user, session, video.
type SessionKey = (String, String, String, String);
/// What orders the reports of a title: event time, session by bytes, sequence.
type Stamp = (i64, Vec<u8>, u32);

/// The log, taken apart by session, title and impression.
#[derive(Default)]
struct Taken<'a> {
    clock: i64,
    ledger: BTreeMap<(String, i64, &'static str), i64>,
    sessions: BTreeMap<SessionKey, BTreeMap<u32, &'a Record>>,
    resumes: BTreeMap<(User, String), Resume>,
    impressions: BTreeMap<(User, String), Impression>,
}

struct Resume {
    stamp: Stamp,
    position_ms: u32,
    furthest_ms: u32,
}

struct Impression {
    line_id: String,
    hour: i64,
    measurable: bool,
    viewable: bool,
    quartile: u32,
}

impl<'a> Taken<'a> {
    /// Sorts out what is late or a duplicate; files the rest.
    fn take(&mut self, logged: &'a Logged, parameters: Parameters) {
        let record = &logged.record;
        self.clock = self.clock.max(logged.logged_at);
        if self.clock - record.event_time > parameters.lateness_ms {
            return self.enter(record, "late");
        }
        let key = (record.site.clone(), record.user_id.clone(), record.session_id.clone(), record.video_id.clone());
        let session = self.sessions.entry(key).or_default();
        if session.contains_key(&record.seq) {
            return self.enter(record, "duplicate"); // the first copy in log order wins
        }
        session.insert(record.seq, record);
        match &record.ad {
            Some(ad) => self.see(record, ad),
            None => self.resume(record),
        }
    }

    fn enter(&mut self, record: &Record, disposition: &'static str) {
        let minute = floor(record.received_at, 60_000);
        *self.ledger.entry((record.site.clone(), minute, disposition)).or_default() += 1;
    }

    fn see(&mut self, record: &Record, ad: &RecordAd) {
        let hour = floor(record.event_time, HOUR_MS);
        let user = (record.site.clone(), record.user_id.clone());
        let seen = self.impressions.entry((user, ad.impression_id.clone())).or_insert_with(|| Impression {
            line_id: ad.line_id.clone(),
            hour,
            measurable: false,
            viewable: false,
            quartile: 0,
        });
        seen.hour = seen.hour.min(hour);
        seen.measurable |= ad.viewable_ms.is_some();
        seen.viewable |= ad.viewable_ms.is_some_and(|viewable_ms| viewable_ms >= VIEWABLE_MS);
        seen.quartile = seen.quartile.max(ad.quartile);
    }

    fn resume(&mut self, record: &Record) {
        let title = ((record.site.clone(), record.user_id.clone()), record.video_id.clone());
        let stamp = (record.event_time, record.session_id.as_bytes().to_vec(), record.seq);
        let now = Resume { stamp, position_ms: record.position_ms, furthest_ms: record.position_ms };
        let Some(before) = self.resumes.get_mut(&title) else {
            self.resumes.insert(title, now);
            return;
        };
        before.furthest_ms = before.furthest_ms.max(now.furthest_ms);
        if now.stamp > before.stamp {
            (before.stamp, before.position_ms) = (now.stamp, now.position_ms);
        }
    }

    fn tables(mut self) -> Tables {
        let mut sums = Sums::default();
        for (key, reports) in std::mem::take(&mut self.sessions) {
            let credits = self.judge(&reports);
            sums.add_session(&key, reports.values().copied(), &credits);
        }
        let mut tables = sums.tables();
        self.resume_positions(&mut tables);
        self.ads(&mut tables);
        for ((site, minute, disposition), heartbeats) in &self.ledger {
            let key = vec![site.as_str().into(), (*minute).into(), (*disposition).into()];
            tables.insert("ledger_minutes", key, vec![(*heartbeats).into()]);
        }
        tables
    }

    /// The credits of a session, each report judged in order of its sequence.
    fn judge(&mut self, reports: &BTreeMap<u32, &Record>) -> Vec<Credit> {
        let (mut credits, mut before) = (Vec::new(), None);
        for record in reports.values() {
            match judge::judge(before, record) {
                Verdict::Credited(credit) => {
                    credits.push(credit);
                    self.enter(record, "credited");
                }
                Verdict::Not(disposition) => self.enter(record, disposition),
            }
            before = Some(*record);
        }
        credits
    }

    fn resume_positions(&self, tables: &mut Tables) {
        for (((site, user_id), video_id), resume) in &self.resumes {
            let key = vec![site.as_str().into(), user_id.as_str().into(), video_id.as_str().into()];
            let row = vec![resume.position_ms.into(), resume.furthest_ms.into(), resume.stamp.0.into()];
            tables.insert("resume_positions", key, row);
        }
    }

    fn ads(&self, tables: &mut Tables) {
        let mut lines: BTreeMap<(&str, &str, i64), [i64; 7]> = BTreeMap::new();
        let mut reach: BTreeMap<(&str, &str, i64), BTreeSet<&str>> = BTreeMap::new();
        for (((site, user_id), _), seen) in &self.impressions {
            let row = lines.entry((site, &seen.line_id, seen.hour)).or_default();
            row[0] += 1;
            row[1] += i64::from(seen.measurable);
            row[2] += i64::from(seen.viewable);
            for quartile in 1..=4 {
                row[2 + quartile as usize] += i64::from(seen.quartile >= quartile);
            }
            reach.entry((site, &seen.line_id, floor(seen.hour, DAY_MS))).or_default().insert(user_id);
        }
        for ((site, line_id, hour), row) in lines {
            let row = row.into_iter().map(Cell::Int).collect();
            tables.insert("ad_hours", vec![site.into(), line_id.into(), hour.into()], row);
        }
        for ((site, line_id, day), users) in reach {
            let users = i64::try_from(users.len()).expect("as many users fit in memory");
            tables.insert("ad_reach", vec![site.into(), line_id.into(), day.into()], vec![users.into()]);
        }
    }
}

/// The start of the step that a time falls in.
fn floor(time: i64, step: i64) -> i64 {
    time.div_euclid(step) * step
}
