//! A heartbeat's form on the log: the Protobuf message `Record` of `heartbeats.proto`, its key, and ticks.
//!
//! The messages are written out here instead of generated, so that building needs no `protoc`; a test holds
//! them against golden bytes.

use crate::heartbeat::{Ad, Heartbeat, Played, State};
use prost::Message;
use prost::encoding::WireType;

/// Value of a record on the topic `heartbeats`; field by field as in `heartbeats.proto`.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)] // the .proto documents them
pub struct Record {
    #[prost(string, tag = "1")]
    pub site: String,
    #[prost(string, tag = "2")]
    pub user_id: String,
    #[prost(string, tag = "3")]
    pub session_id: String,
    #[prost(string, tag = "4")]
    pub video_id: String,
    #[prost(uint32, tag = "5")]
    pub seq: u32,
    #[prost(int64, tag = "6")]
    pub event_time: i64,
    #[prost(int64, tag = "7")]
    pub received_at: i64,
    #[prost(uint32, tag = "8")]
    pub position_ms: u32,
    #[prost(uint32, optional, tag = "9")]
    pub from_ms: Option<u32>,
    #[prost(uint32, tag = "10")]
    pub played_ms: u32,
    #[prost(int32, tag = "11")]
    pub state: i32,
    #[prost(uint32, tag = "12")]
    pub rate_thousandths: u32,
    #[prost(uint32, tag = "13")]
    pub duration_ms: u32,
    #[prost(string, tag = "14")]
    pub territory: String,
    #[prost(string, tag = "15")]
    pub device: String,
    #[prost(message, optional, tag = "16")]
    pub ad: Option<RecordAd>,
}

/// The ad part of a [`Record`].
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub struct RecordAd {
    #[prost(string, tag = "1")]
    pub impression_id: String,
    #[prost(string, tag = "2")]
    pub line_id: String,
    #[prost(string, tag = "3")]
    pub creative_id: String,
    #[prost(uint32, tag = "4")]
    pub quartile: u32,
    #[prost(uint32, optional, tag = "5")]
    pub viewable_ms: Option<u32>,
}

/// Memory for key and value at first: few need more.
const USUAL_BYTES: usize = 256;

/// Value of a tick: a record that only moves its partition's clock.
pub const TICK: &[u8] = &[];

/// Key of a user's records: site, a zero byte (which no id contains), user. All that must meet shares it.
pub fn key(site: &str, user_id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(site.len() + 1 + user_id.len());
    put_key(site, user_id, &mut key);
    key
}

impl Record {
    /// Playback speed in thousandths.
    pub fn rate(&self) -> u32 {
        if self.rate_thousandths == 0 { 1_000 } else { self.rate_thousandths }
    }

    /// What was played since the last report, on an interval report.
    pub fn played(&self) -> Option<Played> {
        self.from_ms.map(|from_ms| Played { from_ms, played_ms: self.played_ms })
    }

    /// Whether the player said that it was playing.
    pub fn is_playing(&self) -> bool {
        self.state == State::Playing as i32
    }
}

impl From<&Ad<'_>> for RecordAd {
    fn from(ad: &Ad<'_>) -> RecordAd {
        RecordAd {
            impression_id: ad.impression_id.to_string(),
            line_id: ad.line_id.to_string(),
            creative_id: ad.creative_id.as_deref().unwrap_or_default().to_owned(),
            quartile: u32::from(ad.quartile.unwrap_or(0)),
            viewable_ms: ad.viewable_ms,
        }
    }
}

/// Key and value of one valid report of a site in one piece of memory, and where the value begins. The value is the bytes of
/// the report's [`Record`], but none is built: all heartbeats pass here, and a record would copy their texts once more.
pub fn written(site: &str, heartbeat: &Heartbeat<'_>) -> (Vec<u8>, usize) {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    put_key(site, &heartbeat.user_id, &mut bytes);
    let key_bytes = bytes.len();
    put_value(site, heartbeat, &mut bytes);
    (bytes, key_bytes)
}

fn put_key(site: &str, user_id: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(site.as_bytes());
    into.push(0);
    into.extend_from_slice(user_id.as_bytes());
}

fn put_value(site: &str, heartbeat: &Heartbeat<'_>, into: &mut Vec<u8>) {
    put_text(1, site, into);
    put_text(2, &heartbeat.user_id, into);
    put_text(3, &heartbeat.session_id, into);
    put_text(4, &heartbeat.video_id, into);
    put_number(5, heartbeat.seq.into(), into);
    // An `int64` below zero is written as the number of the same bits.
    put_number(6, heartbeat.event_time as u64, into);
    put_number(7, heartbeat.received_at as u64, into);
    put_number(8, heartbeat.position_ms.into(), into);
    if let Some(Played { from_ms, played_ms }) = heartbeat.played {
        put(9, from_ms.into(), into); // at the beginning of a title it is 0, and there
        put_number(10, played_ms.into(), into);
    }
    put_number(11, heartbeat.state as u64, into);
    put_number(12, if heartbeat.rate == 1_000 { 0 } else { heartbeat.rate.into() }, into);
    put_number(13, heartbeat.duration_ms.unwrap_or(0).into(), into);
    put_text(14, heartbeat.territory.as_deref().unwrap_or_default(), into);
    put_text(15, heartbeat.device.as_deref().unwrap_or_default(), into);
    if let Some(ad) = &heartbeat.ad {
        prost::encoding::message::encode(16, &RecordAd::from(ad), into);
    }
}

/// A text that is not empty: an empty one is the default, and not written.
fn put_text(tag: u8, text: &str, into: &mut Vec<u8>) {
    if !text.is_empty() {
        into.push(tag << 3 | WireType::LengthDelimited as u8);
        put_varint(text.len() as u64, into);
        into.extend_from_slice(text.as_bytes());
    }
}

/// A number that is not zero: zero is the default, and not written.
fn put_number(tag: u8, number: u64, into: &mut Vec<u8>) {
    if number != 0 {
        put(tag, number, into);
    }
}

/// A number; its tag, below 16, is one byte with the type.
fn put(tag: u8, number: u64, into: &mut Vec<u8>) {
    into.push(tag << 3 | WireType::Varint as u8);
    put_varint(number, into);
}

/// Seven bits a byte, the lowest first. The library's own is for any buffer, and takes three times as long.
fn put_varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}
