//! Appends to Kafka: idempotent, acknowledged by all in-sync replicas, one counter for a whole `append`.

use super::context::Events;
use super::{KafkaSettings, number_of};
use crate::delivery::Acknowledgement;
use crate::{Delivery, LogError, Outgoing, caps};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection for appends; clones share it.
#[derive(Clone)]
pub(crate) struct KafkaProducer(Arc<ThreadedProducer<Reports>>);

/// Takes the delivery reports.
struct Reports(Events);

impl KafkaProducer {
    pub(super) fn new(settings: &KafkaSettings, linger: Duration) -> Result<KafkaProducer, LogError> {
        let tuned = [
            ("compression.type", "lz4".to_owned()), // small zstd batches are ruinous
            ("batch.size", caps::PRODUCE_BATCH_BYTES.to_string()),
            ("batch.num.messages", caps::PRODUCE_BATCH_MESSAGES.to_string()),
            ("queue.buffering.max.messages", caps::PRODUCER_QUEUE_MESSAGES.to_string()),
            ("queue.buffering.max.kbytes", caps::PRODUCER_QUEUE_KBYTES.to_string()),
            ("message.timeout.ms", caps::DELIVERY_TIMEOUT.as_millis().to_string()),
            ("linger.ms", linger.as_millis().to_string()),
        ];
        let needed = [
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            // The topic's own limit decides.
            ("message.max.bytes", caps::MESSAGE_BYTES.to_string()),
        ];
        let producer = settings.config(&tuned, &needed).create_with_context(Reports(Events::default()));
        Ok(KafkaProducer(Arc::new(producer.map_err(|error| LogError::kafka("making a producer", error))?)))
    }

    pub(crate) fn append(&self, topic: &str, records: Vec<Outgoing>) -> Delivery {
        let (delivery, acknowledgement) = Delivery::of(records.len());
        for (index, record) in records.iter().enumerate() {
            if let Err(error) = self.send(topic, record, &acknowledgement) {
                let reason = error.to_string();
                let failure = LogError::Append { topic: topic.to_owned(), reason };
                acknowledgement.settle(records.len() - index, Some(failure));
                break;
            }
        }
        delivery
    }

    /// Enqueues one record, waiting for room as long as a delivery may take.
    fn send(&self, topic: &str, record: &Outgoing, all: &Arc<Acknowledgement>) -> Result<(), KafkaError> {
        let mut message = BaseRecord::with_opaque_to(topic, Arc::clone(all))
            .partition(number_of(record.partition))
            .key(&record.key[..])
            .payload(&record.value[..]);
        let mut deadline = None;
        loop {
            match self.0.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < *deadline.get_or_insert_with(|| Instant::now() + caps::DELIVERY_TIMEOUT) =>
                {
                    message = back;
                    std::thread::sleep(caps::QUEUE_FULL_WAIT);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    pub(crate) async fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        let producer = Arc::clone(&self.0);
        super::blocking(move || producer.flush(timeout).map_err(|_| LogError::Flush { waited_ms: timeout.as_millis() }))
            .await
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Acknowledgement>;

    fn delivery(&self, result: &DeliveryResult<'_>, all: Arc<Acknowledgement>) {
        match result {
            Ok(_) => {
                self.0.works();
                all.settle(1, None);
            }
            Err((error, message)) => {
                let (topic, reason) = (message.topic().to_owned(), error.to_string());
                all.settle(1, Some(LogError::Append { topic, reason }));
            }
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}
