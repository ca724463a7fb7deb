//! Sinks on a real PostgreSQL with the embedded log, under repeats, lost publishes, rivals, restarts and killed
//! connections: the tables end as the plain sums. The seed is printed; `WATCHBEAT_TEST_SEED` repeats a run.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use service::{Readiness, Stop, TaskError};
use sink::Settings;
use sql::partial::{Kind, Ledger, Role};
use sql::spelt::{Column, Partial, Table};
use sql::testing::TestDatabase;
use tokio_postgres::Client;
use topic::{Log, Outgoing, Producer, TopicSpec};

const PARTITIONS: u32 = 3;
const EPOCHS: usize = 60;
const HOUR_MS: i64 = 1_764_000_000_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// What the tables must hold: gross and starts per title and hour, ends of segments, counts per disposition.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    hours: BTreeMap<(String, i64), (i64, i64)>,
    segments: BTreeMap<(String, i64), i64>,
    ledger: BTreeMap<String, i64>,
}

fn same(text: &str, rows: usize) -> Vec<String> {
    vec![text.to_owned(); rows]
}

/// Signed changes of titles that all partitions share.
fn hours(rng: &mut StdRng, running: &mut BTreeMap<(String, i64), (i64, i64)>, expected: &mut Expected) -> Table {
    let mut rows = BTreeMap::new();
    for _ in 0..rng.random_range(0..6) {
        let key = (format!("v{}", rng.random_range(0..4)), HOUR_MS + 3_600_000 * rng.random_range(0..2));
        let total = running.entry(key.clone()).or_default();
        let takes_all_back = rng.random_bool(0.4);
        let change =
            if takes_all_back { (-total.0, -total.1) } else { (rng.random_range(0..50), rng.random_range(0..3)) };
        if rows.contains_key(&key) {
            continue;
        }
        *total = (total.0 + change.0, total.1 + change.1);
        let sum = expected.hours.entry(key.clone()).or_default();
        *sum = (sum.0 + change.0, sum.1 + change.1);
        rows.insert(key, change);
    }
    let zeros = |name: &str| Column::integers(name, Role::Sum, Kind::Integer, vec![0; rows.len()]);
    let columns = vec![
        Column::texts("site", Role::Key, same("default", rows.len())),
        Column::texts("video_id", Role::Key, rows.keys().map(|key| key.0.clone()).collect()),
        Column::texts("territory", Role::Key, same("ZZ", rows.len())),
        Column::integers("hour", Role::Key, Kind::Timestamp, rows.keys().map(|key| key.1).collect()),
        Column::integers("gross_ms", Role::Sum, Kind::Integer, rows.values().map(|change| change.0).collect()),
        Column::integers("starts", Role::Sum, Kind::Integer, rows.values().map(|change| change.1).collect()),
        zeros("qualified_ms"),
        zeros("wall_ms"),
        zeros("views"),
        zeros("completes"),
    ];
    Table { name: "title_hours".into(), rows: u32::try_from(rows.len()).unwrap(), columns }
}

/// Segments of one user of the partition, put and taken away.
fn segments(rng: &mut StdRng, partition: u32, expected: &mut Expected) -> Table {
    let mut rows = BTreeMap::new();
    for _ in 0..rng.random_range(0..5) {
        let from_ms = i64::from(rng.random_range(0..8_u8));
        rows.insert(from_ms, (rng.random_range(10..99_i64), rng.random_bool(0.6)));
    }
    let user = format!("u{partition}");
    for (&from_ms, &(to_ms, is_kept)) in &rows {
        let key = (user.clone(), from_ms);
        if is_kept {
            expected.segments.insert(key, to_ms);
        } else {
            expected.segments.remove(&key);
        }
    }
    let columns = vec![
        Column::texts("site", Role::Key, same("default", rows.len())),
        Column::texts("user_id", Role::Key, same(&user, rows.len())),
        Column::texts("session_id", Role::Key, same("s", rows.len())),
        Column::texts("video_id", Role::Key, same("v", rows.len())),
        Column::integers("from_ms", Role::Key, Kind::Integer, rows.keys().copied().collect()),
        Column::integers("to_ms", Role::Replace, Kind::Integer, rows.values().map(|row| row.0).collect()),
        Column::booleans("op", Role::Op, rows.values().map(|row| row.1).collect()),
    ];
    Table { name: "watch_segments".into(), rows: u32::try_from(rows.len()).unwrap(), columns }
}

