//! The gateway's metrics, each declared once; the descriptions are their help texts.

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use std::time::Duration;

const REQUESTS: &str = "watchbeat_ingest_requests_total";
const REPORTS: &str = "watchbeat_ingest_reports_total";
const BODY_BYTES: &str = "watchbeat_ingest_body_bytes_total";
const APPEND_SECONDS: &str = "watchbeat_ingest_append_seconds";

/// Tells the recorder what the metrics mean.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by HTTP status.");
    describe_counter!(REPORTS, "Reports answered, by verdict: accepted, or the code of the rejection.");
    describe_counter!(BODY_BYTES, Unit::Bytes, "Bytes of bodies received, as they came, before decompression.");
    describe_histogram!(
        APPEND_SECONDS,
        Unit::Seconds,
        "Time from handing the records of a request to the log until it acknowledged or failed, by outcome."
    );
}

pub(crate) fn request(status: u16) {
    counter!(REQUESTS, "status" => status.to_string()).increment(1);
}

pub(crate) fn accepted(reports: usize) {
    counter!(REPORTS, "verdict" => "accepted").increment(reports as u64);
}

pub(crate) fn rejected(code: &'static str) {
    counter!(REPORTS, "verdict" => code).increment(1);
}

pub(crate) fn body(bytes: usize) {
    counter!(BODY_BYTES).increment(bytes as u64);
}

pub(crate) fn append(took: Duration, is_acknowledged: bool) {
    let outcome = if is_acknowledged { "acknowledged" } else { "failed" };
    histogram!(APPEND_SECONDS, "outcome" => outcome).record(took.as_secs_f64());
}
