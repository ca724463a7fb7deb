//! Reports as Protobuf, for native players: the messages `Heartbeats`, `Heartbeat` and `Ad` of `heartbeats.proto`.
//!
//! Written out instead of generated, so that building needs no `protoc`. The bounds are those of the JSON form. As
//! JSON (for the dead letters) a message has the field names of the `.proto`.

use crate::heartbeat::State;
use crate::rejection::{Code, Rejection};
use crate::validate::{Unchecked, UncheckedAd};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use serde::Serialize;
use std::borrow::Cow;

/// Body of a request.
#[derive(Clone, PartialEq, Message)]
pub struct Heartbeats {
    /// The reports, oldest first.
    #[prost(message, repeated, tag = "1")]
    pub heartbeats: Vec<Heartbeat>,
}

/// One report; bounds and meanings are in `docs/specification.md`, section 2.
#[derive(Clone, PartialEq, Message, Serialize)]
#[allow(missing_docs)] // the .proto documents them
pub struct Heartbeat {
    #[prost(string, optional, tag = "1")]
    pub session_id: Option<String>,
    #[prost(int64, optional, tag = "2")]
    pub seq: Option<i64>,
    #[prost(string, optional, tag = "3")]
    pub user_id: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub video_id: Option<String>,
    #[prost(int64, optional, tag = "5")]
    pub event_time: Option<i64>,
    #[prost(int64, optional, tag = "6")]
    pub position_ms: Option<i64>,
    #[prost(int64, optional, tag = "7")]
    pub sent_at: Option<i64>,
    #[prost(int64, optional, tag = "8")]
    pub from_ms: Option<i64>,
    #[prost(int64, optional, tag = "9")]
    pub played_ms: Option<i64>,
    #[prost(int32, optional, tag = "10")]
    pub state: Option<i32>,
    #[prost(int64, optional, tag = "11")]
    pub rate_thousandths: Option<i64>,
    #[prost(int64, optional, tag = "12")]
    pub duration_ms: Option<i64>,
    #[prost(string, optional, tag = "13")]
    pub territory: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub device: Option<String>,
    #[prost(message, optional, tag = "15")]
    pub ad: Option<Ad>,
    #[prost(bool, optional, tag = "16")]
    pub consent: Option<bool>,
}

/// The ad part of a report.
#[derive(Clone, PartialEq, Message, Serialize)]
#[allow(missing_docs)]
pub struct Ad {
    #[prost(string, optional, tag = "1")]
    pub impression_id: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub line_id: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub creative_id: Option<String>,
    #[prost(int64, optional, tag = "4")]
    pub quartile: Option<i64>,
    #[prost(int64, optional, tag = "5")]
    pub viewable_ms: Option<i64>,
}

/// Why a body is no [`Heartbeats`].
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It holds more reports than the caller takes.
    #[error("the body holds more than {most} reports")]
    TooMany {
        /// What the caller takes.
        most: usize,
    },
    /// It is no Protobuf, or not this message.
    #[error("{0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The reports of a body. They are counted before anything is built: an empty report takes two bytes on the wire and
/// hundreds in memory.
pub fn decode(body: &[u8], most: usize) -> Result<Vec<Heartbeat>, DecodeError> {
    let mut rest = body;
    let mut count = 0;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest)?;
        count += usize::from(tag == 1);
        if count > most {
            return Err(DecodeError::TooMany { most });
        }
        skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
    }
    Ok(Heartbeats::decode(body)?.heartbeats)
}

/// Checks one report, received at `received_at` (ms since the epoch).
pub fn heartbeat(message: &Heartbeat, received_at: i64) -> Result<crate::heartbeat::Heartbeat<'_>, Rejection> {
    Unchecked {
        session_id: borrowed(&message.session_id),
        seq: message.seq,
        user_id: borrowed(&message.user_id),
        video_id: borrowed(&message.video_id),
        event_time: message.event_time,
        position_ms: message.position_ms,
        sent_at: message.sent_at,
        from_ms: message.from_ms,
        played_ms: message.played_ms,
        state: message.state.map(state).transpose()?,
        rate_thousandths: message.rate_thousandths,
        duration_ms: message.duration_ms,
        territory: borrowed(&message.territory),
        device: borrowed(&message.device),
        consent: message.consent,
        ad: message.ad.as_ref().map(unchecked_ad),
    }
    .check(received_at)
}

fn unchecked_ad(ad: &Ad) -> UncheckedAd<'_> {
    UncheckedAd {
        impression_id: borrowed(&ad.impression_id),
        line_id: borrowed(&ad.line_id),
        creative_id: borrowed(&ad.creative_id),
        quartile: ad.quartile,
        viewable_ms: ad.viewable_ms,
    }
}

fn borrowed(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

fn state(number: i32) -> Result<State, Rejection> {
    match number {
        0 => Ok(State::Playing),
        1 => Ok(State::Paused),
        2 => Ok(State::Buffering),
        3 => Ok(State::Seeking),
        4 => Ok(State::Ended),
        5 => Ok(State::Error),
        _ => Err(Code::StateInvalid.into()),
    }
}