fn ledger(counted: i64) -> Table {
    let columns = vec![
        Column::texts("site", Role::Key, same("default", 1)),
        Column::integers("minute", Role::Key, Kind::Timestamp, vec![HOUR_MS]),
        Column::texts("disposition", Role::Key, same("credited", 1)),
        Column::integers("heartbeats", Role::Sum, Kind::Integer, vec![counted]),
    ];
    Table { name: "ledger_minutes".into(), rows: 1, columns }
}

/// The epochs of a partition, and what they add.
fn epochs(rng: &mut StdRng, partition: u32, expected: &mut Expected) -> Vec<Partial> {
    let (mut from, mut running) = (0_u64, BTreeMap::new());
    let epoch = |_| {
        let to = from + rng.random_range(1..20_u64);
        let counted = i64::try_from(to - from).unwrap();
        *expected.ledger.entry("credited".into()).or_default() += counted;
        let partial = Partial {
            pipeline: "default".into(),
            partition,
            from,
            to,
            clock: HOUR_MS + i64::try_from(to).unwrap(),
            fingerprint: "f1".into(),
            ledger: Some(Ledger { credited: to, ..Ledger::default() }),
            tables: vec![hours(rng, &mut running, expected), segments(rng, partition, expected), ledger(counted)],
        };
        from = to;
        partial
    };
    (0..EPOCHS).map(epoch).collect()
}

/// The order in which a processor that is killed and restored, and sometimes loses a publish, puts its epochs on the topic.
fn publications(rng: &mut StdRng, epochs: usize) -> Vec<usize> {
    let (mut order, mut next) = (Vec::new(), 0);
    while next < epochs {
        if rng.random_bool(0.1) {
            order.extend((next + 1..epochs).take(2));
        } else if rng.random_bool(0.15) {
            next = next.saturating_sub(rng.random_range(1..6));
        }
        order.push(next);
        next += 1;
    }
    order
}

struct World {
    database: TestDatabase,
    client: Client,
    log: Log,
    producer: Producer,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> World {
        let database = TestDatabase::create().await;
        let mut client = sql::database::connect(database.url()).await.unwrap();
        sql::migrate::migrate(&mut client).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log = Log::embedded(dir.path()).unwrap();
        let (name, max_message_bytes) = ("partials".to_owned(), 16 << 20);
        let spec = TopicSpec { name, partitions: PARTITIONS, replication: 1, retention_ms: -1, max_message_bytes };
        log.create_topic(&spec).await.unwrap();
        let producer = log.producer(Duration::ZERO).unwrap();
        World { database, client, log, producer, _dir: dir }
    }

    fn start(&self) -> Running {
        let stop = Stop::new();
        let settings = Settings {
            partials_topic: "partials".into(),
            group: "sink".into(),
            pipeline: "default".into(),
            flush_ms: 20,
            flush_rows: 100,
        };
        let pool = self.database.pool(2);
        let (log, runtime, stopped) = (self.log.clone(), tokio::runtime::Handle::current(), stop.clone());
        let body = move || sink::run(log, pool, settings, runtime, Readiness::new(), stopped);
        Running { stop, thread: std::thread::spawn(body) }
    }

    async fn publish(&self, partial: &Partial) {
        let value = partial.encode().into();
        let record = Outgoing { partition: partial.partition, key: bytes::Bytes::new(), value };
        self.producer.append("partials", &[record]).await.unwrap();
    }

    /// Ends all other connections to the database, wherever they are.
    async fn kill_connections(&self) {
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        self.client.batch_execute(kill).await.unwrap();
    }

    async fn next_offsets(&self) -> Vec<u64> {
        let read = "select next_offset from watchbeat.progress order by partition";
        let rows = self.client.query(read, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, i64>(0).cast_unsigned()).collect()
    }

