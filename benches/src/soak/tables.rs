//! What the tables say in the end, held against what was acknowledged.

use super::viewer::{REPORT_MS, Told};
use crate::role;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(3);
/// The tables have settled when they have everything and have not moved for this long: a copy too many would come late.
const STILL: Duration = Duration::from_secs(20);
/// When something is missing and nothing has moved for this long, it will not come any more.
const GIVEN_UP: Duration = Duration::from_secs(120);
/// Sessions that are named when they differ.
const EXAMPLES: usize = 5;

/// Records that the tables stand for, without the ticks; and reports that sessions count.
const MOVED: &str = "select (select coalesce(sum(next_offset - ticks), 0)::bigint from watchbeat.progress), (select coalesce(sum(heartbeats), 0)::bigint from watchbeat.watch_sessions where session_id like 'soak-%')";
const SESSIONS: &str =
    "select session_id, heartbeats, gross_ms, unique_ms from watchbeat.watch_sessions where session_id like 'soak-%'";
const COPIES: &str =
    "select coalesce(sum(heartbeats), 0)::bigint from watchbeat.ledger_minutes where disposition = 'duplicate'";

/// How the tables differ from what was acknowledged.
pub(super) struct Found {
    pub(super) missing: u64,
    pub(super) doubled: u64,
    /// Copies that reached the log and were seen to be such.
    pub(super) copies: i64,
    pub(super) settled_after: Duration,
    pub(super) examples: Vec<String>,
}

pub(super) async fn connect() -> Result<Client> {
    Ok(sql::database::connect(&role::database_url()?).await?)
}

/// Waits until the tables have what was acknowledged, or will not have it any more, and compares.
pub(super) async fn settled(client: &Client, told: &Told) -> Result<Found> {
    let began = Instant::now();
    let (mut before, mut moved_at) = ((-1, -1), began);
    loop {
        let row = client.query_one(MOVED, &[]).await?;
        let now: (i64, i64) = (row.get(0), row.get(1));
        if now != before {
            (before, moved_at) = (now, Instant::now());
        }
        let patience = if now.1 >= told.acknowledged() as i64 { STILL } else { GIVEN_UP };
        if moved_at.elapsed() >= patience {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let settled_after = moved_at - began;
    let mut rows = BTreeMap::new();
    for row in client.query(SESSIONS, &[]).await? {
        let counts: [i64; 3] = [row.get(1), row.get(2), row.get(3)];
        if rows.insert(row.get::<_, String>(0), counts).is_some() {
            bail!("a session has two rows");
        }
    }
    let copies = client.query_one(COPIES, &[]).await?.get(0);
    Ok(compare(told, rows, copies, settled_after))
}

fn compare(told: &Told, mut rows: BTreeMap<String, [i64; 3]>, copies: i64, settled_after: Duration) -> Found {
    let mut found = Found { missing: 0, doubled: 0, copies, settled_after, examples: Vec::new() };
    for (session, &acknowledged) in &told.sessions {
        let [heartbeats, gross_ms, unique_ms] = rows.remove(session).unwrap_or_default();
        let expected = acknowledged as i64;
        // Every sum must be right: a report could be lost in one and doubled in another.
        let by = [heartbeats, gross_ms / REPORT_MS as i64, unique_ms / REPORT_MS as i64].map(|sum| sum - expected);
        found.missing += by.iter().map(|by| (-by).max(0)).max().unwrap_or(0) as u64;
        found.doubled += by.iter().map(|by| (*by).max(0)).max().unwrap_or(0) as u64;
        if by != [0; 3] && found.examples.len() < EXAMPLES {
            let tables = format!("{heartbeats} reports, {gross_ms} ms gross, {unique_ms} ms unique");
            found.examples.push(format!("{session}: {acknowledged} acknowledged, the tables say {tables}"));
        }
    }
    // Sessions that nobody played.
    found.doubled += rows.values().map(|[heartbeats, ..]| *heartbeats as u64).sum::<u64>();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(tables: &[(&str, [i64; 3])]) -> (u64, u64) {
        let sessions = BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 2)]);
        let told = Told { sessions, ..Told::default() };
        let rows = tables.iter().map(|(session, row)| ((*session).to_owned(), *row)).collect();
        let Found { missing, doubled, .. } = compare(&told, rows, 0, Duration::ZERO);
        (missing, doubled)
    }

    #[test]
    fn what_is_lost_or_counted_twice_is_found() {
        let (a, b) = (("a", [3, 15_000, 15_000]), ("b", [2, 10_000, 10_000]));
        assert_eq!(found(&[a, b]), (0, 0));
        assert_eq!(found(&[a]), (2, 0), "a whole session is missing");
        assert_eq!(found(&[a, ("b", [1, 5_000, 5_000])]), (1, 0));
        assert_eq!(found(&[a, ("b", [2, 15_000, 10_000])]), (0, 1), "credited twice, counted once");
        assert_eq!(found(&[a, ("b", [3, 10_000, 10_000])]), (0, 1), "counted twice, credited once");
        assert_eq!(found(&[a, b, ("c", [1, 5_000, 5_000])]), (0, 1), "nobody played it");
    }
}
