//! How much goes into one transaction, on a real PostgreSQL that records the transactions: never many more rows than a flush
//! has, and fewer when that takes too long.

use super::*;

use crate::meters::tests::{recorder, scraped};
use bytes::Bytes;
use sql::partial::{Kind, Ledger, Role};
use sql::spelt::{Column, Partial, Table};
use sql::testing::TestDatabase;
use topic::{Outgoing, Record, TopicSpec};

const EPOCHS: u64 = 40;
const ROWS: usize = 10;
const DEADLINE: Duration = Duration::from_secs(60);

/// Epoch `from` of partition 0, with rows of its own.
pub(crate) fn epoch(from: u64) -> Partial {
    let minutes = (0..ROWS).map(|row| 60_000 * (from.cast_signed() * ROWS as i64 + row as i64)).collect();
    let columns = vec![
        Column::texts("site", Role::Key, vec!["default"; ROWS]),
        Column::integers("minute", Role::Key, Kind::Timestamp, minutes),
        Column::texts("disposition", Role::Key, vec!["credited"; ROWS]),
        Column::integers("heartbeats", Role::Sum, Kind::Integer, vec![1; ROWS]),
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

/// A database, a log that holds `epochs`, and an account of the transactions.
struct Bed {
    database: TestDatabase,
    client: tokio_postgres::Client,
    log: Log,
    _dir: tempfile::TempDir,
    epochs: usize,
}

impl Bed {
    async fn new(epochs: &[u64]) -> Bed {
        let database = TestDatabase::create().await;
        let mut client = sql::database::connect(database.url()).await.unwrap();
        sql::migrate::migrate(&mut client).await.unwrap();
        let account = "create table moved (epochs bigint not null, at bigserial);
            create function note() returns trigger language plpgsql as $$ begin
                insert into moved values (new.next_offset - old.next_offset); return new; end $$;
            create trigger note after update on watchbeat.progress for each row execute function note();";
        client.batch_execute(account).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log = Log::embedded(dir.path()).unwrap();
        let (name, max_message_bytes) = ("partials".to_owned(), 1 << 20);
        let spec = TopicSpec { name, partitions: 1, replication: 1, retention_ms: -1, max_message_bytes };
        log.create_topic(&spec).await.unwrap();
        let message = |from: &u64| Outgoing { partition: 0, key: Bytes::new(), value: epoch(*from).encode().into() };
        let messages: Vec<_> = epochs.iter().map(message).collect();
        log.producer(Duration::ZERO).unwrap().append("partials", &messages).await.unwrap();
        Bed { database, client, log, _dir: dir, epochs: epochs.len() }
    }

    /// Starts a sink.
    fn start(&self, flush_rows: usize, patience: Duration) -> Running {
        let (mut sink, _, stop) = self.open(flush_rows, patience);
        Running { stop, thread: std::thread::spawn(move || sink.run()) }
    }

    /// A sink that has not begun, and what it says of itself.
    fn open(&self, flush_rows: usize, patience: Duration) -> (Sink, Readiness, Stop) {
        let (partials_topic, group, pipeline) = ("partials".into(), "sink".into(), "default".into());
        let settings = Settings { partials_topic, group, pipeline, flush_ms: 50, flush_rows };
        let (pool, runtime, stop) = (self.database.pool(2), Handle::current(), Stop::new());
        let (log, readiness) = (self.log.clone(), Readiness::new());
        let sink = Sink::open(log, pool, settings, runtime, &readiness, stop.clone(), patience).unwrap();
        (sink, readiness, stop)
    }

    /// Waits until all epochs are in the tables, each once, and ends the sink.
    async fn finish(&self, Running { stop, thread }: Running) {
        let started = Instant::now();
        let read = "select coalesce(max(next_offset), 0) from watchbeat.progress";
        while self.number(read).await < self.epochs as i64 {
            assert!(started.elapsed() < DEADLINE, "the sink does not come to the end");
            assert!(!thread.is_finished(), "the sink ended: {:?}", thread.join());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.request();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap().unwrap();
        let rows = (self.epochs * ROWS) as i64;
        assert_eq!(self.number("select count(*) from watchbeat.ledger_minutes").await, rows);
        assert_eq!(self.number("select sum(heartbeats)::bigint from watchbeat.ledger_minutes").await, rows);
    }

    async fn number(&self, query: &str) -> i64 {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }
}

struct Running {
    stop: Stop,
    thread: std::thread::JoinHandle<Result<(), SinkError>>,
}

/// Runs a sink over `epochs` until all are in the tables; how many epochs each transaction had.
async fn transactions(epochs: &[u64], flush_rows: usize, patience: Duration, trigger: &str) -> Vec<i64> {
    let bed = Bed::new(epochs).await;
    bed.client.batch_execute(trigger).await.unwrap();
    let running = bed.start(flush_rows, patience);
    bed.finish(running).await;
    let moved = bed.client.query("select epochs from moved order by at", &[]).await.unwrap();
    moved.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_has_no_more_rows_than_a_flush_and_one_epoch_even_in_a_backlog() {
    let epochs: Vec<_> = (0..EPOCHS).collect();
    let found = transactions(&epochs, 2 * ROWS, limits::TRANSACTION_TIMEOUT, "").await;
    assert!(found.iter().all(|epochs| *epochs <= 2), "{found:?}");
    // Nor when all wait for the first.
    let epochs: Vec<_> = (1..EPOCHS).chain([0]).collect();
    let found = transactions(&epochs, 2 * ROWS, limits::TRANSACTION_TIMEOUT, "").await;
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
    let epochs: Vec<_> = (1..limits::WAITING_EPOCHS as u64 + 100).chain([0]).collect();
    transactions(&epochs, 20_000, limits::TRANSACTION_TIMEOUT, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_gathered_behind_a_batch_that_another_sink_wrote_first_is_dropped_and_read_again() {
    const WRITTEN: u64 = 3;
    let epochs: Vec<_> = (0..EPOCHS).collect();
    let bed = Bed::new(&epochs).await;
    crate::progress::read(&bed.database.pool(1), "default", &[0]).await.unwrap();
    // The other sink: has written the first epochs and not yet committed.
    let mut other = sql::database::connect(bed.database.url()).await.unwrap();
    let transaction = other.transaction().await.unwrap();
    let advance = "update watchbeat.progress set next_offset = $1, partials_offset = $1, fingerprint = 'f'";
    transaction.execute(advance, &[&WRITTEN.cast_signed()]).await.unwrap();
    let insert = "insert into watchbeat.ledger_minutes (site, minute, disposition, heartbeats)
        select 'default', to_timestamp(60 * m), 'credited', 1 from generate_series(0, $1::bigint - 1) as m";
    transaction.execute(insert, &[&(WRITTEN.cast_signed() * ROWS as i64)]).await.unwrap();
    // The sink's first batch, of two epochs, waits for that; the next is gathered behind it.
    let running = bed.start(2 * ROWS, limits::TRANSACTION_TIMEOUT);
    let waiting = "select count(*) from pg_locks where not granted
        and (database is null or database = (select oid from pg_database where datname = current_database()))";
    let started = Instant::now();
    while bed.number(waiting).await == 0 {
        assert!(started.elapsed() < DEADLINE, "the sink does not wait for the other");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    transaction.commit().await.unwrap();
    bed.finish(running).await;
    let first = bed.client.query("select epochs from moved order by at", &[]).await.unwrap();
    assert_eq!(first[0].get::<_, i64>(0), WRITTEN.cast_signed());
}

/// Otherwise retention would one day take the repeats, and with them the place where the sink resumes reading.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_that_nothing_new_comes_behind_are_not_read_again_after_a_restart() {
    let bed = Bed::new(&[0, 1, 0, 1]).await;
    let (mut sink, ..) = bed.open(1_000, DEADLINE);
    let reading = move || {
        sink.reach_database().unwrap();
        read_to(&mut sink, 2);
        sink.merge_ready().unwrap();
        sink.write().unwrap();
        sink.move_bookmarks();
        sink.settle().unwrap();
        read_to(&mut sink, 4);
        sink
    };
    let mut sink = tokio::task::spawn_blocking(reading).await.unwrap();
    let place = "select partials_offset from watchbeat.progress";
    assert_eq!(bed.number(place).await, 2, "what was being written was left alone");
    tokio::task::spawn_blocking(move || sink.move_bookmarks()).await.unwrap();
    assert_eq!(bed.number(place).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_without_partitions_has_a_database_that_is_ready() {
    let bed = Bed::new(&[]).await;
    let (mut sink, readiness, _) = bed.open(1, DEADLINE);
    assert_eq!(readiness.reasons()[0], ("sink_database", Some("starting".to_owned())));
    tokio::task::spawn_blocking(move || sink.reach_database()).await.unwrap().unwrap();
    assert_eq!(readiness.reasons()[0], ("sink_database", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_of_another_pipeline_are_left_alone() {
    let bed = Bed::new(&[]).await;
    let reach = async || {
        let (mut sink, ..) = bed.open(1, DEADLINE);
        let reached = tokio::task::spawn_blocking(move || sink.reach_database()).await.unwrap();
        reached.map_err(|error| error.to_string())
    };
    assert_eq!(reach().await, Ok(()), "nobody has written anything");
    let taken = "insert into watchbeat.owner (pipeline) values ('other')";
    let without_owner = "delete from watchbeat.owner;
        insert into watchbeat.progress (pipeline, partition, next_offset) values ('other', 0, 1)";
    for state in [taken, without_owner] {
        bed.client.batch_execute(state).await.unwrap();
        let said = reach().await.unwrap_err();
        assert!(said.starts_with("the database has the tables of pipeline \"other\", and \"default\" would"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_epoch_is_told_to_wait_on_a_partition_that_is_gone_or_begun_anew() {
    let bed = Bed::new(&[]).await;
    let (mut sink, ..) = bed.open(1, DEADLINE);
    let recorder = recorder();
    let told = move || {
        metrics::with_local_recorder(&recorder, || {
            sink.consumer.poll(Duration::ZERO, 1, &mut |_| {}).unwrap(); // gives it the partition
            let value = epoch(1).encode();
            let early = Record { partition: 0, offset: 0, timestamp_ms: 0, key: &[], value: &value };
            let endings: [fn(&mut Sink); 2] = [|sink| sink.rebuild().unwrap(), |sink| sink.intake.revoke(0)];
            endings.map(|end| {
                let read = || scraped(&recorder, "watchbeat_sink_waiting_epochs{partition=\"0\"}");
                sink.intake.take(&early).unwrap();
                let before = read();
                end(&mut sink);
                (before, read())
            })
        })
    };
    assert_eq!(tokio::task::spawn_blocking(told).await.unwrap(), [(Some(1.0), Some(0.0)); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_tells_how_far_the_tables_are_as_soon_as_a_sink_has_it() {
    let bed = Bed::new(&[]).await;
    progress::read(&bed.database.pool(1), "default", &[0]).await.unwrap();
    let told = async || {
        let ((mut sink, ..), recorder) = (bed.open(1, DEADLINE), recorder());
        let polling = move || {
            metrics::with_local_recorder(&recorder, || sink.consumer.poll(Duration::ZERO, 1, &mut |_| {}).unwrap());
            metrics::with_local_recorder(&recorder, || sink.intake.follow_assignment());
            scraped(&recorder, "watchbeat_sink_clock_ms{partition=\"0\"}")
        };
        tokio::task::spawn_blocking(polling).await.unwrap()
    };
    assert_eq!(told().await, None, "it has no record yet, so nothing is behind");
    bed.client.batch_execute("update watchbeat.progress set next_offset = 5, clock = 7000").await.unwrap();
    assert_eq!(told().await, Some(7_000.0));
}

/// Takes in what is on partition 0 before this offset.
fn read_to(sink: &mut Sink, offset: u64) {
    while sink.intake.chains.get(&0).is_none_or(|chain| chain.resume_at() < offset) {
        let intake = &mut sink.intake;
        let mut take = |records: &[Record<'_>]| records.iter().for_each(|record| intake.take(record).unwrap());
        sink.consumer.poll(Duration::ZERO, 2, &mut take).unwrap();
        sink.intake.follow_assignment();
    }
}
