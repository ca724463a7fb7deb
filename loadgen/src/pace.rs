//! Virtual time: when a viewer's event is due in real time. The only file that reads the clock.

use crate::settings::Settings;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Virtual time ends where real time does, so a sped-up run begins in the past and no report is from the future.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    started: Instant,
    first_ms: i64,
    speedup: u32,
    /// End in virtual time; ms since the epoch.
    end_ms: i64,
}

impl Pace {
    pub(crate) fn start(settings: &Settings) -> Pace {
        let (now_ms, duration_ms) = (now_ms(), settings.duration.as_millis() as i64);
        let first_ms = now_ms - duration_ms * i64::from(settings.speedup - 1);
        Pace { started: Instant::now(), first_ms, speedup: settings.speedup, end_ms: now_ms + duration_ms }
    }

    pub(crate) fn endless() -> Pace {
        Pace { started: Instant::now(), first_ms: now_ms(), speedup: 1, end_ms: i64::MAX }
    }

    /// First instant of virtual time; ms since the epoch.
    pub(crate) fn first_ms(&self) -> i64 {
        self.first_ms
    }

    pub(crate) fn is_over(&self, at_ms: i64) -> bool {
        at_ms >= self.end_ms
    }

    /// The real instant of a virtual one. What lies past the end is due at the end.
    pub(crate) fn instant(&self, at_ms: i64) -> Instant {
        let passed_ms = (at_ms.min(self.end_ms) - self.first_ms).max(0) as u64;
        self.started + Duration::from_millis(passed_ms) / self.speedup
    }

    /// Real seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// A name that no other run has.
    pub(crate) fn run_name(&self, seed: u64) -> String {
        format!("r{:x}-{seed}", now_ms())
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
