//! Waits until the tables hold a run, and says where they differ from what the viewers really did.
//!
//! Every row of every table is read once and compared as it comes. Nothing of the tables is kept, and of the run only the
//! account.

mod differences;
mod judge;

pub(crate) use differences::Differences;

use crate::account::{AccountFile, Rows};
use crate::limits::{POLL_INTERVAL, RECONNECT_PAUSE, STILL};
use crate::settings::LoadError;
use crate::tables::{self, Filter};
use differences::difference;
use judge::{TableJudge, blurred};
use playback::credit::Disposition;
use playback::tables::{SHAPES, Shape};
use serde::Serialize;
use sql::database::{Database, with_causes};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

/// Heartbeats of a site by disposition.
type Totals = BTreeMap<String, i64>;

/// What came of comparing the tables with accounts.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Name of the run.
    pub run: String,
    /// Heartbeats it put on the log, copies among them.
    pub heartbeats: u64,
    /// Its sessions.
    pub sessions: u64,
    /// Rows of all tables that it must have.
    pub rows: u64,
    /// In how many rows and totals the tables differ.
    pub difference_count: u64,
    /// The first of them, of each table.
    pub differences: Vec<String>,
}

impl Check {
    /// Whether every row is right.
    pub fn passed(&self) -> bool {
        self.difference_count == 0
    }
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The tables, and what their ledger said before the run.
pub(crate) struct Verifier {
    database: Database,
    pub(crate) before: Totals,
}

/// A run, and the rows that it must have.
struct Run<'a> {
    file: &'a AccountFile,
    rows: Rows<'a>,
    heartbeats: u64,
}

impl Verifier {
    /// Asks the ledger once, so that a database that cannot be asked is known before the run.
    pub(crate) async fn new(database: &Database, site: &str) -> Result<Verifier, LoadError> {
        let before = totals(&database.connect().await?, site).await?;
        Ok(Verifier { database: database.clone(), before })
    }

    /// Looks until the tables are right, for at most the settle time, and returns the outcome of the last look. If the database
    /// is away meanwhile, it is asked again.
    pub(crate) async fn verify(&self, file: &AccountFile, settle: Duration) -> Result<Check, LoadError> {
        let labels = file.labels();
        let rows = Rows::new(&file.account, &labels);
        let run = Run { file, rows, heartbeats: file.account.ledger.values().sum() };
        let deadline = Instant::now().checked_add(settle); // none is as good as never
        loop {
            let is_last = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            match self.look(&run, is_last).await {
                Ok(Some(found)) => return Ok(run.check(found)),
                Ok(None) => sleep(POLL_INTERVAL).await,
                Err(error) if is_last => return Err(error),
                Err(error) => {
                    tracing::warn!(error = with_causes(&error), "the tables cannot be read, trying again");
                    sleep(RECONNECT_PAUSE).await;
                }
            }
        }
    }

    /// The differences, if there are none and none will follow, or if `is_last`; otherwise `None`.
    async fn look(&self, run: &Run<'_>, is_last: bool) -> Result<Option<Differences>, LoadError> {
        let client = self.database.connect().await?;
        let now = totals(&client, &run.file.site).await?;
        let mut added = now.clone();
        for (disposition, count) in run.file.before.iter().flatten() {
            *added.entry(disposition.clone()).or_default() -= count;
        }
        if added.values().sum::<i64>() < run.heartbeats as i64 && !is_last {
            return Ok(None);
        }
        let found = run.differences(&client, &added).await?;
        if is_last {
            return Ok(Some(found));
        }
        if found.count > 0 {
            return Ok(None);
        }
        // Anything still on its way that counts something a second time is a difference too.
        sleep(STILL).await;
        let is_still = totals(&client, &run.file.site).await? == now;
        Ok(is_still.then_some(found))
    }
}

impl Run<'_> {
    /// Compares everything.
    async fn differences(&self, client: &Client, added: &Totals) -> Result<Differences, LoadError> {
        // If the ledger's minutes are all known, they are compared, otherwise its totals.
        let knows_times = self.file.account.knows_times;
        let mut found = Differences::default();
        if !knows_times {
            note_ledger(self.file, added, &mut found);
        }
        for shape in SHAPES.iter().filter(|shape| shape.name != "ledger_minutes" || knows_times) {
            found.add_table(shape, self.table_differences(client, shape).await?);
        }
        Ok(found)
    }

    async fn table_differences(&self, client: &Client, shape: &Shape) -> Result<Differences, LoadError> {
        let rows = &self.rows;
        let prefix = rows.labels.names.prefix();
        let filter = Filter::Run { site: &rows.labels.site, prefix: &prefix };
        let mut judge = TableJudge::new(rows, shape);
        tables::each(client, shape, filter, |key, row| judge.row(key, row)).await?;
        judge.end_blurred();
        let mut found = judge.found;
        if rows.count(shape.name) > judge.known {
            // Which ones is only asked when there are any.
            let mut seen = BTreeSet::new();
            let note = |key, _| {
                seen.insert(blurred(rows, shape, key));
            };
            tables::each(client, shape, filter, note).await?;
            let absent = rows.all(shape.name).filter(|(key, _)| !seen.contains(key));
            absent.for_each(|(key, row)| found.note(|| difference(shape, &key, Some(&row), None)));
        }
        Ok(found)
    }

    fn check(&self, found: Differences) -> Check {
        Check {
            run: self.file.run.clone(),
            heartbeats: self.heartbeats,
            sessions: self.file.account.sessions.len() as u64,
            rows: SHAPES.iter().map(|shape| self.rows.count(shape.name) as u64).sum(),
            difference_count: found.count,
            differences: found.first,
        }
    }
}

async fn totals(client: &Client, site: &str) -> Result<Totals, LoadError> {
    let query = "select disposition, sum(heartbeats)::bigint from watchbeat.ledger_minutes where site = $1 group by 1";
    let rows = client.query(query, &[&site]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Tries of unknown outcome may stand on the log: each of their reports is one more duplicate, or one more late report.
fn note_ledger(file: &AccountFile, actual: &Totals, found: &mut Differences) {
    let known = file.totals();
    for disposition in Disposition::ALL {
        let expected = known.get(&disposition).copied().unwrap_or(0) as i64;
        let actual = actual.get(disposition.as_str()).copied().unwrap_or(0);
        let may_be_more = matches!(disposition, Disposition::Duplicate | Disposition::Late);
        let most = expected + if may_be_more { file.uncertain as i64 } else { 0 };
        if !(expected..=most).contains(&actual) {
            let name = disposition.as_str();
            found.note(|| {
                format!(
                    "ledger_minutes: {name}: expected {expected} to {most} more than before the run, actual {actual}"
                )
            });
        }
    }
}
