//! Every maximum of this crate, in one place.

use std::time::Duration;

/// Records of an epoch at the most. With the next two it is part of the definition of an epoch, and so of the fingerprint.
pub(crate) const EPOCH_RECORDS: u64 = 32_768;

/// An epoch is full when its facts name this many bytes of texts: the topic must take its message, see
/// [`sql::limits::MESSAGE_BYTES`].
pub(crate) const EPOCH_TEXT_BYTES: usize = 4 << 20;

/// An epoch with this many rows of facts is full, for the same reason: a record may put out many rows, for points whose wait
/// ended or segments that it took in. Records of all kinds of play put out six or seven, so this limit seldom ends an epoch.
pub(crate) const EPOCH_FACTS: usize = 8 * EPOCH_RECORDS as usize;

/// Records taken from the log at once.
pub(crate) const POLL_RECORDS: usize = 16_384;

/// Runs whose partials are published but not yet acknowledged.
pub(crate) const RUNS_IN_FLIGHT: usize = 8;

/// Rows of one output batch of a view.
pub(crate) const VIEW_BATCH_ROWS: usize = 65_536;

/// Snapshots kept of each partition: the newest, and those to fall back on.
pub(crate) const SNAPSHOTS_KEPT: usize = 3;

/// A snapshot unpacks to at most this many bytes.
pub(crate) const SNAPSHOT_BYTES: u64 = 16 << 30;

/// How long a processor that was told to stop goes on until its epochs end: the length of two epochs, and time for a tick.
pub(crate) const WIND_DOWN: Duration = Duration::from_secs(3);

/// How long a processor that was told to stop waits until its snapshots are written: well within what an orchestrator waits.
pub(crate) const SNAPSHOTS_AT_STOP: Duration = Duration::from_secs(5);

/// How far the log may be ahead of this machine's clock. While a partition's clock is ahead, its reports count as late that much
/// earlier, and that is not taken back; an hour is well within the lateness bound, and more than clocks that are kept differ.
pub(crate) const LOG_AHEAD: Duration = Duration::from_hours(1);

/// How long output may wait for its acknowledgement before the processor ends and starts again. In an outage a new start gains
/// nothing: it fails until Kafka is back, and an orchestrator makes it wait longer from one to the next, up to five minutes.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(300);
