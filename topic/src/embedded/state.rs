//! What readers and the writer share: topics, where their partitions begin and end, and a wake-up for readers.

use super::storage::Storage;
use crate::record::TopicSpec;
use crate::{LogError, Outgoing};
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The state of an open log.
pub(super) struct Shared {
    pub(super) storage: Storage,
    topics: Mutex<BTreeMap<String, Topic>>,
    appended: Condvar,
}

/// A topic and its partitions.
pub(super) struct Topic {
    pub(super) id: u32,
    pub(super) spec: TopicSpec,
    pub(super) partitions: Vec<Bounds>,
}

/// Where a partition begins and ends: `[start, end)`, all of it durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) start: u64,
    pub(super) end: u64,
    /// The greatest append time given out.
    pub(super) timestamp_ms: i64,
}

impl Shared {
    pub(super) fn recover(storage: Storage) -> Result<Shared, LogError> {
        let mut topics = BTreeMap::new();
        for (id, spec) in storage.topics()? {
            let partitions: Result<Vec<_>, _> =
                (0..spec.partitions).map(|partition| storage.bounds(id, partition)).collect();
            topics.insert(spec.name.clone(), Topic { id, spec, partitions: partitions? });
        }
        Ok(Shared { storage, topics: Mutex::new(topics), appended: Condvar::new() })
    }

    /// Looks at one topic.
    pub(super) fn with_topic<T>(&self, name: &str, look: impl FnOnce(&Topic) -> T) -> Result<T, LogError> {
        let topics = self.topics();
        topics.get(name).map(look).ok_or_else(|| LogError::NoTopic { topic: name.to_owned() })
    }

    /// Waits until `ready` holds for the topic, or until the deadline.
    pub(super) fn wait_for(&self, name: &str, deadline: Instant, ready: impl Fn(&Topic) -> bool) {
        let mut topics = self.topics();
        while !topics.get(name).is_some_and(&ready) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            topics = self.appended.wait_timeout(topics, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// For the writer: changes the topics, then wakes the readers.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Topic>) -> T) -> T {
        let result = change(&mut self.topics());
        self.appended.notify_all();
        result
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    /// Refuses records that the topic does not take.
    pub(super) fn check(&self, records: &[Outgoing]) -> Result<(), LogError> {
        for record in records {
            let topic = || self.spec.name.clone();
            if record.partition >= self.spec.partitions {
                return Err(LogError::NoPartition { topic: topic(), partition: record.partition });
            }
            let (bytes, limit) = (record.key.len() + record.value.len(), self.spec.max_message_bytes);
            if bytes > limit as usize {
                return Err(LogError::TooLarge { topic: topic(), bytes, limit });
            }
        }
        Ok(())
    }
}
