//! The whole pipeline under a constant load: viewers over HTTP, gateway, Kafka, processor, sink, PostgreSQL, all on the same
//! cores. The lag is how many records the tables are behind the log; at the end each row is compared with what the viewers
//! really did.

use crate::figures::{print_line, round_2};
use crate::role::{self, Cost, Role, setting};
use crate::stat::Servers;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use topic::{KafkaSettings, Log};

const PARTITIONS: u32 = 8;
/// How often the lag is looked at.
const SAMPLE: Duration = Duration::from_secs(1);
const SETTLE_SECONDS: &str = "300";
const COMMITTED: &str = "select coalesce(sum(next_offset), 0)::bigint from watchbeat.progress";
/// Of those, what is a heartbeat.
const HEARTBEATS: &str = "select coalesce(sum(next_offset - ticks), 0)::bigint from watchbeat.progress";

pub(crate) async fn run() -> Result<()> {
    let (rate, batch) = (setting("RATE", 100_000)?, setting("BATCH", 12)?.max(1));
    let (minutes, viewers) = (setting("MINUTES", 10)?, setting("VIEWERS", 500_000)?);
    role::migrate(PARTITIONS)?;
    let dir = tempfile::tempdir()?;
    let mut fleet = Fleet::start(dir.path())?;
    let client = sql::database::connect(&role::database_url()?).await?;
    let before = Servers::now(&client).await?;
    let account = dir.path().join("account").to_string_lossy().into_owned();
    let load = [
        ("--target", format!("http://{}", fleet.listen)),
        ("--profile", "peak-100k".to_owned()),
        ("--viewers", viewers.to_string()),
        ("--batch", batch.to_string()),
        ("--rate", (rate / batch).to_string()),
        ("--connections", setting("CONNECTIONS", 256)?.to_string()),
        ("--duration", (minutes * 60).to_string()),
        ("--seed", setting("SEED", 1)?.to_string()),
        ("--account", account.clone()),
    ];
    let arguments: Vec<String> = load.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    let loading = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        role::told_without_database(&[&["loadgen"], &arguments[..]].concat())
    });
    let lags = lags(&client, Duration::from_secs(minutes * 60), || loading.is_finished()).await?;
    let told = loading.await??;
    // All roles and servers are asked at one moment: when every accepted heartbeat is in the tables, and nobody has read them yet.
    fleet.settle(&client, told["accepted"].as_i64().context("accepted")?).await?;
    let costs = fleet.costs()?;
    let after = Servers::now(&client).await?;
    let check = role::told(&["loadgen", "verify", &account, "--settle", SETTLE_SECONDS])?;
    let servers = Servers { kafka: after.kafka - before.kafka, postgres: after.postgres - before.postgres };
    print_line(&figures(&told, &check, &lags, &costs, &servers)?);
    let found = check["difference_count"].as_u64().context("differences of the tables")?;
    ensure!(found == 0, "the tables are not what the viewers did");
    Ok(())
}

/// The pipeline's processes.
struct Fleet {
    listen: SocketAddr,
    gateway: Role,
    processor: Role,
    sink: Role,
}

impl Fleet {
    fn start(dir: &Path) -> Result<Fleet> {
        let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let listen = role::free_address()?;
        Ok(Fleet {
            listen,
            gateway: Role::start_anywhere(&["ingest", "--listen", &listen.to_string(), "--spool", &path("spool")])?,
            processor: Role::start_anywhere(&["process", "--snapshots", &path("snapshots")])?,
            sink: Role::start_anywhere(&["sink"])?,
        })
    }

    /// Waits until the tables hold so many heartbeats.
    async fn settle(&mut self, client: &Client, accepted: i64) -> Result<()> {
        while client.query_one(HEARTBEATS, &[]).await?.get::<_, i64>(0) < accepted {
            [&mut self.gateway, &mut self.processor, &mut self.sink].into_iter().try_for_each(Role::ensure_running)?;
            tokio::time::sleep(SAMPLE).await;
        }
        Ok(())
    }

    /// Of gateway, processor and sink.
    fn costs(&self) -> Result<[Cost; 3]> {
        Ok([self.gateway.cost()?, self.processor.cost()?, self.sink.cost()?])
    }
}

/// The lag every second, until the load is over or has lasted as long as it should.
async fn lags(client: &Client, duration: Duration, is_over: impl Fn() -> bool) -> Result<Vec<i64>> {
    let log = Log::kafka(&KafkaSettings { brokers: role::brokers()?, client: Vec::new() })?;
    let started = Instant::now();
    let mut lags = Vec::new();
    while !is_over() && started.elapsed() < duration {
        lags.push(lag(&log, client).await?);
        tokio::time::sleep(SAMPLE).await;
    }
    Ok(lags)
}

fn figures(told: &Value, check: &Value, lags: &[i64], costs: &[Cost; 3], servers: &Servers) -> Result<Value> {
    let figure = |name: &str| told[name].as_f64().with_context(|| format!("{name} of the load"));
    let accepted = figure("accepted")?;
    let each = |seconds: f64| round_2(seconds * 1e6 / accepted);
    let [gateway, processor, sink] = costs;
    let (first, second) = lags.split_at(lags.len() / 2);
    let most = |lags: &[i64]| lags.iter().copied().max();
    Ok(json!({
        "bench": "e2e",
        "heartbeats_per_second": (accepted / figure("seconds")?).round(),
        "requests_per_second": figure("requests_per_second")?.round(),
        "differences": check["difference_count"],
        "first_differences": check["differences"],
        "seconds": round_2(figure("seconds")?),
        "viewers": told["viewers"],
        "accepted": accepted,
        "rejected": told["rejected"],
        "retries": told["retries"],
        "failures": told["failures"],
        "most_lag_first_half": most(first),
        "most_lag_second_half": most(second),
        "latency_ms": told["latency_ms"],
        "load_us_per_request": round_2(figure("load_us_per_request")?),
        "gateway_us_per_heartbeat": each(gateway.cpu_seconds),
        "process_us_per_heartbeat": each(processor.cpu_seconds),
        "sink_us_per_heartbeat": each(sink.cpu_seconds),
        "kafka_us_per_heartbeat": each(servers.kafka),
        "postgres_us_per_heartbeat": each(servers.postgres),
        "gateway_peak_bytes": gateway.peak_bytes,
        "process_peak_bytes": processor.peak_bytes,
        "sink_peak_bytes": sink.peak_bytes,
    }))
}

/// Records on the log that the tables do not hold yet.
async fn lag(log: &Log, client: &Client) -> Result<i64> {
    let committed: i64 = client.query_one(COMMITTED, &[]).await?.get(0);
    Ok(log.end_offsets("heartbeats").await?.iter().sum::<u64>() as i64 - committed)
}
