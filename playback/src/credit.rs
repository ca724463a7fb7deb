//! The crediting rules: what one report proves was played. No state, no order: [`crate::kernel`] decides what a
//! point is judged against and when.

use crate::heartbeat::Played;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZero;

/// Jitter allowed on top of the speed limit; ms of content.
pub const SLACK_MS: i64 = 1_000;
/// A player may run 10 % faster than its rate says.
pub const SPEED_PERCENT: i64 = 110;
/// Two points further apart prove nothing: throttled tabs beat once a minute; ms.
pub const MAX_POINT_GAP_MS: i64 = 65_000;
/// Faster play is scrubbing and earns nothing; thousandths.
pub const MAX_CREDIT_RATE: u32 = 4_000;
/// A view: this much unique content, or half of a shorter title; ms.
pub const VIEW_MS: u64 = 30_000;
/// Complete: this share of the title's length.
pub const COMPLETE_PERCENT: u64 = 90;
/// Time in view that makes an impression viewable; ms.
pub const VIEWABLE_MS: u32 = 2_000;

/// What became of a record of the log; each ends in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Disposition {
    /// It proved play.
    Credited,
    /// It proved none: nothing moved, a pause, a seek.
    Idle,
    /// A later copy of its `seq`.
    Duplicate,
    /// An interval that claims more content than its time and rate allow.
    Overrun,
    /// A point too long after the one before it.
    Gap,
    /// It came after the lateness bound, or after its place was passed.
    Late,
    /// An ad report.
    Ad,
}

impl Disposition {
    /// Every one, in the order of the enumeration.
    pub const ALL: [Disposition; 7] = [
        Disposition::Credited,
        Disposition::Idle,
        Disposition::Duplicate,
        Disposition::Overrun,
        Disposition::Gap,
        Disposition::Late,
        Disposition::Ad,
    ];

    /// The name used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::Credited => "credited",
            Disposition::Idle => "idle",
            Disposition::Duplicate => "duplicate",
            Disposition::Overrun => "overrun",
            Disposition::Gap => "gap",
            Disposition::Late => "late",
            Disposition::Ad => "ad",
        }
    }
}

/// ISO 3166-1 alpha-2 code of a place: two capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Territory([NonZero<u8>; 2]);

impl Territory {
    /// Where nobody said.
    pub const UNKNOWN: Territory = Territory([NonZero::new(b'Z').expect("Z is not 0"); 2]);

    /// The territory of a two-letter code; none of an empty or malformed one.
    pub fn parse(code: &str) -> Option<Territory> {
        let [first, second]: [u8; 2] = code.as_bytes().try_into().ok()?;
        let is_code = first.is_ascii_uppercase() && second.is_ascii_uppercase();
        is_code.then_some(Territory([NonZero::new(first)?, NonZero::new(second)?]))
    }

    /// The two letters.
    pub fn letters(self) -> [u8; 2] {
        self.0.map(NonZero::get)
    }
}

impl fmt::Display for Territory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.letters().map(char::from);
        write!(formatter, "{first}{second}")
    }
}

/// A credited stretch: content `[from_ms, to_ms)`, played in `[start, end)`. Ordered by its earliest instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Credit {
    /// Event time of the report less the wall time; ms since the epoch.
    pub start: i64,
    /// Wall time that it took; ms.
    pub wall_ms: u32,
    /// Where the content began; ms.
    pub from_ms: u32,
    /// Where it ended; ms.
    pub to_ms: u32,
    /// Where it was played.
    pub territory: Territory,
}

/// What the next point of a session is judged against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playhead {
    /// Corrected event time; ms since the epoch.
    pub event_time: i64,
    /// Where the playhead stood; ms of content.
    pub position_ms: u32,
    /// Speed in thousandths; a speed beyond the type, which no gateway lets through, is kept as its maximum.
    pub rate: u16,
    /// Whether it was a content report in state `playing`.
    pub playing: bool,
}

