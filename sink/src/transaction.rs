//! Writes one batch into the tables, or nothing. The transaction begins by moving `next_offset` of each of its partitions from
//! where the batch begins to where it ends: whoever comes second finds no row to move and writes nothing.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Poll;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::poll;
use service::{Component, Stop};
use sql::database::{Pool, Transaction};
use sql::partial::Ledger;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, Statement};

use crate::database::persistently;
use crate::merge::{Merged, MergedTable, OrderedRows};
use crate::upsert::write_order;
use crate::{DatabaseError, limits, owner, progress, upsert};

/// What will be written in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// By partition.
    pub(crate) ranges: BTreeMap<u32, Range>,
    pub(crate) merged: Merged,
    /// Epochs in it.
    pub(crate) epochs: usize,
}

/// What is written in one transaction.
#[derive(Debug)]
pub(crate) struct Batch {
    /// By partition, which is also the order in which their rows are locked.
    pub(crate) ranges: BTreeMap<u32, Range>,
    /// In the order in which tables are written.
    pub(crate) merged: OrderedRows,
    /// Epochs in it: one alone cannot be split.
    pub(crate) epochs: usize,
}

impl From<Gathered> for Batch {
    fn from(Gathered { ranges, merged, epochs }: Gathered) -> Batch {
        let mut merged = merged.ordered();
        merged.tables.sort_unstable_by(|(one, _), (other, _)| write_order(one).cmp(&write_order(other)));
        Batch { ranges, merged, epochs }
    }
}

impl Batch {
    /// The fingerprints of partitions whose first epochs are in the batch: each must be that of the tables.
    fn first_fingerprints(&self) -> BTreeSet<&str> {
        let first = self.ranges.values().filter(|range| range.from == 0);
        first.map(|range| range.fingerprint.as_str()).collect()
    }
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

/// The guard. Nothing weaker will do: with "not behind" instead of "equal", a range would be counted twice.
const ADVANCE: &str = "update watchbeat.progress set next_offset = $4, clock = greatest(clock, $5), fingerprint = $6,
    partials_offset = $7, ticks = $8, waiting = $9, credited = $10, idle = $11, duplicate = $12, overrun = $13, gap = $14,
    late = $15, ad = $16, updated_at = now()
    where pipeline = $1 and partition = $2 and next_offset = $3 and fingerprint in ('', $6)";

/// Writes the batch, and tries again after failures that pass by themselves; `None` when told to stop while the database is
/// away. A try that takes longer than `patience` is not repeated: the next would take as long.
pub(crate) async fn write(
    pool: &Pool,
    pipeline: &str,
    batch: &Batch,
    database: &Component,
    stop: &Stop,
    patience: Duration,
) -> Result<Option<Outcome>, DatabaseError> {
    // A COMMIT without an answer may have succeeded: the guard then says that somebody was here, and that may be this sink.
    let in_doubt = Cell::new(false);
    let written = persistently("writing a batch", pool, database, stop, async || {
        let (committing, running) = (Cell::new(false), OnceCell::new());
        let Ok(tried) = timeout(patience, attempt(pool, pipeline, batch, &committing, &running)).await else {
            if let Some(running) = running.get() {
                cancel(pool, running).await;
            }
            return Err(DatabaseError::GivenUp); // the database has not shown that it is there
        };
        if tried.is_err() && committing.get() {
            in_doubt.set(true);
        }
        match tried? {
            Outcome::Outrun if in_doubt.get() && is_in(pool, pipeline, batch).await? => Ok(Outcome::Committed),
            outcome => Ok(outcome),
        }
    })
    .await;
    match written {
        Err(DatabaseError::GivenUp) => Ok(Some(Outcome::TimedOut)),
        written => written,
    }
}

/// Ends the statement that took too long, so that it holds no locks against the next try. If the server does not answer, it
/// ends the statement when it finds the connection gone.
async fn cancel(pool: &Pool, running: &CancelToken) {
    match timeout(sql::limits::CONNECT_TIMEOUT, pool.cancel(running)).await {
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
    for fingerprint in batch.first_fingerprints() {
        owner::claim(&transaction, pipeline, fingerprint).await?; // before any row is locked: it may wait
    }
    for (partition, range) in &batch.ranges {
        if !advance(&transaction, pipeline, *partition, range).await? {
            transaction.rollback().await?;
            return Ok(Outcome::Outrun);
        }
    }
    write_rows(&transaction, &batch.merged).await?;
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
    let counts = range.ledger.counts().map(u64::cast_signed);
    let [from, to, partials_offset] = [range.from, range.to, range.partials_offset].map(u64::cast_signed);
    let partition = i64::from(partition);
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&pipeline, &partition, &from, &to, &range.clock, &range.fingerprint, &partials_offset];
    parameters.extend(counts.iter().map(|count| count as &(dyn ToSql + Sync)));
    Ok(transaction.execute(&statement, &parameters).await? == 1)
}

/// Runs the statements in their order, and sends the next without waiting for the answer to the one before, so that the
/// database need not wait for parameters. The first that fails makes those behind it fail, so its error is the one that
/// counts. All are prepared beforehand: preparing one after a failure would report only that the transaction had failed.
async fn write_rows(transaction: &Transaction<'_>, merged: &OrderedRows) -> Result<(), DatabaseError> {
    let mut under_way: VecDeque<LocalBoxFuture<'_, Result<(), DatabaseError>>> = VecDeque::new();
    for Step { statement, table, rows, arrays } in prepare(transaction, merged).await? {
        for rows in rows.chunks(limits::ROWS_PER_STATEMENT) {
            if under_way.len() == limits::STATEMENTS_UNDER_WAY
                && let Some(first) = under_way.pop_front()
            {
                first.await?;
            }
            let mut execution = Box::pin(execute(transaction, statement.clone(), arrays(table, &merged.texts, rows)));
            // The first poll sends it. Even if it is done already, the statements before it are awaited first.
            under_way.push_back(match poll!(&mut execution) {
                Poll::Ready(done) => Box::pin(std::future::ready(done)),
                Poll::Pending => execution,
            });
        }
    }
    for execution in under_way {
        execution.await?;
    }
    Ok(())
}

/// A statement, and the rows of a table that are its parameters.
struct Step<'a> {
    statement: Statement,
    table: &'a MergedTable,
    rows: &'a [u32],
    arrays: upsert::Arrays<'a>,
}

/// The steps of all tables, in their order.
async fn prepare<'a>(transaction: &Transaction<'_>, merged: &'a OrderedRows) -> Result<Vec<Step<'a>>, DatabaseError> {
    let mut steps = Vec::new();
    for (table, work) in &merged.tables {
        let upsert = upsert::upsert(table);
        let (delete, delete_zeros) = (upsert::delete(table, false), upsert::delete(table, true));
        let (stored, keys): (upsert::Arrays<'a>, upsert::Arrays<'a>) = (upsert::stored_arrays, upsert::key_arrays);
        let of_table =
            [(upsert, &work.upserts, stored), (delete, &work.deletes, keys), (delete_zeros, &work.shrunk, keys)];
        for (statement, rows, arrays) in of_table.into_iter().filter(|(_, rows, _)| !rows.is_empty()) {
            steps.push(Step { statement: transaction.prepare_cached(&statement).await?, table, rows, arrays });
        }
    }
    Ok(steps)
}

async fn execute(
    transaction: &Transaction<'_>,
    statement: Statement,
    arrays: Vec<upsert::Array<'_>>,
) -> Result<(), DatabaseError> {
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
mod tests;
