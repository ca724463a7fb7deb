//! Every metric of the sink, declared once.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Epochs that were merged.
pub(crate) const EPOCHS: &str = "watchbeat_sink_epochs_total";
/// Messages that were repeats.
pub(crate) const REPEATS: &str = "watchbeat_sink_repeats_total";
/// Epochs of another fingerprint, passed over.
pub(crate) const REFUSED: &str = "watchbeat_sink_refused_epochs_total";
/// Epochs that wait for a missing one, per partition.
pub(crate) const WAITING: &str = "watchbeat_sink_waiting_epochs";
/// Merged rows written.
pub(crate) const ROWS: &str = "watchbeat_sink_rows_total";
/// Transactions by outcome.
pub(crate) const TRANSACTIONS: &str = "watchbeat_sink_transactions_total";
/// What becomes of a transaction: it is in the tables.
pub(crate) const COMMITTED: &str = "committed";
/// ... another sink was faster.
pub(crate) const OUTRUN: &str = "outrun";
/// ... there was no answer in time.
pub(crate) const TIMED_OUT: &str = "timed_out";
/// Tries that failed and were repeated.
pub(crate) const RETRIES: &str = "watchbeat_sink_retries_total";
/// How long a batch took to write.
pub(crate) const WRITE_SECONDS: &str = "watchbeat_sink_write_seconds";
/// Log time up to which a partition is in the tables.
pub(crate) const CLOCK: &str = "watchbeat_sink_clock_ms";

/// Gives the metrics their help texts and units. Counters that alerts look at exist from the start: an alert does not take a
/// missing counter for zero, so its first increment would go unseen.
pub(crate) fn describe() {
    describe_counter!(EPOCHS, "epochs merged");
    counter!(EPOCHS).increment(0);
    describe_counter!(REPEATS, "messages that were in the tables already");
    describe_counter!(REFUSED, "epochs of another fingerprint, which were passed over");
    counter!(REFUSED).increment(0);
    describe_gauge!(WAITING, "epochs that wait for a missing one, per partition");
    describe_counter!(ROWS, "merged rows written");
    describe_counter!(TRANSACTIONS, "transactions, by outcome");
    for outcome in [COMMITTED, OUTRUN, TIMED_OUT] {
        transaction(outcome, 0);
    }
    describe_counter!(RETRIES, "tries of a database operation that failed and were repeated");
    counter!(RETRIES).increment(0);
    describe_histogram!(WRITE_SECONDS, Unit::Seconds, "time to write a batch, retries included");
    describe_gauge!(CLOCK, Unit::Milliseconds, "log time up to which a partition is in the tables");
}

/// Counts transactions of an outcome.
pub(crate) fn transaction(outcome: &'static str, count: u64) {
    counter!(TRANSACTIONS, "outcome" => outcome).increment(count);
}

/// Sets [`CLOCK`] of a partition, which has none before its first record.
pub(crate) fn clock(partition: u32, next_offset: u64, clock: i64) {
    if next_offset > 0 {
        gauge!(CLOCK, "partition" => partition.to_string()).set(clock as f64);
    }
}

/// Sets [`WAITING`] of a partition.
pub(crate) fn waiting(partition: u32, epochs: usize) {
    gauge!(WAITING, "partition" => partition.to_string()).set(epochs as f64);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

    /// A recorder for the metrics of a test, as a role has one.
    pub(crate) fn recorder() -> PrometheusRecorder {
        PrometheusBuilder::new().build_recorder()
    }

    /// What a scrape would say of a series, named as in `name{label="value"}`; none if it is not there.
    pub(crate) fn scraped(recorder: &PrometheusRecorder, series: &str) -> Option<f64> {
        let text = recorder.handle().render();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn what_alerts_add_up_is_there_from_the_start() {
        let recorder = recorder();
        metrics::with_local_recorder(&recorder, describe);
        let transactions =
            ["committed", "outrun", "timed_out"].map(|outcome| format!("{TRANSACTIONS}{{outcome=\"{outcome}\"}}"));
        for series in transactions.iter().map(String::as_str).chain([EPOCHS, RETRIES]) {
            assert_eq!(scraped(&recorder, series), Some(0.0), "{series}");
        }
    }
}
