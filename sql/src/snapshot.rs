//! Reads that are all of one moment, however much is written meanwhile. What is read is not decided here.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, IsolationLevel, Transaction};

use crate::limits;

/// What `read` finds in one snapshot. YugabyteDB may be unable to keep to one while others write, and then reports a
/// conflict: everything is read again. `is_conflict` tells whether an error of `read` is such a conflict; see
/// [`is_conflict`].
pub async fn read<T, F: From<Error>>(
    client: &mut Client,
    is_conflict: impl Fn(&F) -> bool,
    mut read: impl AsyncFnMut(&Transaction<'_>) -> Result<T, F>,
) -> Result<T, F> {
    for _ in 1..limits::SNAPSHOT_TRIES {
        match read_once(client, &mut read).await {
            Err(error) if is_conflict(&error) => {
                tracing::debug!("the database could not keep to a snapshot; reading again")
            }
            outcome => return outcome,
        }
    }
    read_once(client, &mut read).await
}

async fn read_once<T, F: From<Error>>(
    client: &mut Client,
    read: &mut impl AsyncFnMut(&Transaction<'_>) -> Result<T, F>,
) -> Result<T, F> {
    let snapshot =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let found = read(&snapshot).await?;
    snapshot.commit().await?;
    Ok(found)
}

/// Whether the same read may succeed when it is done again.
#[must_use]
pub fn is_conflict(error: &Error) -> bool {
    error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE)
}

#[cfg(test)]
mod tests {

    use super::*;
    use ::sql::testing::{TestDatabase, conflict_once};

    #[tokio::test]
    async fn a_snapshot_that_the_database_cannot_keep_to_is_read_again() {
        let database = TestDatabase::create().await;
        let mut client = crate::database::connect(database.url()).await.unwrap();
        crate::migrate::migrate(&mut client).await.unwrap();
        client.batch_execute("insert into watchbeat.progress (pipeline, partition) values ('main', 0)").await.unwrap();
        conflict_once(&client, "progress").await;
        assert_eq!(crate::ledger::ledger_check(&mut client).await.unwrap().partitions.len(), 1);
    }

    #[tokio::test]
    async fn it_is_not_read_for_ever() {
        let database = TestDatabase::create().await;
        let mut client = crate::database::connect(database.url()).await.unwrap();
        let conflict = "do $$ begin raise 'Restart read required' using errcode = '40001'; end $$";
        let mut tries = 0;
        let reading = read(&mut client, is_conflict, async |snapshot| {
            tries += 1;
            snapshot.batch_execute(conflict).await
        });
        assert!(is_conflict(&reading.await.unwrap_err()));
        assert_eq!(tries, limits::SNAPSHOT_TRIES);
    }
}
