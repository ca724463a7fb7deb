//! The way out of the gateway: to the log, or, while the log is away, to the spool on local disk, from where
//! [`crate::replay`] brings everything to the log in its order.
//!
//! What the log has not acknowledged in time goes to the spool too. The log may have it all the same; then it has those reports
//! twice, and a report counts once however often it is there (specification, section 3).

use crate::appender::Records;
use crate::clock;
use crate::detour::Detour;
use crate::limits::{APPEND_TIMEOUT, DETOUR_AFTER, MAX_QUEUED_BYTES, MAX_QUEUED_RECORDS, TROUBLE_LASTS};
use futures::future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;
use topic::{LogError, Outgoing, Producer, Spool, Spooled};

/// Why a batch is not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too much waits already, here or in the spool.
    Full,
    /// Neither the log nor the spool takes records.
    Unavailable,
}

/// The topics the gateway writes.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    pub(crate) heartbeats: Arc<str>,
    pub(crate) dead_letters: Arc<str>,
}

impl Topics {
    pub(crate) fn new(heartbeats: &str, dead_letters: &str) -> Topics {
        Topics { heartbeats: heartbeats.into(), dead_letters: dead_letters.into() }
    }
}

/// How many partitions they have, as it was found when the log was first there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partitions {
    pub(crate) heartbeats: u32,
    pub(crate) dead_letters: u32,
}

/// The way out; one for all workers.
pub(crate) struct Outlet {
    producer: Producer,
    pub(crate) topics: Topics,
    /// Not known before the log was there once.
    pub(crate) partitions: OnceLock<Partitions>,
    pub(crate) spool: Option<Spool>,
    detour: Detour,
    /// Tells the replay that there is work.
    pub(crate) spooled: Notify,
    /// What was handed to the log and is not settled. The producer blocks its caller when its own queue is full, so that must
    /// never happen here.
    queue: Arc<Queue>,
    log_trouble: Trouble,
    spool_trouble: Trouble,
}

/// Why the last append failed, if it did.
#[derive(Default)]
struct Trouble {
    is_there: AtomicBool,
    last: Mutex<Option<(Instant, String)>>,
}

impl Trouble {
    /// An append failed; whether none had before: an outage is logged once and not once per batch.
    fn begins(&self, reason: String) -> bool {
        *self.last() = Some((clock::instant(), reason));
        !self.is_there.swap(true, Ordering::Relaxed)
    }

    fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Relaxed)
    }

    /// One succeeded; whether one had failed before.
    fn ends(&self) -> bool {
        self.is_there() && self.is_there.swap(false, Ordering::Relaxed)
    }

    /// Why the last append failed, if it did and that was lately: who is not ready is sent nothing, and would never know that it works
    /// again.
    fn lately(&self) -> Option<String> {
        let last = self.last();
        let (since, reason) = last.as_ref().filter(|_| self.is_there())?;
        (clock::instant() - *since < TROUBLE_LASTS).then(|| reason.clone())
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    pub(crate) fn new(producer: Producer, topics: Topics, spool: Option<Spool>) -> Outlet {
        let detour = Detour::default();
        if spool.as_ref().is_some_and(|spool| spool.depth().records > 0) {
            detour.begin_for_all();
        }
        Outlet {
            producer,
            topics,
            partitions: OnceLock::new(),
            spool,
            detour,
            spooled: Notify::new(),
            queue: Arc::default(),
            log_trouble: Trouble::default(),
            spool_trouble: Trouble::default(),
        }
    }

    /// Resolves when every record is safe, on the log or in the spool, or all count as refused.
    pub(crate) async fn take(&self, mut records: Records) -> Result<(), Refused> {
        let Some(spool) = &self.spool else {
            return self.direct(&mut records, APPEND_TIMEOUT).await;
        };
        let are_placed = self.place(&mut records);
        let mut detoured = self.detour.divert(&mut records);
        let is_sent = records.is_empty() || are_placed && self.send(&mut records, DETOUR_AFTER).await.is_ok();
        if !is_sent {
            if self.detour.begin(&records, are_placed) && !self.spool_trouble.is_there() {
                tracing::warn!("the log does not take records, they go to the spool");
            }
            detoured.append(&mut records);
        }
        if detoured.is_empty() {
            self.spool_trouble.ends(); // nobody needs the spool
            return Ok(());
        }
        match spool.append(self.spooled_of(detoured)).await {
            Ok(()) => {
                if self.spool_trouble.ends() {
                    tracing::info!("the spool takes records again");
                }
                self.spooled.notify_one();
                Ok(())
            }
            Err(LogError::SpoolFull { .. }) => Err(Refused::Full),
            Err(error) => {
                if self.spool_trouble.begins(error.to_string()) {
                    tracing::error!(%error, "the spool does not take records");
                }
                if spool.depth().records == 0 {
                    self.detour.end(); // the log may be back, and nothing would say so
                }
                Err(Refused::Unavailable)
            }
        }
    }

    /// Why a report would hardly be answered with 202 now: why the last one was not, as long as that is not long ago.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &self.spool {
            Some(_) => self.spool_trouble.lately(),
            None => self.log_trouble.lately(),
        }
    }

    /// Whether everything goes straight to the log.
    pub(crate) fn is_direct(&self) -> bool {
        !self.detour.is_taken()
    }

    /// Why nothing will reach the log any more, if that is so.
    pub(crate) fn fatal_error(&self) -> Option<String> {
        self.producer.fatal_error()
    }

    /// Whether nothing more goes into the spool, while some of the log is away, too.
    pub(crate) fn is_spool_full(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| !self.is_direct() && spool.is_full())
    }

    /// Ends the detour: the spool is empty. A batch on its way into the spool at this very moment reaches the log a little
    /// later than newer ones, by less than a point waits for the one before it.
    pub(crate) fn end_detour(&self) {
        if self.detour.end() {
            tracing::info!("the spool is empty, records go straight to the log again");
        }
    }

    /// Hands records to the log and waits until it has acknowledged all of them. Those of partitions that have not taken theirs are
    /// left.
    pub(crate) async fn direct(&self, records: &mut Records, patience: Duration) -> Result<(), Refused> {
        if self.place(records) { self.send(records, patience).await } else { Err(Refused::Unavailable) }
    }

    /// The same for records that have their places.
    async fn send(&self, records: &mut Records, patience: Duration) -> Result<(), Refused> {
        let queued = Queued::of(records, &self.queue)?;
        let mut heartbeats = self.producer.append(&self.topics.heartbeats, &records.heartbeats);
        let mut dead_letters = self.producer.append(&self.topics.dead_letters, &records.dead_letters);
        let outcome = match timeout(patience, future::join(&mut heartbeats, &mut dead_letters)).await {
            Ok((heartbeats, dead_letters)) => heartbeats.and(dead_letters).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no acknowledgement within {} ms", patience.as_millis())),
        };
        if let Err(reason) = outcome {
            records.heartbeats.retain(|record| !heartbeats.is_safe(record.partition));
            records.dead_letters.retain(|record| !dead_letters.is_safe(record.partition));
            // They count as queued until the log has settled them, whether anybody waits or not.
            tokio::spawn(async move {
                let _settled = future::join(heartbeats, dead_letters).await;
                drop(queued);
            });
            if !records.is_empty() {
                if self.log_trouble.begins(reason.clone()) {
                    tracing::warn!(reason, "the log does not take records");
                }
                return Err(Refused::Unavailable);
            }
        }
        if self.is_direct() && self.log_trouble.ends() {
            tracing::info!("the log takes records again");
        }
        Ok(())
    }

    /// Puts each record on the partition of its key, if it is known how many there are.
    fn place(&self, records: &mut Records) -> bool {
        let Some(partitions) = self.partitions.get() else { return false };
        place(&mut records.heartbeats, partitions.heartbeats);
        place(&mut records.dead_letters, partitions.dead_letters);
        true
    }

    fn spooled_of(&self, records: Records) -> Vec<Spooled> {
        let of = |topic: &Arc<str>, records: Vec<Outgoing>| {
            let topic = topic.clone();
            records.into_iter().map(move |Outgoing { key, value, .. }| Spooled { topic: topic.clone(), key, value })
        };
        of(&self.topics.heartbeats, records.heartbeats)
            .chain(of(&self.topics.dead_letters, records.dead_letters))
            .collect()
    }
}

/// Puts each record on the partition of its key.
fn place(records: &mut [Outgoing], partitions: u32) {
    for record in records {
        record.partition = topic::partition_for(&record.key, partitions);
    }
}

