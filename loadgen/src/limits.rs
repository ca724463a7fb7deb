//! Every maximum of this crate.

use std::time::Duration;

/// Reports of one request; the gateway takes 500, and 1 MiB.
pub const MAX_BATCH: usize = 400;
/// Titles of a profile.
pub const MAX_TITLES: u32 = 1_000_000;
/// Ad lines of a profile.
pub const MAX_LINES: u32 = 10_000;
/// Accounts of a run.
pub const MAX_VIEWERS: u32 = 10_000_000;
/// Virtual time of a run.
pub const MAX_SPAN: Duration = Duration::from_secs(24 * 3_600);
/// How far virtual time may begin before real time: reports, also those of clocks that are half an hour behind, come well
/// inside the default lateness bound of 24 hours.
pub const MAX_BEHIND: Duration = Duration::from_secs(23 * 3_600);
/// Characters of a run's name: an id of at most 64 begins with it and adds up to 25 of its own.
pub const MAX_RUN_CHARS: usize = 39;
/// Processes that share a run.
pub const MAX_PARTS: u32 = 1_000;
/// Requests under way at the same time.
pub const MAX_CONNECTIONS: usize = 65_535;
/// Open files of a process besides its connections.
pub const OTHER_FILES: u64 = 64;
/// Requests a second.
pub const MAX_RATE: u32 = 1_000_000;
/// Requests under way on one HTTP/2 connection.
pub const STREAMS: usize = 100;
/// An answer that takes longer is a failed try.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that takes longer is a failed try.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries of one request before the run fails: some eight minutes.
pub const MAX_TRIES: u32 = 100;
/// Tries after a stop was requested.
pub const MAX_TRIES_STOPPING: u32 = 3;
/// Pause before the second try; doubled for each further one.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Longest pause between tries.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Time for the log to acknowledge what it was given, after a stop was requested.
pub const STOPPING: Duration = Duration::from_secs(5);
/// Bytes of an answer.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How often the database is asked whether it is complete.
pub const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long the tables have to stay as they are to be taken for complete.
pub const STILL: Duration = Duration::from_secs(2);
/// Pause before a database that is away is asked again.
pub const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Greatest latency that is told apart; us.
pub const MAX_LATENCY_US: u64 = 3_600_000_000;
/// Differences that are listed, of each table.
pub const MAX_DIFFERENCES: usize = 20;
/// Records of one append to the log.
pub const APPEND_RECORDS: usize = 20_000;
/// Appends under way at the same time.
pub const APPENDS: usize = 4;
