//! kill -9 of processors and sinks at random moments under load, and processors that join and leave: the tables
//! equal the model's all the same.

use crate::exactness::{POINT_WAIT_MS, judge, play_all, wait_until_complete};
use crate::fleet::Fleet;
use crate::players::{script, write_keys};
use playback::random::Random;
use std::time::Duration;

const KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_of_processor_and_sink_under_load_lose_nothing_and_count_nothing_twice() {
    let seed = seed();
    let mut fleet = Fleet::new("kills").await;
    let scripts: Vec<_> = (0..120).map(|number| script(seed + number, 150)).collect();
    let keys = write_keys(fleet.dir.path(), &scripts);
    let (_ingest, gateway) = fleet.ingest(&keys);
    let (mut processor, mut sink) = (fleet.processor(POINT_WAIT_MS), fleet.sink());
    let load = tokio::spawn(async move { play_all(scripts, &gateway, Duration::from_millis(300)).await });
    let random = &mut Random::new(seed);
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(100 + random.below(2_500))).await;
        if kill % 2 == 0 {
            processor.kill();
            processor = fleet.processor(POINT_WAIT_MS);
        } else {
            sink.kill();
            sink = fleet.sink();
        }
    }
    let accepted = load.await.unwrap();
    let client = fleet.connect().await;
    wait_until_complete(&client, accepted as u64).await;
    processor.assert_running();
    sink.assert_running();
    judge(&fleet.log(), &fleet.heartbeats(), accepted, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processors_and_sinks_that_join_and_leave_share_the_work_exactly() {
    let seed = seed();
    let mut fleet = Fleet::new("joining").await;
    let scripts: Vec<_> = (0..60).map(|number| script(seed + number, 150)).collect();
    let keys = write_keys(fleet.dir.path(), &scripts);
    let (_ingest, gateway) = fleet.ingest(&keys);
    let (first, first_sink) = (fleet.processor(POINT_WAIT_MS), fleet.sink());
    let load = tokio::spawn(async move { play_all(scripts, &gateway, Duration::from_millis(300)).await });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (_second, _second_sink) = (fleet.processor(POINT_WAIT_MS), fleet.sink());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(first.stop().success());
    first_sink.kill();
    let accepted = load.await.unwrap();
    let client = fleet.connect().await;
    wait_until_complete(&client, accepted as u64).await;
    judge(&fleet.log(), &fleet.heartbeats(), accepted, &client).await;
}

/// A seed that is printed, or the one in WATCHBEAT_TEST_SEED.
fn seed() -> u64 {
    let given = std::env::var("WATCHBEAT_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 1_000);
    println!("seed {seed}: again with WATCHBEAT_TEST_SEED={seed}");
    seed
}
