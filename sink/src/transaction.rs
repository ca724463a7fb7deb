//! One batch into the tables, or not at all. It begins by moving `next_offset` of each of its partitions from where the batch
//! begins to where it ends: whoever comes second finds no row and writes nothing.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_postgres::{Pool, Transaction};
use service::{Component, Stop};
use sql::partial::Ledger;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, NoTls};

use crate::database::persistently;
use crate::merge::{Merged, MergedTable};
use crate::{DatabaseError, caps, progress, upsert};

/// What is written at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// By partition, which is also the order in which their rows are locked.
    pub(crate) ranges: BTreeMap<u32, Range>,
    pub(crate) merged: Merged,
    /// Epochs in it: one alone cannot be split.
    pub(crate) epochs: usize,
}

/// Epochs of one partition, end to end.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) clock: i64,
    pub(crate) fingerprint: String,
    pub(crate) partials_offset: u64,
    pub(crate) ledger: Ledger,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the tables.
    Committed,
    /// Somebody else has moved `next_offset`: nothing was written.
    Outrun,
    /// There was no answer in time: only `progress` knows whether it was written.
    TimedOut,
}

/// The guard. Nothing weaker will do: "not behind" instead of "equal" counts a range twice.
const ADVANCE: &str = "update watchbeat.progress set next_offset = $4, clock = greatest(clock, $5), fingerprint = $6,
    partials_offset = $7, ticks = $8, waiting = $9, credited = $10, idle = $11, duplicate = $12, overrun = $13, gap = $14,
    late = $15, ad = $16, updated_at = now()
    where pipeline = $1 and partition = $2 and next_offset = $3 and fingerprint in ('', $6)";

/// Writes the batch, through whatever passes by itself; `None` when told to stop while the database is away. A try that takes
/// longer than `patience` is not repeated: the same again would take as long.
pub(crate) async fn write(
    pool: &Pool,
    pipeline: &str,
    batch: &Batch,
    database: &Component,
    stop: &Stop,
    patience: Duration,
) -> Result<Option<Outcome>, DatabaseError> {
    // A COMMIT without an answer may be in the tables: the guard then says that somebody was here, and it may be we.
    let in_doubt = Cell::new(false);
    persistently("writing a batch", database, stop, async || {
        let (committing, running) = (Cell::new(false), OnceCell::new());
        let Ok(tried) = timeout(patience, attempt(pool, pipeline, batch, &committing, &running)).await else {
            if let Some(running) = running.get() {
                cancel(running).await;
            }
            return Ok(Outcome::TimedOut);
        };
        if tried.is_err() && committing.get() {
            in_doubt.set(true);
        }
        match tried? {
            Outcome::Outrun if in_doubt.get() && is_in(pool, pipeline, batch).await? => Ok(Outcome::Committed),
            outcome => Ok(outcome),
        }
    })
    .await
}

/// Ends the statement that took too long, so that it holds no locks against the next try. Without an answer the server ends it
/// when it finds the connection gone.
async fn cancel(running: &CancelToken) {
    match timeout(caps::CONNECT_TIMEOUT, running.cancel_query(NoTls)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the statement that took too long could not be ended"),
        Err(_) => tracing::debug!("the database did not answer that it ended the statement that took too long"),
    }
}

/// One try. Dropping the transaction rolls it back.
async fn attempt(
    pool: &Pool,
    pipeline: &str,
    batch: &Batch,
    committing: &Cell<bool>,
    running: &OnceCell<CancelToken>,
) -> Result<Outcome, DatabaseError> {
    let mut client = pool.get().await?;
    running.get_or_init(|| client.cancel_token());
    let transaction = client.transaction().await?;
    for (partition, range) in &batch.ranges {
        if !advance(&transaction, pipeline, *partition, range).await? {
            transaction.rollback().await?;
            return Ok(Outcome::Outrun);
        }
    }
    let mut tables: Vec<&MergedTable> = batch.merged.tables().collect();
    tables.sort_unstable_by_key(|table| upsert::write_order(&table.name));
    for table in tables {
        write_table(&transaction, table).await?;
    }
    committing.set(true);
    transaction.commit().await?;
    Ok(Outcome::Committed)
}

async fn advance(
    transaction: &Transaction<'_>,
    pipeline: &str,
    partition: u32,
    range: &Range,
) -> Result<bool, DatabaseError> {
    let statement = transaction.prepare_cached(ADVANCE).await?;
    let ledger = &range.ledger;
    let counts = [
        ledger.ticks,
        ledger.waiting,
        ledger.credited,
        ledger.idle,
        ledger.duplicate,
        ledger.overrun,
        ledger.gap,
        ledger.late,
        ledger.ad,
    ]
    .map(u64::cast_signed);
    let [from, to, partials_offset] = [range.from, range.to, range.partials_offset].map(u64::cast_signed);
    let partition = i64::from(partition);
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&pipeline, &partition, &from, &to, &range.clock, &range.fingerprint, &partials_offset];
    parameters.extend(counts.iter().map(|count| count as &(dyn ToSql + Sync)));
    Ok(transaction.execute(&statement, &parameters).await? == 1)
}

async fn write_table(transaction: &Transaction<'_>, table: &MergedTable) -> Result<(), DatabaseError> {
    let work = table.work();
    let upsert = upsert::upsert(table);
    for rows in work.upserts.chunks(caps::ROWS_PER_STATEMENT) {
        execute(transaction, &upsert, &upsert::stored_arrays(table, rows)).await?;
    }
    for (rows, only_zeros) in [(&work.deletes, false), (&work.shrunk, true)] {
        let delete = upsert::delete(table, only_zeros);
        for rows in rows.chunks(caps::ROWS_PER_STATEMENT) {
            execute(transaction, &delete, &upsert::key_arrays(table, rows)).await?;
        }
    }
    Ok(())
}

async fn execute(
    transaction: &Transaction<'_>,
    statement: &str,
    arrays: &[upsert::Array<'_>],
) -> Result<(), DatabaseError> {
    let statement = transaction.prepare_cached(statement).await?;
    let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect();
    transaction.execute(&statement, &parameters).await?;
    Ok(())
}

/// Whether a batch of unknown outcome is in the tables: then all its partitions stand where it ends.
async fn is_in(pool: &Pool, pipeline: &str, batch: &Batch) -> Result<bool, DatabaseError> {
    let partitions: Vec<u32> = batch.ranges.keys().copied().collect();
    let rows = progress::read(pool, pipeline, &partitions).await?;
    Ok(rows.iter().all(|row| batch.ranges.get(&row.partition).is_some_and(|range| range.to == row.next_offset)))
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
