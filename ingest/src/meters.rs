//! The gateway's metrics, each declared once; the descriptions are their help texts. A worker looks its handles up once,
//! so that counting costs an atomic addition.

use crate::outlet::{Outlet, Refused};
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use std::time::Duration;

const REQUESTS: &str = "watchbeat_ingest_requests_total";
const REPORTS: &str = "watchbeat_ingest_reports_total";
const SITE_REPORTS: &str = "watchbeat_ingest_site_reports_total";
const BODY_BYTES: &str = "watchbeat_ingest_body_bytes_total";
const APPEND_SECONDS: &str = "watchbeat_ingest_append_seconds";
const BATCH_RECORDS: &str = "watchbeat_ingest_batch_records";
const SPOOL_RECORDS: &str = "watchbeat_ingest_spool_records";
const SPOOL_BYTES: &str = "watchbeat_ingest_spool_bytes";
const PARTITIONS_AWAY: &str = "watchbeat_ingest_partitions_away";
const UNLOGGED: &str = "watchbeat_ingest_unlogged_samples_total";
const REPLAYED: &str = "watchbeat_ingest_replayed_records_total";

/// Tells the recorder what the metrics mean.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by HTTP status.");
    describe_counter!(
        REPORTS,
        "Reports answered, by verdict: accepted, ignored (an event of another format), or the code of the rejection."
    );
    describe_counter!(SITE_REPORTS, "Accepted reports, by site.");
    describe_counter!(BODY_BYTES, Unit::Bytes, "Bytes of bodies received, as they came, before decompression.");
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from handing over a batch of records until it was safe, on the log or in the spool, or failed, by outcome."
    );
    describe_histogram!(BATCH_RECORDS, "Records in a batch.");
    describe_gauge!(SPOOL_RECORDS, "Records that wait on local disk for the log.");
    describe_gauge!(SPOOL_BYTES, Unit::Bytes, "What they take of the spool's capacity.");
    describe_gauge!(
        PARTITIONS_AWAY,
        "Partitions of both topics that take no records, as far as it is known: theirs go to the spool, or wait without one."
    );
    describe_counter!(UNLOGGED, "Sampled requests without a line in the log, because there were too many.");
    describe_counter!(REPLAYED, "Records brought from the spool to the log.");
}

/// The counter of a site's accepted reports.
pub(crate) fn accepted_of(site: &str) -> Counter {
    counter!(SITE_REPORTS, "site" => site.to_owned())
}

/// How the way out is: how much waits in the spool, and how many partitions take nothing.
pub(crate) fn outlet(outlet: &Outlet) {
    gauge!(PARTITIONS_AWAY).set(outlet.partitions_away() as f64);
    if let Some(writer) = &outlet.spool {
        let depth = writer.spool.depth();
        gauge!(SPOOL_RECORDS).set(depth.records as f64);
        gauge!(SPOOL_BYTES).set(depth.bytes as f64);
    }
}

pub(crate) fn unlogged() {
    counter!(UNLOGGED).increment(1);
}

pub(crate) fn replayed(records: usize) {
    counter!(REPLAYED).increment(records as u64);
}

/// The handles of a worker.
pub(crate) struct Meters {
    accepted_requests: Counter,
    accepted_reports: Counter,
    ignored_events: Counter,
    body_bytes: Counter,
    acknowledged_seconds: Histogram,
    failed_seconds: Histogram,
    batch_records: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Meters {
        Meters {
            accepted_requests: counter!(REQUESTS, "status" => "202"),
            accepted_reports: counter!(REPORTS, "verdict" => "accepted"),
            ignored_events: counter!(REPORTS, "verdict" => "ignored"),
            body_bytes: counter!(BODY_BYTES),
            acknowledged_seconds: histogram!(APPEND_SECONDS, "outcome" => "acknowledged"),
            failed_seconds: histogram!(APPEND_SECONDS, "outcome" => "failed"),
            batch_records: histogram!(BATCH_RECORDS),
        }
    }

    pub(crate) fn request(&self, status: u16) {
        match status {
            202 => self.accepted_requests.increment(1),
            _ => counter!(REQUESTS, "status" => status.to_string()).increment(1),
        }
    }

    pub(crate) fn accepted(&self, reports: usize) {
        self.accepted_reports.increment(reports as u64);
    }

    pub(crate) fn ignored(&self, events: usize) {
        if events > 0 {
            self.ignored_events.increment(events as u64);
        }
    }

    #[allow(clippy::unused_self)] // one owner of all counters
    pub(crate) fn rejected(&self, code: &'static str) {
        counter!(REPORTS, "verdict" => code).increment(1);
    }

    pub(crate) fn body(&self, bytes: usize) {
        self.body_bytes.increment(bytes as u64);
    }

    pub(crate) fn appended(&self, took: Duration, records: usize, outcome: Result<(), Refused>) {
        let seconds = if outcome.is_ok() { &self.acknowledged_seconds } else { &self.failed_seconds };
        seconds.record(took.as_secs_f64());
        self.batch_records.record(records as f64);
    }
}
