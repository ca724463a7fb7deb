//! The bounds of a report, checked in one place for both forms: JSON and Protobuf become an [`Unchecked`]
//! report first, and only [`Unchecked::check`] makes a [`Heartbeat`] of it. The same bounds tell a record of ours from one that
//! somebody else put on the log: [`is_ours`].

use crate::heartbeat::{Ad, Heartbeat, Played, State};
use crate::record::{Record, RecordAd};
use crate::rejection::{Code, Rejection};
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Of a site's name.
pub const SITE_CHARS: usize = 64;
const SESSION_ID_CHARS: usize = 64;
const USER_ID_CHARS: usize = 128;
/// Characters of a `video_id` at most.
pub const VIDEO_ID_CHARS: usize = 128;
/// Characters of the ids of an ad at most.
pub const AD_ID_CHARS: usize = 64;
const DEVICE_CHARS: usize = 64;
const SEQ: RangeInclusive<i64> = 0..=1_000_000;
/// Where a player can be in a title: two days of content.
pub const POSITION_MS: RangeInclusive<i64> = 0..=172_800_000;
/// How long an interval of a report is.
pub const PLAYED_MS: RangeInclusive<i64> = 1..=120_000;
/// Speeds of a player; 62 is what 0.0625 becomes, rounded half to even.
pub const RATE_THOUSANDTHS: RangeInclusive<i64> = 62..=16_000;
/// The same as players send them. Checked before rounding: 16.0001 is refused although it would round to 16.
pub const RATE: RangeInclusive<f64> = 0.0625..=16.0;
/// How long a title can be.
pub const DURATION_MS: RangeInclusive<i64> = 1_000..=172_800_000;
const QUARTILE: RangeInclusive<i64> = 0..=4;
const VIEWABLE_MS: RangeInclusive<i64> = 0..=600_000;
/// How old a corrected event time may be, and how long a device may hold a report back.
pub const OLDEST_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How far a device's clock may be ahead.
pub const AHEAD_MS: i64 = 5 * 60 * 1_000;
/// Times that a gateway's clock may show: far enough after 1970 that no time computed from one is before 1970, and up to the
/// end of 2261, because SQL computes in nanoseconds, where time ends in 2262.
pub const RECEIVED_AT: RangeInclusive<i64> = 864_000_000..=9_214_646_399_999;
const STATE: RangeInclusive<i32> = State::Playing as i32..=State::Error as i32;

/// A report whose fields have the right types and nothing more; `None` is absent.
#[derive(Debug, Default)]
pub(crate) struct Unchecked<'a> {
    pub(crate) session_id: Option<Cow<'a, str>>,
    pub(crate) seq: Option<i64>,
    pub(crate) user_id: Option<Cow<'a, str>>,
    pub(crate) video_id: Option<Cow<'a, str>>,
    pub(crate) event_time: Option<i64>,
    pub(crate) position_ms: Option<i64>,
    pub(crate) sent_at: Option<i64>,
    pub(crate) from_ms: Option<i64>,
    pub(crate) played_ms: Option<i64>,
    pub(crate) state: Option<State>,
    pub(crate) rate_thousandths: Option<i64>,
    pub(crate) duration_ms: Option<i64>,
    pub(crate) territory: Option<Cow<'a, str>>,
    pub(crate) device: Option<Cow<'a, str>>,
    pub(crate) consent: Option<bool>,
    pub(crate) ad: Option<UncheckedAd<'a>>,
}

/// The ad part of an [`Unchecked`] report.
#[derive(Debug, Default)]
pub(crate) struct UncheckedAd<'a> {
    pub(crate) impression_id: Option<Cow<'a, str>>,
    pub(crate) line_id: Option<Cow<'a, str>>,
    pub(crate) creative_id: Option<Cow<'a, str>>,
    pub(crate) quartile: Option<i64>,
    pub(crate) viewable_ms: Option<i64>,
}

/// Whether a byte is a character of ids: looked up, since every byte of every report is asked.
const IS_OF_IDS: [bool; 256] = {
    let mut is_of_ids = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let character = byte as u8;
        is_of_ids[byte] = character.is_ascii_alphanumeric() || matches!(character, b'.' | b'_' | b':' | b'-');
        byte += 1;
    }
    is_of_ids
};

