//! Random logs through the whole pipeline: every table equals the model's, run over the log as it really was.

use crate::database::{all_tables, progress};
use crate::fleet::Fleet;
use crate::players::{Script, script, write_keys};
use crate::{dev, log};
use playback::model;
use playback::tables::differences;
use sql::testing::TestDatabase;
use std::ops::Range;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::Client;
use topic::Log;

/// Random logs, and reports of each; about 20,000 reports in all.
const LOGS: u64 = 200;
const REPORTS: usize = 100;
/// Players who post at the same time.
const PLAYERS: usize = 16;
/// How long points wait: longer than any is posted out of order, so that none is judged before its time.
pub(crate) const POINT_WAIT_MS: u32 = 8_000;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_random_logs_over_http_end_in_the_models_tables_on_the_embedded_parts() {
    on_the_embedded_parts(0..LOGS, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_are_left_out_leave_their_tables_empty_and_the_others_exact() {
    on_the_embedded_parts(0..LOGS / 10, &["watch_segments", "resume_positions"]).await;
}

/// Plays logs of these seeds, without these views.
async fn on_the_embedded_parts(seeds: Range<u64>, left_out: &[&str]) {
    let dir = TempDir::new().unwrap();
    let database = TestDatabase::create().await;
    let scripts: Vec<_> = seeds.map(|seed| script(seed, REPORTS)).collect();
    let keys = write_keys(dir.path(), &scripts);
    let wait = POINT_WAIT_MS.to_string();
    let mut flags = vec!["--keys", keys.to_str().unwrap(), "--database-url", database.url(), "--point-wait-ms", &wait];
    flags.extend(left_out.iter().flat_map(|name| ["--without-view", name]));
    let (process, ready) = dev::start(dir.path(), "dev", &flags);
    let accepted = play_all(scripts, ready["ingest"].as_str().unwrap(), Duration::ZERO).await;
    let client = sql::database::connect(database.url()).await.unwrap();
    wait_until_complete(&client, accepted as u64).await;
    assert!(process.stop().success());
    let embedded = Log::embedded(&dir.path().join("data/log")).unwrap();
    judge_without(left_out, &embedded, "heartbeats", accepted, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_random_logs_over_http_end_in_the_models_tables_on_kafka_and_postgresql() {
    let mut fleet = Fleet::new("exactness").await;
    let scripts: Vec<_> = (1_000..1_000 + LOGS).map(|seed| script(seed, REPORTS)).collect();
    let keys = write_keys(fleet.dir.path(), &scripts);
    let (ingest, gateway) = fleet.ingest(&keys);
    let (processor, sink) = (fleet.processor(POINT_WAIT_MS), fleet.sink());
    let accepted = play_all(scripts, &gateway, Duration::ZERO).await;
    let client = fleet.connect().await;
    wait_until_complete(&client, accepted as u64).await;
    for process in [ingest, processor, sink] {
        assert!(process.stop().success());
    }
    judge(&fleet.log(), &fleet.heartbeats(), accepted, &client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pipeline_fills_tables_of_its_own_beside_the_first() {
    let mut first = Fleet::new("beside").await;
    let mut scripts: Vec<_> = (2_000..2_000 + LOGS / 5).map(|seed| script(seed, REPORTS)).collect();
    let keys = write_keys(first.dir.path(), &scripts);
    let (ingest, gateway) = first.ingest(&keys);
    let mut processes = vec![first.processor(POINT_WAIT_MS), first.sink()];
    let later = scripts.split_off(scripts.len() / 2);
    let before = play_all(scripts, &gateway, Duration::ZERO).await;
    let mut second = first.beside("next").await;
    processes.extend([second.processor(POINT_WAIT_MS), second.sink()]);
    let accepted = before + play_all(later, &gateway, Duration::ZERO).await;
    let clients = [first.connect().await, second.connect().await];
    for client in &clients {
        wait_until_complete(client, accepted as u64).await;
    }
    processes.push(ingest);
    for process in processes {
        assert!(process.stop().success());
    }
    for client in &clients {
        judge(&first.log(), &first.heartbeats(), accepted, client).await;
    }
}

/// Posts all scripts, some at a time; says how many reports were accepted.
pub(crate) async fn play_all(scripts: Vec<Script>, gateway: &str, pause: Duration) -> usize {
    let reports: usize = scripts.iter().map(Script::reports).sum();
    let scripts = std::sync::Arc::new(std::sync::Mutex::new(scripts));
    let players: Vec<_> = (0..PLAYERS)
        .map(|_| {
            let (scripts, gateway) = (scripts.clone(), gateway.to_owned());
            tokio::task::spawn_blocking(move || {
                let next = || scripts.lock().unwrap().pop();
                std::iter::from_fn(next).map(|script| script.play(&gateway, pause)).sum::<usize>()
            })
        })
        .collect();
    let mut accepted = 0;
    for player in players {
        accepted += player.await.unwrap();
    }
    assert_eq!(accepted, reports);
    accepted
}

/// Waits until the tables have all that was accepted (or more: what was sent again after a crash counts too) and nothing
/// waits, at two looks in a row. Gives up only after longer than any points wait ([`crate::outage`]).
pub(crate) async fn wait_until_complete(client: &Client, accepted: u64) {
    let deadline = Instant::now() + Duration::from_secs(400);
    let mut before = (Vec::new(), -1);
    loop {
        let now = progress(client).await;
        if now.0.iter().sum::<u64>() >= accepted && now.1 == 0 && now == before {
            return;
        }
        assert!(Instant::now() < deadline, "the tables are not complete: {now:?} of {accepted} reports");
        before = now;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
}

/// Compares every table with the model's of the log, and the ledger with the log.
pub(crate) async fn judge(of: &Log, topic: &str, accepted: usize, client: &Client) {
    judge_without(&[], of, topic, accepted, client).await;
}

/// The same where the views of these names are left out: their tables are empty.
async fn judge_without(left_out: &[&str], of: &Log, topic: &str, accepted: usize, client: &Client) {
    let logged = log::heartbeats(of, topic).await;
    assert!(logged.len() >= accepted, "accepted {accepted}, on the log {}", logged.len());
    let mut expected = model::run(&logged, model::Parameters::default());
    expected.tables.retain(|name, _| !left_out.contains(name));
    let found = differences(&expected, &all_tables(client).await);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let ends: u64 = of.end_offsets(topic).await.unwrap().iter().sum();
    let (offsets, waiting) = progress(client).await;
    let ticks: i64 = client.query_one("select sum(ticks)::bigint from watchbeat.progress", &[]).await.unwrap().get(0);
    assert_eq!((logged.len() as u64 + ticks as u64, waiting), (offsets.iter().sum(), 0));
    assert!(offsets.iter().sum::<u64>() <= ends);
}
