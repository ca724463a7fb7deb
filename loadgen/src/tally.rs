//! What all viewers together sent and were told.

use crate::limits::MAX_LATENCY_MS;
use hdrhistogram::Histogram;
use playback::model::Logged;
use playback::record::Record;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Shared by the viewers.
pub(crate) struct Tally {
    /// Whether accepted reports are kept for the verdict.
    keep: bool,
    outcome: Mutex<Outcome>,
}

/// The sums of a run.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    pub(crate) accepted_count: u64,
    /// As they may stand on the log; when they were received and logged is not known here.
    pub(crate) accepted: Vec<Logged>,
    /// Reports sent again on purpose.
    pub(crate) duplicates: u64,
    /// Reports of tries whose outcome is unknown: each may stand on the log once more.
    pub(crate) uncertain: u64,
    pub(crate) undelivered: u64,
    pub(crate) rejected: BTreeMap<String, u64>,
    /// Microseconds from the intended send time to the answer.
    pub(crate) latencies: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new(keep: bool) -> Tally {
        let latencies = Histogram::new_with_bounds(1, MAX_LATENCY_MS * 1_000, 3).expect("the bounds are constants");
        let outcome = Outcome {
            requests: 0,
            retries: 0,
            accepted_count: 0,
            accepted: Vec::new(),
            duplicates: 0,
            uncertain: 0,
            undelivered: 0,
            rejected: BTreeMap::new(),
            latencies,
        };
        Tally { keep, outcome: Mutex::new(outcome) }
    }

    /// One request was answered with these refusals: index and code.
    pub(crate) fn answered(&self, reports: &[Record], again: bool, refused: &[(usize, String)], latency: Duration) {
        let mut outcome = self.lock();
        outcome.requests += 1;
        outcome.latencies.saturating_record(latency.as_micros() as u64);
        for (_, code) in refused {
            *outcome.rejected.entry(code.clone()).or_default() += 1;
        }
        let accepted =
            reports.iter().enumerate().filter(|(index, _)| refused.iter().all(|(refused, _)| refused != index));
        for (_, record) in accepted {
            outcome.accepted_count += 1;
            outcome.duplicates += u64::from(again);
            if self.keep {
                outcome.accepted.push(Logged { record: record.clone(), logged_at: record.event_time });
            }
        }
    }

    /// One request was tried in vain; `uncertain` when it may have been taken all the same.
    pub(crate) fn tried(&self, reports: usize, uncertain: bool) {
        let mut outcome = self.lock();
        outcome.retries += 1;
        outcome.uncertain += if uncertain { reports as u64 } else { 0 };
    }

    /// Reports were given up at the stop.
    pub(crate) fn gave_up(&self, reports: usize) {
        self.lock().undelivered += reports as u64;
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().expect("nobody panics while holding the tally")
    }
}
