//! The guard alone, without the chain in front of it: a batch is written exactly when `next_offset` is where it begins.
#![allow(clippy::unwrap_used)]

use super::*;
use service::Readiness;
use sql::partial::{Column, Kind, Role, Table};
use sql::testing::TestDatabase;

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
        let outcome = write(&pool, "main", &batch(from, to), &component, &stop).await.unwrap();
        assert_eq!(outcome, Some(expected), "{from}..{to}");
    }
    let (one, other) = (batch(5, 6), batch(5, 6));
    let both =
        tokio::join!(write(&pool, "main", &one, &component, &stop), write(&pool, "main", &other, &component, &stop));
    let committed = [both.0.unwrap(), both.1.unwrap()].iter().filter(|one| **one == Some(Outcome::Committed)).count();
    assert_eq!(committed, 1, "two sinks write the same range at the same time");
    let counted = client.query_one("select sum(heartbeats)::bigint from watchbeat.ledger_minutes", &[]).await.unwrap();
    assert_eq!(counted.get::<_, i64>(0), 3);
}
