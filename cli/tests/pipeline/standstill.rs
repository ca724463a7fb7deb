//! A role whose Kafka client gets nothing of what is there ends, so that whoever runs it starts it again with a new client.

use crate::exactness::play_all;
use crate::fleet::Fleet;
use crate::players::{script, write_keys};
use std::path::Path;
use std::time::Duration;

/// Lets a client that found a record in its queue when it could have asked for more wait with that for five minutes, which is longer than
/// any role stands by.
const STANDS_STILL: [&str; 4] =
    ["--kafka-setting", "queued.min.messages=1", "--kafka-setting", "fetch.queue.backoff.ms=300000"];
/// How long until a role ends: two minutes of a record that does not come, after it stood still.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn a_role_whose_client_stands_still_ends_and_says_at_which_record() {
    let mut fleet = Fleet::new("standstill").await;
    let mut beside = fleet.beside("beside").await;
    let sent: Vec<_> = (9_200..9_204).map(|seed| script(seed, 400)).collect();
    let keys = write_keys(fleet.dir.path(), &sent);
    let (_ingest, gateway) = fleet.ingest(&keys);
    // One that works, so that the sink has something to read.
    let mut works = fleet.processor(1_000);
    let (processor, sink) = (beside.processor_with(1_000, &STANDS_STILL), fleet.sink_with(&STANDS_STILL));
    play_all(sent, &gateway, Duration::from_secs(1)).await;
    let ended = tokio::task::spawn_blocking(move || [processor, sink].map(|role| role.end_within(PATIENCE).code()));
    assert_eq!(ended.await.unwrap(), [Some(1), Some(1)]);
    works.assert_running();
    assert_said(beside.dir.path(), "process-1", &fleet.heartbeats());
    assert_said(fleet.dir.path(), "sink-3", &format!("{}partials", fleet.prefix));
}

/// Checks the last word of a role.
fn assert_said(dir: &Path, role: &str, topic: &str) {
    let log = std::fs::read_to_string(dir.join(format!("{role}.log"))).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.contains(topic) && last.contains("stands still") && last.contains("is there"), "{role}: {last}");
}
