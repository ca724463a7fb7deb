//! Brings what is in the spool to the log, in the order of each partition, as soon as the log takes it. A crash between the log's
//! acknowledgement and the removal here sends records again; they count once all the same.
//!
//! Partitions that stay away hold up nobody else: the spool is read on for the others, and for those that come back once more from where
//! they stayed behind. What the last partition has taken is removed.

mod places;

use crate::limits::{APPEND_TIMEOUT, DETOUR_AFTER, REPLAY_BYTES, REPLAY_PAUSE, REPLAY_RECORDS};
use crate::meter;
use crate::outlet::{Outlet, Refused};
use crate::records::Records;
use places::{Places, Try};
use service::{Stop, TaskError};
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;
use topic::{LogError, Outgoing, Spool, SpoolBatch, SpoolPlace, Spooled};

/// Replays until asked to stop. What is left then stays for the next start.
pub(crate) async fn run(outlet: Arc<Outlet>, spool: Spool, stop: Stop) -> Result<(), TaskError> {
    tokio::select! {
        ended = replay(&outlet, &spool) => ended,
        () = stop.requested() => Ok(()),
    }
}

/// Never ends but with an error.
async fn replay(outlet: &Outlet, spool: &Spool) -> Result<(), TaskError> {
    let mut places = Places::new();
    loop {
        let begun = Instant::now();
        let brought = bring(places.advance(), &mut places, outlet, spool).await?;
        if brought == Brought::Some {
            continue;
        }
        // More comes in all the time, as long as the detour leads here. What has come meanwhile is overtaken by what goes straight to
        // the log, by no more than a record may wait for the log anyway.
        if begun.elapsed() < DETOUR_AFTER {
            outlet.end_detour_but_for(places.behind());
        }
        if let Some(again) = places.catch_up() {
            bring(again, &mut places, outlet, spool).await?;
        } else if brought == Brought::Nothing {
            tokio::select! {
                () = outlet.spooled.notified() => {}
                () = tokio::time::sleep(REPLAY_PAUSE), if !places.behind().is_empty() => {}
            }
        }
    }
}

/// How much of what was in the spool was brought to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    Some,
    /// With what there was to its end.
    All,
    /// There was nothing.
    Nothing,
}

/// Brings what comes next to some partitions.
async fn bring(tried: Try, places: &mut Places, outlet: &Outlet, spool: &Spool) -> Result<Brought, TaskError> {
    // The log's client holds on for a while to what the log does not take, so who refused before is tried with little.
    let (most, patience) = if tried.is_again { (1, DETOUR_AFTER) } else { (REPLAY_RECORDS, APPEND_TIMEOUT) };
    let batch = read(spool, &tried.places, most).await;
    if batch.records.is_empty() {
        return Ok(Brought::Nothing);
    }
    let mut records = records(outlet, &batch.records)?;
    while !outlet.place(&mut records) {
        tokio::time::sleep(REPLAY_PAUSE).await;
    }
    let mut records = tried.of(records);
    let all = records.len();
    while let Err(Refused::Full) = outlet.bring(&mut records, patience).await {
        tokio::time::sleep(REPLAY_PAUSE).await;
    }
    meter::replayed(all - records.len());
    let brought = if batch.is_last { Brought::All } else { Brought::Some };
    if places.tried(tried, batch.end, records.partitions()) {
        remove(spool, batch).await;
    }
    Ok(brought)
}

async fn read(spool: &Spool, places: &Range<SpoolPlace>, most: usize) -> SpoolBatch {
    persistently(|| {
        let (spool, places) = (spool.clone(), places.clone());
        blocking(move || spool.read(places, most, REPLAY_BYTES))
    })
    .await
}

async fn remove(spool: &Spool, batch: SpoolBatch) {
    let batch = Arc::new(batch);
    persistently(|| {
        let (spool, batch) = (spool.clone(), batch.clone());
        blocking(move || spool.remove(&batch))
    })
    .await;
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

/// The spooled records for the log. Refused when one is of a topic that this gateway does not
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LogError::Closed)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::outlet::{PartitionCounts, Topics, Way};
    use bytes::Bytes;
    use std::time::Duration;
    use topic::{Log, TopicSpec};

    async fn make(log: &Log, name: &str) {
        let (name, partitions, replication, retention_ms, max_message_bytes) = (name.to_owned(), 1, 1, -1, 1 << 20);
        let topic = TopicSpec { name, partitions, replication, retention_ms, max_message_bytes };
        log.create_topic(&topic).await.unwrap();
    }

    #[tokio::test]
    async fn what_one_partition_refuses_keeps_nothing_from_the_others_and_is_brought_when_it_is_back() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = Log::embedded(&dir.path().join("log")).unwrap();
        make(&log, "heartbeats").await;
        let spool = Spool::open(&dir.path().join("spool"), 64 << 20).unwrap();
        let of = |topic: &str| Spooled { topic: topic.into(), key: Bytes::new(), value: Bytes::from_static(b"value") };
        for _ in 0..2 {
            spool.append(vec![of("heartbeats"), of("dead_letters"), of("heartbeats")]).await.unwrap();
        }
        let topics = Topics::new("heartbeats", "dead_letters");
        let outlet = Outlet::new(log.producer(Duration::ZERO).unwrap(), topics, Some(spool.clone()));
        outlet.partitions.set(PartitionCounts { heartbeats: 1, dead_letters: 1 }).unwrap();

        let watched = async {
            let both = crate::records::tests::records(&[0], &[0]);
            while outlet.divert(&mut both.clone()).heartbeats.len() == 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(outlet.divert(&mut both.clone()).dead_letters.len(), 1);
            spool.append(vec![of("dead_letters")]).await.unwrap();
            outlet.spooled.notify_one();
            tokio::time::sleep(REPLAY_PAUSE * 5 / 2).await; // several tries
            assert_eq!(log.end_offsets("heartbeats").await.unwrap(), [4], "each was sent once");
            assert_eq!(spool.depth().records, 7);
            make(&log, "dead_letters").await;
            while !outlet.is_direct() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!((log.end_offsets("dead_letters").await.unwrap(), spool.depth().records), (vec![3], 0));
            assert_eq!(log.end_offsets("heartbeats").await.unwrap(), [4]);
        };
        tokio::select! {
            ended = replay(&outlet, &spool) => panic!("{ended:?}"),
            watched = tokio::time::timeout(Duration::from_secs(60), watched) => watched.unwrap(),
        }
    }

    #[tokio::test]
    async fn the_detour_ends_however_steadily_more_comes_in_on_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let spool = Spool::open(dir.path(), 64 << 20).unwrap();
        let (log, topic) = crate::outlet::tests::kafka().await; // and not the embedded log, which is as fast as the spool
        let first = Spooled { topic: topic.as_str().into(), key: Bytes::new(), value: Bytes::new() };
        spool.append(vec![first]).await.unwrap();
        let topics = Topics::new(&topic, &topic);
        let outlet = Outlet::new(log.producer(Duration::ZERO).unwrap(), topics, Some(spool.clone()));
        outlet.partitions.set(PartitionCounts { heartbeats: 2, dead_letters: 2 }).unwrap();
        let steadily = async || {
            while !outlet.is_direct() {
                outlet.take(crate::records::tests::records(&[0], &[]), Way::Detour).await.unwrap();
            }
        };
        let some = futures::future::join_all((0..8).map(|_| steadily()));
        tokio::select! {
            ended = replay(&outlet, &spool) => panic!("{ended:?}"),
            ended = tokio::time::timeout(Duration::from_secs(30), some) => drop(ended.unwrap()),
        }
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
