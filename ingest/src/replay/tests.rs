//! What is in the spool reaches the log once, whatever is away or fails meanwhile.

use super::*;
use crate::outlet::Way;
use crate::topics::{PartitionCounts, Topics};
use bytes::Bytes;
use std::fs::File;
use std::process::Command;
use std::time::Duration;
use topic::{Log, Spool, Spooled, TopicSpec};

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
    outlet.topics.partitions.set(PartitionCounts { heartbeats: 1, dead_letters: 1 }).unwrap();

    let watched = async {
        let both = crate::records::tests::records(&[0], &[0]);
        while outlet.divert(&mut both.clone()).heartbeats.len() == 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(outlet.divert(&mut both.clone()).dead_letters.len(), 1);
        outlet.spool.as_ref().unwrap().keep(vec![of("dead_letters")]).await.unwrap();
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
        ended = replay(&outlet, outlet.spool.as_ref().unwrap()) => panic!("{ended:?}"),
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
    outlet.topics.partitions.set(PartitionCounts { heartbeats: 2, dead_letters: 2 }).unwrap();
    let steadily = async || {
        while !outlet.is_direct() {
            outlet.take(crate::records::tests::records(&[0], &[]), Way::Detour).await.unwrap();
        }
    };
    let some = futures::future::join_all((0..8).map(|_| steadily()));
    tokio::select! {
        ended = replay(&outlet, outlet.spool.as_ref().unwrap()) => panic!("{ended:?}"),
        ended = tokio::time::timeout(Duration::from_secs(30), some) => drop(ended.unwrap()),
    }
}

#[tokio::test]
async fn what_the_log_takes_late_is_not_sent_again() {
    let dir = tempfile::TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), 64 << 20).unwrap();
    let (log, topic) = crate::outlet::tests::kafka().await;
    let late = format!("{topic}-late");
    spool.append(vec![Spooled { topic: late.as_str().into(), key: Bytes::new(), value: Bytes::new() }]).await.unwrap();
    let producer = log.producer(Duration::ZERO).unwrap();
    let outlet = Outlet::new(producer, Topics::new(&topic, &late), Some(spool.clone()));
    outlet.topics.partitions.set(PartitionCounts { heartbeats: 2, dead_letters: 2 }).unwrap();
    let watched = async {
        while outlet.partitions_away() != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(DETOUR_AFTER + REPLAY_PAUSE * 2).await; // time for another try
        crate::outlet::tests::make(&log, &late).await;
        while !outlet.is_direct() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(log.end_offsets(&late).await.unwrap().iter().sum::<u64>(), 1);
    };
    tokio::select! {
        ended = replay(&outlet, outlet.spool.as_ref().unwrap()) => panic!("{ended:?}"),
        watched = tokio::time::timeout(Duration::from_secs(60), watched) => watched.unwrap(),
    }
}

/// A disk that fails, or hangs, keeps nobody from a log that is back.
#[tokio::test]
async fn records_go_straight_to_the_log_when_the_spool_cannot_be_read() {
    for instead in ["mkdir", "mkfifo"] {
        let dir = tempfile::TempDir::new().unwrap();
        let log = Log::embedded(&dir.path().join("log")).unwrap();
        make(&log, "heartbeats").await;
        let spool = Spool::open(&dir.path().join("spool"), 64 << 20).unwrap();
        let one = Spooled { topic: "heartbeats".into(), key: Bytes::new(), value: Bytes::from_static(b"value") };
        spool.append(vec![one]).await.unwrap();
        let segment = dir.path().join("spool/00000000000000000000.segment");
        let aside = dir.path().join("aside");
        std::fs::rename(&segment, &aside).unwrap();
        assert!(Command::new(instead).arg(&segment).status().unwrap().success());

        let topics = Topics::new("heartbeats", "heartbeats");
        let outlet = Outlet::new(log.producer(Duration::ZERO).unwrap(), topics, Some(spool.clone()));
        outlet.topics.partitions.set(PartitionCounts { heartbeats: 1, dead_letters: 1 }).unwrap();
        let watched = async {
            while !outlet.is_direct() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            outlet.take(crate::records::tests::records(&[0], &[]), Way::Direct).await.unwrap();
            if instead == "mkfifo" {
                File::options().write(true).open(&segment).unwrap(); // whoever reads it has waited for that
            } else {
                std::fs::remove_dir(&segment).unwrap();
            }
            std::fs::rename(&aside, &segment).unwrap();
            while spool.depth().records > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(log.end_offsets("heartbeats").await.unwrap(), [2]);
        };
        tokio::select! {
            ended = replay(&outlet, outlet.spool.as_ref().unwrap()) => panic!("{ended:?}"),
            watched = tokio::time::timeout(Duration::from_secs(60), watched) => watched.unwrap(),
        }
    }
}
