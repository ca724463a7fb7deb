//! What a viewer's device does between playing and sending: gathers reports, is offline for a while, sends things
//! twice or out of order. Pure.
//!
//! Reports change places with at most seven others, and points only within a request: the crediting judges a point
//! once the reports before it had their time to come.

use crate::limits::MAX_BATCH;
use playback::model::Random;
use playback::record::Record;

const MAX_SWAPPED: usize = 8;
/// Longest time without a network; ms.
const MAX_OFFLINE_MS: u64 = 180_000;

/// Reports that wait to be sent.
pub(crate) struct Outbox {
    batch: usize,
    waiting: Vec<Record>,
    /// How many are gathered this time.
    gather: usize,
    offline_until: i64,
}

/// A body to send.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) reports: Vec<Record>,
    /// Whether all of them were sent before.
    pub(crate) again: bool,
}

impl Outbox {
    pub(crate) fn new(batch: usize) -> Outbox {
        Outbox { batch, waiting: Vec::new(), gather: batch, offline_until: i64::MIN }
    }

    /// Takes a report; gives the requests to send now, one after the other.
    pub(crate) fn push(&mut self, report: Record, random: &mut Random) -> Vec<Request> {
        let now = report.event_time;
        self.waiting.push(report);
        if random.below(300) == 0 {
            self.offline_until = now + random.below(MAX_OFFLINE_MS) as i64;
        }
        let held = now < self.offline_until || self.waiting.len() < self.gather;
        if held && self.waiting.len() < MAX_BATCH { Vec::new() } else { self.flush(random) }
    }

    /// Everything that waits.
    pub(crate) fn flush(&mut self, random: &mut Random) -> Vec<Request> {
        self.gather = if random.chance(3) { self.batch.max(2 + random.below(3) as usize) } else { self.batch };
        let mut reports = std::mem::take(&mut self.waiting);
        let swap = reports.len() > 1 && random.chance(20);
        if swap {
            reports.chunks_mut(MAX_SWAPPED).for_each(|group| random.shuffle(group));
        }
        let points = reports.iter().any(|report| report.from_ms.is_none());
        let size = if swap && points { MAX_BATCH } else { self.batch };
        let mut requests = Vec::new();
        for reports in reports.chunks(size) {
            requests.push(Request { reports: reports.to_vec(), again: false });
            if random.chance(2) {
                requests.push(Request { reports: reports.to_vec(), again: true });
            }
        }
        requests
    }
}
