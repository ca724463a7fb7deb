//! Reads from Kafka: the group assigns partitions, the owner of the consumer says where they start.
//!
//! Rebalancing is cooperative: a partition that stays with a member is never taken from it, so that what was read of it need
//! not be restored when others come or leave. Committed offsets are for monitors only and never read; they are committed all together,
//! once a second, because a rebalance waits for a moment without commits under way.

use super::context::Events;
use super::queues::{Fault, Queues};
use super::reading::Reading;
use super::{KafkaSettings, bootstrap, not_made, number_of};
use crate::record::{Assignment, AssignmentError, Start};
use crate::{LogError, Record, limits};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One member of a group on one topic.
pub(crate) struct KafkaConsumer {
    topic: String,
    reading: Arc<Reading>,
    assignment: Box<dyn Assignment>,
    brokers: String,
    asked: Instant,
    queues: Option<Queues>, // taken out before the consumer closes
    consumer: BaseConsumer<Changes>,
}

/// Notes what the group decided; [`KafkaConsumer::poll`] carries it out on the polling thread.
#[derive(Default)]
struct Changes {
    noted: Mutex<Vec<Change>>,
    closing: AtomicBool,
    events: Events,
}

enum Change {
    Assigned(Vec<u32>),
    Revoked(Vec<u32>),
}

impl KafkaConsumer {
    pub(super) fn new(
        settings: &KafkaSettings,
        assignment: Box<dyn Assignment>,
        reading: Arc<Reading>,
    ) -> Result<KafkaConsumer, LogError> {
        let topic = reading.topic.clone();
        let failed = |error| not_made("making a consumer", error);
        let consumer: BaseConsumer<Changes> =
            config(settings, &reading.group).create_with_context(Changes::default()).map_err(failed)?;
        // SAFETY: `Drop` below drops the queues before the consumer.
        let queues = unsafe { Queues::new(consumer.client().native_ptr(), limits::CONSUME_BATCH) };
        consumer.subscribe(&[&topic]).map_err(failed)?;
        let (brokers, asked) = (settings.brokers.clone(), Instant::now());
        Ok(KafkaConsumer { topic, reading, assignment, brokers, asked, queues: Some(queues), consumer })
    }

    pub(crate) fn poll(
        &mut self,
        max_wait: Duration,
        max_records: usize,
        take: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<usize, LogError> {
        let deadline = Instant::now() + max_wait;
        let reading = Arc::clone(&self.reading);
        let take = &mut |records: &[Record<'_>]| {
            reading.came(records);
            take(records);
        };
        let mut given = 0;
        loop {
            if given == 0 {
                self.stay_connected();
                self.serve_events()?; // only here: a partition is never revoked after records of it in one poll
            }
            // Short turns, because the group's events come on another queue than the records.
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = if given > 0 { Duration::ZERO } else { left.min(limits::CONSUMER_TURN) };
            let (taken, faults) = reading.calling(|| self.queues().take(wait, max_records - given, take));
            given += taken;
            if taken > 0 {
                self.consumer.context().events.works();
            }
            let quiet = taken == 0 && faults.is_empty();
            if quiet && !wait.is_zero() {
                reading.idled(wait);
            }
            faults.into_iter().try_for_each(|fault| self.judge(fault))?;
            if quiet && (given > 0 || left.is_zero()) {
                return Ok(given);
            }
            if given >= max_records {
                return Ok(given);
            }
        }
    }

    pub(crate) fn seek(&mut self, partition: u32, to: Start) -> Result<(), LogError> {
        if !self.queues().partitions().contains(&partition) {
            return Err(LogError::NoPartition { topic: self.topic.clone(), partition });
        }
        self.consumer
            .seek(&self.topic, number_of(partition), place_of(to), limits::ADMIN_TIMEOUT)
            .map_err(|error| LogError::kafka("seeking", error))?;
        self.reading.begins(partition, to);
        Ok(())
    }

    pub(crate) fn store_offset(&mut self, partition: u32, next_offset: u64) -> Result<(), LogError> {
        let mut offsets = TopicPartitionList::with_capacity(1);
        offsets
            .add_partition_offset(&self.topic, number_of(partition), offset_of(next_offset))
            .and_then(|()| self.consumer.store_offsets(&offsets))
            .map_err(|error| LogError::kafka("noting an offset for monitors", error))
    }

    /// Asks now and then, to see whether there is a broker. Statistics would say so too, but pile up while a role does not poll.
    fn stay_connected(&mut self) {
        if self.asked.elapsed() < limits::BROKERS_LOOK {
            return;
        }
        self.asked = Instant::now();
        // It is not waited for an answer. That there is nobody to ask is said at once.
        let answer = self.reading.calling(|| self.consumer.client().fetch_metadata(Some(&self.topic), Duration::ZERO));
        let code = answer.err().and_then(|error| error.rdkafka_error_code());
        if code == Some(RDKafkaErrorCode::BrokerTransportFailure) {
            bootstrap::give(self.consumer.client(), &self.brokers);
        }
    }

    /// Lets librdkafka speak, then carries out what the group decided.
    fn serve_events(&mut self) -> Result<(), LogError> {
        match self.reading.calling(|| self.consumer.poll(Duration::ZERO)) {
            None => {}
            Some(Err(error)) => {
                if let Some(code) = error.rdkafka_error_code() {
                    let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
                    if fatal || ends_reading(code) {
                        return Err(LogError::kafka("reading", error));
                    }
                    self.consumer.context().events.error(error, "reading goes on");
                }
            }
            // Every partition's queue was taken over before it was assigned.
            Some(Ok(_)) => return Err(LogError::kafka("reading", "a record came beside the partition queues")),
        }
        for change in self.consumer.context().take() {
            match change {
                Change::Assigned(partitions) => self.gain(partitions)?,
                Change::Revoked(partitions) => self.lose(&partitions)?,
            }
        }
        Ok(())
    }

    fn gain(&mut self, partitions: Vec<u32>) -> Result<(), LogError> {
        let refused =
            |source: AssignmentError| LogError::Assignment { topic: self.topic.clone(), source: source.into() };
        let positions = match partitions.as_slice() {
            [] => Vec::new(), // a rebalance that brings nothing is answered all the same
            some => self.assignment.assigned(some).map_err(refused)?,
        };
        let mut offsets = TopicPartitionList::with_capacity(partitions.len());
        for partition in &partitions {
            let position = positions.iter().find(|position| position.partition == *partition);
            let start = position.map_or(Start::Earliest, |position| position.start);
            self.reading.begins(*partition, start);
            offsets
                .add_partition_offset(&self.topic, number_of(*partition), place_of(start))
                .map_err(|error| LogError::kafka("placing partitions", error))?;
        }
        let topic = self.topic.clone();
        self.queues().take_over(&topic, &partitions)?;
        let taken = self.reading.calling(|| self.consumer.incremental_assign(&offsets));
        taken.map_err(|error| LogError::kafka("taking partitions", error))
    }

    fn lose(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.assignment.revoked(partitions);
        self.reading.ends(partitions);
        self.queues().release(partitions);
        let list = self.list_of(partitions);
        let given = self.reading.calling(|| self.consumer.incremental_unassign(&list));
        given.map_err(|error| LogError::kafka("giving partitions back", error))
    }

    fn list_of(&self, partitions: &[u32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, number_of(*partition));
        }
        list
    }

