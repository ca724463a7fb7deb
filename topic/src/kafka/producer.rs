//! Appends to Kafka: idempotent, acknowledged by all in-sync replicas, one counter for a whole `append`.
//!
//! The records of an `append` go to librdkafka partition by partition, each with one call: that costs a fraction of a
//! call per record.

use super::bootstrap::Bootstrap;
use super::context::Events;
use super::{KafkaSettings, not_made, number_of};
use crate::delivery::Acknowledgement;
use crate::{Delivery, LogError, Outgoing, limits};
use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_message_t, rd_kafka_produce_batch, rd_kafka_resp_err_t, rd_kafka_topic_destroy,
    rd_kafka_topic_new, rd_kafka_topic_t,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::IntoOpaque;
use rdkafka::{ClientContext, Statistics};
use std::collections::HashMap;
use std::ffi::CString;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A connection for appends; clones share it.
#[derive(Clone)]
pub(crate) struct KafkaProducer(Arc<Connection>);

struct Connection {
    // Before the producer, which must outlive them.
    topics: Mutex<HashMap<String, NativeTopic>>,
    producer: ThreadedProducer<Reports>,
    delivery_timeout: Duration,
}

/// Takes the delivery reports and the statistics.
struct Reports {
    events: Events,
    bootstrap: Bootstrap,
}

impl KafkaProducer {
    pub(super) fn new(
        settings: &KafkaSettings,
        linger: Duration,
        delivery_timeout: Duration,
    ) -> Result<KafkaProducer, LogError> {
        let tuned = [
            ("compression.type", "lz4".to_owned()), // small zstd batches are ruinous
            ("batch.size", limits::PRODUCE_BATCH_BYTES.to_string()),
            ("batch.num.messages", limits::PRODUCE_BATCH_MESSAGES.to_string()),
            ("queue.buffering.max.messages", limits::PRODUCER_QUEUE_MESSAGES.to_string()),
            ("queue.buffering.max.kbytes", limits::PRODUCER_QUEUE_KBYTES.to_string()),
            ("message.timeout.ms", delivery_timeout.as_millis().to_string()),
            ("linger.ms", linger.as_millis().to_string()),
        ];
        let needed = [
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            // The topic's own limit decides.
            ("message.max.bytes", limits::MESSAGE_BYTES.to_string()),
            ("statistics.interval.ms", limits::BROKERS_LOOK.as_millis().to_string()),
        ];
        let reports = Reports { events: Events::default(), bootstrap: Bootstrap::new(&settings.brokers) };
        let producer: ThreadedProducer<Reports> = settings
            .config(&tuned, &needed)
            .create_with_context(reports)
            .map_err(|error| not_made("making a producer", error))?;
        // SAFETY: statistics come from a thread that polls the client, and ends before it.
        unsafe { producer.context().bootstrap.is_of(producer.client().native_ptr()) };
        Ok(KafkaProducer(Arc::new(Connection { topics: Mutex::default(), producer, delivery_timeout })))
    }

    pub(crate) fn append(&self, topic: &str, records: &[Outgoing]) -> Delivery {
        let mut by_partition: Vec<&Outgoing> = records.iter().collect();
        by_partition.sort_by_key(|record| record.partition); // stable: the order within a partition stays
        let parts = runs(&by_partition).map(|records| (records[0].partition, records.len()));
        let (delivery, acknowledgement) = Delivery::of_parts(parts);
        if let Err(error) = self.0.enqueue(topic, &by_partition, &acknowledgement) {
            let failure = LogError::Append { topic: topic.to_owned(), reason: error.to_string() };
            acknowledgement.settle(records.len(), Some(failure));
        }
        delivery
    }

    /// Why librdkafka has given up: an idempotent producer that cannot keep its promise any more refuses everything.
    pub(crate) fn fatal_error(&self) -> Option<String> {
        self.0.producer.client().fatal_error().map(|(_, reason)| reason)
    }

    pub(crate) async fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        let connection = Arc::clone(&self.0);
        super::blocking(move || {
            connection.producer.flush(timeout).map_err(|_| LogError::Flush { waited_ms: timeout.as_millis() })
        })
        .await
    }
}

impl Connection {
    /// Hands over all records, which are sorted by partition; an error means that none was handed over.
    fn enqueue(&self, name: &str, sorted: &[&Outgoing], all: &Arc<Acknowledgement>) -> Result<(), KafkaError> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if !topics.contains_key(name) {
            topics.insert(name.to_owned(), NativeTopic::new(&self.producer, name)?);
        }
        let topic = &topics[name];
        runs(sorted).for_each(|records| topic.produce(name, records, all, self.delivery_timeout));
        Ok(())
    }
}

