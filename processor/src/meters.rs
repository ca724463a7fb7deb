//! The processor's metrics, declared once.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

const RECORDS: &str = "watchbeat_processor_records_total";
const EPOCHS: &str = "watchbeat_processor_epochs_total";
const RUN_SECONDS: &str = "watchbeat_processor_run_seconds";
const UNREADABLE: &str = "watchbeat_processor_unreadable_records_total";
const LATE: &str = "watchbeat_processor_late_records_total";
const TICKS: &str = "watchbeat_processor_ticks_total";
const SNAPSHOTS: &str = "watchbeat_processor_snapshots_total";
const SNAPSHOT_BYTES: &str = "watchbeat_processor_snapshot_bytes";
const PARTITIONS: &str = "watchbeat_processor_partitions";
/// What becomes of a snapshot.
const WRITTEN: &str = "written";
/// ... it could not be kept.
const FAILED: &str = "failed";

/// Gives the metrics their help texts and units. Counters that alerts look at exist from the start: to an alert a missing
/// counter is not zero, and what is first added to it goes unseen.
pub(crate) fn describe() {
    describe_counter!(RECORDS, "Records taken from the log.");
    records(0);
    describe_counter!(EPOCHS, "Epochs that the views were run over.");
    describe_histogram!(
        RUN_SECONDS,
        Unit::Seconds,
        "Time of a run of the views, over the epochs of several partitions."
    );
    describe_counter!(UNREADABLE, "Records that are no heartbeats and no ticks.");
    counter!(UNREADABLE).increment(0);
    describe_counter!(LATE, "Records that went to the topic of late records.");
    counter!(LATE).increment(0);
    describe_counter!(TICKS, "Ticks appended, because something waited and no record came.");
    describe_counter!(SNAPSHOTS, "Snapshots of a partition, by outcome: written or failed.");
    for outcome in [WRITTEN, FAILED] {
        counter!(SNAPSHOTS, "outcome" => outcome).increment(0);
    }
    describe_gauge!(SNAPSHOT_BYTES, Unit::Bytes, "Bytes of the snapshot that was written last.");
    describe_gauge!(PARTITIONS, "Partitions that this processor has.");
    owned(0);
}

/// Records taken from the log.
pub(crate) fn records(count: usize) {
    counter!(RECORDS).increment(count as u64);
}

/// A run of the views, and how many epochs it served.
pub(crate) fn run(epochs: usize, took: Duration) {
    counter!(EPOCHS).increment(epochs as u64);
    histogram!(RUN_SECONDS).record(took.as_secs_f64());
}

/// A record that is no heartbeat and no tick.
pub(crate) fn unreadable() {
    counter!(UNREADABLE).increment(1);
}

/// A record that went to the late topic.
pub(crate) fn late() {
    counter!(LATE).increment(1);
}

/// A tick appended, because something waited and no record came.
pub(crate) fn tick() {
    counter!(TICKS).increment(1);
}

/// A snapshot of so many bytes was written, or could not be.
pub(crate) fn snapshot(written: Option<usize>) {
    let outcome = if written.is_some() { WRITTEN } else { FAILED };
    counter!(SNAPSHOTS, "outcome" => outcome).increment(1);
    if let Some(bytes) = written {
        gauge!(SNAPSHOT_BYTES).set(bytes as f64);
    }
}

/// Partitions owned.
pub(crate) fn owned(partitions: usize) {
    gauge!(PARTITIONS).set(partitions as f64);
}
