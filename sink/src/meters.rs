//! Every metric of the sink, declared once.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Epochs that were merged.
pub(crate) const EPOCHS: &str = "watchbeat_sink_epochs_total";
/// Messages that were repeats.
pub(crate) const REPEATS: &str = "watchbeat_sink_repeats_total";
/// Epochs that wait for a missing one, per partition.
pub(crate) const WAITING: &str = "watchbeat_sink_waiting_epochs";
/// Merged rows written.
pub(crate) const ROWS: &str = "watchbeat_sink_rows_total";
/// Transactions by outcome: committed, outrun or timed_out.
pub(crate) const TRANSACTIONS: &str = "watchbeat_sink_transactions_total";
/// Tries that failed and were repeated.
pub(crate) const RETRIES: &str = "watchbeat_sink_retries_total";
/// How long a batch took to write.
pub(crate) const WRITE_SECONDS: &str = "watchbeat_sink_write_seconds";
/// Log time up to which a partition is in the tables.
pub(crate) const CLOCK: &str = "watchbeat_sink_clock_ms";

/// Gives the metrics their help texts and units.
pub(crate) fn describe() {
    describe_counter!(EPOCHS, "epochs merged");
    counter!(EPOCHS).increment(0); // there before any epoch is: an alert tells from it whether a sink runs
    describe_counter!(REPEATS, "messages that were in the tables already");
    describe_gauge!(WAITING, "epochs that wait for a missing one, per partition");
    describe_counter!(ROWS, "merged rows written");
    describe_counter!(TRANSACTIONS, "transactions, by outcome");
    describe_counter!(RETRIES, "tries of a database operation that failed and were repeated");
    describe_histogram!(WRITE_SECONDS, Unit::Seconds, "time to write a batch, retries included");
    describe_gauge!(CLOCK, Unit::Milliseconds, "log time up to which a partition is in the tables");
}

/// Sets [`WAITING`] of a partition.
pub(crate) fn waiting(partition: u32, epochs: usize) {
    gauge!(WAITING, "partition" => partition.to_string()).set(epochs as f64);
}