/// The records of each partition.
fn runs<'a, 'r>(sorted: &'a [&'r Outgoing]) -> impl Iterator<Item = &'a [&'r Outgoing]> {
    sorted.chunk_by(|one, other| one.partition == other.partition)
}

/// librdkafka's handle of a topic, given back when dropped.
struct NativeTopic(ptr::NonNull<rd_kafka_topic_t>);

// SAFETY: librdkafka's topic handles are reference counted and may be used from any thread.
unsafe impl Send for NativeTopic {}

impl NativeTopic {
    fn new(producer: &ThreadedProducer<Reports>, name: &str) -> Result<NativeTopic, KafkaError> {
        let c_name = CString::new(name)?;
        // SAFETY: the client lives as long as `producer`; a null configuration means the client's defaults.
        let topic = unsafe { rd_kafka_topic_new(producer.client().native_ptr(), c_name.as_ptr(), ptr::null_mut()) };
        // It fails for names and settings that no topic has.
        let refused = KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTopic);
        ptr::NonNull::new(topic).map(NativeTopic).ok_or(refused)
    }

    /// Enqueues records of one partition in their order, waiting for room as long as a delivery may take.
    fn produce(&self, name: &str, records: &[&Outgoing], all: &Arc<Acknowledgement>, delivery_timeout: Duration) {
        let mut messages: Vec<rd_kafka_message_t> = records.iter().map(|record| message(record, all)).collect();
        let partition = number_of(records[0].partition);
        let deadline = Instant::now() + delivery_timeout;
        let mut left = &mut messages[..];
        loop {
            let count = i32::try_from(left.len()).expect("an append has far fewer records than an i32 counts");
            let flags = RD_KAFKA_MSG_F_COPY;
            // SAFETY: the messages point into `records`, which outlive the call; librdkafka copies key and value.
            let taken = unsafe { rd_kafka_produce_batch(self.0.as_ptr(), partition, flags, left.as_mut_ptr(), count) };
            if taken == count {
                return;
            }
            // Once the queue is full every later message of the call is refused for that too, so the order stays.
            let full = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL;
            let may_wait = Instant::now() < deadline;
            let waiting = left.iter().position(|message| message.err == full).filter(|_| may_wait);
            let (settled, refused) = left.split_at_mut(waiting.unwrap_or(left.len()));
            for message in
                settled.iter().filter(|message| message.err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR)
            {
                let reason = RDKafkaErrorCode::from(message.err).to_string();
                // SAFETY: librdkafka did not take this message, so its reference is still ours to take back.
                let all = unsafe { Arc::<Acknowledgement>::from_ptr(message._private) };
                all.settle(1, Some(LogError::Append { topic: name.to_owned(), reason }));
            }
            if refused.is_empty() {
                return;
            }
            left = refused;
            std::thread::sleep(limits::QUEUE_FULL_WAIT);
        }
    }
}

impl Drop for NativeTopic {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_topic_new`, used by nobody else any more, and the client is still there.
        unsafe { rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

/// A record as librdkafka takes it; its delivery report gives the reference to `all` back.
fn message(record: &Outgoing, all: &Arc<Acknowledgement>) -> rd_kafka_message_t {
    rd_kafka_message_t {
        err: rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: number_of(record.partition),
        payload: record.value.as_ptr().cast_mut().cast(),
        len: record.value.len(),
        key: record.key.as_ptr().cast_mut().cast(),
        key_len: record.key.len(),
        offset: 0,
        _private: Arc::clone(all).into_ptr(),
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Acknowledgement>;

    fn delivery(&self, result: &DeliveryResult<'_>, all: Arc<Acknowledgement>) {
        let (message, failure) = match result {
            Ok(message) => {
                self.events.works();
                (message, None)
            }
            Err((error, message)) => {
                let (topic, reason) = (message.topic().to_owned(), error.to_string());
                (message, Some(LogError::Append { topic, reason }))
            }
        };
        all.settle_one(
            u32::try_from(message.partition()).expect("a record has its partition when it is appended"),
            failure,
        );
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.bootstrap.look(&statistics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::bindings::rd_kafka_test_fatal_error;

    #[test]
    fn what_the_client_has_given_up_for_is_told() {
        let settings = KafkaSettings { brokers: "127.0.0.1:1".to_owned(), client: Vec::new() };
        let producer = KafkaProducer::new(&settings, Duration::ZERO, limits::DELIVERY_TIMEOUT).unwrap();
        assert_eq!(producer.fatal_error(), None);
        let client = producer.0.producer.client().native_ptr();
        let code = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: the client is there, and the reason is a text that ends with a zero.
        unsafe { rd_kafka_test_fatal_error(client, code, c"records are missing".as_ptr()) };
        let reason = producer.fatal_error().unwrap();
        assert!(reason.contains("records are missing"), "{reason}");
    }
}
