//! Who waits for what, on a real Kafka and on the embedded log.

use super::*;
use crate::topics::PartitionCounts;
use bytes::Bytes;
use std::time::{Duration, SystemTime};
use topic::{KafkaSettings, Log, Outgoing, TopicSpec, partition_for};

const MOST_BYTES: u32 = 10_000;

/// Kafka, and a topic of two partitions that takes records of up to [`MOST_BYTES`].
pub(crate) async fn kafka() -> (Log, String) {
    let brokers = std::env::var("WATCHBEAT_TEST_BROKERS").expect("run the tests with `scripts/with-services`");
    let log = Log::kafka(&KafkaSettings { brokers, client: Vec::new() }).unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let name = format!("outlet-{}-{now}", std::process::id());
    make(&log, &name).await;
    (log, name)
}

pub(crate) async fn make(log: &Log, name: &str) {
    let (name, partitions, replication, retention_ms) = (name.to_owned(), 2, 1, 3_600_000);
    let topic = TopicSpec { name, partitions, replication, retention_ms, max_message_bytes: MOST_BYTES };
    log.create_topic(&topic).await.unwrap();
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
    let outlet = Outlet::new(log.producer(Duration::ZERO).unwrap(), Topics::new(&topic, &topic), Some(spool.clone()));
    outlet.topics.partitions.set(PartitionCounts { heartbeats: 2, dead_letters: 2 }).unwrap();
    let take = async |heartbeats| {
        let mut records = Records { heartbeats, ..Records::default() };
        let detoured = outlet.divert(&mut records);
        outlet.take(records, Way::Direct).await.unwrap();
        outlet.take(detoured, Way::Detour).await.unwrap();
    };
    take(vec![heartbeat(0, 100), heartbeat(1, 100)]).await;
    assert_eq!((log.end_offsets(&topic).await.unwrap(), spool.depth().records), (vec![1, 1], 0));

    let refused = heartbeat(1, 4 * MOST_BYTES as usize);
    take(vec![refused, heartbeat(0, 100)]).await;
    assert_eq!((log.end_offsets(&topic).await.unwrap(), spool.depth().records), (vec![2, 1], 1));
    take(vec![heartbeat(1, 100), heartbeat(0, 100)]).await;
    let expected = (vec![3, 1], 2); // nothing overtakes it on its partition, and the other one goes on
    assert_eq!((log.end_offsets(&topic).await.unwrap(), spool.depth().records), expected);
}

#[tokio::test]
async fn a_full_spool_is_trouble_while_most_reports_need_it() {
    let dir = tempfile::TempDir::new().unwrap();
    let log = Log::embedded(&dir.path().join("log")).unwrap();
    make(&log, "both").await;
    let spool = Spool::open(&dir.path().join("spool"), 1).unwrap();
    let outlet = Outlet::new(log.producer(Duration::ZERO).unwrap(), Topics::new("both", "both"), Some(spool));
    outlet.topics.partitions.set(PartitionCounts { heartbeats: 2, dead_letters: 2 }).unwrap();
    assert_eq!(outlet.trouble(), None);
    outlet.detour.begin_for_all();
    assert_eq!(outlet.trouble().unwrap(), "the spool is full");
    let one = Records { heartbeats: vec![heartbeat(1, 1)], ..Records::default() };
    outlet.end_detour_but_for(PartitionSet { heartbeats: [1].into(), ..PartitionSet::default() });
    assert_eq!(outlet.trouble(), None);
    assert_eq!(outlet.take(one.clone(), Way::Detour).await, Err(Refused::Full));
    assert!(outlet.trouble().is_some(), "the last one was refused");
    outlet.take(one, Way::Direct).await.unwrap();
    assert_eq!(outlet.trouble(), None);
}

#[tokio::test]
async fn without_a_spool_only_those_wait_whose_partitions_take_nothing() {
    let (log, topic) = kafka().await;
    let away = format!("{topic}-away");
    let producer = log.producer(Duration::ZERO).unwrap();
    let outlet = Arc::new(Outlet::new(producer, Topics::new(&topic, &away), None));
    outlet.topics.partitions.set(PartitionCounts { heartbeats: 2, dead_letters: 2 }).unwrap();
    let both = Records { heartbeats: vec![heartbeat(0, 100)], dead_letters: vec![heartbeat(1, 100)] };
    let take = |records, way| {
        let outlet = outlet.clone();
        tokio::spawn(async move { outlet.take(records, way).await })
    };
    let first = take(both.clone(), Way::Direct);
    while outlet.is_direct() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut direct = both.clone();
    let detoured = outlet.divert(&mut direct);
    assert_eq!((direct.len(), detoured.dead_letters.len()), (1, 1));
    let second = take(detoured, Way::Detour);
    take(direct, Way::Direct).await.unwrap().unwrap();
    assert!(!first.is_finished() && !second.is_finished());
    assert_eq!((outlet.partitions_away(), outlet.trouble()), (1, None));

    make(&log, &away).await;
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(()), Ok(())));
    assert!(outlet.is_direct());
    assert_eq!(
        (log.end_offsets(&topic).await.unwrap(), log.end_offsets(&away).await.unwrap()),
        (vec![2, 0], vec![0, 2])
    );
}
