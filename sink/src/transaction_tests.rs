//! The guard alone, without the chain in front of it: a batch is written exactly when `next_offset` is where it begins.
#![allow(clippy::unwrap_used)]

use super::*;
use service::Readiness;
use sql::partial::{Column, Kind, Role, Table};
use sql::testing::TestDatabase;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

/// A batch of partition 0 that counts one heartbeat as credited.
fn batch(from: u64, to: u64) -> Batch {
    let column = |name: &str, role: Role, kind: Kind| Column {
        name: name.into(),
        role: role as i32,
        kind: kind as i32,
        ..Column::default()
    };
    let columns = vec![
        Column { texts: vec!["default".into()], ..column("site", Role::Key, Kind::Text) },
        Column { integers: vec![1_764_000_000_000], ..column("minute", Role::Key, Kind::Timestamp) },
        Column { texts: vec!["credited".into()], ..column("disposition", Role::Key, Kind::Text) },
        Column { integers: vec![1], ..column("heartbeats", Role::Sum, Kind::Integer) },
    ];
    let mut batch = Batch::default();
    batch.merged.add(vec![Table { name: "ledger_minutes".into(), rows: 1, columns }]).unwrap();
    let ledger = Ledger { credited: to, ..Ledger::default() };
    batch.ranges.insert(0, Range { from, to, clock: 1, fingerprint: "f".into(), partials_offset: to, ledger });
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_written_only_where_the_tables_end_neither_behind_nor_ahead_of_it_and_once() {
    let database = TestDatabase::create().await;
    let mut client = sql::migrate::connect(database.url()).await.unwrap();
    sql::migrate::migrate(&mut client).await.unwrap();
    let pool = crate::pool(database.url(), 4).unwrap();
    let (component, stop) = (Readiness::new().component("database"), Stop::new());
    progress::read(&pool, "main", &[0]).await.unwrap(); // makes the partition's row
    let steps = [
        (0, 3, Outcome::Committed),
        (5, 9, Outcome::Outrun), // the epoch between is missing
        (0, 3, Outcome::Outrun), // a repeat
        (2, 5, Outcome::Outrun), // it overlaps
        (3, 5, Outcome::Committed),
    ];
    for (from, to, expected) in steps {
        let outcome = write(&pool, "main", &batch(from, to), &component, &stop, PATIENCE).await.unwrap();
        assert_eq!(outcome, Some(expected), "{from}..{to}");
    }
    let (one, other) = (batch(5, 6), batch(5, 6));
    let both = tokio::join!(
        write(&pool, "main", &one, &component, &stop, PATIENCE),
        write(&pool, "main", &other, &component, &stop, PATIENCE)
    );
    let committed = [both.0.unwrap(), both.1.unwrap()].iter().filter(|one| **one == Some(Outcome::Committed)).count();
    assert_eq!(committed, 1, "two sinks write the same range at the same time");
    let counted = client.query_one("select sum(heartbeats)::bigint from watchbeat.ledger_minutes", &[]).await.unwrap();
    assert_eq!(counted.get::<_, i64>(0), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_too_long_is_given_up_and_holds_no_locks() {
    let database = TestDatabase::create().await;
    let mut client = sql::migrate::connect(database.url()).await.unwrap();
    sql::migrate::migrate(&mut client).await.unwrap();
    let pool = crate::pool(database.url(), 1).unwrap();
    let (component, stop) = (Readiness::new().component("database"), Stop::new());
    progress::read(&pool, "main", &[0]).await.unwrap(); // makes the partition's row
    let locking = client.transaction().await.unwrap();
    locking.batch_execute("lock table watchbeat.ledger_minutes in exclusive mode").await.unwrap();
    let patience = Duration::from_millis(200);
    let outcome = write(&pool, "main", &batch(0, 3), &component, &stop, patience).await.unwrap();
    assert_eq!(outcome, Some(Outcome::TimedOut));
    // It does not wait any more, though what it waited for is still held; and the row that the guard had moved is free.
    let waiting = "select count(*) from pg_locks where not granted
        and database = (select oid from pg_database where datname = current_database())";
    let started = Instant::now();
    while locking.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "it still waits for a lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    locking.batch_execute("update watchbeat.progress set clock = 1").await.unwrap();
    locking.rollback().await.unwrap();
    let outcome = write(&pool, "main", &batch(0, 3), &component, &stop, PATIENCE).await.unwrap();
    assert_eq!(outcome, Some(Outcome::Committed));
}
