//! How much goes into one transaction, on a real PostgreSQL that keeps an account of them: never much more than a flush has
//! rows, and less when that takes too long.
#![allow(clippy::unwrap_used)]

use super::*;
use bytes::Bytes;
use sql::partial::{Column, Kind, Ledger, Partial, Role, Table};
use sql::testing::TestDatabase;
use topic::{Outgoing, TopicSpec};

const EPOCHS: u64 = 40;
const ROWS: usize = 10;
const DEADLINE: Duration = Duration::from_secs(60);

/// Epoch `from` of partition 0, with rows of its own.
fn epoch(from: u64) -> Partial {
    let column = |name: &str, role: Role, kind: Kind| Column {
        name: name.into(),
        role: role as i32,
        kind: kind as i32,
        ..Column::default()
    };
    let minutes = (0..ROWS).map(|row| 60_000 * (from.cast_signed() * ROWS as i64 + row as i64)).collect();
    let columns = vec![
        Column { texts: vec!["default".into(); ROWS], ..column("site", Role::Key, Kind::Text) },
        Column { integers: minutes, ..column("minute", Role::Key, Kind::Timestamp) },
        Column { texts: vec!["credited".into(); ROWS], ..column("disposition", Role::Key, Kind::Text) },
        Column { integers: vec![1; ROWS], ..column("heartbeats", Role::Sum, Kind::Integer) },
    ];
    Partial {
        pipeline: "default".into(),
        partition: 0,
        from,
        to: from + 1,
        clock: 1,
        fingerprint: "f".into(),
        ledger: Some(Ledger { credited: from + 1, ..Ledger::default() }),
        tables: vec![Table { name: "ledger_minutes".into(), rows: ROWS as u32, columns }],
    }
}

/// Runs a sink over `epochs` until all are in the tables; how many epochs each transaction had.
async fn transactions(epochs: &[u64], flush_rows: usize, patience: Duration, trigger: &str) -> Vec<i64> {
    let database = TestDatabase::create().await;
    let mut client = sql::migrate::connect(database.url()).await.unwrap();
    sql::migrate::migrate(&mut client).await.unwrap();
    let account = "create table moved (epochs bigint not null, at bigserial);
        create function note() returns trigger language plpgsql as $$ begin
            insert into moved values (new.next_offset - old.next_offset); return new; end $$;
        create trigger note after update on watchbeat.progress for each row execute function note();";
    client.batch_execute(account).await.unwrap();
    client.batch_execute(trigger).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = Log::embedded(dir.path()).unwrap();
    let (name, max_message_bytes) = ("partials".to_owned(), 1 << 20);
    let spec = TopicSpec { name, partitions: 1, replication: 1, retention_ms: -1, max_message_bytes };
    log.create_topic(&spec).await.unwrap();
    let message =
        |from: &u64| Outgoing { partition: 0, key: Bytes::new(), value: sql::codec::encode(&epoch(*from)).into() };
    let messages: Vec<_> = epochs.iter().map(message).collect();
    log.producer(Duration::ZERO).unwrap().append("partials", &messages).await.unwrap();
    let (partials_topic, group, pipeline) = ("partials".into(), "sink".into(), "default".into());
    let settings = Settings { partials_topic, group, pipeline, flush_ms: 50, flush_rows };
    let (pool, runtime, stop) = (crate::pool(database.url(), 2).unwrap(), Handle::current(), Stop::new());
    let mut sink = Sink::open(log, pool, settings, runtime, &Readiness::new(), stop.clone(), patience).unwrap();
    let thread = std::thread::spawn(move || sink.run());
    let started = Instant::now();
    loop {
        let read = "select coalesce(max(next_offset), 0) from watchbeat.progress";
        let found: i64 = client.query_one(read, &[]).await.unwrap().get(0);
        if found == epochs.len() as i64 {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "the sink stands at {found}");
        assert!(!thread.is_finished(), "the sink ended: {:?}", thread.join());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.request();
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap().unwrap();
    let counted = client.query_one("select count(*), sum(heartbeats)::bigint from watchbeat.ledger_minutes", &[]).await;
    let counted = counted.unwrap();
    let rows = (epochs.len() * ROWS) as i64;
    assert_eq!((counted.get::<_, i64>(0), counted.get::<_, i64>(1)), (rows, rows));
    let moved = client.query("select epochs from moved order by at", &[]).await.unwrap();
    moved.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_has_no_more_rows_than_a_flush_and_one_epoch_even_in_a_backlog() {
    let epochs: Vec<_> = (0..EPOCHS).collect();
    let found = transactions(&epochs, 2 * ROWS, caps::TRANSACTION_TIMEOUT, "").await;
    assert!(found.iter().all(|epochs| *epochs <= 2), "{found:?}");
    // Nor when all wait for the first.
    let epochs: Vec<_> = (1..EPOCHS).chain([0]).collect();
    let found = transactions(&epochs, 2 * ROWS, caps::TRANSACTION_TIMEOUT, "").await;
    assert!(found.iter().all(|epochs| *epochs <= 2), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_takes_too_long_is_written_in_smaller_ones() {
    let epochs: Vec<_> = (0..EPOCHS).collect();
    let slow = "create function slow() returns trigger language plpgsql as $$ begin
            perform pg_sleep(0.005); return new; end $$;
        create trigger slow before insert on watchbeat.ledger_minutes for each row execute function slow();";
    // All 400 rows take two seconds, those of an epoch 50 ms.
    let found = transactions(&epochs, 1_000, Duration::from_millis(600), slow).await;
    assert!(found.len() > 3, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_takes_too_long_alone_gets_more_time() {
    let slow = "create function slow() returns trigger language plpgsql as $$ begin
            perform pg_sleep(0.02); return new; end $$;
        create trigger slow before insert on watchbeat.ledger_minutes for each row execute function slow();";
    assert_eq!(transactions(&[0], 1_000, Duration::from_millis(60), slow).await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_comes_after_more_than_there_is_room_for_is_found() {
    let epochs: Vec<_> = (1..caps::WAITING_EPOCHS as u64 + 100).chain([0]).collect();
    transactions(&epochs, 20_000, caps::TRANSACTION_TIMEOUT, "").await;
}
