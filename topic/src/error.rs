//! What can go wrong with the log, one variant per way out.

/// Why the log could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// No such topic.
    #[error(
        "topic {topic} does not exist, or this user may not see it: create it first (`watchbeat migrate`), or allow Describe"
    )]
    NoTopic {
        /// The topic asked for.
        topic: String,
    },
    /// The topic's name, partitions or limits are outside what the log takes.
    #[error("topic {topic}: {reason}")]
    BadTopic {
        /// The topic.
        topic: String,
        /// What is wrong.
        reason: String,
    },
    /// The topic is there with another partition count: keys would move.
    #[error("topic {topic} has {found} partitions, not {wanted}: keys would move, so use that count or a new prefix")]
    PartitionCount {
        /// The topic.
        topic: String,
        /// Partitions it has.
        found: u32,
        /// Partitions asked for.
        wanted: u32,
    },
    /// The topic stamps records with their producer's clock.
    #[error(
        "topic {topic} must have message.timestamp.type=LogAppendTime: log time is what epochs and lateness run on"
    )]
    NotLogAppendTime {
        /// The topic.
        topic: String,
    },
    /// The topic drops records by key.
    #[error("topic {topic} has cleanup.policy={policy}, it must be delete: every record counts")]
    NotDelete {
        /// The topic.
        topic: String,
        /// What it has instead.
        policy: String,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has no partition {partition}")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
    },
    /// The offset asked for is not on the log: retention removed it, or the log is another one.
    #[error(
        "topic {topic} partition {partition}: offset {offset} is not on the log: retention removed it, or this is another log (docs/operations.md, When a role ends)"
    )]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: u64,
    },
    /// A message is larger than its topic allows.
    #[error("topic {topic}: a message of {bytes} bytes is over its limit of {limit}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of key and value.
        bytes: usize,
        /// The topic's limit.
        limit: u32,
    },
    /// The embedded log is open elsewhere.
    #[error("the log in {dir} is in use by another process: stop that one, or choose another directory")]
    InUse {
        /// The directory.
        dir: String,
    },
    /// A record could not be acknowledged.
    #[error("topic {topic}: append failed: {reason}")]
    Append {
        /// The topic.
        topic: String,
        /// What the log said.
        reason: String,
    },
    /// Records are still unacknowledged.
    #[error("records are still unacknowledged after {waited_ms} ms")]
    Flush {
        /// How long was waited.
        waited_ms: u128,
    },
    /// Whoever follows the assignment refused it.
    #[error("assignment of topic {topic}: {source}")]
    Assignment {
        /// The topic.
        topic: String,
        /// Why.
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A Kafka consumer does not get what is on the log, and does not say why.
    #[error("topic {topic}: {reason}: the Kafka client stands still, and a restart makes a new one")]
    Stalled {
        /// The topic.
        topic: String,
        /// What it does not get.
        reason: String,
    },
    /// The Kafka client or broker failed.
    #[error("kafka: {action}: {reason}")]
    Kafka {
        /// What was tried.
        action: &'static str,
        /// What Kafka said.
        reason: String,
    },
    /// The embedded log's storage failed.
    #[error("embedded log: {action}: {reason}")]
    Storage {
        /// What was tried.
        action: &'static str,
        /// What the storage said.
        reason: String,
    },
    /// The spool holds all it may.
    #[error("the spool in {dir} is full ({capacity_bytes} bytes): bring the log back, or give the spool more room")]
    SpoolFull {
        /// Its folder.
        dir: String,
        /// What it may hold.
        capacity_bytes: u64,
    },
    /// The spool's storage failed.
    #[error("spool in {dir}: {action}: {reason}: see that the disk works and has room")]
    Spool {
        /// Its folder.
        dir: String,
        /// What was tried.
        action: &'static str,
        /// What the storage said.
        reason: String,
    },
    /// The log was closed while something was still asked of it.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// A failure of Kafka while doing `action`.
    pub(crate) fn kafka(action: &'static str, reason: impl ToString) -> LogError {
        LogError::Kafka { action, reason: reason.to_string() }
    }

    /// A failure of the embedded storage while doing `action`.
    pub(crate) fn storage(action: &'static str, reason: impl ToString) -> LogError {
        LogError::Storage { action, reason: reason.to_string() }
    }
}
