//! What the viewers sent and were told: sums, latencies, and how both went over time.

use crate::limits::MAX_LATENCY_US;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// The sums of a run.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Requests answered with 202.
    pub(crate) requests: u64,
    pub(crate) reports: u64,
    /// Failed tries.
    pub(crate) retries: u64,
    /// Why, and how often.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) accepted: u64,
    /// Accepted reports that were sent again on purpose.
    pub(crate) duplicates: u64,
    /// Reports of tries whose outcome is unknown: each may stand on the log once more.
    pub(crate) uncertain: u64,
    pub(crate) undelivered: u64,
    pub(crate) rejected: BTreeMap<String, u64>,
    /// Microseconds from when a request was due to its answer.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) moments: Vec<Moment>,
    now: Now,
}

/// A second of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Moment {
    pub(crate) second: u32,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// The second that is not over.
#[derive(Debug, Clone)]
struct Now {
    second: u32,
    requests: u64,
    failures: u64,
    latencies: Histogram<u64>,
}

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    /// Whether the gateway may have taken the request all the same.
    pub(crate) uncertain: bool,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        let latencies =
            |digits| Histogram::new_with_bounds(1, MAX_LATENCY_US, digits).expect("the bounds are constants");
        Tally {
            requests: 0,
            reports: 0,
            retries: 0,
            failures: BTreeMap::new(),
            accepted: 0,
            duplicates: 0,
            uncertain: 0,
            undelivered: 0,
            rejected: BTreeMap::new(),
            latencies: latencies(3),
            moments: Vec::new(),
            now: Now { second: 0, requests: 0, failures: 0, latencies: latencies(2) },
        }
    }

    /// A request was answered, so long after it was due.
    pub(crate) fn answered(&mut self, at: Duration, latency: Duration) {
        self.move_to(at);
        self.requests += 1;
        self.now.requests += 1;
        let us = latency.as_micros() as u64;
        self.latencies.saturating_record(us);
        self.now.latencies.saturating_record(us);
    }

    /// A request of so many reports was tried in vain.
    pub(crate) fn failed(&mut self, at: Duration, reports: usize, failure: &Failure) {
        self.move_to(at);
        self.retries += 1;
        self.now.failures += 1;
        self.uncertain += if failure.uncertain { reports as u64 } else { 0 };
        match self.failures.get_mut(&failure.reason) {
            Some(count) => *count += 1,
            None => drop(self.failures.insert(failure.reason.clone(), 1)),
        }
    }

    /// Ends the seconds that are over.
    pub(crate) fn move_to(&mut self, at: Duration) {
        let second = at.as_secs() as u32;
        while self.now.second < second {
            let quantile = |quantile| self.now.latencies.value_at_quantile(quantile);
            self.moments.push(Moment {
                second: self.now.second,
                requests: self.now.requests,
                failures: self.now.failures,
                p50_us: quantile(0.5),
                p99_us: quantile(0.99),
                max_us: self.now.latencies.max(),
            });
            self.now.latencies.reset();
            (self.now.second, self.now.requests, self.now.failures) = (self.now.second + 1, 0, 0);
        }
    }
}
