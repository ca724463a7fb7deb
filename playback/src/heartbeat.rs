//! Heartbeat v1: one report of a player, valid by construction. Parsing is in [`crate::json`] and [`crate::message`]. Its
//! texts stay where they were read: an accepted report is written to the log from there.

use std::borrow::Cow;

/// State of the player at the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum State {
    /// Content is moving; the default.
    #[default]
    Playing = 0,
    /// The viewer stopped it.
    Paused = 1,
    /// The player waits for data.
    Buffering = 2,
    /// The viewer is moving the playhead.
    Seeking = 3,
    /// The title ran out.
    Ended = 4,
    /// The player gave up.
    Error = 5,
}

/// What an ad report adds: it is never content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ad<'a> {
    /// One showing of one ad to one viewer; 1..64 id characters.
    pub impression_id: Cow<'a, str>,
    /// The booked line that pays for it; 1..64 id characters.
    pub line_id: Cow<'a, str>,
    /// The creative shown; 1..64 id characters.
    pub creative_id: Option<Cow<'a, str>>,
    /// Quarters of the ad played, 0..4.
    pub quartile: Option<u8>,
    /// Continuous time in view, 0..600,000 ms; present means that it was measurable.
    pub viewable_ms: Option<u32>,
}

/// What was played since the last report: a report with it is an interval report, one without a point report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Playhead where the stretch began, 0..172,800,000 ms of content.
    pub from_ms: u32,
    /// Time it took on the wall, 1..120,000 ms.
    pub played_ms: u32,
}

/// One valid report, on the gateway's clock. The bounds are those of `docs/specification.md`, section 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat<'a> {
    /// One player playing one title once.
    pub session_id: Cow<'a, str>,
    /// Number of the report in its session, from 0.
    pub seq: u32,
    /// Account or profile; pseudonymous when the gateway has a pepper.
    pub user_id: Cow<'a, str>,
    /// The title.
    pub video_id: Cow<'a, str>,
    /// Time of the report, corrected by `sent_at` when the device said it; ms since the epoch.
    pub event_time: i64,
    /// The same time by the device's own clock, identical however often the device sends the report; but if it is further from
    /// the gateway's clock than event times may be, the nearest time that is allowed.
    pub device_time: i64,
    /// Time the gateway received it; ms since the epoch.
    pub received_at: i64,
    /// Playhead, ads excluded; ms of content.
    pub position_ms: u32,
    /// What was played since the last report.
    pub played: Option<Played>,
    /// State of the player.
    pub state: State,
    /// Playback speed in thousandths, 62..=16,000 (0.0625 is kept as 62, half to even).
    pub rate: u32,
    /// Length of the title; absent when live.
    pub duration_ms: Option<u32>,
    /// Where it was played, ISO 3166-1 alpha-2.
    pub territory: Option<Cow<'a, str>>,
    /// Kind of device, printable ASCII.
    pub device: Option<Cow<'a, str>>,
    /// Whether the viewer may be recognised; yes, if the player does not say. Not on the log: if it is false, whoever puts the
    /// report there takes the user out of it first.
    pub consent: bool,
    /// Present on ad reports only.
    pub ad: Option<Ad<'a>>,
}
