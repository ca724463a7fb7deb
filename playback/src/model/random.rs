//! Random logs by seed: honest, careless and forged players, and everything a way to the log can do to reports.
//!
//! The logs keep within limits, so that the bounded wait for points never takes effect and the model is exact: a report comes
//! at most eight places out of order in its session and together with those it was swapped with; lost reports never come.

mod player;

use super::{DAY_MS, HOUR_MS, Logged};
use crate::heartbeat::State;
use crate::message::Heartbeat;
use crate::random::Random;
use crate::record::{Record, RecordAd};
use player::{Player, Sent};
use serde_json::{Map, Value, json};

/// Reports that change places with each other.
const MAX_SWAPPED: usize = 8;
/// Reports of the longest session.
const MAX_SESSION_REPORTS: usize = 60;

/// What log to make.
#[derive(Debug, Clone, Copy)]
pub struct RandomLog {
    /// The same seed, the same log.
    pub seed: u64,
    /// About how many records.
    pub reports: usize,
    /// Event times are in the three hours from here, those of late reports one to four days before; ms since the
    /// epoch. Received by a gateway within a day after `start`, every report gets the disposition of the model,
    /// provided that `start` is three hours past.
    pub start: i64,
    /// At the end the log takes nothing for 26 hours: then what was queued is late, new sessions are not.
    pub outage: bool,
}

/// A random log, in log order.
pub fn random_log(settings: RandomLog) -> Vec<Logged> {
    let random = &mut Random::new(settings.seed);
    let mut log = stretch(random, "s", settings.reports, settings.start, settings.start);
    if settings.outage
        && let Some(end) = log.last().map(|last| last.logged_at)
    {
        let after = end + 26 * HOUR_MS;
        for number in 0..10 {
            let mut queued = random.pick(&log);
            queued.record.seq = 900_000 + number;
            queued.logged_at = after;
            log.push(queued);
        }
        log.extend(stretch(random, "t", settings.reports / 8, after, after));
    }
    log
}

/// The sessions of three hours, merged by the time at which their reports come in.
fn stretch(random: &mut Random, prefix: &str, reports: usize, start: i64, late_before: i64) -> Vec<Logged> {
    let mut all: Vec<Sent> = Vec::new();
    let mut number = 0;
    while all.len() < reports {
        let mut session = Player::new(random, prefix, number, start).play(random, MAX_SESSION_REPORTS);
        session.retain(|_| !random.chance(3)); // lost for good
        for sent in &mut session {
            if random.chance(1) {
                sent.record.event_time = late_before - DAY_MS - 1 - random.below(3 * DAY_MS as u64) as i64;
            }
        }
        deliver(random, &mut session);
        let copies = copies(random, &session);
        all.append(&mut session);
        all.extend(copies);
        number += 1;
    }
    all.sort_by_key(|sent| sent.at);
    let mut logged_at = start;
    let mut log = Vec::with_capacity(all.len());
    for Sent { mut record, at } in all {
        logged_at = logged_at.max(at + random.below(20) as i64);
        record.received_at = at;
        log.push(Logged { record, logged_at });
    }
    log
}

/// Reports come in as they were sent, or held back and then several at once in any order.
fn deliver(random: &mut Random, session: &mut [Sent]) {
    let (mut next, mut clock) = (0, i64::MIN);
    while next < session.len() {
        let most = MAX_SWAPPED.min(session.len() - next) as u64;
        let held = if random.chance(70) { 1 } else { 1 + random.below(most) as usize };
        let group = &mut session[next..next + held];
        let sent_at = group.iter().map(|sent| sent.at).max().expect("a group has a report");
        clock = clock.max(sent_at + 50 + random.below(2_000) as i64);
        random.shuffle(group);
        for sent in group {
            sent.at = clock;
            clock += 1;
        }
        next += held;
    }
}

/// Second and third copies, some at odds with the first; they come any time after it.
fn copies(random: &mut Random, session: &[Sent]) -> Vec<Sent> {
    let mut copies = Vec::new();
    for sent in session {
        while random.chance(6) {
            let mut copy = Sent { record: sent.record.clone(), at: sent.at + 1 + random.below(2_400_000) as i64 };
            if random.chance(20) {
                copy.record.position_ms += 4_000;
            }
            copies.push(copy);
        }
    }
    copies
}

/// The report as a player sends it: JSON, with corrected event time and without `sent_at`.
pub fn body(record: &Record) -> String {
    Value::Object(fields(record)).to_string()
}

/// The same as Protobuf; without an ad.
pub fn message(record: &Record) -> Heartbeat {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Heartbeat {
        session_id: some(&record.session_id),
        seq: Some(record.seq.into()),
        user_id: some(&record.user_id),
        video_id: some(&record.video_id),
        event_time: Some(record.event_time),
        position_ms: Some(record.position_ms.into()),
        from_ms: record.from_ms.map(i64::from),
        played_ms: record.from_ms.map(|_| record.played_ms.into()),
        state: (record.state != State::Playing as i32).then_some(record.state),
        rate_thousandths: (record.rate() != 1_000).then_some(record.rate().into()),
        duration_ms: (record.duration_ms != 0).then_some(record.duration_ms.into()),
        territory: some(&record.territory),
        device: some(&record.device),
        ..Heartbeat::default()
    }
}

/// The record as a line of a log that the reference reads: the report, its site, and when it was received and logged.
pub fn line(logged: &Logged) -> String {
    let mut fields = fields(&logged.record);
    fields.insert("site".to_owned(), json!(logged.record.site));
    fields.insert("received_at".to_owned(), json!(logged.record.received_at));
    fields.insert("logged_at".to_owned(), json!(logged.logged_at));
    Value::Object(fields).to_string()
}

fn fields(record: &Record) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("session_id", json!(record.session_id));
    set("seq", json!(record.seq));
    set("user_id", json!(record.user_id));
    set("video_id", json!(record.video_id));
    set("event_time", json!(record.event_time));
    set("position_ms", json!(record.position_ms));
    if let Some(from_ms) = record.from_ms {
        set("from_ms", json!(from_ms));
        set("played_ms", json!(record.played_ms));
    }
    if record.state != State::Playing as i32 {
        set("state", json!(state(record.state)));
    }
    if record.rate() != 1_000 {
        set("rate", json!(f64::from(record.rate()) / 1_000.0));
    }
    if record.duration_ms != 0 {
        set("duration_ms", json!(record.duration_ms));
    }
    if !record.territory.is_empty() {
        set("territory", json!(record.territory));
    }
    if !record.device.is_empty() {
        set("device", json!(record.device));
    }
    if let Some(ad) = &record.ad {
        set("ad", Value::Object(ad_fields(ad)));
    }
    fields
}

fn ad_fields(ad: &RecordAd) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("impression_id", json!(ad.impression_id));
    set("line_id", json!(ad.line_id));
    if !ad.creative_id.is_empty() {
        set("creative_id", json!(ad.creative_id));
    }
    if ad.quartile > 0 {
        set("quartile", json!(ad.quartile));
    }
    if let Some(viewable_ms) = ad.viewable_ms {
        set("viewable_ms", json!(viewable_ms));
    }
    fields
}

/// The name of a state on the wire, by its number.
fn state(state: i32) -> &'static str {
    const NAMES: [&str; 6] = ["playing", "paused", "buffering", "seeking", "ended", "error"];
    usize::try_from(state)
        .ok()
        .and_then(|state| NAMES.get(state))
        .copied()
        .expect("records hold states of the protocol")
}
