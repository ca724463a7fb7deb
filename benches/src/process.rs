//! The processor from Kafka to published partials, all shipped views, on one core.

use crate::figures::print_line;
use crate::role::{self, Cost, PARTITIONS, Role, now_ms, setting};
use crate::viewers;
use anyhow::Result;
use serde_json::json;
use std::time::Duration;
use topic::{FromTheStart, KafkaSettings, Log};

/// What a run of the processor over the whole topic cost.
pub(crate) struct Processed {
    pub(crate) heartbeats: u64,
    pub(crate) viewers: u64,
    pub(crate) partitions: u32,
    pub(crate) cost: Cost,
    pub(crate) partial_bytes: u64,
}

pub(crate) async fn run() -> Result<()> {
    let done = process(setting("HEARTBEATS", 16_000_000)?).await?;
    print_line(&json!({
        "bench": "process",
        "heartbeats": done.heartbeats,
        "viewers": done.viewers,
        "partitions": done.partitions,
        "heartbeats_per_second": (done.heartbeats as f64 / done.cost.wall_seconds).round(),
        "us_per_heartbeat": done.cost.cpu_seconds * 1e6 / done.heartbeats as f64,
        "cpu_seconds": done.cost.cpu_seconds,
        "wall_seconds": done.cost.wall_seconds,
        "peak_bytes": done.cost.peak_bytes,
        "partial_bytes_per_heartbeat": done.partial_bytes as f64 / done.heartbeats as f64,
    }));
    Ok(())
}

/// Fills the topic, then runs a processor over it until the last partial is published.
pub(crate) async fn process(heartbeats: u64) -> Result<Processed> {
    let viewers = setting("VIEWERS", 100_000)?;
    let partitions = u32::try_from(setting("PARTITIONS", PARTITIONS)?)?;
    role::migrate(partitions)?;
    let log = Log::kafka(&KafkaSettings { brokers: role::brokers()?, client: Vec::new() })?;
    let beats = heartbeats / viewers + 1;
    let start = now_ms() - beats as i64 * 5_000 - 60_000;
    viewers::append(&log.producer(Duration::from_millis(5))?, "heartbeats", partitions, viewers, heartbeats, start)
        .await?;
    let ends = log.end_offsets("heartbeats").await?;
    role::pin_kafka()?;
    role::pin_this_program()?; // it reads the partials meanwhile
    let snapshots = tempfile::tempdir()?;
    let role = Role::start(&["process", "--snapshots", &snapshots.path().to_string_lossy()])?;
    let (cost, partial_bytes) = tokio::task::spawn_blocking(move || watch(&log, &ends, role)).await??;
    Ok(Processed { heartbeats, viewers, partitions, cost, partial_bytes })
}

/// Reads the partials until they cover the log up to `ends`; gives the cost by then, and their bytes.
fn watch(log: &Log, ends: &[u64], mut role: Role) -> Result<(Cost, u64)> {
    let mut consumer = log.consumer("partials", "bench", Box::new(FromTheStart))?;
    let mut upto = vec![0; ends.len()];
    let mut bytes = 0;
    while upto.iter().zip(ends).any(|(upto, end)| upto < end) {
        role.ensure_running()?;
        consumer.poll(Duration::from_millis(20), 1_000, &mut |records| {
            for record in records {
                bytes += record.value.len() as u64;
                if let Ok(partial) = sql::codec::decode(record.value) {
                    upto[record.partition as usize] = partial.to;
                }
            }
        })?;
    }
    Ok((role.cost()?, bytes))
}
