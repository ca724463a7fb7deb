//! Whose the tables are. The guard of a transaction is of one pipeline: the figures of a second would be added on top of the first's.

use sql::database::{Pool, Transaction};
use tokio::time::timeout;
use tokio_postgres::Row;

use crate::{DatabaseError, limits};

const CLAIM: &str = "insert into watchbeat.owner (pipeline) values ($1) on conflict (is_taken) do nothing";
/// Tables that were written before they had an owner, or restored without one, are somebody's all the same.
const OTHER: &str = "select pipeline from watchbeat.owner where pipeline <> $1
    union all select pipeline from watchbeat.progress where pipeline <> $1 and next_offset > 0 limit 1";

/// Refuses tables that another pipeline has written.
pub(crate) async fn check(pool: &Pool, pipeline: &str) -> Result<(), DatabaseError> {
    let checking = timeout(limits::TRANSACTION_TIMEOUT, async {
        no_other(pipeline, pool.get().await?.query_opt(OTHER, &[&pipeline]).await?)
    });
    checking.await.unwrap_or(Err(DatabaseError::TimedOut))
}

/// Makes tables that are nobody's this pipeline's, and refuses those of another. Of two pipelines that begin at once the second waits
/// here until the first has written or failed.
pub(crate) async fn claim(transaction: &Transaction<'_>, pipeline: &str) -> Result<(), DatabaseError> {
    transaction.execute(CLAIM, &[&pipeline]).await?;
    no_other(pipeline, transaction.query_opt(OTHER, &[&pipeline]).await?)
}

/// Judges what [`OTHER`] answered.
fn no_other(pipeline: &str, found: Option<Row>) -> Result<(), DatabaseError> {
    found.map_or(Ok(()), |row| Err(DatabaseError::Taken { pipeline: pipeline.to_owned(), other: row.get(0) }))
}
