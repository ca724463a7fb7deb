//! Half an hour of the whole pipeline as processes, at a constant rate, while Kafka goes away at random and the gateway is
//! killed twice. Viewers insist until they have a 202, so at the end the tables must hold every report exactly once.
//! Nothing is pinned: it is about loss, not speed.

mod chaos;
mod tables;
mod viewer;

use crate::figures::print_line;
use crate::role::{self, Role, setting};
use anyhow::{Context, Result, ensure};
use chaos::{Act, Plan};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tables::Found;
use viewer::{Crowd, Told};

const PARTITIONS: u32 = 4;
/// How often the gateway's memory is looked at.
const SAMPLE: Duration = Duration::from_secs(5);
/// The first and the last part of a run whose memory is compared.
const WINDOW: Duration = Duration::from_secs(600);
/// More connections than all viewers have, who share an address here.
const CONNECTIONS_PER_ADDRESS: &str = "50000";

pub(crate) async fn run() -> Result<()> {
    crate::attack::raise_open_files()?;
    let duration = Duration::from_secs(setting("SOAK_MINUTES", 30)? * 60);
    let seed = setting("SEED", u64::from(std::process::id()))?;
    print_line(&json!({"seed": seed, "again": format!("SEED={seed}")}));
    role::migrate(PARTITIONS)?;
    let dir = tempfile::tempdir()?;
    let mut fleet = Fleet::start(dir.path())?;
    let crowd = Crowd {
        target: fleet.listen,
        sessions: setting("SESSIONS", 4_000)?,
        reports_per_second: setting("RATE", 2_000)?,
        duration,
        run: role::now_ms(),
    };
    let playing = tokio::spawn(crowd.play());
    let mut memory = Memory::default();
    let started = Instant::now();
    for (at, act) in Plan::new(seed, duration).acts {
        fleet.watch(started, at, &mut memory).await?;
        fleet.carry_out(act).await?;
    }
    while !playing.is_finished() {
        fleet.watch(started, started.elapsed() + SAMPLE, &mut memory).await?;
    }
    let told = playing.await??;
    let client = tables::connect().await?;
    let found = tables::settled(&client, &told).await?;
    let is_balanced = role::command(&["verify"])?.status()?.success();
    report(duration, seed, &fleet, &memory, &told, &found, is_balanced);
    ensure!(is_balanced, "watchbeat verify does not balance");
    ensure!(found.missing == 0 && found.doubled == 0, "the tables are not what was acknowledged: {:?}", found.examples);
    Ok(())
}

fn report(
    duration: Duration,
    seed: u64,
    fleet: &Fleet,
    memory: &Memory,
    told: &Told,
    found: &Found,
    is_balanced: bool,
) {
    let window = WINDOW.min(duration / 3);
    print_line(&json!({
        "bench": "soak",
        "minutes": duration.as_secs() / 60,
        "acknowledged": told.acknowledged(),
        "missing": found.missing,
        "doubled": found.doubled,
        "sessions": told.sessions.len(),
        "tries": told.tries,
        "answers": told.answers,
        "broken": told.broken,
        "copies_on_the_log": found.copies,
        "kafka_outages": fleet.outages,
        "gateway_kills": fleet.kills,
        "restarts_by_themselves": fleet.restarts,
        "verify_balanced": is_balanced,
        "settled_after_s": found.settled_after.as_secs(),
        "longest_wait_for_202_s": told.longest_wait.as_secs(),
        "rss_first_mb": memory.most(Duration::ZERO, window),
        "rss_last_mb": memory.most(duration.saturating_sub(window), duration),
        "rss_max_mb": memory.most(Duration::ZERO, Duration::MAX),
        "seed": seed,
    }));
}

/// The pipeline's processes.
struct Fleet {
    listen: SocketAddr,
    spool: String,
    snapshots: String,
    gateway: Role,
    processor: Role,
    sink: Role,
    outages: u64,
    kills: u64,
    /// Ends that nobody asked for.
    restarts: u64,
}

impl Fleet {
    fn start(dir: &Path) -> Result<Fleet> {
        let path = |name| dir.join(name).to_string_lossy().into_owned();
        let (listen, spool, snapshots) = (role::free_address()?, path("spool"), path("snapshots"));
        Ok(Fleet {
            gateway: gateway(listen, &spool)?,
            processor: processor(&snapshots)?,
            sink: Role::start_anywhere(&["sink"])?,
            listen,
            spool,
            snapshots,
            outages: 0,
            kills: 0,
            restarts: 0,
        })
    }

    async fn carry_out(&mut self, act: Act) -> Result<()> {
        match act {
            Act::StopKafka { at_once } => {
                self.outages += 1;
                kafka("kafka-stop", at_once.then_some("--kill")).await
            }
            Act::StartKafka => kafka("kafka-start", None).await,
            Act::KillGateway => {
                self.kills += 1;
                let (listen, spool) = (self.listen, self.spool.clone());
                self.gateway.kill()?;
                self.gateway = tokio::task::spawn_blocking(move || gateway(listen, &spool)).await??;
                Ok(())
            }
        }
    }

    /// Samples the gateway's memory until `until`, and restarts what has ended, as an operator would.
    async fn watch(&mut self, started: Instant, until: Duration, memory: &mut Memory) -> Result<()> {
        loop {
            let left = until.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(SAMPLE)).await;
            self.revive()?;
            memory.samples.push((started.elapsed(), self.gateway.resident_bytes()?));
        }
    }

    fn revive(&mut self) -> Result<()> {
        if self.gateway.has_ended()? {
            self.restarts += 1;
            self.gateway = gateway(self.listen, &self.spool)?;
        }
        if self.processor.has_ended()? {
            self.restarts += 1;
            self.processor = processor(&self.snapshots)?;
        }
        if self.sink.has_ended()? {
            self.restarts += 1;
            self.sink = Role::start_anywhere(&["sink"])?;
        }
        Ok(())
    }
}

fn gateway(listen: SocketAddr, spool: &str) -> Result<Role> {
    let listen = listen.to_string();
    let limits = ["--connections-per-address", CONNECTIONS_PER_ADDRESS];
    Role::start_anywhere(&[&["ingest", "--listen", &listen, "--spool", spool], &limits[..]].concat())
}

fn processor(snapshots: &str) -> Result<Role> {
    Role::start_anywhere(&["process", "--snapshots", snapshots])
}

/// Runs one of the scripts on the test Kafka.
async fn kafka(script: &str, flag: Option<&str>) -> Result<()> {
    let program = format!("{}/../scripts/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = tokio::process::Command::new(&program);
    command.arg(role::kafka_dir()?).args(flag).stdout(std::process::Stdio::null());
    let status = command.status().await.with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{script} failed: {status}");
    Ok(())
}

/// Memory of the gateway in the course of time.
#[derive(Default)]
struct Memory {
    samples: Vec<(Duration, u64)>,
}

impl Memory {
    /// The most it had in a stretch of the run; MB.
    fn most(&self, from: Duration, to: Duration) -> f64 {
        let within = self.samples.iter().filter(|(at, _)| (from..to).contains(at));
        within.map(|(_, bytes)| *bytes).max().unwrap_or(0) as f64 / 1e6
    }
}
