//! A day written straight to Kafka and then replayed: processors and sink work off the backlog into PostgreSQL, on any
//! core, until the tables hold every record; then each row is compared with what the viewers really did.

use crate::figures::{print_line, round_2};
use crate::role::{self, Cost, PARTITIONS, Role, setting};
use crate::stat::Servers;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// A tenth of those of the shipped day.
const VIEWERS: u64 = 20_000;
/// One for each core.
const PROCESSORS: u64 = 2;
/// Rows of a transaction of the sink: the more it merges, the less the database has to do, and nobody waits for these.
const FLUSH_ROWS: u64 = 4_000_000;
/// How often the progress is looked at.
const NAP: Duration = Duration::from_millis(100);
/// Points at the end of the log wait a minute for the report before them.
const SETTLE_SECONDS: &str = "300";
const PROGRESS: &str = "select coalesce(sum(next_offset - ticks), 0)::bigint from watchbeat.progress";
const WRITTEN: &str =
    "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, pg_database_size(current_database())";

pub(crate) async fn run() -> Result<()> {
    let (viewers, partitions) = (setting("VIEWERS", VIEWERS)?, setting("PARTITIONS", PARTITIONS)?);
    role::migrate(u32::try_from(partitions)?)?;
    let dir = tempfile::tempdir()?;
    let account = dir.path().join("account").to_string_lossy().into_owned();
    let (viewers_text, seed, kafka) = (viewers.to_string(), setting("SEED", 1)?.to_string(), role::kafka_dir()?);
    let day = ["loadgen", "fill", "--profile", "day", "--viewers", &viewers_text, "--seed", &seed];
    let filled = role::told(&[&day[..], &["--account", &account, "--disk", &kafka]].concat())?;
    ensure!(filled["complete"] == true, "the day was not written: {filled}");
    let records = filled["heartbeats"].as_i64().context("heartbeats of the day")?;
    let replayed = replay(records, setting("PROCESSORS", PROCESSORS)?, dir.path()).await?;
    let check = role::told(&["loadgen", "verify", &account, "--settle", SETTLE_SECONDS])?;
    let differences = check["difference_count"].as_u64().context("differences of the tables")?;
    let [processors, sink] = [total(&replayed.processors), replayed.sink];
    let per_heartbeat = |cpu_seconds: f64| round_2(cpu_seconds * 1e6 / records as f64);
    print_line(&json!({
        "bench": "day",
        "heartbeats": records,
        "heartbeats_per_second": (records as f64 / replayed.seconds).round(),
        "differences": differences,
        "first_differences": check["differences"],
        "seconds": round_2(replayed.seconds),
        "fill_seconds": filled["seconds"],
        "viewers": viewers,
        "sessions": check["sessions"],
        "rows_compared": check["rows"],
        "partitions": partitions,
        "processors": replayed.processors.len(),
        "process_us_per_heartbeat": per_heartbeat(processors.cpu_seconds),
        "sink_us_per_heartbeat": per_heartbeat(sink.cpu_seconds),
        "kafka_us_per_heartbeat": per_heartbeat(replayed.servers.kafka),
        "postgres_us_per_heartbeat": per_heartbeat(replayed.servers.postgres),
        "process_peak_bytes": processors.peak_bytes,
        "sink_peak_bytes": sink.peak_bytes,
        "heartbeat_log_bytes": bytes_of(&kafka, "heartbeats-")?,
        "partial_log_bytes": bytes_of(&kafka, "partials-")?,
        "wal_bytes": replayed.wal_bytes,
        "database_bytes": replayed.database_bytes,
    }));
    ensure!(differences == 0, "the tables are not what the viewers did");
    Ok(())
}

struct Replayed {
    /// From the start of the processes until the tables hold every record.
    seconds: f64,
    processors: Vec<Cost>,
    sink: Cost,
    servers: Servers,
    wal_bytes: i64,
    database_bytes: i64,
}

/// Starts processors and a sink, and waits until the tables hold so many records. The processes end when this returns; what
/// points still wait for comes with the next tick, so the processes run on until no point waits any more.
async fn replay(records: i64, processors: u64, dir: &Path) -> Result<Replayed> {
    let client = sql::database::connect(&role::database_url()?).await?;
    let (wal_before, _) = written(&client).await?;
    let before = Servers::now(&client).await?;
    let snapshots = dir.join("snapshots").to_string_lossy().into_owned();
    let started = Instant::now();
    let start = |_| Role::start_anywhere(&["process", "--snapshots", &snapshots]);
    let mut processors = (0..processors).map(start).collect::<Result<Vec<_>>>()?;
    let flush_rows = setting("WATCHBEAT_FLUSH_ROWS", FLUSH_ROWS)?.to_string();
    let mut sink = Role::start_anywhere(&["sink", "--flush-rows", &flush_rows])?;
    while client.query_one(PROGRESS, &[]).await?.get::<_, i64>(0) < records {
        processors.iter_mut().chain([&mut sink]).try_for_each(Role::ensure_running)?;
        tokio::time::sleep(NAP).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let (wal, database_bytes) = written(&client).await?;
    let after = Servers::now(&client).await?;
    let replayed = Replayed {
        seconds,
        processors: processors.iter().map(Role::cost).collect::<Result<Vec<_>>>()?,
        sink: sink.cost()?,
        servers: Servers { kafka: after.kafka - before.kafka, postgres: after.postgres - before.postgres },
        wal_bytes: wal - wal_before,
        database_bytes,
    };
    wait_for_points(&client, processors.iter_mut().chain([&mut sink])).await?;
    Ok(replayed)
}

/// Waits until no point waits for the report before it any more.
async fn wait_for_points<'a>(client: &Client, roles: impl Iterator<Item = &'a mut Role>) -> Result<()> {
    let waiting = "select coalesce(sum(waiting), 0)::bigint from watchbeat.progress";
    let mut roles: Vec<&mut Role> = roles.collect();
    while client.query_one(waiting, &[]).await?.get::<_, i64>(0) > 0 {
        roles.iter_mut().try_for_each(|role| role.ensure_running())?;
        tokio::time::sleep(NAP).await;
    }
    Ok(())
}

/// Bytes of the write-ahead log so far, and of the database.
async fn written(client: &Client) -> Result<(i64, i64)> {
    let row = client.query_one(WRITTEN, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// What several processes cost together.
fn total(costs: &[Cost]) -> Cost {
    let none = Cost { cpu_seconds: 0.0, wall_seconds: 0.0, peak_bytes: 0 };
    costs.iter().fold(none, |sum, cost| Cost {
        cpu_seconds: sum.cpu_seconds + cost.cpu_seconds,
        wall_seconds: sum.wall_seconds.max(cost.wall_seconds),
        peak_bytes: sum.peak_bytes + cost.peak_bytes,
    })
}

/// Bytes of the files of a topic's partitions, in the folder of the test Kafka.
fn bytes_of(kafka: &str, prefix: &str) -> Result<u64> {
    let mut bytes = 0;
    for partition in fs::read_dir(Path::new(kafka).join("data"))? {
        let partition = partition?;
        if partition.file_name().to_string_lossy().starts_with(prefix) {
            for file in fs::read_dir(partition.path())? {
                let file = file?;
                if file.path().extension().is_some_and(|extension| extension == "log") {
                    bytes += file.metadata()?.len();
                }
            }
        }
    }
    Ok(bytes)
}
