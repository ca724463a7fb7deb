//! Waits until the tables hold a run, and says where they differ from the model and from what the viewers know.

use crate::limits::{MAX_DIFFERENCES, POLL_INTERVAL};
use crate::settings::{LoadError, Settings};
use crate::tables::{self, Filter};
use crate::tally::Outcome;
use crate::viewer::Played;
use playback::model::{self, Cell, Logged, Parameters, Tables};
use playback::record::Record;
use std::collections::BTreeMap;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

/// Heartbeats of a site by disposition.
type Totals = BTreeMap<String, i64>;

/// A connection to the tables, and what their ledger said before the run.
pub(crate) struct Verifier {
    client: Client,
    before: Totals,
}

impl Verifier {
    pub(crate) async fn connect(database: &str, site: &str) -> Result<Verifier, LoadError> {
        let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the connection to the database ended");
            }
        });
        let before = totals(&client, site).await?;
        Ok(Verifier { client, before })
    }

    /// Polls until the tables are right, at most for the settle time of the settings; gives the differences then.
    pub(crate) async fn verify(
        &self,
        settings: &Settings,
        run: &str,
        outcome: &Outcome,
        played: &[Played],
    ) -> Result<Vec<String>, LoadError> {
        let log: Vec<Logged> = outcome.accepted.iter().map(|logged| of_site(logged, &settings.site)).collect();
        let mut expected = model::run(&log, Parameters::default());
        let expected_totals: Totals =
            expected.ledger_totals().into_iter().map(|((_, disposition), count)| (disposition, count)).collect();
        expected.tables.remove("ledger_minutes");
        let deadline = Instant::now() + settings.settle;
        loop {
            let totals = self.added(&settings.site).await?;
            let is_complete = totals.values().sum::<i64>() >= log.len() as i64;
            let is_last = Instant::now() >= deadline;
            if is_complete || is_last {
                let filter = Filter::Run { site: &settings.site, prefix: &format!("{run}-") };
                let mut actual = tables::read(&self.client, filter).await?;
                actual.tables.remove("ledger_minutes");
                let mut found = ledger_differences(&expected_totals, &totals, outcome.uncertain as i64);
                found.extend(model::differences(&expected, &actual));
                if outcome.undelivered == 0 && outcome.rejected.is_empty() {
                    found.extend(played_differences(played, &actual, &settings.site));
                }
                if found.is_empty() || is_last {
                    return Ok(found);
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// What the ledger has more than before the run.
    async fn added(&self, site: &str) -> Result<Totals, LoadError> {
        let mut totals = totals(&self.client, site).await?;
        for (disposition, count) in &self.before {
            *totals.entry(disposition.clone()).or_default() -= count;
        }
        Ok(totals)
    }
}

async fn totals(client: &Client, site: &str) -> Result<Totals, LoadError> {
    let query = "select disposition, sum(heartbeats)::bigint from watchbeat.ledger_minutes where site = $1 group by 1";
    let rows = client.query(query, &[&site]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn of_site(logged: &Logged, site: &str) -> Logged {
    Logged { record: Record { site: site.to_owned(), ..logged.record.clone() }, logged_at: logged.logged_at }
}

/// Tries of unknown outcome may stand on the log: each of their reports is a duplicate more.
fn ledger_differences(expected: &Totals, actual: &Totals, uncertain: i64) -> Vec<String> {
    let mut found = Vec::new();
    let dispositions: std::collections::BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    for disposition in dispositions {
        let expected = expected.get(disposition).copied().unwrap_or(0);
        let actual = actual.get(disposition).copied().unwrap_or(0);
        let most = if disposition == "duplicate" { expected + uncertain } else { expected };
        if !(expected..=most).contains(&actual) {
            found.push(format!(
                "ledger_minutes: {disposition}: expected {expected} to {most} more than before the run, actual {actual}"
            ));
        }
    }
    found
}

/// Where the sessions in the tables are not what the viewers know they played.
pub(crate) fn played_differences(played: &[Played], tables: &Tables, site: &str) -> Vec<String> {
    let (sessions, segments) = (tables.rows("watch_sessions"), tables.rows("watch_segments"));
    let mut found = Vec::new();
    for session in played.iter().filter(|session| session.reports > 0) {
        let names = [site, &session.user_id, &session.session_id, &session.video_id];
        let key: Vec<Cell> = names.into_iter().map(Cell::from).collect();
        let seen = session.segments();
        let unique = seen.iter().map(|(from, to)| to - from).sum::<i64>();
        let known = [session.gross_ms(), unique, session.wall_ms, session.reports].map(Cell::Int);
        let row = sessions.and_then(|rows| rows.get(&key)).map(|row| &row[..known.len()]);
        let covered: Vec<(i64, i64)> = segments
            .into_iter()
            .flat_map(|rows| rows.range(key.clone()..))
            .map_while(|row| segment(&key, row))
            .collect();
        if row != Some(&known[..]) || covered != seen {
            let name = &session.session_id;
            found.push(format!(
                "viewer: session {name}: it played {known:?} in {seen:?}, the tables say {row:?} in {covered:?}"
            ));
        }
    }
    let more = found.len().saturating_sub(MAX_DIFFERENCES);
    found.truncate(MAX_DIFFERENCES);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

/// A row of `watch_segments`, as long as it is one of the session.
fn segment(session: &[Cell], (key, row): (&Vec<Cell>, &Vec<Cell>)) -> Option<(i64, i64)> {
    match (key.strip_prefix(session)?, row.as_slice()) {
        ([Cell::Int(from)], [Cell::Int(to)]) => Some((*from, *to)),
        _ => None,
    }
}
