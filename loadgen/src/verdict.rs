//! The outcome of a run, as one line of JSON.

use crate::settings::{LoadError, Settings};
use crate::tally::Tally;
use serde::Serialize;
use sql::database::with_causes;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a run sent, how fast it was taken, and whether the tables say what was played.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Name of the run, which begins its ids.
    pub run: String,
    /// Accounts.
    pub viewers: u32,
    /// What made them.
    pub seed: u64,
    /// Real time in which they sent.
    pub seconds: f64,
    /// Requests answered with 202.
    pub requests: u64,
    /// Per second.
    pub requests_per_second: f64,
    /// CPU time of the load for each request, where the system tells it; microseconds.
    pub load_us_per_request: Option<f64>,
    /// Reports that the gateway accepted, copies among them.
    pub accepted: u64,
    /// Reports that it refused, by code.
    pub rejected: BTreeMap<String, u64>,
    /// Accepted reports that were sent again on purpose.
    pub duplicates_sent: u64,
    /// Failed tries; each is repeated unless it was tried often enough.
    pub retries: u64,
    /// Why tries failed.
    pub failures: BTreeMap<String, u64>,
    /// Reports given up at the stop.
    pub undelivered: u64,
    /// From when a request was due to its answer.
    pub latency_ms: Latencies,
    /// Whether the tables were compared.
    pub verified: bool,
    /// In how many rows and totals they differ from what was played.
    pub difference_count: u64,
    /// The first of them, of each table.
    pub differences: Vec<String>,
    /// What ended the run before its time, or failed after the viewers were done: the comparison, or a file.
    pub failed: Vec<String>,
}

/// Latencies in ms, from the time a request was due: a slow answer counts for the requests that it held up too.
#[derive(Debug, Clone, Copy, Serialize)]
#[allow(missing_docs)]
pub struct Latencies {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Verdict {
    pub(crate) fn new(
        settings: &Settings,
        run: String,
        took: Duration,
        cpu: Option<Duration>,
        tally: &Tally,
    ) -> Verdict {
        let ms = |quantile| tally.latencies.value_at_quantile(quantile) as f64 / 1_000.0;
        let seconds = took.as_secs_f64();
        Verdict {
            run,
            viewers: settings.viewers,
            seed: settings.seed,
            seconds,
            requests: tally.requests,
            requests_per_second: tally.requests as f64 / seconds,
            load_us_per_request: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / tally.requests.max(1) as f64),
            accepted: tally.accepted,
            rejected: tally.rejected.clone(),
            duplicates_sent: tally.duplicates,
            retries: tally.retries,
            failures: tally.failures.clone(),
            undelivered: tally.undelivered,
            latency_ms: Latencies { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), p999: ms(0.999), max: ms(1.0) },
            verified: false,
            difference_count: 0,
            differences: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Whether something was sent, everything was taken, all that was asked for is there, and the tables, if they were to be
    /// compared, are right.
    pub fn passed(&self) -> bool {
        let is_taken = self.accepted > 0 && self.rejected.is_empty() && self.undelivered == 0;
        is_taken && self.difference_count == 0 && self.failed.is_empty()
    }

    /// Keeps what a step says that failed.
    pub(crate) fn note_failure(&mut self, ended: Result<(), LoadError>) {
        if let Err(error) = ended {
            let error = with_causes(&error);
            tracing::error!(error, "not all of what was asked for could be done");
            self.failed.push(error);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}
