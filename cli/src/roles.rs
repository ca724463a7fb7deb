//! The long-running roles, each as a process of its own.

use crate::flags::{AdminFlags, DatabaseFlags, LeftOutFlags, LogFlags, MAIN_PIPELINE, PipelineFlags};
use anyhow::Context;
use clap::Args;
use ipnet::IpNet;
use service::{Readiness, Stop, TaskError, Tasks};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use topic::Log;

#[derive(Debug, Args)]
pub(crate) struct IngestFlags {
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    admin: AdminFlags,
    #[command(flatten)]
    gateway: GatewayFlags,
    /// Partitions that the topic of heartbeats must have, so that a change is refused also after a restart; by default those
    /// that it has at the start
    #[arg(long, env = "WATCHBEAT_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    partitions: Option<u32>,
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
    /// Peppers, a JSON file; with it user ids are pseudonyms before they reach the log
    #[arg(long, env = "WATCHBEAT_PEPPER", value_name = "FILE")]
    pepper: Option<PathBuf>,
    /// Threads that serve requests; by default one per core
    #[arg(long, env = "WATCHBEAT_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    workers: Option<u16>,
    /// Least time between two batches of a worker to the log, so the longest that a request waits for others; ms
    #[arg(long, env = "WATCHBEAT_LINGER_MS", default_value_t = 4, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=1_000))]
    linger_ms: u64,
    /// Folder of this gateway alone where reports wait while the log is away; without it they are refused then
    #[arg(long, env = "WATCHBEAT_SPOOL", value_name = "DIR")]
    spool: Option<PathBuf>,
    /// What may wait there; MiB
    #[arg(long, env = "WATCHBEAT_SPOOL_MIB", default_value_t = 4_096, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..))]
    spool_mib: u64,
    /// Address for heartbeats over TLS; port 0 takes a free one
    #[arg(long, env = "WATCHBEAT_TLS_LISTEN", value_name = "ADDR", requires_all = ["tls_certificate", "tls_key"])]
    tls_listen: Option<SocketAddr>,
    /// Certificate and those that vouch for it, PEM; looked at every few seconds and taken up when it changes
    #[arg(long, env = "WATCHBEAT_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_listen")]
    tls_certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, env = "WATCHBEAT_TLS_KEY", value_name = "FILE", requires = "tls_listen")]
    tls_key: Option<PathBuf>,
    /// Connections at a time, as far as the limit of open files allows; more wait. Requests beside another on an HTTP/2 connection
    /// count as connections
    #[arg(long, env = "WATCHBEAT_CONNECTIONS", default_value_t = ingest::MAX_CONNECTIONS, value_name = "N", value_parser = connections)]
    connections: usize,
    /// The same of one client address (IPv6: one /64)
    #[arg(long, env = "WATCHBEAT_CONNECTIONS_PER_ADDRESS", default_value_t = ingest::CONNECTIONS_PER_ADDRESS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections_per_address: u32,
    /// Load balancers that begin every connection with a PROXY protocol header; may be repeated
    #[arg(long, env = "WATCHBEAT_PROXY_PROTOCOL_FROM", value_name = "CIDR", value_delimiter = ',')]
    proxy_protocol_from: Vec<IpNet>,
    /// Reverse proxies whose X-Forwarded-For is believed; may be repeated
    #[arg(long, env = "WATCHBEAT_FORWARDED_FOR_FROM", value_name = "CIDR", value_delimiter = ',')]
    forwarded_for_from: Vec<IpNet>,
    /// Log one of so many requests, besides those whose callers trace them; 0 is none
    #[arg(long, env = "WATCHBEAT_LOG_SAMPLE", default_value_t = 0, value_name = "N")]
    log_sample: u32,
}

fn connections(text: &str) -> Result<usize, String> {
    let most = ingest::MAX_CONNECTIONS;
    text.parse().ok().filter(|connections| (1..=most).contains(connections)).ok_or(format!("expected 1 to {most}"))
}

