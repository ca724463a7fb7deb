//! Brings what is in the spool to the log, in its order, as soon as the log takes it. A crash between the log's
//! acknowledgement and the removal here sends records again; they count once all the same.

use crate::appender::Records;
use crate::limits::{APPEND_TIMEOUT, REPLAY_BYTES, REPLAY_PAUSE, REPLAY_RECORDS};
use crate::meter;
use crate::outlet::Outlet;
use service::{Stop, TaskError};
use std::sync::Arc;
use topic::{LogError, Outgoing, Spool, SpoolBatch, Spooled};

/// Replays until asked to stop. What is left then stays for the next start.
pub(crate) async fn run(outlet: Arc<Outlet>, spool: Spool, stop: Stop) -> Result<(), TaskError> {
    tokio::select! {
        ended = replay(&outlet, &spool) => ended,
        () = stop.requested() => Ok(()),
    }
}

/// Never ends but with an error.
async fn replay(outlet: &Outlet, spool: &Spool) -> Result<(), TaskError> {
    loop {
        let oldest = persistently(|| oldest(spool)).await;
        if oldest.records.is_empty() {
            outlet.end_detour();
            outlet.spooled.notified().await;
            continue;
        }
        let mut records = records(outlet, &oldest.records)?;
        // What one partition has taken is not sent again because another one refuses its part.
        while outlet.direct(&mut records, APPEND_TIMEOUT).await.is_err() {
            tokio::time::sleep(REPLAY_PAUSE).await;
        }
        meter::replayed(oldest.records.len());
        persistently(|| remove(spool, &oldest)).await;
    }
}

/// Asks the spool's disk until it answers: while the log takes records the gateway can do without it.
async fn persistently<T, F: Future<Output = Result<T, LogError>>>(ask: impl Fn() -> F) -> T {
    let mut told = None;
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(error) => {
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    tracing::error!(error, "what is in the spool cannot be brought to the log; trying on");
                }
                told = Some(error);
                tokio::time::sleep(REPLAY_PAUSE).await;
            }
        }
    }
}

/// The spooled records for the log; their partitions are those of today. Refused when one is of a topic that this gateway does not
/// write.
fn records(outlet: &Outlet, spooled: &[Spooled]) -> Result<Records, TaskError> {
    let mut records = Records::default();
    for Spooled { topic, key, value } in spooled {
        let record = Outgoing { partition: 0, key: key.clone(), value: value.clone() };
        let of_topic = match topic {
            topic if *topic == outlet.topics.heartbeats => &mut records.heartbeats,
            topic if *topic == outlet.topics.dead_letters => &mut records.dead_letters,
            _ => {
                let heartbeats = &outlet.topics.heartbeats;
                return Err(format!(
                    "the spool has records for topic {topic}, and this gateway writes {heartbeats}: start it with the topic prefix it had until the spool is empty"
                )
                .into());
            }
        };
        of_topic.push(record);
    }
    Ok(records)
}

async fn oldest(spool: &Spool) -> Result<Arc<SpoolBatch>, LogError> {
    let spool = spool.clone();
    blocking(move || spool.read(REPLAY_RECORDS, REPLAY_BYTES).map(Arc::new)).await
}

async fn remove(spool: &Spool, batch: &Arc<SpoolBatch>) -> Result<(), LogError> {
    let (spool, batch) = (spool.clone(), batch.clone());
    blocking(move || spool.remove(&batch)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LogError::Closed)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::outlet::{Partitions, Topics};
    use bytes::Bytes;
    use std::time::Duration;
    use topic::{Log, TopicSpec};

    /// A log that takes heartbeats of any size and dead letters of none.
    async fn log_without_dead_letters(dir: &std::path::Path) -> Log {
        let log = Log::embedded(dir).unwrap();
        for (name, max_message_bytes) in [("heartbeats", 1 << 20), ("dead_letters", 1)] {
            let (name, partitions, replication, retention_ms) = (name.to_owned(), 1, 1, -1);
            log.create_topic(&TopicSpec { name, partitions, replication, retention_ms, max_message_bytes })
                .await
                .unwrap();
        }
        log
    }

    #[tokio::test]
    async fn what_one_topic_has_taken_is_not_sent_again_because_the_other_refuses() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = log_without_dead_letters(&dir.path().join("log")).await;
        let spool = Spool::open(&dir.path().join("spool"), 64 << 20).unwrap();
        let topics = Topics::new("heartbeats", "dead_letters");
        let outlet = Outlet::new(log.producer(Duration::ZERO).unwrap(), topics, Some(spool.clone()));
        outlet.partitions.set(Partitions { heartbeats: 1, dead_letters: 1 }).unwrap();
        let record = || Outgoing { partition: 0, key: Bytes::new(), value: Bytes::from_static(b"value") };
        let records = Records { heartbeats: vec![record(), record()], dead_letters: vec![record()] };
        outlet.take(records).await.unwrap();
        assert_eq!(spool.depth().records, 1, "only what was refused is in the spool");

        let of = |topic: &str| Spooled { topic: topic.into(), key: Bytes::new(), value: Bytes::from_static(b"value") };
        spool.append(vec![of("heartbeats"), of("dead_letters")]).await.unwrap();
        let several_tries = REPLAY_PAUSE * 5 / 2;
        assert!(tokio::time::timeout(several_tries, replay(&outlet, &spool)).await.is_err());
        assert_eq!(log.end_offsets("heartbeats").await.unwrap(), [3]);
        assert_eq!(spool.depth().records, 3);
    }

    #[test]
    fn records_of_a_topic_that_this_gateway_does_not_write_are_not_put_elsewhere() {
        let dir = tempfile::TempDir::new().unwrap();
        let producer = Log::embedded(dir.path()).unwrap().producer(Duration::ZERO).unwrap();
        let outlet = Outlet::new(producer, Topics::new("new.heartbeats", "new.dead_letters"), None);
        let spooled = |topic: &str| Spooled { topic: topic.into(), key: Bytes::new(), value: Bytes::new() };
        let ours = records(&outlet, &[spooled("new.dead_letters"), spooled("new.heartbeats")]).unwrap();
        assert_eq!((ours.heartbeats.len(), ours.dead_letters.len()), (1, 1));
        let error = records(&outlet, &[spooled("old.heartbeats")]).unwrap_err().to_string();
        assert!(error.contains("old.heartbeats") && error.contains("new.heartbeats"), "{error}");
    }
}
