//! `watchbeat verify`: every record of the log is accounted for, per partition and in all.

use crate::flags::DatabaseFlags;
use crate::output;
use anyhow::Context;
use clap::Args;
use sql::ledger::LedgerCheck;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct VerifyFlags {
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Exit status when nobody knows whether it balances. 1 is that it does not, 2 that the flags make no sense.
const CANNOT_TELL: u8 = 3;

/// Prints the check; the exit status says whether it holds.
pub(crate) async fn run(flags: VerifyFlags) -> ExitCode {
    match check(&flags).await {
        Ok(check) if check.is_empty() => CANNOT_TELL.into(),
        Ok(check) if check.is_balanced() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => output::failed(&error, CANNOT_TELL.into()),
    }
}

async fn check(flags: &VerifyFlags) -> anyhow::Result<LedgerCheck> {
    let mut client = flags.database.database()?.connect().await.context("cannot reach the database")?;
    let check = sql::ledger::ledger_check(&mut client).await.context("cannot read the ledger")?;
    output::line(&check)?;
    Ok(check)
}