/// Whether these are characters an id is made of; sites and keys of the log share the set.
pub fn is_id(text: &str, longest: usize) -> bool {
    // Runs to the end even after a wrong byte: hardly any byte is wrong, and each costs less without a check for that.
    (1..=longest).contains(&text.len()) && text.bytes().fold(true, |all, byte| all & IS_OF_IDS[usize::from(byte)])
}

impl<'a> Unchecked<'a> {
    /// The report, or the first bound it breaks in the order of the specification's fields.
    pub(crate) fn check(self, received_at: i64) -> Result<Heartbeat<'a>, Rejection> {
        let session_id =
            required_id(self.session_id, SESSION_ID_CHARS, Code::SessionIdMissing, Code::SessionIdInvalid)?;
        let seq = within(self.seq.ok_or(Code::SeqMissing)?, SEQ, Code::SeqInvalid)?;
        let user_id = required_id(self.user_id, USER_ID_CHARS, Code::UserIdMissing, Code::UserIdInvalid)?;
        let video_id = required_id(self.video_id, VIDEO_ID_CHARS, Code::VideoIdMissing, Code::VideoIdInvalid)?;
        let device_time = self.event_time.ok_or(Code::EventTimeMissing)?;
        let event_time = corrected(device_time, self.sent_at, received_at)?;
        let position_ms = within(self.position_ms.ok_or(Code::PositionMissing)?, POSITION_MS, Code::PositionInvalid)?;
        let rate = self.rate_thousandths.unwrap_or(1_000);
        Ok(Heartbeat {
            session_id,
            seq,
            user_id,
            video_id,
            event_time,
            device_time: device_time.clamp(received_at.saturating_sub(OLDEST_MS), received_at.saturating_add(AHEAD_MS)),
            received_at,
            position_ms,
            played: played(self.from_ms, self.played_ms)?,
            state: self.state.unwrap_or_default(),
            rate: within(rate, RATE_THOUSANDTHS, Code::RateInvalid)?,
            duration_ms: optional(self.duration_ms, DURATION_MS, Code::DurationInvalid)?,
            territory: optional_text(self.territory, is_territory, Code::TerritoryInvalid)?,
            device: optional_text(self.device, is_device, Code::DeviceInvalid)?,
            consent: self.consent.unwrap_or(true),
            ad: self.ad.map(UncheckedAd::check).transpose()?,
        })
    }
}

impl<'a> UncheckedAd<'a> {
    fn check(self) -> Result<Ad<'a>, Rejection> {
        Ok(Ad {
            impression_id: required_id(
                self.impression_id,
                AD_ID_CHARS,
                Code::AdImpressionIdMissing,
                Code::AdImpressionIdInvalid,
            )?,
            line_id: required_id(self.line_id, AD_ID_CHARS, Code::AdLineIdMissing, Code::AdLineIdInvalid)?,
            creative_id: optional_text(self.creative_id, |text| is_id(text, AD_ID_CHARS), Code::AdCreativeIdInvalid)?,
            quartile: optional(self.quartile, QUARTILE, Code::AdQuartileInvalid)?,
            viewable_ms: optional(self.viewable_ms, VIEWABLE_MS, Code::AdViewableInvalid)?,
        })
    }
}

/// Whether a record that came off the log is one that a gateway can have put there. Nothing behind this checks again.
pub fn is_ours(record: &Record) -> bool {
    let ids = [
        (&record.site, SITE_CHARS),
        (&record.user_id, USER_ID_CHARS),
        (&record.session_id, SESSION_ID_CHARS),
        (&record.video_id, VIDEO_ID_CHARS),
    ];
    let numbers = [
        (record.seq, &SEQ),
        (record.position_ms, &POSITION_MS),
        (record.from_ms.unwrap_or(0), &POSITION_MS),
        (record.rate(), &RATE_THOUSANDTHS),
    ];
    let played = match record.from_ms {
        Some(_) => PLAYED_MS.contains(&record.played_ms.into()),
        None => record.played_ms == 0,
    };
    ids.into_iter().all(|(id, longest)| is_id(id, longest))
        && numbers.into_iter().all(|(number, bounds)| bounds.contains(&number.into()))
        && played
        && RECEIVED_AT.contains(&record.received_at)
        && is_near(record.event_time, record.received_at)
        && STATE.contains(&record.state)
        && (record.duration_ms == 0 || DURATION_MS.contains(&record.duration_ms.into()))
        && (record.territory.is_empty() || is_territory(&record.territory))
        && (record.device.is_empty() || is_device(&record.device))
        && record.ad.as_ref().is_none_or(is_our_ad)
}

