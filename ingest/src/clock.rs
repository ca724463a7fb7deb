//! The gateway's clock: wall time, and points to measure durations from. `governor` (in `rate` and `trace`) and tokio's timers
//! read their own.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch, UTC.
pub(crate) fn now_ms() -> i64 {
    // A clock before 1970 or after the year 292,000,000 is as wrong as any other wrong clock.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A point in time to measure a duration from.
pub(crate) fn instant() -> Instant {
    Instant::now()
}
