//! `watchbeat sql`: it answers, and changes nothing whatever it is asked.

use crate::watchbeat::{database, watchbeat};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_query_is_answered_with_names_and_rows() {
    let (database, client) = database().await;
    client
        .batch_execute("insert into watchbeat.videos values ('a', 'A', 1000, null), ('b', 'B', null, 'l')")
        .await
        .unwrap();
    let query = "select *, now() > '2026-01-01' as is_late from videos order by video_id; -- all";
    let ended = watchbeat(&database, &["sql", query]).succeeded();
    let expected = "video_id\ttitle\tduration_ms\tlicensor_id\tis_late\na\tA\t1000\t\tt\nb\tB\t\tl\tt\n";
    assert_eq!(ended.answer(), expected);
    assert_eq!(watchbeat(&database, &["sql", "show transaction_read_only"]).answer(), "transaction_read_only\non\n");
}

#[tokio::test]
async fn rows_are_printed_as_they_come_and_only_while_somebody_reads() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let (database, _client) = database().await;
    let first_row = |query: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_watchbeat"));
        command.args(["sql", query, "--database-url", database.url()]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (tell, told) = mpsc::channel();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || tell.send(output.nth(1).unwrap().unwrap()));
        (told.recv_timeout(PATIENCE), child)
    };
    // The last row does not come.
    let row = "select repeat('x', 1000) || case n when 100 then pg_sleep(3600)::text else '' end";
    let (first, mut child) = first_row(&format!("{row} from generate_series(1, 100) as n"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(first.unwrap(), "x".repeat(1000));
    // The rows do not end, but who reads has had enough.
    let (first, mut child) = first_row("select repeat('x', 1000), generate_series(1, 1000000000000)");
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    assert_eq!(first.unwrap(), "x".repeat(1000) + "\t1");
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[tokio::test]
async fn nothing_that_is_asked_changes_the_database() {
    let (database, client) = database().await;
    client.batch_execute("insert into watchbeat.videos values ('a', 'A', 1000, null)").await.unwrap();
    let one = "cannot insert multiple commands";
    let cases = [
        ("delete from videos", "in a read-only transaction"),
        ("with gone as (delete from videos returning 1) select * from gone", "in a read-only transaction"),
        ("explain analyze delete from videos", "in a read-only transaction"),
        ("begin read write; delete from videos; commit", one),
        ("commit; delete from videos", one),
        ("set transaction_read_only = off; delete from videos; commit", one),
        ("do $$ begin set transaction read write; delete from videos; end $$", "must be set before any query"),
        ("do $$ begin commit; delete from videos; commit; end $$", "invalid transaction termination"),
        ("create table more (id bigint)", "in a read-only transaction"),
    ];
    for (query, expected) in cases {
        let ended = watchbeat(&database, &["sql", query]);
        assert!(ended.status() == 1 && ended.errors().contains(expected), "{query}: {}", ended.errors());
        let left: i64 = client.query_one("select count(*) from watchbeat.videos", &[]).await.unwrap().get(0);
        assert_eq!(left, 1, "{query}");
    }
}

#[tokio::test]
async fn the_table_of_a_view_can_be_made_whatever_its_columns_are_called() {
    let (database, client) = database().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ways.sql");
    let view = "create materialized view ways as
        select site, coalesce(device, '') as \"user\", sum(wall_ms) as \"to\" from sessions group by site, \"user\"";
    std::fs::write(&file, view).unwrap();
    let ended = watchbeat(&database, &["sql", "--table-of", file.to_str().unwrap()]).succeeded();
    client.batch_execute(&ended.answer()).await.unwrap();
    client
        .batch_execute("insert into watchbeat.ways (site, \"user\", \"to\") values ('default', '', 1)")
        .await
        .unwrap();
}
