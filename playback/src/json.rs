//! A report as JSON: strict field by field, so that a wrong field costs the report and never the whole body.
//!
//! Unknown fields are skipped, `null` is absent. Taking a body apart into reports is the gateway's business.

use crate::heartbeat::{Heartbeat, State};
use crate::rejection::{Code, Rejection};
use crate::validate::{RATE, Unchecked, UncheckedAd};
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The fields of a report.
pub const FIELDS: [&str; 16] = [
    "session_id",
    "seq",
    "user_id",
    "video_id",
    "event_time",
    "position_ms",
    "sent_at",
    "from_ms",
    "played_ms",
    "state",
    "rate",
    "duration_ms",
    "territory",
    "device",
    "consent",
    "ad",
];

/// Those of its `ad`.
pub const AD_FIELDS: [&str; 5] = ["impression_id", "line_id", "creative_id", "quartile", "viewable_ms"];

/// Parses and checks one report, the text of one JSON value, received at `received_at` (ms since the epoch).
pub fn heartbeat(raw: &str, received_at: i64) -> Result<Heartbeat<'_>, Rejection> {
    if let Some(plain) = Plain::parse(raw) {
        return plain.check(received_at);
    }
    let fields: Fields<'_> = object(raw, Code::NotAnObject)?;
    unchecked(&fields)?.check(received_at)
}

/// A report written as nearly all are: strings without escapes, integers in the right places. It is parsed in one pass;
/// anything less plain gives `None`, and then the strict way below says what it is, or what is wrong with it.
#[derive(Debug, Deserialize)]
pub struct Plain<'a> {
    #[serde(borrow)]
    session_id: Option<&'a str>,
    seq: Option<i64>,
    user_id: Option<&'a str>,
    video_id: Option<&'a str>,
    event_time: Option<i64>,
    position_ms: Option<i64>,
    sent_at: Option<i64>,
    from_ms: Option<i64>,
    played_ms: Option<i64>,
    state: Option<&'a RawValue>,
    rate: Option<&'a RawValue>,
    duration_ms: Option<i64>,
    territory: Option<&'a str>,
    device: Option<&'a str>,
    consent: Option<bool>,
    ad: Option<&'a RawValue>,
}

impl<'a> Plain<'a> {
    /// The report, when `text` is one and nothing else.
    pub fn parse(text: &'a str) -> Option<Plain<'a>> {
        // A derived struct would take an array too.
        if text.starts_with('{') { serde_json::from_str(text).ok() } else { None }
    }

    /// The report that `text` begins with, and the bytes it takes.
    pub fn parse_first(text: &'a str) -> Option<(Plain<'a>, usize)> {
        if !text.starts_with('{') {
            return None;
        }
        let mut values = serde_json::Deserializer::from_str(text).into_iter();
        let plain = values.next()?.ok()?;
        Some((plain, values.byte_offset()))
    }

    /// Checks the report, received at `received_at` (ms since the epoch).
    pub fn check(&self, received_at: i64) -> Result<Heartbeat<'a>, Rejection> {
        Unchecked {
            session_id: self.session_id.map(Cow::Borrowed),
            seq: self.seq,
            user_id: self.user_id.map(Cow::Borrowed),
            video_id: self.video_id.map(Cow::Borrowed),
            event_time: self.event_time,
            position_ms: self.position_ms,
            sent_at: self.sent_at,
            from_ms: self.from_ms,
            played_ms: self.played_ms,
            state: state(self.state)?,
            rate_thousandths: rate_thousandths(self.rate)?,
            duration_ms: self.duration_ms,
            territory: self.territory.map(Cow::Borrowed),
            device: self.device.map(Cow::Borrowed),
            consent: self.consent,
            ad: self.ad.map(ad).transpose()?,
        }
        .check(received_at)
    }
}

/// The fields of a report as they stand in the text. Every type is checked by hand, so the only errors left to the
/// decoder are syntax and a field that is there twice.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    seq: Option<&'a RawValue>,
    user_id: Option<&'a RawValue>,
    video_id: Option<&'a RawValue>,
    event_time: Option<&'a RawValue>,
    position_ms: Option<&'a RawValue>,
    sent_at: Option<&'a RawValue>,
    from_ms: Option<&'a RawValue>,
    played_ms: Option<&'a RawValue>,
    state: Option<&'a RawValue>,
    rate: Option<&'a RawValue>,
    duration_ms: Option<&'a RawValue>,
    territory: Option<&'a RawValue>,
    device: Option<&'a RawValue>,
    consent: Option<&'a RawValue>,
    ad: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AdFields<'a> {
    #[serde(borrow)]
    impression_id: Option<&'a RawValue>,
    line_id: Option<&'a RawValue>,
    creative_id: Option<&'a RawValue>,
    quartile: Option<&'a RawValue>,
    viewable_ms: Option<&'a RawValue>,
}

