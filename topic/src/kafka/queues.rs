//! Records from Kafka in batches: half of the CPU of taking them one by one. Calls librdkafka directly,
//! as [`super::producer`] does.
//!
//! Every assigned partition's queue is forwarded to one queue of ours, which `rd_kafka_consume_batch_queue`
//! empties. The events of the consumer stay on its own queue and are served by `BaseConsumer::poll`; taking batches
//! from *that* queue would drop them. The handles are freed when the partitions are revoked, and all of them
//! before the consumer is destroyed, which would hang otherwise: [`Queues`] must be dropped first.

use super::number_of;
use crate::{LogError, Record};
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_message_timestamp,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_partition, rd_kafka_queue_new, rd_kafka_queue_t,
    rd_kafka_t,
};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr;
use std::time::Duration;

/// What the queue held instead of a record.
pub(super) struct Fault {
    pub(super) code: RDKafkaErrorCode,
    pub(super) partition: u32,
    pub(super) offset: i64,
    pub(super) reason: String,
}

/// The queues of one consumer.
pub(super) struct Queues {
    client: *mut rd_kafka_t,
    taken: *mut rd_kafka_queue_t,
    partitions: BTreeMap<u32, *mut rd_kafka_queue_t>,
    messages: Vec<*mut rd_kafka_message_t>,
}

// SAFETY: librdkafka's handles may be used from any thread; the fields are private and reached through `&mut` only.
unsafe impl Send for Queues {}

impl Queues {
    /// # Safety
    /// `client` must be a live consumer that outlives the result.
    pub(super) unsafe fn new(client: *mut rd_kafka_t, batch: usize) -> Queues {
        // SAFETY: the caller vouches for `client`.
        let taken = unsafe { rd_kafka_queue_new(client) };
        Queues { client, taken, partitions: BTreeMap::new(), messages: vec![ptr::null_mut(); batch] }
    }

    /// Takes over the partitions' queues; to be called before they are assigned, so that no record goes elsewhere.
    pub(super) fn take_over(&mut self, topic: &str, partitions: &[u32]) -> Result<(), LogError> {
        let name = CString::new(topic).map_err(|error| LogError::kafka("naming a topic", error))?;
        for partition in partitions {
            // SAFETY: `client` lives (see `new`), `name` is a C string that librdkafka copies.
            let queue = unsafe { rd_kafka_queue_get_partition(self.client, name.as_ptr(), number_of(*partition)) };
            if queue.is_null() {
                return Err(LogError::NoPartition { topic: topic.to_owned(), partition: *partition });
            }
            // SAFETY: both queues are live handles of ours.
            unsafe { rd_kafka_queue_forward(queue, self.taken) };
            self.partitions.insert(*partition, queue);
        }
        Ok(())
    }

    /// The partitions that were taken over and not let go.
    pub(super) fn partitions(&self) -> Vec<u32> {
        self.partitions.keys().copied().collect()
    }

    /// Lets go of the partitions. Records of theirs still queued are outdated once they are no longer assigned, and librdkafka
    /// drops them.
    pub(super) fn release(&mut self, partitions: &[u32]) {
        for queue in partitions.iter().filter_map(|partition| self.partitions.remove(partition)) {
            // SAFETY: a live handle of ours, taken in `take_over`, freed once because it is removed.
            unsafe {
                rd_kafka_queue_forward(queue, ptr::null_mut());
                rd_kafka_queue_destroy(queue);
            }
        }
    }

    /// Gives up to `most` records to `take`, waiting up to `wait` for a whole batch. Says how many it gave,
    /// and what else the queue held.
    pub(super) fn take(
        &mut self,
        wait: Duration,
        most: usize,
        take: &mut dyn FnMut(&[Record<'_>]),
    ) -> (usize, Vec<Fault>) {
        let most = most.min(self.messages.len());
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `messages` has room for `most` pointers, `taken` is a live queue of ours.
        let count = unsafe { rd_kafka_consume_batch_queue(self.taken, wait_ms, self.messages.as_mut_ptr(), most) };
        let batch = Batch(&self.messages[..usize::try_from(count).unwrap_or(0)]);
        let (mut records, mut faults) = (Vec::with_capacity(batch.0.len()), Vec::new());
        for message in batch.0 {
            // SAFETY: librdkafka gave us the message; it lives until `batch` destroys it, after the last use of `records`.
            match unsafe { read(&**message) } {
                Ok(record) => records.push(record),
                Err(fault) => faults.push(fault),
            }
        }
        if !records.is_empty() {
            take(&records);
        }
        (records.len(), faults)
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.release(&self.partitions());
        // SAFETY: ours since `new`, destroyed once; the consumer still lives.
        unsafe { rd_kafka_queue_destroy(self.taken) };
    }
}

/// Messages taken: destroyed when this goes, also when the callback panics.
struct Batch<'a>(&'a [*mut rd_kafka_message_t]);

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: each came from librdkafka in this batch and is destroyed here only.
            unsafe { rd_kafka_message_destroy(*message) };
        }
    }
}

/// # Safety
/// `message` must be a message of librdkafka that outlives the result.
unsafe fn read(message: &rd_kafka_message_t) -> Result<Record<'_>, Fault> {
    let partition = u32::try_from(message.partition).unwrap_or(0);
    // SAFETY: key and payload are null or point to as many bytes as their length says, for the message's life.
    let (key, value) =
        unsafe { (bytes(message.key.cast(), message.key_len), bytes(message.payload.cast(), message.len)) };
    let code: RDKafkaErrorCode = message.err.into();
    if code != RDKafkaErrorCode::NoError {
        let reason = String::from_utf8_lossy(value).into_owned();
        return Err(Fault { code, partition, offset: message.offset, reason });
    }
    // SAFETY: a live message; the kind of timestamp is checked at start through the topic's description.
    let timestamp_ms = unsafe { rd_kafka_message_timestamp(message, ptr::null_mut()) };
    let offset = u64::try_from(message.offset).expect("a record without an error has an offset");
    Ok(Record { partition, offset, timestamp_ms, key, value })
}

/// # Safety
/// `start` must be null or point to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const u8, len: usize) -> &'a [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for it.
    unsafe { std::slice::from_raw_parts(start, len) }
}
