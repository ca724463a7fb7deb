//! The long-running roles, each as a process of its own.

use crate::flags::{AdminFlags, DatabaseFlags, LogFlags, PipelineFlags};
use anyhow::Context;
use clap::Args;
use service::{Readiness, Stop, Tasks};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

#[derive(Debug, Args)]
pub(crate) struct IngestFlags {
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    admin: AdminFlags,
    #[command(flatten)]
    gateway: GatewayFlags,
}

/// How heartbeats are taken in.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayFlags {
    /// Address for heartbeats; port 0 takes a free one
    #[arg(long, env = "WATCHBEAT_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Keys and their sites, a JSON file; without it everybody is the site `default`
    #[arg(long, env = "WATCHBEAT_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ProcessFlags {
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    admin: AdminFlags,
    #[command(flatten)]
    pipeline: PipelineFlags,
    /// Where snapshots are kept: a folder that all processors share, or a bucket, s3://… or gs://… (AWS_… and GOOGLE_… in the environment)
    #[arg(long, env = "WATCHBEAT_SNAPSHOTS", value_name = "DIR|URL")]
    snapshots: String,
}

#[derive(Debug, Args)]
pub(crate) struct SinkFlags {
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    admin: AdminFlags,
    /// Name of the pipeline whose changes are brought in
    #[arg(long, env = "WATCHBEAT_PIPELINE", default_value = "main")]
    pipeline: String,
    #[command(flatten)]
    flush: FlushFlags,
}

/// How often the tables are written.
#[derive(Debug, Clone, Args)]
pub(crate) struct FlushFlags {
    /// Changes are merged for this long before they are written; ms
    #[arg(long, env = "WATCHBEAT_FLUSH_MS", default_value_t = 1_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) flush_ms: u64,
}

#[derive(Debug, Args)]
pub(crate) struct ReportFlags {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    admin: AdminFlags,
    /// Address for questions; port 0 takes a free one
    #[arg(long, env = "WATCHBEAT_REPORT_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDR")]
    report_listen: SocketAddr,
}

/// How long the gateway's producer waits for a batch to fill: part of every answer's time.
const GATEWAY_LINGER: Duration = Duration::from_millis(5);
/// Connections of a role to the database.
const POOL_SIZE: usize = 8;

pub(crate) async fn ingest(flags: IngestFlags) -> anyhow::Result<ExitCode> {
    let (log, topics) = (flags.log.log()?, flags.log.topics());
    let listener = listen(flags.gateway.listen).await?;
    let settings = gateway_settings(&topics, &flags.gateway);
    run_role(flags.admin, |tasks, readiness, stop| {
        tasks.spawn("ingest", ingest::serve(listener, log, settings, readiness, stop));
    })
    .await
}

/// The gateway's settings for these topics.
pub(crate) fn gateway_settings(topics: &crate::flags::Topics, flags: &GatewayFlags) -> ingest::Settings {
    ingest::Settings {
        heartbeats_topic: topics.heartbeats.clone(),
        dead_letters_topic: topics.dead_letters.clone(),
        keys: flags.keys.clone(),
        linger: GATEWAY_LINGER,
    }
}

pub(crate) async fn process(flags: ProcessFlags) -> anyhow::Result<ExitCode> {
    let (log, topics) = (flags.log.log()?, flags.log.topics());
    let settings = flags.pipeline.processor(&topics)?;
    let store = processor::snapshot_store(&flags.snapshots, std::env::vars())?;
    let runtime = Handle::current();
    run_role(flags.admin, |tasks, readiness, stop| {
        tasks.spawn_thread("processor", move || processor::run(&log, store, settings, runtime, &readiness, &stop));
    })
    .await
}

pub(crate) async fn sink(flags: SinkFlags) -> anyhow::Result<ExitCode> {
    let (log, topics) = (flags.log.log()?, flags.log.topics());
    let pool = sink::pool(&flags.database.database_url, POOL_SIZE)?;
    let settings = sink_settings(&topics, &flags.pipeline, flags.flush.flush_ms);
    let runtime = Handle::current();
    run_role(flags.admin, |tasks, readiness, stop| {
        tasks.spawn_thread("sink", move || sink::run(log, pool, settings, runtime, readiness, stop));
    })
    .await
}

/// The sink's settings for these topics.
pub(crate) fn sink_settings(topics: &crate::flags::Topics, pipeline: &str, flush_ms: u64) -> sink::Settings {
    sink::Settings {
        partials_topic: topics.partials.clone(),
        group: format!("watchbeat-{pipeline}-sink"),
        pipeline: pipeline.to_owned(),
        flush_ms,
        flush_rows: sink::caps::FLUSH_ROWS,
    }
}

pub(crate) async fn report(flags: ReportFlags) -> anyhow::Result<ExitCode> {
    let pool = sink::pool(&flags.database.database_url, POOL_SIZE)?;
    let listener = listen(flags.report_listen).await?;
    run_role(flags.admin, |tasks, readiness, stop| {
        tasks.spawn("report", report::serve(listener, pool, readiness, stop));
    })
    .await
}

/// Runs a role beside its admin port until a signal stops it or it cannot go on.
async fn run_role(admin: AdminFlags, start: impl FnOnce(&mut Tasks, Readiness, Stop)) -> anyhow::Result<ExitCode> {
    let (stop, readiness) = (Stop::new(), Readiness::new());
    let listener = listen(admin.admin_listen).await?;
    let metrics = service::telemetry::install_metrics();
    let mut tasks = Tasks::new(stop.clone());
    start(&mut tasks, readiness.clone(), stop.clone());
    tasks.spawn("admin", service::serve_admin(listener, readiness, metrics, stop.clone()));
    spawn_signals(&mut tasks, stop);
    tasks.join(Duration::from_millis(admin.drain_ms)).await?;
    Ok(ExitCode::SUCCESS)
}

/// Lets SIGTERM and SIGINT stop the tasks.
pub(crate) fn spawn_signals(tasks: &mut Tasks, stop: Stop) {
    tasks.spawn("signals", async move {
        service::stop_on_signals(stop).await;
        Ok(())
    });
}

/// A listener, or which address it could not have.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