/// How much is handed to the log.
#[derive(Default)]
struct Queue {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// A part of the queue, until dropped.
struct Queued {
    records: usize,
    bytes: usize,
    queue: Arc<Queue>,
}

impl Queued {
    fn of(records: &Records, queue: &Arc<Queue>) -> Result<Queued, Refused> {
        let queued = Queued { records: records.len(), bytes: records.bytes(), queue: queue.clone() };
        let records = queue.records.fetch_add(queued.records, Ordering::Relaxed) + queued.records;
        let bytes = queue.bytes.fetch_add(queued.bytes, Ordering::Relaxed) + queued.bytes;
        if records > MAX_QUEUED_RECORDS || bytes > MAX_QUEUED_BYTES { Err(Refused::Full) } else { Ok(queued) }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.queue.records.fetch_sub(self.records, Ordering::Relaxed);
        self.queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use std::time::SystemTime;
    use topic::{KafkaSettings, Log, TopicSpec, partition_for};

    const MOST_BYTES: u32 = 10_000;

    /// Kafka, and a topic of two partitions that takes records of up to [`MOST_BYTES`].
    async fn kafka() -> (Log, String) {
        let brokers = std::env::var("WATCHBEAT_TEST_BROKERS").expect("run the tests with `scripts/with-services`");
        let log = Log::kafka(&KafkaSettings { brokers, client: Vec::new() }).unwrap();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let name = format!("outlet-{}-{now}", std::process::id());
        let (partitions, replication, retention_ms, max_message_bytes) = (2, 1, 3_600_000, MOST_BYTES);
        log.create_topic(&TopicSpec { name: name.clone(), partitions, replication, retention_ms, max_message_bytes })
            .await
            .unwrap();
        (log, name)
    }

    /// A heartbeat for a partition, of two.
    fn heartbeat(partition: u32, bytes: usize) -> Outgoing {
        let keys = (0..).map(|number: u32| Bytes::from(number.to_string()));
        let key = keys.into_iter().find(|key| partition_for(key, 2) == partition).unwrap();
        let value = (0..bytes).map(|index| (index * index % 251) as u8 ^ (index / 251) as u8).collect(); // hard to compress
        Outgoing { partition: 0, key, value }
    }

    #[tokio::test]
    async fn one_partition_that_takes_nothing_does_not_keep_the_others_from_the_log() {
        let (log, topic) = kafka().await;
        let dir = tempfile::TempDir::new().unwrap();
        let spool = Spool::open(dir.path(), 64 << 20).unwrap();
        let outlet =
            Outlet::new(log.producer(Duration::ZERO).unwrap(), Topics::new(&topic, &topic), Some(spool.clone()));
        outlet.partitions.set(Partitions { heartbeats: 2, dead_letters: 2 }).unwrap();
        let take = async |heartbeats| outlet.take(Records { heartbeats, ..Records::default() }).await.unwrap();
        take(vec![heartbeat(0, 100), heartbeat(1, 100)]).await;
        assert_eq!((log.end_offsets(&topic).await.unwrap(), spool.depth().records), (vec![1, 1], 0));

        let refused = heartbeat(1, 4 * MOST_BYTES as usize);
        take(vec![refused, heartbeat(0, 100)]).await;
        assert_eq!((log.end_offsets(&topic).await.unwrap(), spool.depth().records), (vec![2, 1], 1));
        take(vec![heartbeat(1, 100), heartbeat(0, 100)]).await;
        let expected = (vec![3, 1], 2); // nothing overtakes it on its partition, and the other one goes on
        assert_eq!((log.end_offsets(&topic).await.unwrap(), spool.depth().records), expected);
    }

    #[test]
    fn the_queue_is_full_by_records_or_by_bytes_and_what_leaves_it_makes_room() {
        let queue = Arc::default();
        let of = |records: usize, bytes: usize| {
            let record = Outgoing { partition: 0, key: Bytes::new(), value: Bytes::from(vec![0; bytes]) };
            let records = Records { heartbeats: vec![record; records], ..Records::default() };
            Queued::of(&records, &queue).ok()
        };
        let mebibyte = 1 << 20;
        assert!(of(1, MAX_QUEUED_BYTES + 1).is_none() && of(MAX_QUEUED_RECORDS + 1, 0).is_none());
        let first = of(2, MAX_QUEUED_BYTES / 2 - mebibyte);
        assert!(first.is_some() && of(1, 2 * mebibyte).is_some() && of(1, 2 * mebibyte + 1).is_none());
        drop(first);
        assert!(of(1, MAX_QUEUED_BYTES).is_some() && of(MAX_QUEUED_RECORDS, 0).is_some());
    }
}
