//! The guard alone, without the chain in front of it: a batch is written exactly when `next_offset` is where it begins.

use super::*;
use service::Readiness;
use sql::partial::{Kind, Role};
use sql::spelt::{Column, Partial, Table};
use sql::testing::TestDatabase;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(60);

/// A batch of partition 0 that counts one heartbeat as credited.
fn batch(from: u64, to: u64) -> Batch {
    counting(from, to, 1, 1)
}

/// A batch of partition 0 that counts `each` heartbeats as credited in each of some minutes.
fn counting(from: u64, to: u64, minutes: u32, each: i64) -> Batch {
    beside(Vec::new(), from, to, minutes, each)
}

/// The same, and other tables.
fn beside(mut tables: Vec<Table>, from: u64, to: u64, minutes: u32, each: i64) -> Batch {
    let rows = minutes as usize;
    let columns = vec![
        Column::texts("site", Role::Key, vec!["default"; rows]),
        Column::integers("minute", Role::Key, Kind::Timestamp, (0..i64::from(minutes)).map(|m| m * 60_000).collect()),
        Column::texts("disposition", Role::Key, vec!["credited"; rows]),
        Column::integers("heartbeats", Role::Sum, Kind::Integer, vec![each; rows]),
    ];
    let mut batch = Gathered::default();
    tables.push(Table { name: "ledger_minutes".into(), rows: minutes, columns });
    batch.merged.add(&Partial { tables, ..Partial::default() }.pack()).unwrap();
    let ledger = Ledger { credited: to, ..Ledger::default() };
    batch.ranges.insert(0, Range { from, to, clock: 1, fingerprint: "f".into(), partials_offset: to, ledger });
    batch.into()
}

#[test]
fn tables_are_written_the_later_the_more_partitions_write_their_rows() {
    let mut batch = Gathered::default();
    let key = |name: &str| Column::texts(name, Role::Key, vec!["a"]);
    let table = |name: &str, keys: &[&str]| {
        let mut columns: Vec<_> = keys.iter().map(|name| key(name)).collect();
        columns.push(Column::integers("sum", Role::Sum, Kind::Integer, vec![1]));
        Table { name: name.into(), rows: 1, columns }
    };
    let tables = vec![
        table("ledger_minutes", &["site"]),
        table("device_hours", &["site", "device"]),
        table("watch_sessions", &["site", "user_id"]),
        table("video_minutes", &["site", "video_id"]),
        table("a_view_of_users", &["user_id"]),
    ];
    batch.merged.add(&Partial { tables, ..Partial::default() }.pack()).unwrap();
    let order: Vec<_> = Batch::from(batch).merged.tables.iter().map(|(table, _)| table.name.clone()).collect();
    assert_eq!(order, ["a_view_of_users", "watch_sessions", "device_hours", "video_minutes", "ledger_minutes"]);
}

/// Tables of their own, with a row of `progress` for partition 0.
struct Bed {
    client: tokio_postgres::Client,
    pool: Pool,
    readiness: Readiness,
    component: Component,
    stop: Stop,
    _database: TestDatabase,
}

impl Bed {
    async fn new() -> Bed {
        let database = TestDatabase::create().await;
        let mut client = sql::database::connect(database.url()).await.unwrap();
        sql::migrate::migrate(&mut client).await.unwrap();
        let pool = database.pool(4);
        progress::read(&pool, "main", &[0]).await.unwrap();
        let (readiness, stop) = (Readiness::new(), Stop::new());
        let component = readiness.component("database");
        Bed { client, pool, readiness, component, stop, _database: database }
    }

