//! The log read back: what the pipeline really had to work on, as input for the model.

use playback::model::Logged;
use playback::record::{Record, TICK};
use prost::Message;
use std::time::Duration;
use topic::{FromTheStart, Log};

/// Every heartbeat of the topic in the order of log time, which is the order of each partition.
pub(crate) async fn heartbeats(log: &Log, topic: &str) -> Vec<Logged> {
    let ends = log.end_offsets(topic).await.unwrap();
    let (log, topic) = (log.clone(), topic.to_owned());
    tokio::task::spawn_blocking(move || read(&log, &topic, &ends)).await.unwrap()
}

fn read(log: &Log, topic: &str, ends: &[u64]) -> Vec<Logged> {
    let mut consumer =
        log.consumer(topic, &format!("reader-{}", super::database::unique()), Box::new(FromTheStart)).unwrap();
    let mut found = Vec::new();
    let mut left: u64 = ends.iter().sum();
    while left > 0 {
        consumer
            .poll(Duration::from_millis(100), 10_000, &mut |records| {
                for record in records.iter().filter(|record| record.offset < ends[record.partition as usize]) {
                    left -= 1;
                    if record.value != TICK {
                        let logged =
                            Logged { record: Record::decode(record.value).unwrap(), logged_at: record.timestamp_ms };
                        found.push((record.timestamp_ms, record.partition, record.offset, logged));
                    }
                }
            })
            .unwrap();
    }
    found.sort_by_key(|(logged_at, partition, offset, _)| (*logged_at, *partition, *offset));
    found.into_iter().map(|(.., logged)| logged).collect()
}
