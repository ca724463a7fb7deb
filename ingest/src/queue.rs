//! What was handed to the log and is not settled: bounded, and counted until the log has settled it, whether anybody still waits or
//! not.

use crate::by_topic::ByTopic;
use crate::limits::{MAX_QUEUED_BYTES, MAX_QUEUED_RECORDS};
use crate::records::Records;
use crate::topics::Topics;
use futures::{FutureExt, future};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use topic::{Delivery, Outgoing, Producer};

/// How much is handed to the log. The producer blocks its caller when its own queue is full, so that must never happen here.
#[derive(Default)]
pub(crate) struct Queue {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// A part of the queue, until dropped.
pub(crate) struct Queued {
    records: usize,
    bytes: usize,
    queue: Arc<Queue>,
}

impl Queue {
    /// Makes room for these records in one of `share` equal parts of the queue, if there is.
    pub(crate) fn take(self: &Arc<Queue>, records: &Records, share: usize) -> Option<Queued> {
        let queued = Queued { records: records.len(), bytes: records.bytes(), queue: self.clone() };
        let records = self.records.fetch_add(queued.records, Ordering::Relaxed) + queued.records;
        let bytes = self.bytes.fetch_add(queued.bytes, Ordering::Relaxed) + queued.bytes;
        (records <= MAX_QUEUED_RECORDS / share && bytes <= MAX_QUEUED_BYTES / share).then_some(queued)
    }
}

impl Queued {
    /// Gives back the room of all but these.
    fn shrink_to(&mut self, left: &Records) {
        let (records, bytes) = (left.len(), left.bytes());
        self.queue.records.fetch_sub(self.records - records, Ordering::Relaxed);
        self.queue.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        (self.records, self.bytes) = (records, bytes);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.shrink_to(&Records::default());
    }
}

/// Records that the log has and may not have acknowledged.
pub(crate) struct Sent {
    deliveries: ByTopic<Delivery>,
    queued: Queued,
}

impl Sent {
    pub(crate) fn new(producer: &Producer, topics: &Topics, records: &Records, queued: Queued) -> Sent {
        let append = |(topic, records): (&Arc<str>, &Vec<Outgoing>)| producer.append(topic, records);
        Sent { deliveries: topics.names.as_ref().zip(records.as_ref()).map(append), queued }
    }

    /// Waits until all are acknowledged or have failed, but not longer than `patience`. Afterwards `records` has only those of
    /// partitions that have not taken all of theirs, and the error says why.
    pub(crate) async fn settle(&mut self, records: &mut Records, patience: Duration) -> Result<(), String> {
        let outcome = match timeout(patience, self.outcome()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no acknowledgement within {} ms", patience.as_millis())),
        };
        if outcome.is_ok() {
            *records = Records::default();
            return Ok(());
        }
        self.leave_missing(records);
        if records.is_empty() { Ok(()) } else { outcome }
    }

    /// The same without waiting; `None` while some are neither acknowledged nor failed.
    pub(crate) fn settled(&mut self, records: &mut Records) -> Option<Result<(), String>> {
        let outcome = self.outcome().now_or_never();
        self.leave_missing(records);
        if records.is_empty() { Some(Ok(())) } else { outcome }
    }

    async fn outcome(&mut self) -> Result<(), String> {
        let ByTopic { heartbeats, dead_letters } = self.deliveries.as_mut();
        let (heartbeats, dead_letters) = future::join(heartbeats, dead_letters).await;
        heartbeats.and(dead_letters).map_err(|error| error.to_string())
    }

    /// Leaves the records of partitions that have not acknowledged all of theirs, and room for those alone.
    fn leave_missing(&mut self, records: &mut Records) {
        records.as_mut().zip(self.deliveries.as_ref()).map(|(records, delivery)| {
            records.retain(|record| !delivery.is_safe(record.partition));
        });
        self.queued.shrink_to(records);
    }

    /// Waits for them no longer; they count as queued until they are settled all the same.
    pub(crate) fn leave(self) {
        tokio::spawn(async move {
            let _settled = future::join_all(self.deliveries.each()).await;
            drop(self.queued);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_queue_is_full_by_records_or_by_bytes_and_what_leaves_it_makes_room() {
        let queue = Arc::<Queue>::default();
        let records = |count: usize, bytes: usize| {
            let record = Outgoing { partition: 0, key: Bytes::new(), value: Bytes::from(vec![0; bytes]) };
            Records { heartbeats: vec![record; count], ..Records::default() }
        };
        let take = |count, bytes, share| queue.take(&records(count, bytes), share);
        let mebibyte = 1 << 20;
        assert!(take(1, MAX_QUEUED_BYTES + 1, 1).is_none() && take(MAX_QUEUED_RECORDS + 1, 0, 1).is_none());
        let mut first = take(3, MAX_QUEUED_BYTES / 3, 1).unwrap();
        assert!(take(1, mebibyte, 1).is_none());
        first.shrink_to(&records(1, MAX_QUEUED_BYTES - 2 * mebibyte));
        assert!(take(1, 2 * mebibyte, 1).is_some() && take(1, 2 * mebibyte + 1, 1).is_none());
        assert!(take(1, 0, 2).is_none());
        drop(first);
        assert!(take(1, MAX_QUEUED_BYTES, 1).is_some() && take(MAX_QUEUED_RECORDS, 0, 1).is_some());
        assert!(take(1, MAX_QUEUED_BYTES / 2, 2).is_some() && take(1, MAX_QUEUED_BYTES / 2 + 1, 2).is_none());
    }
}
