//! What is read from a real database is what was written to it, in every column of every table; and a check of accounts
//! against it finds what is wrong there.

#![allow(clippy::unwrap_used)]

use loadgen::tables::{self, Filter};
use loadgen::{Check, FillSettings};
use playback::model::{self, Logged, Parameters, RandomLog};
use playback::record::Record;
use playback::tables::{Cell, Column, Kind, SHAPES, Shape, Tables, differences};
use prost::Message;
use service::Stop;
use sql::database::Database;
use sql::testing::TestDatabase;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio_postgres::Client;
use topic::{FromTheStart, Log, TopicSpec};

const START: i64 = 1_763_683_200_000;

#[tokio::test]
async fn tables_are_read_as_they_were_written() {
    let database = TestDatabase::create().await;
    let mut client = sql::database::connect(database.url()).await.unwrap();
    sql::migrate::migrate(&mut client).await.unwrap();
    let log = model::random_log(RandomLog { seed: 3, reports: 400, start: START, outage: false });
    let written = model::run(&log, Parameters::default());
    write(&client, &written).await;

    let all = tables::read(&client, Filter::All).await.unwrap();
    assert_eq!(differences(&written, &all), Vec::<String>::new());

    let some = tables::read(&client, Filter::Run { site: "north", prefix: "u1" }).await.unwrap();
    let of_the_user = |key: &&Vec<Cell>| key[..2] == ["north".into(), "u1".into()];
    let sessions = |tables: &Tables| tables.rows("watch_sessions").unwrap().keys().filter(of_the_user).count();
    assert_eq!(some.rows("watch_sessions").unwrap().len(), sessions(&written));
    assert!(some.rows("video_minutes").is_none(), "no title begins like the user");
}

async fn write(client: &Client, tables: &Tables) {
    for shape in SHAPES {
        for (key, row) in tables.rows(shape.name).into_iter().flatten() {
            client.batch_execute(&insert(shape, key, row)).await.unwrap();
        }
    }
}

fn insert(shape: &Shape, key: &[Cell], row: &[Cell]) -> String {
    let columns: Vec<&Column> = shape.key.iter().chain(shape.columns).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<String> =
        columns.iter().zip(key.iter().chain(row)).map(|(column, cell)| value(column, cell)).collect();
    format!("insert into watchbeat.{} ({}) values ({})", shape.name, names.join(", "), values.join(", "))
}

fn value((_, kind): &Column, cell: &Cell) -> String {
    match (kind, cell) {
        (Kind::Time, Cell::Int(ms)) => format!("to_timestamp({ms} / 1000.0)"),
        (_, Cell::Text(text)) => format!("'{text}'"),
        (_, cell) => cell.to_string(),
    }
}

/// Writes the log of some viewers and their account into a folder; gives the log and where the account is.
async fn filled(dir: &Path) -> (Vec<Logged>, PathBuf) {
    let log = Log::embedded(&dir.join("log")).unwrap();
    let (name, retention_ms) = ("heartbeats".to_owned(), -1);
    let spec = TopicSpec { name, partitions: 2, replication: 1, retention_ms, max_message_bytes: 1 << 20 };
    log.create_topic(&spec).await.unwrap();
    let account = dir.join("account");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let settings = FillSettings {
        viewers: 24,
        heartbeats: Some(3_000),
        account: Some(account.clone()),
        first_ms: Some(now - 3_600_000),
        ..FillSettings::new("heartbeats".to_owned())
    };
    let filled = loadgen::fill(settings, log.clone(), Stop::new()).await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut consumer = log.consumer("heartbeats", "reader", Box::new(FromTheStart)).unwrap();
        let mut found = Vec::new();
        while found.len() < filled.heartbeats as usize {
            let logged = |record: &topic::Record<'_>| {
                let record = Record::decode(record.value).unwrap();
                Logged { logged_at: record.received_at, record }
            };
            let mut take = |records: &[topic::Record<'_>]| found.extend(records.iter().map(logged));
            consumer.poll(Duration::from_millis(100), 10_000, &mut take).unwrap();
        }
        found.sort_by_key(|logged| logged.logged_at);
        found
    });
    (read.await.unwrap(), account)
}