    async fn write(&self, batch: &Batch, patience: Duration) -> Result<Option<Outcome>, DatabaseError> {
        write(&self.pool, "main", batch, &self.component, &self.stop, patience).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_to_nothing_are_gone_however_many_statements_that_takes() {
    let bed = Bed::new().await;
    let minutes = u32::try_from(2 * limits::STATEMENTS_UNDER_WAY * limits::ROWS_PER_STATEMENT + 1).unwrap();
    for (batch, expected) in [(counting(0, 1, minutes, 2), 2 * i64::from(minutes)), (counting(1, 2, minutes, -2), 0)] {
        let outcome = bed.write(&batch, PATIENCE).await.unwrap();
        assert_eq!(outcome, Some(Outcome::Committed));
        let sum = "select coalesce(sum(heartbeats), 0)::bigint, count(*) filter (where heartbeats = 0) from watchbeat.ledger_minutes";
        let found = bed.client.query_one(sum, &[]).await.unwrap();
        assert_eq!((found.get::<_, i64>(0), found.get::<_, i64>(1)), (expected, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_written_only_where_the_tables_end_neither_behind_nor_ahead_of_it_and_once() {
    let bed = Bed::new().await;
    let steps = [
        (0, 3, Outcome::Committed),
        (5, 9, Outcome::Outrun), // the epoch between is missing
        (0, 3, Outcome::Outrun), // a repeat
        (2, 5, Outcome::Outrun), // it overlaps
        (3, 5, Outcome::Committed),
    ];
    for (from, to, expected) in steps {
        let outcome = bed.write(&batch(from, to), PATIENCE).await.unwrap();
        assert_eq!(outcome, Some(expected), "{from}..{to}");
    }
    let (one, other) = (batch(5, 6), batch(5, 6));
    let both = tokio::join!(bed.write(&one, PATIENCE), bed.write(&other, PATIENCE));
    let committed = [both.0.unwrap(), both.1.unwrap()].iter().filter(|one| **one == Some(Outcome::Committed)).count();
    assert_eq!(committed, 1, "two sinks write the same range at the same time");
    let counted =
        bed.client.query_one("select sum(heartbeats)::bigint from watchbeat.ledger_minutes", &[]).await.unwrap();
    assert_eq!(counted.get::<_, i64>(0), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pipelines_that_begin_at_once_one_has_the_tables_and_the_other_writes_nothing() {
    for _ in 0..10 {
        let bed = Bed::new().await;
        progress::read(&bed.pool, "other", &[0]).await.unwrap();
        let (one, other) = (batch(0, 1), batch(0, 1));
        let Bed { pool, component, stop, .. } = &bed;
        let written = tokio::join!(
            write(pool, "main", &one, component, stop, PATIENCE),
            write(pool, "other", &other, component, stop, PATIENCE)
        );
        let is_taken = |error: &DatabaseError| matches!(error, DatabaseError::Taken { .. });
        match written {
            (Ok(Some(Outcome::Committed)), Err(error)) | (Err(error), Ok(Some(Outcome::Committed)))
                if is_taken(&error) => {}
            both => panic!("{both:?}"),
        }
        let counted =
            "select sum(heartbeats)::bigint, (select count(*) from watchbeat.owner) from watchbeat.ledger_minutes";
        let found = bed.client.query_one(counted, &[]).await.unwrap();
        assert_eq!((found.get::<_, i64>(0), found.get::<_, i64>(1)), (1, 1));
    }
}

/// Two sinks, each of which has got the first epochs of a processor with other views.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_fingerprints_that_begin_at_once_one_has_the_tables_and_the_other_writes_nothing() {
    let of = |partition: u32, fingerprint: &str| {
        let Batch { ranges, merged, epochs } = batch(0, 1);
        let range = Range { fingerprint: fingerprint.to_owned(), ..ranges[&0].clone() };
        Batch { ranges: [(partition, range)].into(), merged, epochs }
    };
    for round in 0..10 {
        let bed = Bed::new().await;
        progress::read(&bed.pool, "main", &[1]).await.unwrap();
        if round % 2 == 1 {
            let unsigned = "insert into watchbeat.owner (pipeline) values ('main')"; // so neither waits for the other's row
            bed.client.batch_execute(unsigned).await.unwrap();
        }
        let (one, other) = (of(0, "f1"), of(1, "f2"));
        match tokio::join!(bed.write(&one, PATIENCE), bed.write(&other, PATIENCE)) {
            (Ok(Some(Outcome::Committed)), Err(DatabaseError::Mixed { .. }))
            | (Err(DatabaseError::Mixed { .. }), Ok(Some(Outcome::Committed))) => {}
            both => panic!("{both:?}"),
        }
        let mixed = Batch { ranges: one.ranges.into_iter().chain(other.ranges).collect(), ..batch(0, 1) };
        let refused = bed.write(&mixed, PATIENCE).await;
        assert!(matches!(refused, Err(DatabaseError::Mixed { .. })), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_is_an_error_and_leaves_nothing() {
    let bed = Bed::new().await;
    bed.write(&counting(0, 1, 1, i64::MAX), PATIENCE).await.unwrap();
    // It does not fit a bigint. PostgreSQL answers a COMMIT after a failed statement as if all were well.
    bed.write(&counting(1, 2, 1, 1), PATIENCE).await.unwrap_err();
    let found = bed.client.query_one("select next_offset from watchbeat.progress", &[]).await.unwrap();
    assert_eq!(found.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_passes_is_repeated_though_the_next_table_fails_behind_it() {
    let bed = Bed::new().await;
    let conflict_once = "create sequence tries;
        create function conflict() returns trigger language plpgsql as $$ begin
            if nextval('tries') = 1 then raise 'as YugabyteDB does' using errcode = '40001'; end if; return new; end $$;
        create trigger conflict before insert on watchbeat.video_minutes for each row execute function conflict();";
    bed.client.batch_execute(conflict_once).await.unwrap();
    let number = |name: &str, role| Column::integers(name, role, Kind::Integer, vec![1]);
    let columns = vec![
        Column::texts("site", Role::Key, vec!["default"]),
        Column::texts("video_id", Role::Key, vec!["v"]),
        Column::integers("minute", Role::Key, Kind::Timestamp, vec![60_000]),
        number("watch_ms", Role::Sum),
        number("viewers", Role::Sum),
    ];
    let first = Table { name: "video_minutes".into(), rows: 1, columns };
    let outcome = bed.write(&beside(vec![first], 0, 1, 1, 1), PATIENCE).await.unwrap();
    assert_eq!(outcome, Some(Outcome::Committed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_too_long_is_given_up_and_holds_no_locks() {
    let bed = Bed::new().await;
    let locking = &bed.client;
    locking.batch_execute("begin").await.unwrap();
    locking.batch_execute("lock table watchbeat.ledger_minutes in exclusive mode").await.unwrap();
    let patience = Duration::from_millis(200);
    let outcome = bed.write(&batch(0, 3), patience).await.unwrap();
    assert_eq!(outcome, Some(Outcome::TimedOut));
    assert!(!bed.readiness.is_ready(), "nothing has been answered yet");
    // It no longer waits, though the lock that it waited for is still held; and the row that the guard had moved is free.
    let waiting = "select count(*) from pg_locks where not granted
        and database = (select oid from pg_database where datname = current_database())";
    let started = Instant::now();
    while locking.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "it still waits for a lock");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    locking.batch_execute("update watchbeat.progress set clock = 1").await.unwrap();
    locking.batch_execute("rollback").await.unwrap();
    let outcome = bed.write(&batch(0, 3), PATIENCE).await.unwrap();
    assert_eq!(outcome, Some(Outcome::Committed));
    assert!(bed.readiness.is_ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_is_left_for_one_that_does() {
    let bed = Bed::new().await;
    // A connection keeps the setting it began with, like a connection to a server that is no longer the primary.
    let are_read_only = async |answer: &str| {
        let turn = "do $$ begin
            execute format('alter database %I set default_transaction_read_only = ', current_database()) || 'ANSWER'; end $$";
        bed.client.batch_execute(&turn.replace("ANSWER", answer)).await.unwrap();
    };
    bed.pool.forget_idle();
    are_read_only("on").await;
    drop(bed.pool.get().await.unwrap());
    are_read_only("off").await;
    let batch = batch(0, 3);
    let outcome = tokio::time::timeout(PATIENCE, bed.write(&batch, PATIENCE)).await;
    assert_eq!(outcome.unwrap().unwrap(), Some(Outcome::Committed));
}
