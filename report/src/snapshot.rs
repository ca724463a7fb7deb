//! One answer's way to the database: a connection that is lent for it, and one snapshot of all that it reads. What is read is not
//! decided here.

use std::ops::{Deref, DerefMut};
use std::pin::pin;

use futures::TryStreamExt;
use sql::database::{Connection, Pool};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Transaction};

use crate::{ReportError, limits};

/// What `read` finds in one snapshot, or an error once the asker has waited too long.
pub(crate) async fn read<T>(
    pool: &Pool,
    read: impl AsyncFnMut(&Transaction<'_>) -> Result<T, ReportError>,
) -> Result<T, ReportError> {
    let is_conflict =
        |error: &ReportError| matches!(error, ReportError::Database(error) if sql::snapshot::is_conflict(error));
    if pool.waiting() >= limits::WAITING {
        return Err(ReportError::Busy);
    }
    in_time(async {
        let mut lent = Lent::from(pool).await?;
        let found = sql::snapshot::read(&mut lent, is_conflict, read).await;
        lent.give_back();
        found
    })
    .await
}

/// What `take` makes of each row of a query whose last parameter is the number of rows it may return; only one row at a time
/// is held as it came. More rows than an answer takes are refused, with what to do instead: a part would look like all of them.
pub(crate) async fn rows<T>(
    snapshot: &Transaction<'_>,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
    Most { rows: most, way_out }: Most,
    take: impl Fn(&Row) -> T,
) -> Result<Vec<T>, ReportError> {
    let one_more = most as i64 + 1;
    let mut found = pin!(snapshot.query_raw(query, [parameters, &[&one_more]].concat()).await?);
    let mut taken = Vec::new();
    while let Some(row) = found.try_next().await? {
        if taken.len() == most {
            return Err(ReportError::BadRequest(format!("more than {most} rows: {way_out}")));
        }
        taken.push(take(&row));
    }
    Ok(taken)
}

/// How many rows of a kind an answer takes, and what to do instead of asking for more.
#[derive(Clone, Copy)]
pub(crate) struct Most {
    pub(crate) rows: usize,
    pub(crate) way_out: &'static str,
}

/// Whether the database answers.
pub(crate) async fn ping(pool: &Pool) -> Result<(), ReportError> {
    in_time(async {
        let lent = Lent::from(pool).await?;
        let answered = lent.simple_query("select 1").await;
        lent.give_back();
        answered?;
        Ok(())
    })
    .await
}

async fn in_time<T>(asking: impl Future<Output = Result<T, ReportError>>) -> Result<T, ReportError> {
    tokio::time::timeout(limits::ANSWER_TIMEOUT, asking).await.unwrap_or(Err(ReportError::TooSlow))
}

/// A connection of the pool. It goes back when its answers have come. If it is dropped earlier, because time is up or the asker
/// has hung up, it is closed: its next user would have to wait for the end of the statement.
struct Lent(Option<Connection>);

impl Lent {
    async fn from(pool: &Pool) -> Result<Lent, ReportError> {
        Ok(Lent(Some(pool.get().await?)))
    }

    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.take().map(Connection::take);
    }
}

/// Why there is a connection.
const IS_LENT: &str = "it is taken out only when it goes back";

impl Deref for Lent {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0.as_ref().expect(IS_LENT)
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Client {
        self.0.as_mut().expect(IS_LENT)
    }
}
