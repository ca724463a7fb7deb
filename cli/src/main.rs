//! The binary `watchbeat`: reads flags, opens what they name, and runs one role, or all of them in `dev`. What the roles
//! do is in their crates.

mod capacity;
mod catalogue;
mod dev;
mod flags;
mod kafka_certificates;
mod kafka_setting;
mod load;
mod migrate;
mod output;
mod query;
mod roles;
mod verify;

use clap::{Parser, Subcommand};
use flags::TelemetryFlags;
use std::process::ExitCode;
use std::time::Duration;

/// The views allocate and free much: a fifth of the processor's time with the system's allocator (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a role that ends waits for work that runs on threads of its own and that nobody waits for any more: a question to
/// brokers that are away would take many times that.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// Exact stream processing for the heartbeats of video players.
///
/// HTTP in, Kafka as the log, SQL views over what was watched, tables in YugabyteDB or PostgreSQL that stay exactly right
/// whatever is duplicated, late or killed. The flags of the roles have environment twins, WATCHBEAT_…, which
/// `watchbeat ROLE --help` names.
#[derive(Debug, Parser)]
#[command(name = "watchbeat", version, max_term_width = 110)]
struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    telemetry: TelemetryFlags,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take heartbeats in over HTTP and log them
    Ingest(roles::IngestFlags),
    /// Turn the log of heartbeats into changes of the tables
    Process(roles::ProcessFlags),
    /// Bring the changes into the database
    Sink(roles::SinkFlags),
    /// Answer questions over HTTP
    Report(roles::ReportFlags),
    /// Simulate viewers, and judge the tables against what they really did
    Loadgen(load::LoadFlags),
    /// All roles in one process on an embedded log and a private PostgreSQL
    Dev(dev::DevFlags),
    /// Bring the database's schema up to date, and make the topics
    Migrate(migrate::MigrateFlags),
    /// Import the tables of titles, licences and ad lines
    Catalogue(catalogue::CatalogueFlags),
    /// Ask the database, or check a view and print its table
    Sql(query::SqlFlags),
    /// How many cores, partitions and bytes a day of viewers takes
    Capacity(capacity::CapacityFlags),
    /// Check the ledger: log = dispositions + waiting points + ticks
    ///
    /// Ends with 0 when it balances, with 1 when it does not, and with 3 when that cannot be told: the database does not answer, or no
    /// partition has progress yet.
    Verify(verify::VerifyFlags),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let failure = match command.action {
        Action::Verify(_) => verify::CANNOT_TELL.into(),
        _ => ExitCode::FAILURE,
    };
    run(command).unwrap_or_else(|error| output::failed(&error, failure))
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    service::telemetry::init(command.telemetry.log_json, &command.telemetry.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        match command.action {
            Action::Ingest(flags) => roles::ingest(flags).await,
            Action::Process(flags) => roles::process(flags).await,
            Action::Sink(flags) => roles::sink(flags).await,
            Action::Report(flags) => roles::report(flags).await,
            Action::Loadgen(flags) => load::run(flags).await,
            Action::Dev(flags) => dev::run(flags).await,
            Action::Migrate(flags) => migrate::run(flags).await,
            Action::Catalogue(flags) => catalogue::run(flags).await,
            Action::Sql(flags) => query::run(flags).await,
            Action::Capacity(flags) => capacity::run(&flags),
            Action::Verify(flags) => verify::run(flags).await,
        }
    });
    if ended.is_ok() {
        runtime.shutdown_timeout(STRAGGLERS);
    } else {
        // Work that was given up may still wait for a timer on a thread of its own, and would panic without the runtime: it is
        // left to end with the process.
        std::mem::forget(runtime);
    }
    ended
}
