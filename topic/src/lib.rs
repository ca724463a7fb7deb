//! The log: partitioned topics of records in append order, on Kafka or embedded in a directory.
//!
//! One closed type for both, so that nothing above knows which it has. It promises what the pipeline relies on and
//! no more: appends are durable once acknowledged, offsets of a partition grow by one, the append time never goes
//! back within a partition. It does not know what the bytes mean, and it keeps no positions for its readers:
//! those say where to start when partitions are assigned to them.

mod delivery;
mod embedded;
mod error;
mod kafka;
pub mod limits;
mod murmur;
mod record;
mod spool;

pub use delivery::Delivery;
pub use error::LogError;
pub use kafka::KafkaSettings;
pub use murmur::partition_for;
pub use record::{
    Assignment, AssignmentError, FromTheStart, Outgoing, Position, Record, Start, TopicDescription, TopicSpec,
};
pub use spool::{Depth, Spool, SpoolBatch, SpoolPlace, Spooled};

use std::path::Path;
use std::time::Duration;

/// A log, on Kafka or embedded. Clones are the same log.
#[derive(Clone)]
pub struct Log(Kind);

#[derive(Clone)]
enum Kind {
    Kafka(kafka::Kafka),
    Embedded(embedded::Embedded),
}

impl Log {
    /// A log on Kafka. Nothing is asked of the brokers yet.
    pub fn kafka(settings: &KafkaSettings) -> Result<Log, LogError> {
        Ok(Log(Kind::Kafka(kafka::Kafka::new(settings)?)))
    }

    /// The log in `dir`, made when there is none; refused while another process has it open.
    pub fn embedded(dir: &Path) -> Result<Log, LogError> {
        Ok(Log(Kind::Embedded(embedded::Embedded::open(dir)?)))
    }

    /// Makes the topic, or finds it with the same partition count.
    pub async fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        spec.check()?;
        match &self.0 {
            Kind::Kafka(kafka) => kafka.create_topic(spec).await,
            Kind::Embedded(embedded) => embedded.create_topic(spec).await,
        }
    }

    /// What the topic is like now.
    pub async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        match &self.0 {
            Kind::Kafka(kafka) => kafka.describe(topic).await,
            Kind::Embedded(embedded) => embedded.describe(topic),
        }
    }

    /// A producer that waits up to `linger` for a batch to fill. A delivery fails after [`limits::DELIVERY_TIMEOUT`].
    pub fn producer(&self, linger: Duration) -> Result<Producer, LogError> {
        self.patient_producer(linger, limits::DELIVERY_TIMEOUT)
    }

    /// A producer whose deliveries fail after `delivery_timeout`.
    pub fn patient_producer(&self, linger: Duration, delivery_timeout: Duration) -> Result<Producer, LogError> {
        Ok(Producer(match &self.0 {
            Kind::Kafka(kafka) => ProducerKind::Kafka(kafka.producer(linger, delivery_timeout)?),
            // The embedded writer gathers whatever waits while it syncs: waiting longer would gain nothing.
            Kind::Embedded(embedded) => ProducerKind::Embedded(embedded.producer()),
        }))
    }

    /// A consumer of `topic` in `group`; `assignment` says where each partition starts.
    pub fn consumer(&self, topic: &str, group: &str, assignment: Box<dyn Assignment>) -> Result<Consumer, LogError> {
        Ok(Consumer(match &self.0 {
            Kind::Kafka(kafka) => ConsumerKind::Kafka(kafka.consumer(topic, group, assignment)?),
            Kind::Embedded(embedded) => ConsumerKind::Embedded(embedded.consumer(topic, assignment)?),
        }))
    }

    /// Looks from time to time whether the consumer that was made last gets what is on the log. Never ends but with the error that it
    /// does not.
    pub async fn watch_reading(&self) -> LogError {
        match &self.0 {
            Kind::Kafka(kafka) => kafka.watch_reading().await,
            Kind::Embedded(_) => std::future::pending().await, // its consumers look at its storage themselves
        }
    }

    /// Per partition, the offset after its last record.
    pub async fn end_offsets(&self, topic: &str) -> Result<Vec<u64>, LogError> {
        match &self.0 {
            Kind::Kafka(kafka) => kafka.end_offsets(topic).await,
            Kind::Embedded(embedded) => embedded.end_offsets(topic),
        }
    }
}

/// Appends records. Clones share one queue and one connection.
#[derive(Clone)]
pub struct Producer(ProducerKind);

#[derive(Clone)]
enum ProducerKind {
    Kafka(kafka::KafkaProducer),
    Embedded(embedded::EmbeddedProducer),
}

impl Producer {
    /// Appends in order (per partition), enqueued when this returns. The future resolves when all are durable or
    /// have failed, with the first failure if there is one. Waits (blocking) while the queue is full: that is the backpressure.
    pub fn append(&self, topic: &str, records: &[Outgoing]) -> Delivery {
        match &self.0 {
            ProducerKind::Kafka(producer) => producer.append(topic, records),
            ProducerKind::Embedded(producer) => producer.append(topic, records),
        }
    }

    /// Why no append will succeed any more, if that is so: only another producer can go on then.
    pub fn fatal_error(&self) -> Option<String> {
        match &self.0 {
            ProducerKind::Kafka(producer) => producer.fatal_error(),
            ProducerKind::Embedded(_) => None, // whatever its storage failed of may pass
        }
    }

    /// Waits until everything appended so far is acknowledged, or failed.
    pub async fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        match &self.0 {
            ProducerKind::Kafka(producer) => producer.flush(timeout).await,
            ProducerKind::Embedded(producer) => producer.flush(timeout).await,
        }
    }
}

/// Reads the partitions it is assigned. Blocking; owned by one thread.
pub struct Consumer(ConsumerKind);

enum ConsumerKind {
    Kafka(kafka::KafkaConsumer),
    Embedded(embedded::EmbeddedConsumer),
}

impl Consumer {
    /// Gives up to `max_records` records to `take`, some at a time and in the order of each partition, waiting at most
    /// `max_wait` for them; says how many. Partitions come and go only inside this call.
    pub fn poll(
        &mut self,
        max_wait: Duration,
        max_records: usize,
        take: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<usize, LogError> {
        match &mut self.0 {
            ConsumerKind::Kafka(consumer) => consumer.poll(max_wait, max_records, take),
            ConsumerKind::Embedded(consumer) => consumer.poll(max_wait, max_records, take),
        }
    }

    /// Goes on elsewhere in a partition that is assigned now.
    pub fn seek(&mut self, partition: u32, to: Start) -> Result<(), LogError> {
        match &mut self.0 {
            ConsumerKind::Kafka(consumer) => consumer.seek(partition, to),
            ConsumerKind::Embedded(consumer) => consumer.seek(partition, to),
        }
    }

    /// Notes how far the group is in a partition that is assigned now; lag monitors are told of it once a second and when the
    /// partition leaves, and no reading starts from it. The embedded log has no monitors and ignores it.
    pub fn store_offset(&mut self, partition: u32, next_offset: u64) -> Result<(), LogError> {
        match &mut self.0 {
            ConsumerKind::Kafka(consumer) => consumer.store_offset(partition, next_offset),
            ConsumerKind::Embedded(_) => Ok(()),
        }
    }
}