fn unchecked<'a>(fields: &Fields<'a>) -> Result<Unchecked<'a>, Rejection> {
    Ok(Unchecked {
        session_id: text(fields.session_id, Code::SessionIdInvalid)?,
        seq: integer(fields.seq, Code::SeqInvalid)?,
        user_id: text(fields.user_id, Code::UserIdInvalid)?,
        video_id: text(fields.video_id, Code::VideoIdInvalid)?,
        event_time: integer(fields.event_time, Code::EventTimeInvalid)?,
        position_ms: integer(fields.position_ms, Code::PositionInvalid)?,
        sent_at: integer(fields.sent_at, Code::SentAtInvalid)?,
        from_ms: integer(fields.from_ms, Code::FromInvalid)?,
        played_ms: integer(fields.played_ms, Code::PlayedInvalid)?,
        state: state(fields.state)?,
        rate_thousandths: rate_thousandths(fields.rate)?,
        duration_ms: integer(fields.duration_ms, Code::DurationInvalid)?,
        territory: text(fields.territory, Code::TerritoryInvalid)?,
        device: text(fields.device, Code::DeviceInvalid)?,
        consent: boolean(fields.consent, Code::ConsentInvalid)?,
        ad: fields.ad.map(ad).transpose()?,
    })
}

fn ad(raw: &RawValue) -> Result<UncheckedAd<'_>, Rejection> {
    let fields: AdFields = object(raw.get(), Code::AdInvalid)?;
    Ok(UncheckedAd {
        impression_id: text(fields.impression_id, Code::AdImpressionIdInvalid)?,
        line_id: text(fields.line_id, Code::AdLineIdInvalid)?,
        creative_id: text(fields.creative_id, Code::AdCreativeIdInvalid)?,
        quartile: integer(fields.quartile, Code::AdQuartileInvalid)?,
        viewable_ms: integer(fields.viewable_ms, Code::AdViewableInvalid)?,
    })
}

/// The fields of a JSON object. A derived struct would take an array too, hence the look at the first character.
fn object<'a, T: Deserialize<'a>>(raw: &'a str, otherwise: Code) -> Result<T, Rejection> {
    if !raw.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<&RawValue>(raw).map_err(decode_rejection)?;
        return Err(otherwise.into());
    }
    serde_json::from_str(raw).map_err(decode_rejection)
}

/// The decoder's messages name positions and our own fields, never values.
fn decode_rejection(error: serde_json::Error) -> Rejection {
    let code = match error.classify() {
        Category::Data => Code::DuplicateField,
        Category::Io | Category::Syntax | Category::Eof => Code::MalformedJson,
    };
    Rejection { code, detail: error.to_string() }
}

/// A string without its quotes and escapes.
fn text<'a>(raw: Option<&'a RawValue>, invalid: Code) -> Result<Option<Cow<'a, str>>, Rejection> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(invalid.into());
    };
    if !inner.contains('\\') {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    // Half a surrogate pair is valid JSON and no text.
    serde_json::from_str(raw).map(|text| Some(Cow::Owned(text))).map_err(|_| invalid.into())
}

/// An integer as it must be written: digits, perhaps with a minus. What no i64 holds is out of every field's bounds.
fn integer(raw: Option<&RawValue>, invalid: Code) -> Result<Option<i64>, Rejection> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    raw.parse().map(Some).map_err(|_| invalid.into())
}

fn boolean(raw: Option<&RawValue>, invalid: Code) -> Result<Option<bool>, Rejection> {
    raw.map(|raw| raw.get().parse().map_err(|_| invalid.into())).transpose()
}

fn state(raw: Option<&RawValue>) -> Result<Option<State>, Rejection> {
    let Some(name) = text(raw, Code::StateInvalid)? else {
        return Ok(None);
    };
    match &*name {
        "playing" => Ok(Some(State::Playing)),
        "paused" => Ok(Some(State::Paused)),
        "buffering" => Ok(Some(State::Buffering)),
        "seeking" => Ok(Some(State::Seeking)),
        "ended" => Ok(Some(State::Ended)),
        "error" => Ok(Some(State::Error)),
        _ => Err(Code::StateInvalid.into()),
    }
}

/// Any JSON number, to thousandths rounded half to even. 1e400 becomes infinite, hence out of bounds.
fn rate_thousandths(raw: Option<&RawValue>) -> Result<Option<i64>, Rejection> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    let rate: f64 = raw.parse().map_err(|_| Code::RateInvalid)?;
    if !RATE.contains(&rate) {
        return Err(Code::RateInvalid.into());
    }
    Ok(Some((rate * 1_000.0).round_ties_even() as i64))
}
