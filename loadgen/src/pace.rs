//! Virtual time: when a viewer's request is due in real time. The viewers know no other clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Virtual time ends where real time does, so a sped-up run begins in the past and no report is from the future.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    started: Instant,
    /// Real time at the start; ms since the epoch.
    started_ms: i64,
    /// Virtual time at the start; ms since the epoch.
    first_ms: i64,
    speedup: u32,
}

impl Pace {
    /// Starts now; virtual time is behind real time by `behind`, and `speedup` times as fast.
    pub(crate) fn start(behind: Duration, speedup: u32) -> Pace {
        let started_ms = now_ms();
        Pace { started: Instant::now(), started_ms, first_ms: started_ms - behind.as_millis() as i64, speedup }
    }

    /// First instant of virtual time; ms since the epoch.
    pub(crate) fn first_ms(&self) -> i64 {
        self.first_ms
    }

    /// Real time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// When something is due in real time.
    pub(crate) fn due(&self, due_ms: u32) -> Duration {
        Duration::from_millis(due_ms.into()) / self.speedup
    }

    /// Real time; ms since the epoch. It goes as evenly as the time since the start.
    pub(crate) fn at_ms(&self, elapsed: Duration) -> i64 {
        self.started_ms + elapsed.as_millis() as i64
    }
}

/// Real time; ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A name that no other run has.
pub(crate) fn run_name(seed: u64) -> String {
    format!("r{:x}-{seed}", now_ms())
}

/// CPU time of this thread so far, exact to the time slice; `None` where the system does not tell.
pub(crate) fn thread_cpu() -> Option<Duration> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(schedstat.split(' ').next()?.parse().ok()?))
}
