//! One report as viewers hand it on: small, plain numbers. What it looks like on the wire is in [`crate::body`] and
//! on the log in [`crate::stored`]; who sends it is said once per viewer.

use crate::viewer::Behaviour;
use playback::heartbeat::State;

/// Set in the number of a title that only devices with corrected clocks watch.
pub(crate) const CORRECTED_TITLE: u32 = 1 << 31;

/// A report of one device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Report {
    /// Device clock; ms since the epoch.
    pub(crate) at_ms: i64,
    /// Number of the session on its device.
    pub(crate) session: u32,
    pub(crate) seq: u32,
    /// Number of the title.
    pub(crate) title: u32,
    /// Length of the title; 0 when live.
    pub(crate) duration_ms: u32,
    pub(crate) position_ms: u32,
    pub(crate) from_ms: u32,
    /// 0: a point report.
    pub(crate) played_ms: u32,
    /// Thousandths.
    pub(crate) rate: u16,
    pub(crate) state: State,
    pub(crate) ad: Option<AdPart>,
}

/// What an ad report adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AdPart {
    /// Number of the impression on its device.
    pub(crate) impression: u32,
    pub(crate) line: u16,
    pub(crate) quartile: u8,
    pub(crate) viewable_ms: Option<u32>,
}

/// What all reports of a device share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    /// Number of the account.
    pub(crate) number: u32,
    /// Number of the device on the account.
    pub(crate) player: u8,
    pub(crate) behaviour: Behaviour,
    /// Number of the territory in the profile.
    pub(crate) territory: u8,
    /// Number of the kind of device in the profile.
    pub(crate) device: u8,
}

/// A report, and what really happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) report: Report,
    pub(crate) deed: Deed,
}

/// What a viewer really did in the time a report speaks of. It is written down as it is done, never read off the report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Deed {
    /// Saw content from here to the report's position, in so much time before the report; ms.
    Played { from_ms: u32, wall_ms: u32 },
    /// Saw nothing.
    Stood,
    /// Saw something, but so long after its last word that nobody can prove it.
    Unproven,
    /// Saw nothing, and claims otherwise.
    Claimed,
    /// Saw a part of an ad.
    Shown(Shown),
    /// Did something days ago: too late for the tables.
    Old,
}

/// What an ad report tells that was not told before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    /// Device time of the impression's first report; ms since the epoch.
    pub(crate) since_ms: i64,
    pub(crate) is_first: bool,
    /// It is measurable now, and was not.
    pub(crate) measurable: bool,
    /// It has been in view for long enough now, and had not.
    pub(crate) viewable: bool,
}
