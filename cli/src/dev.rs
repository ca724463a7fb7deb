//! `watchbeat dev`: all roles in one process, on an embedded log and a private PostgreSQL in one directory.

mod postgres;
mod programs;

use crate::flags::{AuthorityFlags, PipelineFlags, Topics};
use crate::output;
use crate::roles::{FlushFlags, GatewayFlags, POOL_SIZE, listen, sink_settings, spawn_signals};
use anyhow::Context;
use clap::Args;
use postgres::Postgres;
use serde_json::json;
use service::{Readiness, Stop, TaskError, Tasks};
use sql::database::Database;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use topic::Log;

/// Partitions of the embedded log: enough to see several, few enough for one machine.
const PARTITIONS: u32 = 4;
/// As long as a role on its own has by default: a request body still on its way is waited for.
const DRAIN: Duration = Duration::from_secs(25);
const DEMO_VIEWERS: u32 = 50;
const DEMO_SEED: u64 = 1;

#[derive(Debug, Args)]
pub(crate) struct DevFlags {
    /// Where everything is kept: stopped and started again on it, `dev` goes on where it was
    #[arg(long, env = "WATCHBEAT_DATA_DIR", default_value = "watchbeat-data", value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    gateway: GatewayFlags,
    /// Address for questions; port 0 takes a free one
    #[arg(long, env = "WATCHBEAT_REPORT_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDR")]
    report_listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics; port 0 takes a free one
    #[arg(long, env = "WATCHBEAT_ADMIN_LISTEN", default_value = "127.0.0.1:8082", value_name = "ADDR")]
    admin_listen: SocketAddr,
    /// A running database to use instead of a private PostgreSQL
    #[arg(long, env = "WATCHBEAT_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(flatten)]
    authority: AuthorityFlags,
    #[command(flatten)]
    pipeline: PipelineFlags,
    #[command(flatten)]
    flush: FlushFlags,
    /// Let simulated viewers watch
    #[arg(long)]
    demo: bool,
}

pub(crate) async fn run(flags: DevFlags) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&flags.data_dir).with_context(|| format!("cannot make {}", flags.data_dir.display()))?;
    let log = Log::embedded(&flags.data_dir.join("log"))?;
    let topics = Topics::new("", &flags.pipeline.pipeline);
    topics.create(&log, PARTITIONS, 1).await?;
    let private = match flags.database_url {
        Some(_) => None,
        None => Some(Postgres::start(&flags.data_dir.join("postgres")).await?),
    };
    let (database_url, database) = match (&flags.database_url, &private) {
        (Some(url), _) => (url.as_str(), flags.authority.database(url)?),
        (None, Some(server)) => (server.url(), Database::new(server.url(), None)?),
        (None, None) => unreachable!("there is a private database when none was named"),
    };
    let mut client = database.connect().await.context("cannot reach the database")?;
    sql::migrate::migrate(&mut client).await?;
    drop(client);
    let listeners = Listeners {
        ingest: flags.gateway.bind()?,
        report: listen(flags.report_listen).await?,
        admin: listen(flags.admin_listen).await?,
    };
    let stop = Stop::new();
    let mut tasks = Tasks::new(stop.clone());
    spawn_roles(&mut tasks, &flags, listeners, log, &topics, database_url, &database, &stop)?;
    spawn_signals(&mut tasks, stop);
    let ended = tasks.join(DRAIN).await;
    drop(private); // after everything that uses it
    ended?;
    Ok(ExitCode::SUCCESS)
}

struct Listeners {
    ingest: ingest::Listeners,
    report: TcpListener,
    admin: TcpListener,
}

fn spawn_roles(
    tasks: &mut Tasks,
    flags: &DevFlags,
    listeners: Listeners,
    log: Log,
    topics: &Topics,
    database_url: &str,
    database: &Database,
    stop: &Stop,
) -> anyhow::Result<()> {
    let (readiness, runtime) = (Readiness::new(), Handle::current());
    let metrics = service::telemetry::install_metrics();
    let url = |listener: &TcpListener| anyhow::Ok(format!("http://{}", listener.local_addr()?));
    let ingest_url = format!("http://{}", listeners.ingest.local_addr()?);
    let ready = json!({
        "ready": true,
        "ingest": ingest_url,
        "report": url(&listeners.report)?,
        "admin": url(&listeners.admin)?,
        "database_url": database_url,
    });
    let settings = flags.gateway.settings(topics);
    tasks.spawn("ingest", ingest::serve(listeners.ingest, log.clone(), settings, readiness.clone(), stop.clone()));

    let settings = flags.pipeline.processor(topics)?;
    let snapshots = flags.data_dir.join("snapshots");
    let store = processor::snapshot_store(snapshots.to_str().context("the data directory's name is not UTF-8")?, [])?;
    let (of_processor, processor_log) = ((runtime.clone(), readiness.clone(), stop.clone()), log.clone());
    tasks.spawn_thread("processor", move || {
        let (runtime, readiness, stop) = of_processor;
        processor::run(&processor_log, store, settings, runtime, &readiness, &stop)
    });

    let settings = sink_settings(topics, &flags.pipeline.pipeline, &flags.flush);
    let pool = database.pool(POOL_SIZE)?;
    let of_sink = (runtime, readiness.clone(), stop.clone());
    tasks.spawn_thread("sink", move || {
        let (runtime, readiness, stop) = of_sink;
        sink::run(log, pool, settings, runtime, readiness, stop)
    });

    let left_out = flags.pipeline.left_out.without_views.clone();
    let pool = report::pool(database, POOL_SIZE)?;
    tasks.spawn("report", report::serve(listeners.report, pool, left_out, readiness.clone(), stop.clone()));
    tasks.spawn_companion("admin", service::serve_admin(listeners.admin, readiness.clone(), metrics, stop.clone()));
    tasks.spawn("announcement", announce(ready, readiness, stop.clone()));
    if flags.demo {
        let stop = stop.clone();
        tasks.spawn("demo", async move {
            loadgen::demo(ingest_url, DEMO_VIEWERS, DEMO_SEED, stop).await;
            Ok(())
        });
    }
    Ok(())
}

/// Prints one line of JSON on standard output once everything serves.
async fn announce(ready: serde_json::Value, readiness: Readiness, stop: Stop) -> Result<(), TaskError> {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while !readiness.is_ready() {
        tokio::select! {
            _ = look.tick() => {}
            () = stop.requested() => return Ok(()),
        }
    }
    output::line(ready)?;
    Ok(())
}
