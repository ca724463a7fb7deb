//! `watchbeat migrate`: the database's schema, and the topics when brokers are named.

use crate::flags::{DatabaseFlags, LogFlags, MAIN_PIPELINE};
use anyhow::Context;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct MigrateFlags {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    topics: TopicFlags,
}

/// Partitions unless told: a replay merges more with 64 than with fewer (docs/benchmarks-history.md), and they cannot become more later.
pub(crate) const PARTITIONS: u32 = 64;

/// The topics to make.
#[derive(Debug, Args)]
#[command(mut_arg("brokers", |brokers| brokers.required(false)))]
struct TopicFlags {
    #[command(flatten)]
    log: Option<LogFlags>,
    /// Partitions of the topics; can never be changed, so take many
    #[arg(long, env = "WATCHBEAT_PARTITIONS", default_value_t = PARTITIONS, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    partitions: u32,
    /// Name of the pipeline whose topics are made
    #[arg(long, env = "WATCHBEAT_PIPELINE", default_value = MAIN_PIPELINE)]
    pipeline: String,
    /// Copies of each partition
    #[arg(long, env = "WATCHBEAT_REPLICATION", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    replication: u16,
}

pub(crate) async fn run(flags: MigrateFlags) -> anyhow::Result<ExitCode> {
    let TopicFlags { log, partitions, pipeline, replication } = &flags.topics;
    if let Some(log) = log {
        log.topics(pipeline).create(&log.log()?, *partitions, *replication).await?;
        tracing::info!("the topics are there");
    }
    let mut client = flags.database.database()?.connect().await.context("cannot reach the database")?;
    let applied = sql::migrate::migrate(&mut client).await?;
    tracing::info!(applied = applied.len(), "the schema is up to date");
    Ok(ExitCode::SUCCESS)
}
