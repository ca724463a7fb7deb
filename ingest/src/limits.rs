//! All maxima of the gateway, with their reasons.

use std::time::Duration;

/// Reports in one body: an hour of a player that was offline, at one per 7 s.
pub(crate) const MAX_REPORTS: usize = 500;
/// Bytes of a body, before and after decompression.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;
/// Memory for bodies that are being read, parsed or appended; more is refused with 503.
pub(crate) const MAX_BODIES_IN_FLIGHT_KIB: usize = 128 << 10;
/// Records handed to the log and not settled yet; half of what the producer's queue holds.
pub(crate) const MAX_QUEUED_RECORDS: usize = 500_000;
/// Open connections; more wait in the listener's backlog.
pub(crate) const MAX_CONNECTIONS: u32 = 65_536;
/// Bytes of the head of a request.
pub(crate) const MAX_HEAD_BYTES: usize = 16 << 10;
/// Header fields of a request.
pub(crate) const MAX_HEADERS: usize = 100;
/// Bytes of a refused report that are kept on the dead-letter topic.
pub(crate) const MAX_DEAD_REPORT_BYTES: usize = 8 << 10;
/// Bytes of an unwanted body that are read and thrown away, so that the sender gets to see the answer.
pub(crate) const MAX_DISCARDED_BYTES: usize = 8 << 20;
/// Memory a zstd frame may ask for as its window: 8 MiB, what RFC 8878 recommends every decoder to support.
pub(crate) const MAX_ZSTD_WINDOW_LOG: u32 = 23;
/// Characters of a key and of a site's name.
pub(crate) const MAX_KEY_CHARS: usize = 128;
/// Characters of a site's name.
pub(crate) const MAX_SITE_CHARS: usize = 64;

/// Time for the head of a request; also how long a connection may idle.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a body to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for the log to acknowledge; a player tries again after it.
pub(crate) const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the last records to leave the producer at the end.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the log is asked whether it is there.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted (out of file descriptors, as a rule).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What `Retry-After` says when the log or this process is at its limit.
pub(crate) const RETRY_AFTER_S: u64 = 2;
/// How long a browser may keep the answer to a preflight; browsers cut longer times down to this.
pub(crate) const PREFLIGHT_MAX_AGE_S: &str = "7200";
