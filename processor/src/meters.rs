//! The processor's metrics, declared once.

use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// Records taken from the log.
pub(crate) fn records(count: usize) {
    counter!("watchbeat_processor_records_total").increment(count as u64);
}

/// A run of the views, and how many epochs it served.
pub(crate) fn run(epochs: usize, took: Duration) {
    counter!("watchbeat_processor_epochs_total").increment(epochs as u64);
    histogram!("watchbeat_processor_run_seconds").record(took.as_secs_f64());
}

/// A record that is no heartbeat and no tick.
pub(crate) fn unreadable() {
    counter!("watchbeat_processor_unreadable_records_total").increment(1);
}

/// A record that went to the late topic.
pub(crate) fn late() {
    counter!("watchbeat_processor_late_records_total").increment(1);
}

/// A tick appended, because something waited and no record came.
pub(crate) fn tick() {
    counter!("watchbeat_processor_ticks_total").increment(1);
}

/// A snapshot of so many bytes was written, or could not be.
pub(crate) fn snapshot(written: Option<usize>) {
    let outcome = if written.is_some() { "written" } else { "failed" };
    counter!("watchbeat_processor_snapshots_total", "outcome" => outcome).increment(1);
    if let Some(bytes) = written {
        gauge!("watchbeat_processor_snapshot_bytes").set(bytes as f64);
    }
}

/// Partitions owned.
pub(crate) fn owned(partitions: usize) {
    gauge!("watchbeat_processor_partitions").set(partitions as f64);
}