/// Judges an interval report that ends at `position_ms` at `event_time`.
pub fn judge_interval(
    played: Played,
    position_ms: u32,
    rate: u32,
    event_time: i64,
    territory: Territory,
) -> Result<Credit, Disposition> {
    let content = i64::from(position_ms) - i64::from(played.from_ms);
    let wall = i64::from(played.played_ms);
    if content <= 0 {
        return Err(Disposition::Idle);
    }
    let most = wall * i64::from(rate) * SPEED_PERCENT / 100_000 + SLACK_MS;
    if rate > MAX_CREDIT_RATE || content > most {
        return Err(Disposition::Overrun);
    }
    let wall = wall.min(content * 1_000 / i64::from(rate));
    Ok(credit(event_time, wall, (played.from_ms, position_ms), territory))
}

/// Judges a point report against the report before it in sequence.
pub fn judge_point(
    before: Option<Playhead>,
    position_ms: u32,
    event_time: i64,
    territory: Territory,
) -> Result<Credit, Disposition> {
    let before = before.filter(|before| before.playing).ok_or(Disposition::Idle)?;
    let elapsed = event_time - before.event_time;
    let content = i64::from(position_ms) - i64::from(before.position_ms);
    if elapsed <= 0 || content <= 0 {
        return Err(Disposition::Idle);
    }
    if elapsed > MAX_POINT_GAP_MS {
        return Err(Disposition::Gap);
    }
    let rate = i64::from(before.rate);
    if rate > i64::from(MAX_CREDIT_RATE) || content > elapsed * rate / 1_000 + SLACK_MS {
        return Err(Disposition::Idle); // a seek, not play
    }
    let wall = elapsed.min(content * 1_000 / rate);
    Ok(credit(event_time, wall, (before.position_ms, position_ms), territory))
}

fn credit(end: i64, wall: i64, (from_ms, to_ms): (u32, u32), territory: Territory) -> Credit {
    let wall_ms = u32::try_from(wall).expect("it is no longer than what was reported, or than a gap may be");
    Credit { start: end - wall, wall_ms, from_ms, to_ms, territory }
}

/// One part of an amount spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Start of the step the part falls in; ms since the epoch.
    pub step: i64,
    /// Its share of the content; ms.
    pub gross_ms: u32,
    /// Its share of the wall time; ms.
    pub wall_ms: u32,
}

impl Credit {
    /// Content credited; ms.
    pub fn gross_ms(&self) -> u32 {
        self.to_ms - self.from_ms
    }

    /// Event time of the report; ms since the epoch.
    pub fn end(&self) -> i64 {
        self.start + i64::from(self.wall_ms)
    }

    /// Content and wall time spread in proportion over the steps of `step_ms` that it was played in. The parts add
    /// up exactly, and parts of a finer step add up to those of a multiple of it.
    pub fn parts(&self, step_ms: i64) -> impl Iterator<Item = Part> + use<> {
        let (start, end, wall) = (self.start, self.end(), i64::from(self.wall_ms));
        let gross = self.gross_ms();
        let share = |ms: i64| u32::try_from(ms).expect("a share is no greater than the whole");
        let (mut at, mut gross_done, mut first) = (start, 0, true);
        std::iter::from_fn(move || {
            if wall == 0 {
                return std::mem::take(&mut first).then_some(Part {
                    step: end - end.rem_euclid(step_ms),
                    gross_ms: gross,
                    wall_ms: 0,
                });
            }
            if at >= end {
                return None;
            }
            let step = at - at.rem_euclid(step_ms);
            let edge = end.min(step + step_ms);
            let gross_upto = i64::from(gross) * (edge - start) / wall;
            let part = Part { step, gross_ms: share(gross_upto - gross_done), wall_ms: share(edge - at) };
            (at, gross_done) = (edge, gross_upto);
            Some(part)
        })
    }
}