    /// Whether a fault on the queue ends reading or is only trouble.
    fn judge(&self, fault: Fault) -> Result<(), LogError> {
        let Fault { code, partition, offset, reason } = fault;
        self.reading.failed(partition);
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => Err(LogError::OutOfRange {
                topic: self.topic.clone(),
                partition,
                offset: u64::try_from(offset).unwrap_or(0),
            }),
            RDKafkaErrorCode::PartitionEOF => Ok(()),
            code if ends_reading(code) => {
                let reason = format!("{} partition {partition} offset {offset}: {code}: {reason}", self.topic);
                Err(LogError::kafka("reading", reason))
            }
            code => {
                self.consumer.context().events.error(KafkaError::MessageConsumption(code), &reason);
                Ok(())
            }
        }
    }

    fn queues(&mut self) -> &mut Queues {
        self.queues.as_mut().expect("taken out in drop only")
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        let revoked = self.queues().partitions();
        if !revoked.is_empty() {
            self.assignment.revoked(&revoked);
        }
        self.queues = None;
        // The consumer leaves the group when it is dropped now; what the group says meanwhile is answered by `Changes`.
        self.consumer.context().closing.store(true, Ordering::Release);
    }
}

impl Changes {
    fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ConsumerContext for Changes {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let is_assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            // Partitions that still come are accepted, and given back as the consumer closes: the group waits for both answers.
            let answered =
                if is_assigned { consumer.incremental_assign(list) } else { consumer.incremental_unassign(list) };
            if let Err(error) = answered {
                tracing::warn!(%error, "could not give the partitions back while closing");
            }
            return;
        }
        let elements = list.elements();
        let partitions = elements.iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect();
        let change = if is_assigned { Change::Assigned(partitions) } else { Change::Revoked(partitions) };
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }
}

impl ClientContext for Changes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }
}

fn config(settings: &KafkaSettings, group: &str) -> rdkafka::ClientConfig {
    let tuned = [
        ("fetch.queue.backoff.ms", "5".to_owned()), // the default stops a full consumer for a second
        ("fetch.wait.max.ms", "50".to_owned()),
        ("fetch.min.bytes", "65536".to_owned()), // or whatever there is after the wait: small answers cost both sides more
        ("max.partition.fetch.bytes", limits::FETCH_PARTITION_BYTES.to_string()),
        ("queued.max.messages.kbytes", limits::CONSUMER_QUEUE_KBYTES.to_string()),
        ("max.poll.interval.ms", limits::MAX_POLL_INTERVAL.as_millis().to_string()),
        ("session.timeout.ms", "15000".to_owned()),
    ];
    let needed = [
        ("group.id", group.to_owned()),
        ("enable.auto.commit", "true".to_owned()), // of what `store_offset` noted
        ("auto.commit.interval.ms", limits::COMMIT_INTERVAL.as_millis().to_string()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("auto.offset.reset", "error".to_owned()),
        ("check.crcs", "true".to_owned()),
        ("partition.assignment.strategy", "cooperative-sticky".to_owned()),
        ("allow.auto.create.topics", "false".to_owned()),
    ];
    settings.config(&tuned, &needed)
}

/// Errors that no waiting mends.
fn ends_reading(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Fatal
            | Code::BadMessage
            | Code::InvalidMessage
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::Authentication
            | Code::AutoOffsetReset
            | Code::OffsetOutOfRange
    )
}

fn place_of(start: Start) -> Offset {
    match start {
        Start::Offset(offset) => offset_of(offset),
        Start::Earliest => Offset::Beginning,
    }
}

fn offset_of(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX)) // past the end, and Kafka says so
}

#[cfg(test)]
mod tests;