    async fn wait_for(&self, ends: &[u64]) {
        let started = Instant::now();
        loop {
            let found = self.next_offsets().await;
            if found == ends {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "the sink stands at {found:?}, not at {ends:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn found(&self) -> Expected {
        let mut found = Expected::default();
        let hours =
            "select video_id, (extract(epoch from hour) * 1000)::bigint, gross_ms, starts from watchbeat.title_hours";
        for row in self.client.query(hours, &[]).await.unwrap() {
            found.hours.insert((row.get(0), row.get(1)), (row.get(2), row.get(3)));
        }
        for row in self.client.query("select user_id, from_ms, to_ms from watchbeat.watch_segments", &[]).await.unwrap()
        {
            found.segments.insert((row.get(0), row.get(1)), row.get(2));
        }
        for row in self.client.query("select disposition, heartbeats from watchbeat.ledger_minutes", &[]).await.unwrap()
        {
            found.ledger.insert(row.get(0), row.get(1));
        }
        found
    }
}

struct Running {
    stop: Stop,
    thread: JoinHandle<Result<(), TaskError>>,
}

impl Running {
    async fn end(self) -> Result<(), TaskError> {
        self.stop.request();
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_are_the_plain_sums_whatever_happens() {
    let seed = std::env::var("WATCHBEAT_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("WATCHBEAT_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    let mut expected = Expected::default();
    let epochs: Vec<_> = (0..PARTITIONS).map(|partition| epochs(&mut rng, partition, &mut expected)).collect();
    expected.hours.retain(|_, sums| *sums != (0, 0));
    let mut queues: Vec<_> = epochs.iter().map(|epochs| publications(&mut rng, epochs.len()).into_iter()).collect();
    let (mut first, mut rival) = (world.start(), world.start());
    while let Some((partition, epoch)) = {
        let partition = rng.random_range(0..PARTITIONS as usize);
        let order = (0..PARTITIONS as usize).map(|step| (partition + step) % PARTITIONS as usize);
        order.into_iter().find_map(|partition| queues[partition].next().map(|epoch| (partition, epoch)))
    } {
        world.publish(&epochs[partition][epoch]).await;
        match rng.random_range(0..40) {
            0 => world.kill_connections().await,
            1 => {
                first.end().await.unwrap();
                first = world.start();
            }
            2 => {
                rival.end().await.unwrap();
                rival = world.start();
            }
            _ => {}
        }
    }
    let ends: Vec<u64> = epochs.iter().map(|epochs| epochs.last().unwrap().to).collect();
    world.wait_for(&ends).await;
    first.end().await.unwrap();
    rival.end().await.unwrap();
    assert_eq!(world.found().await, expected);
    let check = sql::ledger::ledger_check(&mut world.client).await.unwrap();
    assert!(check.is_balanced(), "{check}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_part_of_the_chain_ends_the_sink_with_a_line_that_says_so() {
    let mut rng = StdRng::seed_from_u64(1);
    let first = epochs(&mut rng, 0, &mut Expected::default()).swap_remove(0);
    let to = first.to;
    type Breakage = fn(&mut Partial);
    let cases: [(&str, Breakage); 2] = [
        ("overlaps the tables", |partial| partial.to += 5),
        ("a topic of partials of its own", |partial| partial.pipeline = "other".into()),
    ];
    for (message, breakage) in cases {
        let world = World::new().await;
        let running = world.start();
        world.publish(&first).await;
        world.wait_for(&[to, 0, 0]).await;
        let mut broken = first.clone();
        breakage(&mut broken);
        world.publish(&broken).await;
        let ended = tokio::task::spawn_blocking(move || running.thread.join().unwrap()).await.unwrap();
        let said = ended.unwrap_err().to_string();
        assert!(said.contains(message), "expected {message:?} in {said:?}");
    }
}

/// A processor with other views is started by mistake, and writes also for partitions that have nothing in the tables yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_of_another_fingerprint_are_passed_over_on_every_partition() {
    let (mut rng, world) = (StdRng::seed_from_u64(1), World::new().await);
    let [first, second] = [0, 1].map(|partition| epochs(&mut rng, partition, &mut Expected::default()));
    let foreign = |epoch: &Partial| Partial { fingerprint: "f2".into(), ..epoch.clone() };
    let mut running = world.start();
    world.publish(&first[0]).await;
    world.wait_for(&[first[0].to, 0, 0]).await;
    for restarts in [false, true] {
        if restarts {
            running.end().await.unwrap();
            world.publish(&foreign(&second[0])).await;
            running = world.start();
        }
        world.publish(&foreign(&second[0])).await;
        world.publish(&foreign(&first[1])).await;
    }
    world.publish(&first[1]).await;
    world.wait_for(&[first[1].to, 0, 0]).await;
    world.publish(&second[0]).await;
    world.wait_for(&[first[1].to, second[0].to, 0]).await;
    running.end().await.unwrap();
}
