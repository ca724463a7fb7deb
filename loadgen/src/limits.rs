//! Every maximum of this crate.

use std::time::Duration;

/// Reports of one request; the gateway takes 500, and 1 MiB.
pub const MAX_BATCH: usize = 400;
/// Reports that a run with a verdict keeps in memory, about 400 B each.
pub const MAX_VERIFIED_REPORTS: u64 = 20_000_000;
/// Virtual time of a run: its oldest report stays well inside the default lateness bound and the gateway's 7 days.
pub const MAX_SPAN: Duration = Duration::from_secs(20 * 3_600);
/// Viewers of a run.
pub const MAX_VIEWERS: u32 = 1_000_000;
/// An answer that takes longer is a failed try.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one request before the run fails: some eight minutes.
pub const MAX_TRIES: u32 = 100;
/// Tries after a stop was requested.
pub const MAX_TRIES_STOPPING: u32 = 3;
/// Pause before the second try; doubled for each further one.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Longest pause between tries.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Bytes read of an answer.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How often the database is asked whether it is complete.
pub const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Greatest latency that is told apart; ms.
pub const MAX_LATENCY_MS: u64 = 3_600_000;
/// Differences that are listed of what viewers know.
pub const MAX_DIFFERENCES: usize = 20;