fn is_our_ad(ad: &RecordAd) -> bool {
    is_id(&ad.impression_id, AD_ID_CHARS)
        && is_id(&ad.line_id, AD_ID_CHARS)
        && (ad.creative_id.is_empty() || is_id(&ad.creative_id, AD_ID_CHARS))
        && QUARTILE.contains(&ad.quartile.into())
        && ad.viewable_ms.is_none_or(|viewable_ms| VIEWABLE_MS.contains(&viewable_ms.into()))
}

fn is_near(event_time: i64, received_at: i64) -> bool {
    (received_at.saturating_sub(OLDEST_MS)..=received_at.saturating_add(AHEAD_MS)).contains(&event_time)
}

/// The event time on the gateway's clock: with `sent_at`, now less the report's age by the device's own clock.
fn corrected(device_time: i64, sent_at: Option<i64>, received_at: i64) -> Result<i64, Rejection> {
    let event_time = match sent_at {
        None => device_time,
        Some(sent_at) if sent_at < device_time => return Err(Code::SentAtBeforeEventTime.into()),
        Some(sent_at) => {
            // Two times near the ends of i64 lie further apart than an i64 can say.
            let held_ms = sent_at.checked_sub(device_time).filter(|held_ms| *held_ms <= OLDEST_MS);
            received_at.saturating_sub(held_ms.ok_or(Code::SentAtTooLate)?)
        }
    };
    if event_time < received_at.saturating_sub(OLDEST_MS) {
        return Err(Code::EventTimeTooOld.into());
    }
    if event_time > received_at.saturating_add(AHEAD_MS) {
        return Err(Code::EventTimeInFuture.into());
    }
    Ok(event_time)
}

fn played(from_ms: Option<i64>, played_ms: Option<i64>) -> Result<Option<Played>, Rejection> {
    let from_ms = optional(from_ms, POSITION_MS, Code::FromInvalid)?;
    let played_ms = optional(played_ms, PLAYED_MS, Code::PlayedInvalid)?;
    match (from_ms, played_ms) {
        (Some(from_ms), Some(played_ms)) => Ok(Some(Played { from_ms, played_ms })),
        (None, None) => Ok(None),
        _ => Err(Code::IntervalIncomplete.into()),
    }
}

/// Whether it is a country of ISO 3166-1, as far as its letters tell.
pub fn is_territory(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether it is a name that a device may have: printable ASCII, not too long.
pub fn is_device(text: &str) -> bool {
    (1..=DEVICE_CHARS).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

fn required_id(
    text: Option<Cow<'_, str>>,
    longest: usize,
    missing: Code,
    invalid: Code,
) -> Result<Cow<'_, str>, Rejection> {
    let text = text.ok_or(missing)?;
    if is_id(&text, longest) { Ok(text) } else { Err(invalid.into()) }
}

fn optional_text(
    text: Option<Cow<'_, str>>,
    is_valid: impl Fn(&str) -> bool,
    invalid: Code,
) -> Result<Option<Cow<'_, str>>, Rejection> {
    match text {
        Some(text) if !is_valid(&text) => Err(invalid.into()),
        text => Ok(text),
    }
}

fn optional<T: TryFrom<i64>>(
    value: Option<i64>,
    bounds: RangeInclusive<i64>,
    invalid: Code,
) -> Result<Option<T>, Rejection> {
    value.map(|value| within(value, bounds, invalid)).transpose()
}

/// The number, when it is within its bounds (and the bounds within its type).
fn within<T: TryFrom<i64>>(value: i64, bounds: RangeInclusive<i64>, invalid: Code) -> Result<T, Rejection> {
    if !bounds.contains(&value) {
        return Err(invalid.into());
    }
    T::try_from(value).map_err(|_| invalid.into())
}