impl GatewayFlags {
    /// The gateway's sockets.
    pub(crate) fn bind(&self) -> anyhow::Result<ingest::Listeners> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = self.workers.map_or(cores, usize::from);
        let bound = ingest::Listeners::bind(self.listen, self.tls_listen, workers);
        bound.with_context(|| match self.tls_listen {
            None => format!("cannot listen on {}", self.listen),
            Some(tls) => format!("cannot listen on {} and {tls}", self.listen),
        })
    }

    /// The gateway's settings for these topics.
    pub(crate) fn settings(&self, topics: &crate::flags::Topics) -> ingest::Settings {
        let files = self.tls_certificate.clone().zip(self.tls_key.clone());
        ingest::Settings {
            partitions: None, // whoever makes the topic knows them
            keys: self.keys.clone(),
            pepper: self.pepper.clone(),
            linger: Duration::from_millis(self.linger_ms),
            spool: self.spool.clone().map(|dir| ingest::SpoolSettings { dir, capacity_bytes: self.spool_mib << 20 }),
            tls: files.map(|(chain, key)| ingest::TlsFiles { chain, key }),
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            proxy_protocol_from: self.proxy_protocol_from.clone(),
            forwarded_for_from: self.forwarded_for_from.clone(),
            log_sample: self.log_sample,
            ..ingest::Settings::new(topics.heartbeats.clone(), topics.dead_letters.clone())
        }
    }
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
    #[arg(long, env = "WATCHBEAT_PIPELINE", default_value = MAIN_PIPELINE)]
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
    /// Rows that a sink which is behind gathers for one transaction; fewer hold locks for a shorter time, more merge better
    #[arg(long, env = "WATCHBEAT_FLUSH_ROWS", default_value_t = sink::limits::FLUSH_ROWS, value_name = "N", value_parser = flush_rows)]
    pub(crate) flush_rows: usize,
}

fn flush_rows(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|rows| (1..=10_000_000).contains(rows)).ok_or("expected 1 to 10000000".to_owned())
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
    #[command(flatten)]
    left_out: LeftOutFlags,
}

/// Connections of a role to the database.
pub(crate) const POOL_SIZE: usize = 8;

pub(crate) async fn ingest(flags: IngestFlags) -> anyhow::Result<ExitCode> {
    let (log, topics) = (flags.log.log()?, flags.log.topics(MAIN_PIPELINE));
    let listeners = flags.gateway.bind()?;
    let settings = ingest::Settings { partitions: flags.partitions, ..flags.gateway.settings(&topics) };
    run_role(flags.admin, |tasks, readiness, stop| {
        flags.log.tell();
        tasks.spawn("ingest", ingest::serve(listeners, log, settings, readiness, stop));
    })
    .await
}

pub(crate) async fn process(flags: ProcessFlags) -> anyhow::Result<ExitCode> {
    let (log, topics) = (flags.log.log()?, flags.log.topics(&flags.pipeline.pipeline));
    let settings = flags.pipeline.processor(&topics)?;
    // Not `vars`, which panics at a variable that is no UTF-8, whosever it is.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let store = processor::snapshot_store(&flags.snapshots, variables)?;
    let runtime = Handle::current();
    run_role(flags.admin, |tasks, readiness, stop| {
        flags.log.tell();
        tasks.spawn_companion("reading the log", watch_reading(log.clone()));
        tasks.spawn_thread("processor", move || processor::run(&log, store, settings, runtime, &readiness, &stop));
    })
    .await
}

pub(crate) async fn sink(flags: SinkFlags) -> anyhow::Result<ExitCode> {
    let (log, topics) = (flags.log.log()?, flags.log.topics(&flags.pipeline));
    let pool = flags.database.database()?.pool(POOL_SIZE)?;
    let settings = sink_settings(&topics, &flags.pipeline, &flags.flush);
    let runtime = Handle::current();
    run_role(flags.admin, |tasks, readiness, stop| {
        flags.log.tell();
        tasks.spawn_companion("reading the log", watch_reading(log.clone()));
        tasks.spawn_thread("sink", move || sink::run(log, pool, settings, runtime, readiness, stop));
    })
    .await
}

/// Ends the role when its consumer stands still: whoever runs it starts it again, with a new one.
async fn watch_reading(log: Log) -> Result<(), TaskError> {
    Err(log.watch_reading().await.into())
}

/// The sink's settings for these topics.
pub(crate) fn sink_settings(topics: &crate::flags::Topics, pipeline: &str, flush: &FlushFlags) -> sink::Settings {
    sink::Settings {
        partials_topic: topics.partials.clone(),
        group: topics.sink_group.clone(),
        pipeline: pipeline.to_owned(),
        flush_ms: flush.flush_ms,
        flush_rows: flush.flush_rows,
    }
}

pub(crate) async fn report(flags: ReportFlags) -> anyhow::Result<ExitCode> {
    let pool = report::pool(&flags.database.database()?, POOL_SIZE)?;
    let listener = listen(flags.report_listen).await?;
    run_role(flags.admin, |tasks, readiness, stop| {
        tasks.spawn("report", report::serve(listener, pool, flags.left_out.without_views, readiness, stop));
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
    tasks.spawn_companion("admin", service::serve_admin(listener, readiness, metrics, stop.clone()));
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
