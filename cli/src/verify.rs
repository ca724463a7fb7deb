//! `watchbeat verify`: every record of the log is accounted for, per partition and in all.

use crate::flags::DatabaseFlags;
use crate::output;
use anyhow::Context;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct VerifyFlags {
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Prints the check; the exit status says whether it holds.
pub(crate) async fn run(flags: VerifyFlags) -> anyhow::Result<ExitCode> {
    let mut client = flags.database.database()?.connect().await.context("cannot reach the database")?;
    let check = sql::ledger::ledger_check(&mut client).await?;
    output::line(&check)?;
    Ok(if check.is_balanced() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
