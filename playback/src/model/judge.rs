//! What one report proves, next to the report before it in its session. No order, no duplicates: the model decides
//! what is judged against what.

use crate::heartbeat::State;
use crate::record::Record;

/// Jitter allowed on top of the speed limit; ms of content.
const SLACK_MS: i64 = 1_000;
/// A player may run 10 % faster than its rate says.
const SPEED_PERCENT: i64 = 110;
/// Two points further apart prove nothing.
const MAX_POINT_GAP_MS: i64 = 65_000;
/// Faster play earns nothing; thousandths.
const MAX_CREDIT_RATE: i64 = 4_000;

/// Content `[from, to)` played in `[start, end)`. The order of the fields decides which credit is the earliest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Credit {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) territory: String,
}

/// A credit, or the disposition of a report without one.
pub(super) enum Verdict {
    Credited(Credit),
    Not(&'static str),
}

pub(super) fn judge(before: Option<&Record>, record: &Record) -> Verdict {
    match record.from_ms {
        _ if record.ad.is_some() => Verdict::Not("ad"),
        Some(from_ms) => judge_interval(i64::from(from_ms), record),
        None => judge_point(before, record),
    }
}

/// A report that says what it played.
fn judge_interval(from: i64, record: &Record) -> Verdict {
    let (wall, rate) = (i64::from(record.played_ms), i64::from(record.rate()));
    let content = i64::from(record.position_ms) - from;
    if content <= 0 {
        return Verdict::Not("idle");
    }
    if rate > MAX_CREDIT_RATE || content > wall * rate * SPEED_PERCENT / 100_000 + SLACK_MS {
        return Verdict::Not("overrun");
    }
    credited(from, record, wall.min(content * 1_000 / rate))
}

/// A bare position.
fn judge_point(before: Option<&Record>, record: &Record) -> Verdict {
    let Some(before) = before else { return Verdict::Not("idle") };
    if before.ad.is_some() || before.state != State::Playing as i32 {
        return Verdict::Not("idle");
    }
    let elapsed = record.event_time - before.event_time;
    let content = i64::from(record.position_ms) - i64::from(before.position_ms);
    let rate = i64::from(before.rate());
    if elapsed <= 0 || content <= 0 {
        return Verdict::Not("idle");
    }
    if elapsed > MAX_POINT_GAP_MS {
        return Verdict::Not("gap");
    }
    if rate > MAX_CREDIT_RATE || content > elapsed * rate / 1_000 + SLACK_MS {
        return Verdict::Not("idle"); // a seek, not play
    }
    credited(i64::from(before.position_ms), record, elapsed.min(content * 1_000 / rate))
}

fn credited(from: i64, record: &Record, wall: i64) -> Verdict {
    Verdict::Credited(Credit {
        start: record.event_time - wall,
        end: record.event_time,
        from,
        to: i64::from(record.position_ms),
        territory: territory(record).unwrap_or("ZZ").to_owned(),
    })
}

/// Where a report says that it was played.
pub(super) fn territory(record: &Record) -> Option<&str> {
    Some(record.territory.as_str()).filter(|territory| !territory.is_empty())
}
