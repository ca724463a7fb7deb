//! Every limit of this crate, in one place, each with its reason. None is a flag; those that tune the Kafka client give way to
//! settings of the client that the operator passes through.

use std::time::Duration;

/// Partitions of one topic: more than any deployment of ours needs, few enough to hold one queue each.
pub const PARTITIONS: u32 = 4_096;
/// Characters of a topic's name: Kafka's own bound.
pub const TOPIC_NAME_CHARS: usize = 249;
/// Bytes of one message that any topic may allow; `partials` has the largest, 16 MiB.
pub const MESSAGE_BYTES: u32 = 64 << 20;
/// Messages a Kafka producer holds before `append` waits for room.
pub const PRODUCER_QUEUE_MESSAGES: u32 = 1_000_000;
/// KiB a Kafka producer holds before `append` waits for room.
pub const PRODUCER_QUEUE_KBYTES: u32 = 1_048_576;
/// Bytes of one produce batch.
pub const PRODUCE_BATCH_BYTES: u32 = 1_000_000;
/// Messages of one produce batch.
pub const PRODUCE_BATCH_MESSAGES: u32 = 10_000;
/// How long a message may wait for its acknowledgement before the delivery fails, unless its producer is more patient.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long `append` sleeps for room in a full producer queue before it looks again.
pub const QUEUE_FULL_WAIT: Duration = Duration::from_millis(1);
/// KiB of fetched messages a Kafka consumer holds: enough for a core, small enough to stay in memory.
pub const CONSUMER_QUEUE_KBYTES: u32 = 8_192;
/// Bytes fetched per partition and request: larger buffers cost page faults.
pub const FETCH_PARTITION_BYTES: u32 = 262_144;
/// Messages taken from one Kafka partition queue in one call.
pub const CONSUME_BATCH: usize = 1_000;
/// Longest a Kafka consumer waits for records before it serves the events of its group.
pub const CONSUMER_TURN: Duration = Duration::from_millis(100);
/// Longest between two polls before the group takes the partitions away.
pub const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);
/// How often a group tells lag monitors how far it is.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a question about topics or offsets may take.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause before such a question is asked again.
pub const ADMIN_RETRY: Duration = Duration::from_millis(50);
/// How often a role asks whether the log is there.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is looked whether a Kafka client knows a broker; one that has lost all of them is mended then.
pub const BROKERS_LOOK: Duration = Duration::from_secs(5);
/// How often it is looked whether a Kafka consumer gets what is on the log.
pub const READING_LOOK: Duration = Duration::from_secs(15);
/// A Kafka consumer that does not get a record for this long, although another client sees it, stands still: after an outage it
/// takes half a minute at most.
pub const STALLED_AFTER: Duration = Duration::from_secs(120);
/// How long it must have waited in vain meanwhile: else it may only have had no time.
pub const STALLED_IDLE: Duration = Duration::from_secs(30);
/// How long asking for the end of a partition may take when a consumer is suspected to stand still.
pub const READING_QUESTION: Duration = Duration::from_secs(5);
/// Appends waiting for the embedded log's writer; one more makes `append` wait.
pub const EMBEDDED_APPENDS: usize = 1_024;
/// Appends the embedded log's writer puts under one fsync.
pub const EMBEDDED_GROUP: usize = 256;
/// Records removed by the embedded log's retention in one go.
pub const EMBEDDED_REMOVALS: usize = 10_000;
/// How often the embedded log looks for records past their retention.
pub const EMBEDDED_RETENTION_EVERY: Duration = Duration::from_secs(60);
/// How long the embedded log must have been open before it removes anything: after a pause its readers begin where they were
/// saved, up to a minute or two before the end, and must have come further first.
pub const EMBEDDED_RETENTION_HOLD: Duration = Duration::from_secs(600);
/// Memory for blocks of the embedded log.
pub const EMBEDDED_CACHE_BYTES: u64 = 64 << 20;
/// Disk for the embedded log's journals before they are folded into tables.
pub const EMBEDDED_JOURNAL_BYTES: u64 = 256 << 20;
/// Appends waiting for the spool's writer; one more finds the spool full.
pub const SPOOL_APPENDS: usize = 4_096;
/// Bytes of appends waiting for the spool's writer, in memory; more finds the spool full. A disk that takes 64 MiB/s keeps up with
/// what a gateway can be sent.
pub const SPOOL_WAITING_BYTES: u64 = 64 << 20;
/// Appends the spool's writer puts under one fsync.
pub const SPOOL_GROUP: usize = 256;
/// Bytes of a segment of the spool: the unit in which disk is given back, and what is sent again after a crash.
pub const SPOOL_SEGMENT_BYTES: u64 = 16 << 20;
/// Bytes of one append to the spool: a longer frame on its disk is no frame of ours. A gateway appends some hundred KiB.
pub const SPOOL_APPEND_BYTES: u32 = 256 << 20;
/// A spool with less room than this counts as full: a few batches of a gateway.
pub const SPOOL_RESERVE_BYTES: u64 = 2 << 20;