/// A day with the tables that it must have.
struct Judged {
    account: PathBuf,
    heartbeats: usize,
    database: TestDatabase,
    client: Client,
    _dir: TempDir,
}

impl Judged {
    async fn new() -> Judged {
        let dir = tempfile::tempdir().unwrap();
        let (log, account) = filled(dir.path()).await;
        let database = TestDatabase::create().await;
        let mut client = sql::database::connect(database.url()).await.unwrap();
        sql::migrate::migrate(&mut client).await.unwrap();
        write(&client, &model::run(&log, Parameters::default())).await;
        Judged { account, heartbeats: log.len(), database, client, _dir: dir }
    }

    async fn check(&self, settle_s: u64) -> Check {
        let database = Database::new(self.database.url(), None).unwrap();
        let account = std::slice::from_ref(&self.account);
        loadgen::verify(account, &database, Duration::from_secs(settle_s)).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_passes_on_right_tables_and_names_what_is_wrong_in_others() {
    let judged = Judged::new().await;
    let client = &judged.client;
    let right = judged.check(0).await;
    assert!(right.passed() && right.heartbeats == judged.heartbeats as u64 && right.rows > 500, "{right}");

    let one = "ctid = (select min(ctid) from watchbeat.TABLE)";
    let faults = [
        ("watch_sessions", "gross_ms", "update watchbeat.TABLE set gross_ms = gross_ms + 1 where "),
        ("title_hours", "wall_ms", "update watchbeat.TABLE set wall_ms = wall_ms - 1 where "),
        ("ad_reach", "users", "update watchbeat.TABLE set users = users + 1 where "),
        ("ledger_minutes", "heartbeats", "update watchbeat.TABLE set heartbeats = heartbeats + 1 where "),
        ("watch_segments", "actual no row", "delete from watchbeat.TABLE where "),
        ("video_minutes", "actual no row", "delete from watchbeat.TABLE where "),
        ("resume_positions", "expected no row", "update watchbeat.TABLE set user_id = 'b1-u99999' where "),
    ];
    for (table, named, fault) in faults {
        let save = format!("create table saved as select * from watchbeat.{table}");
        client.batch_execute(&save).await.unwrap();
        client.batch_execute(&format!("{fault}{one}").replace("TABLE", table)).await.unwrap();
        let wrong = judged.check(0).await;
        let first = &wrong.differences[0];
        let is_named = wrong.differences.iter().any(|found| found.starts_with(table) && found.contains(named));
        assert!(!wrong.passed() && is_named, "{table}: {first}");
        let restore =
            format!("truncate watchbeat.{table}; insert into watchbeat.{table} select * from saved; drop table saved");
        client.batch_execute(&restore).await.unwrap();
    }
    assert!(judged.check(0).await.passed(), "everything is right again");

    let wrong = client.execute("update watchbeat.title_hours set gross_ms = gross_ms + 1", &[]).await.unwrap();
    let told = judged.check(0).await;
    assert!(wrong > 20 && told.difference_count == wrong && told.differences.len() == 21, "{told}");
    assert_eq!(told.differences[20], format!("title_hours: and {} more", wrong - 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_outlasts_an_error_and_waits_for_what_is_still_counted() {
    let judged = Judged::new().await;
    let client = &judged.client;
    let after = async |ms, statement: &str| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        client.batch_execute(statement).await.unwrap();
    };

    client.batch_execute("alter table watchbeat.title_hours rename column starts to begun").await.unwrap();
    let back = after(1_500, "alter table watchbeat.title_hours rename column begun to starts");
    let (told, ()) = tokio::join!(judged.check(30), back);
    assert!(told.passed());

    let once_more = after(
        1_000,
        "update watchbeat.ledger_minutes set heartbeats = heartbeats + 1 where ctid = (select min(ctid) from watchbeat.ledger_minutes)",
    );
    let (told, ()) = tokio::join!(judged.check(5), once_more);
    assert!(!told.passed() && told.differences[0].starts_with("ledger_minutes: "), "{told}");
}
