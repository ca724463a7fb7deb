//! Waits until the tables hold a run, and says where they differ from what the viewers really did.
//!
//! Every row of every table is read once and compared as it comes: of the tables nothing is kept, of the run the account.

use crate::account::{AccountFile, Rows};
use crate::limits::{MAX_DIFFERENCES, POLL_INTERVAL, REQUEST_TIMEOUT};
use crate::settings::LoadError;
use crate::tables::{self, Filter};
use playback::credit::Disposition;
use playback::tables::{Cell, Column, Kind, SHAPES, Shape};
use serde::Serialize;
use sql::database::Database;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;
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
    /// Where the tables differ.
    pub differences: Vec<String>,
}

impl Check {
    /// Whether every row is right.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// A connection to the tables, and what their ledger said before the run.
pub(crate) struct Verifier {
    client: Client,
    pub(crate) before: Totals,
}

impl Verifier {
    pub(crate) async fn connect(database: &Database, site: &str) -> Result<Verifier, LoadError> {
        let client = database.connect().await?;
        let before = totals(&client, site).await?;
        Ok(Verifier { client, before })
    }

    /// Polls until the tables are right, at most for the settle time; says what they are then.
    pub(crate) async fn verify(&self, file: &AccountFile, settle: Duration) -> Result<Check, LoadError> {
        let labels = file.labels();
        let rows = Rows::new(&file.account, &labels);
        let heartbeats = file.account.ledger.values().sum::<u64>();
        let none = Totals::new();
        let before = file.before.as_ref().unwrap_or(&none);
        let deadline = Instant::now() + settle;
        loop {
            let mut added = totals(&self.client, &file.site).await?;
            for (disposition, count) in before {
                *added.entry(disposition.clone()).or_default() -= count;
            }
            let is_last = Instant::now() >= deadline;
            if added.values().sum::<i64>() >= heartbeats as i64 || is_last {
                // Where every minute of the ledger is known, those are compared.
                let knows_times = file.account.knows_times;
                let mut found = if knows_times { Vec::new() } else { ledger_differences(file, &added) };
                for shape in SHAPES.iter().filter(|shape| shape.name != "ledger_minutes" || knows_times) {
                    found.extend(self.table_differences(&rows, shape).await?);
                }
                if found.is_empty() || is_last {
                    return Ok(Check {
                        run: file.run.clone(),
                        heartbeats,
                        sessions: file.account.sessions.len() as u64,
                        rows: SHAPES.iter().map(|shape| rows.count(shape.name) as u64).sum(),
                        differences: found,
                    });
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn table_differences(&self, rows: &Rows<'_>, shape: &Shape) -> Result<Vec<String>, LoadError> {
        let prefix = rows.labels.names.prefix();
        let filter = Filter::Run { site: &rows.labels.site, prefix: &prefix };
        let mut judge = TableJudge::new(rows, shape);
        tables::each(&self.client, shape, filter, |key, row| judge.row(key, row)).await?;
        judge.end_blurred();
        let missing = rows.count(shape.name).saturating_sub(judge.known);
        let mut found = judge.found;
        if missing > 0 {
            // Which ones is only asked when there are any.
            let mut seen = BTreeSet::new();
            let note = |key, _| {
                seen.insert(blurred(rows, shape, key));
            };
            tables::each(&self.client, shape, filter, note).await?;
            let absent = rows.all(shape.name).filter(|(key, _)| !seen.contains(key));
            found.extend(absent.take(MAX_DIFFERENCES).map(|(key, row)| difference(shape, &key, Some(&row), None)));
        }
        let more = found.len().saturating_sub(MAX_DIFFERENCES);
        found.truncate(MAX_DIFFERENCES);
        if more > 0 {
            found.push(format!("{}: and {more} more", shape.name));
        }
        Ok(found)
    }
}

/// Compares the rows of one table as they come.
struct TableJudge<'a> {
    rows: &'a Rows<'a>,
    shape: &'a Shape,
    /// Rows that must be there and are.
    known: usize,
    /// Sums over all times, of titles whose times are not known.
    sums: BTreeMap<Vec<Cell>, Vec<i64>>,
    found: Vec<String>,
    /// The minutes of the run.
    minutes: std::ops::RangeInclusive<i64>,
}

impl<'a> TableJudge<'a> {
    fn new(rows: &'a Rows<'a>, shape: &'a Shape) -> TableJudge<'a> {
        let minute =
            |key: Option<(&(u32, Disposition), &u64)>| key.map_or(0, |((minute, _), _)| i64::from(*minute) * 60_000);
        let ledger = &rows.account.ledger;
        let minutes = minute(ledger.first_key_value())..=minute(ledger.last_key_value());
        TableJudge { rows, shape, known: 0, sums: BTreeMap::new(), found: Vec::new(), minutes }
    }

    fn row(&mut self, key: Vec<Cell>, row: Vec<Cell>) {
        let is_blurred = is_blurred(self.rows, self.shape, &key);
        if is_blurred && self.shape.key.iter().any(|(_, kind)| *kind == Kind::Time) {
            let sums = self.sums.entry(blurred(self.rows, self.shape, key)).or_insert_with(|| vec![0; row.len()]);
            for (sum, cell) in sums.iter_mut().zip(&row) {
                *sum += if let Cell::Int(amount) = cell { *amount } else { 0 };
            }
            return;
        }
        if let ("ledger_minutes", [_, Cell::Int(minute), _]) = (self.shape.name, &key[..])
            && !self.minutes.contains(minute)
        {
            return; // others were there before
        }
        let expected = self.rows.row(self.shape.name, &key);
        self.compare(&key, expected, row, is_blurred);
    }

    fn end_blurred(&mut self) {
        for (key, mut sums) in std::mem::take(&mut self.sums) {
            if self.shape.name == "video_minutes" {
                sums[1] = 0; // in how many minutes a viewer was there depends on the times
            }
            let expected = self.rows.row(self.shape.name, &key);
            self.compare(&key, expected, sums.into_iter().map(Cell::Int).collect(), true);
        }
    }

    fn compare(&mut self, key: &[Cell], expected: Option<Vec<Cell>>, actual: Vec<Cell>, is_blurred: bool) {
        self.known += usize::from(expected.is_some());
        let is_right = match &expected {
            Some(expected) if is_blurred => is_near(self.shape, expected, &actual),
            expected => expected.as_ref() == Some(&actual),
        };
        if !is_right && self.found.len() <= MAX_DIFFERENCES {
            self.found.push(difference(self.shape, key, expected.as_deref(), Some(&actual)));
        }
    }
}

/// Whether a row says what is expected, as far as that is known without the times: a corrected time is the true one and
/// as much more as the report was on its way, and then the order of two reports may be another.
fn is_near(shape: &Shape, expected: &[Cell], actual: &[Cell]) -> bool {
    let slack_ms = REQUEST_TIMEOUT.as_millis() as i64;
    shape.columns.iter().zip(expected.iter().zip(actual)).all(|((name, _), (expected, actual))| {
        match (expected, actual) {
            (Cell::Int(expected), Cell::Int(actual)) if matches!(*name, "started_at" | "last_at" | "event_time") => {
                (-1..=slack_ms).contains(&(actual - expected))
            }
            _ if *name == "position_ms" => true,
            _ => expected == actual,
        }
    })
}

/// Whether a row is of a title whose times are not known.
fn is_blurred(rows: &Rows<'_>, shape: &Shape, key: &[Cell]) -> bool {
    let video = shape.key.iter().zip(key).find(|((name, _), _)| *name == "video_id");
    let title =
        video.and_then(|(_, cell)| if let Cell::Text(id) = cell { rows.labels.names.title_of(id) } else { None });
    title.is_some_and(|title| rows.account.is_blurred(title))
}

/// The key of all times together, of a title whose times are not known.
fn blurred(rows: &Rows<'_>, shape: &Shape, mut key: Vec<Cell>) -> Vec<Cell> {
    if is_blurred(rows, shape, &key) {
        let times = shape.key.iter().zip(&mut key).filter(|((_, kind), _)| *kind == Kind::Time);
        times.for_each(|(_, cell)| *cell = Cell::Int(0));
    }
    key
}

async fn totals(client: &Client, site: &str) -> Result<Totals, LoadError> {
    let query = "select disposition, sum(heartbeats)::bigint from watchbeat.ledger_minutes where site = $1 group by 1";
    let rows = client.query(query, &[&site]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Tries of unknown outcome may stand on the log: each of their reports is a duplicate more.
fn ledger_differences(file: &AccountFile, actual: &Totals) -> Vec<String> {
    let known = file.totals();
    let mut found = Vec::new();
    for disposition in Disposition::ALL {
        let expected = known.get(&disposition).copied().unwrap_or(0) as i64;
        let actual = actual.get(disposition.as_str()).copied().unwrap_or(0);
        let may_be_more = matches!(disposition, Disposition::Duplicate | Disposition::Late);
        let most = expected + if may_be_more { file.uncertain as i64 } else { 0 };
        if !(expected..=most).contains(&actual) {
            let name = disposition.as_str();
            found.push(format!(
                "ledger_minutes: {name}: expected {expected} to {most} more than before the run, actual {actual}"
            ));
        }
    }
    found
}

fn difference(shape: &Shape, key: &[Cell], expected: Option<&[Cell]>, actual: Option<&[Cell]>) -> String {
    let row = |row: Option<&[Cell]>| row.map_or("no row".to_owned(), |row| named(shape.columns, row));
    format!("{}: {}: expected {}, actual {}", shape.name, named(shape.key, key), row(expected), row(actual))
}

fn named(columns: &[Column], cells: &[Cell]) -> String {
    let cells: Vec<String> = columns.iter().zip(cells).map(|((name, _), cell)| format!("{name}={cell}")).collect();
    cells.join(" ")
}
