//! What goes on the log and comes off it, and what a topic is.

use crate::{LogError, limits};
use bytes::Bytes;

/// A record to be appended.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Partition, see [`crate::partition_for`].
    pub partition: u32,
    /// Key, also the input of the partitioner.
    pub key: Bytes,
    /// Value.
    pub value: Bytes,
}

/// A record as it comes off the log, borrowed for the length of one call.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Partition it is on.
    pub partition: u32,
    /// Its place on the partition.
    pub offset: u64,
    /// Append time, ms since the epoch; never goes back within a partition.
    pub timestamp_ms: i64,
    /// Key.
    pub key: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

/// Why somebody refused an assignment.
pub type AssignmentError = Box<dyn std::error::Error + Send + Sync>;

/// Follows which partitions a consumer has. Called from within `poll`, on the polling thread; may block. It is told which
/// partitions come and which leave: one that stays through a rebalance is not mentioned, and continues to be read.
pub trait Assignment: Send {
    /// These partitions are read from now on too; says where to start each. One without an answer starts at the earliest.
    fn assigned(&mut self, partitions: &[u32]) -> Result<Vec<Position>, AssignmentError>;
    /// These partitions are no longer read here.
    fn revoked(&mut self, partitions: &[u32]);
}

/// Reads every partition it is given from its first record, whatever was read before.
#[derive(Debug, Clone, Copy)]
pub struct FromTheStart;

impl Assignment for FromTheStart {
    fn assigned(&mut self, partitions: &[u32]) -> Result<Vec<Position>, AssignmentError> {
        Ok(partitions.iter().map(|&partition| Position { partition, start: Start::Earliest }).collect())
    }

    fn revoked(&mut self, _partitions: &[u32]) {}
}

/// Where to start a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// Where to start it.
    pub start: Start,
}

/// A place on a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this offset, which must still be on the log.
    Offset(u64),
    /// At the first record that is still there.
    Earliest,
}

/// A topic to be made. Always with append time and `cleanup.policy=delete`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name, of Kafka's characters.
    pub name: String,
    /// Partitions; never changed afterwards.
    pub partitions: u32,
    /// Copies of each partition; the embedded log has one whatever is asked.
    pub replication: u16,
    /// How long records are kept at least; -1 for ever.
    pub retention_ms: i64,
    /// Bytes of the largest record.
    pub max_message_bytes: u32,
}

impl TopicSpec {
    /// Refuses what either kind of log could not hold.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let reason = if !is_topic_name(&self.name) {
            format!("a name has 1..{} of A-Z a-z 0-9 . _ -", limits::TOPIC_NAME_CHARS)
        } else if !(1..=limits::PARTITIONS).contains(&self.partitions) {
            format!("partitions must be 1..{}", limits::PARTITIONS)
        } else if !(1..=limits::MESSAGE_BYTES).contains(&self.max_message_bytes) {
            format!("max_message_bytes must be 1..{}", limits::MESSAGE_BYTES)
        } else if self.retention_ms < -1 || self.retention_ms == 0 {
            "retention_ms must be positive, or -1 for ever".to_owned()
        } else {
            return Ok(());
        };
        Err(LogError::BadTopic { topic: self.name.clone(), reason })
    }
}

fn is_topic_name(name: &str) -> bool {
    (1..=limits::TOPIC_NAME_CHARS).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// What a topic is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Partitions.
    pub partitions: u32,
    /// Whether a record's timestamp is its append time (and not its producer's word).
    pub log_append_time: bool,
    /// How old records go: `delete` or `compact` or both.
    pub cleanup_policy: String,
    /// Copies of each partition, the least of all partitions.
    pub replication: u32,
    /// Copies that must have a record before it is acknowledged.
    pub min_insync_replicas: u32,
    /// Bytes of the largest record.
    pub max_message_bytes: u32,
}

impl TopicDescription {
    /// Whether the topic of this name keeps what exact tables rely on: every record, stamped with its append time.
    pub fn check_exact(&self, topic: &str) -> Result<(), LogError> {
        if !self.log_append_time {
            return Err(LogError::NotLogAppendTime { topic: topic.to_owned() });
        }
        self.check_kept(topic)
    }

    /// Whether the topic of this name keeps every record, whatever its key, for as long as it keeps any.
    pub fn check_kept(&self, topic: &str) -> Result<(), LogError> {
        if self.cleanup_policy != "delete" {
            return Err(LogError::NotDelete { topic: topic.to_owned(), policy: self.cleanup_policy.clone() });
        }
        Ok(())
    }

    /// Warns when an acknowledged record of the topic of this name can be lost with one machine.
    pub fn warn_of_few_copies(&self, topic: &str) {
        let TopicDescription { replication, min_insync_replicas, .. } = *self;
        if replication < 3 || min_insync_replicas < 2 {
            tracing::warn!(
                topic,
                replication,
                min_insync_replicas,
                "an acknowledged record can be lost with one machine: fine in development, else use 3 replicas and min.insync.replicas 2"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_topic_that_keeps_all_and_knows_the_time_will_do() {
        let good = TopicDescription {
            partitions: 1,
            log_append_time: true,
            cleanup_policy: "delete".to_owned(),
            replication: 3,
            min_insync_replicas: 2,
            max_message_bytes: 1,
        };
        assert!(good.check_exact("t").is_ok());
        let of_producers = TopicDescription { log_append_time: false, ..good.clone() };
        let of_keys = TopicDescription { cleanup_policy: "compact,delete".to_owned(), ..good };
        assert!(matches!(of_producers.check_exact("t"), Err(LogError::NotLogAppendTime { .. })));
        assert_eq!(
            of_keys.check_exact("t").unwrap_err().to_string(),
            "topic t has cleanup.policy=compact,delete, it must be delete: every record counts"
        );
    }
}
