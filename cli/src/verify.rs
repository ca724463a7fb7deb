//! `watchbeat verify`: every record of the log is accounted for, per partition and in all.

use crate::flags::DatabaseFlags;
use crate::output;
use anyhow::{Context, anyhow};
use clap::Args;
use sql::ledger::LedgerCheck;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::timeout;

#[derive(Debug, Args)]
pub(crate) struct VerifyFlags {
    #[command(flatten)]
    database: DatabaseFlags,
    /// Time that the database gets to answer; ms
    #[arg(long, env = "WATCHBEAT_VERIFY_TIMEOUT_MS", default_value_t = 60_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

/// Exit status when nobody knows whether it balances. 1 is that it does not, 2 that the flags make no sense.
pub(crate) const CANNOT_TELL: u8 = 3;

/// Prints the check; the exit status says whether it holds.
pub(crate) async fn run(flags: VerifyFlags) -> anyhow::Result<ExitCode> {
    let limit = Duration::from_millis(flags.timeout_ms);
    let checked = timeout(limit, check(&flags)).await;
    let check =
        checked.unwrap_or_else(|_| Err(anyhow!("the database did not answer within {} ms", flags.timeout_ms)))?;
    Ok(if check.is_empty() {
        CANNOT_TELL.into()
    } else if check.is_balanced() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn check(flags: &VerifyFlags) -> anyhow::Result<LedgerCheck> {
    let mut client = flags.database.database()?.connect().await.context("cannot reach the database")?;
    let check = sql::ledger::ledger_check(&mut client).await.context("cannot read the ledger")?;
    output::line(&check)?;
    Ok(check)
}
