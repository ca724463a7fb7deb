//! A heartbeat's form on the log: the Protobuf message `Record` of `heartbeats.proto`, its key, and ticks.
//!
//! The messages are written out here instead of generated, so that building needs no `protoc`; a test holds
//! them against golden bytes.

use crate::heartbeat::{Ad, Heartbeat, Played, State};
use prost::Message;

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

/// Value of a tick: a record that only moves its partition's clock.
pub const TICK: &[u8] = &[];

/// Key of a user's records: site, a zero byte (which no id contains), user. All that must meet shares it.
pub fn key(site: &str, user_id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(site.len() + 1 + user_id.len());
    key.extend_from_slice(site.as_bytes());
    key.push(0);
    key.extend_from_slice(user_id.as_bytes());
    key
}

impl Record {
    /// The record of one valid report of a site.
    pub fn new(site: &str, heartbeat: Heartbeat) -> Record {
        let played = heartbeat.played;
        Record {
            site: site.to_owned(),
            user_id: heartbeat.user_id,
            session_id: heartbeat.session_id,
            video_id: heartbeat.video_id,
            seq: heartbeat.seq,
            event_time: heartbeat.event_time,
            received_at: heartbeat.received_at,
            position_ms: heartbeat.position_ms,
            from_ms: played.map(|played| played.from_ms),
            played_ms: played.map_or(0, |played| played.played_ms),
            state: heartbeat.state as i32,
            rate_thousandths: if heartbeat.rate == 1_000 { 0 } else { heartbeat.rate },
            duration_ms: heartbeat.duration_ms.unwrap_or(0),
            territory: heartbeat.territory.unwrap_or_default(),
            device: heartbeat.device.unwrap_or_default(),
            ad: heartbeat.ad.map(RecordAd::from),
        }
    }

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

impl From<Ad> for RecordAd {
    fn from(ad: Ad) -> RecordAd {
        RecordAd {
            impression_id: ad.impression_id,
            line_id: ad.line_id,
            creative_id: ad.creative_id.unwrap_or_default(),
            quartile: u32::from(ad.quartile.unwrap_or(0)),
            viewable_ms: ad.viewable_ms,
        }
    }
}
