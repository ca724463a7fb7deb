//! Which pipeline owns the tables. The guard of a transaction covers only one pipeline: the figures of a second one would be
//! added on top of those of the first.

use sql::database::{Pool, Transaction};
use tokio::time::timeout;
use tokio_postgres::Row;

use crate::{DatabaseError, limits};

const CLAIM: &str = "insert into watchbeat.owner (pipeline) values ($1) on conflict (is_taken) do nothing";
/// Finds another pipeline to which the tables belong. Tables that were written before they had an owner, or restored without
/// one, belong to the pipeline in their `progress`.
const OTHER: &str = "select pipeline from watchbeat.owner where pipeline <> $1
    union all select pipeline from watchbeat.progress where pipeline <> $1 and next_offset > 0 limit 1";
/// Fingerprint of the tables: their owner's, or, before that had one, that of a partition; empty before the first epoch.
const FINGERPRINT: &str =
    "select coalesce(nullif((select max(fingerprint) from watchbeat.owner where pipeline = $1), ''),
    (select max(fingerprint) from watchbeat.progress where pipeline = $1 and next_offset > 0), '')";
const SIGN: &str = "update watchbeat.owner set fingerprint = $2 where pipeline = $1 and fingerprint = ''";

/// Refuses tables that another pipeline has written. Returns the fingerprint of this pipeline's tables, which is empty before
/// the first epoch.
pub(crate) async fn check(pool: &Pool, pipeline: &str) -> Result<String, DatabaseError> {
    let checking = timeout(limits::TRANSACTION_TIMEOUT, async {
        let client = pool.get().await?;
        no_other(pipeline, client.query_opt(OTHER, &[&pipeline]).await?)?;
        Ok(client.query_one(FINGERPRINT, &[&pipeline]).await?.get(0))
    });
    checking.await.unwrap_or(Err(DatabaseError::TimedOut))
}

/// Claims tables without an owner, for this pipeline and with this fingerprint, and refuses tables of another pipeline or
/// fingerprint. If two sinks begin at once, the second waits here until the first has written or failed.
pub(crate) async fn claim(
    transaction: &Transaction<'_>,
    pipeline: &str,
    fingerprint: &str,
) -> Result<(), DatabaseError> {
    transaction.execute(CLAIM, &[&pipeline]).await?;
    no_other(pipeline, transaction.query_opt(OTHER, &[&pipeline]).await?)?;
    let mut expected: String = transaction.query_one(FINGERPRINT, &[&pipeline]).await?.get(0);
    if expected.is_empty() || expected == fingerprint {
        transaction.execute(SIGN, &[&pipeline, &fingerprint]).await?;
        expected = transaction.query_one(FINGERPRINT, &[&pipeline]).await?.get(0); // somebody else may have signed meanwhile
    }
    if expected == fingerprint {
        return Ok(());
    }
    Err(DatabaseError::Mixed { found: fingerprint.to_owned(), expected })
}

/// Judges what [`OTHER`] answered.
fn no_other(pipeline: &str, found: Option<Row>) -> Result<(), DatabaseError> {
    found.map_or(Ok(()), |row| Err(DatabaseError::Taken { pipeline: pipeline.to_owned(), other: row.get(0) }))
}
