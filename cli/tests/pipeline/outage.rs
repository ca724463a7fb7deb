//! Kafka goes away under load, and the gateway is killed meanwhile: players are answered with 202 all the time, and
//! everything that was so answered is in the tables, once.

use crate::exactness::{judge, play_all, wait_until_complete};
use crate::fleet::{Fleet, free_port};
use crate::log;
use crate::players::{Script, script, write_keys};
use crate::process::{Process, wait_until};
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long points wait: longer than the outage, so that none is judged while its neighbour waits in the spool. Those whose
/// neighbour is lost for good wait that long at the end, so the long wait is only for a machine that was too busy for the short one.
const POINT_WAITS: [Duration; 2] = [Duration::from_secs(40), Duration::from_secs(200)];
/// What may lie between a point and its neighbour beside the outage: they can be in different requests of a player.
const BETWEEN_NEIGHBOURS: Duration = Duration::from_secs(10);

/// How long it may take until a role knows that Kafka went, or came back.
const NOTICED: Duration = Duration::from_secs(90);

/// A broker of this test alone, so that nobody else notices when it goes.
struct Broker(TempDir);

impl Broker {
    fn start(&self) -> String {
        let started = Command::new(tool("kafka-start")).arg(self.0.path()).output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        String::from_utf8(started.stdout).unwrap().lines().last().unwrap().to_owned()
    }

    fn kill(&self) {
        assert!(Command::new(tool("kafka-stop")).arg(self.0.path()).arg("--kill").status().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new(tool("kafka-stop")).arg(self.0.path()).arg("--kill").status();
    }
}

fn tool(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_says_yes_while_kafka_is_away_and_keeps_its_word() {
    for point_wait in POINT_WAITS {
        let outage = go_through_an_outage(point_wait).await;
        if is_short(outage, point_wait) {
            return;
        }
        println!("the outage took {outage:?}, too long for points that wait {point_wait:?}: it proves nothing");
    }
    panic!("the machine is too busy for this test");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_not_ready_while_kafka_is_away_and_end_all_the_same() {
    let broker = Broker(TempDir::new().unwrap());
    let mut fleet = Fleet::on("away", broker.start()).await;
    let roles = [fleet.processor(1_000), fleet.sink()];
    // What they have to tell monitors at the end is no reason to wait.
    let sent = vec![script(9_100, 20)];
    let (keys, listen) = (write_keys(fleet.dir.path(), &sent), format!("127.0.0.1:{}", free_port()));
    let gateway = fleet.ingest_with_spool(&keys, &listen);
    let accepted = play_all(sent, &format!("http://{listen}"), Duration::ZERO).await;
    wait_until_complete(&fleet.connect().await, accepted as u64).await;
    assert!(gateway.stop_within(Duration::from_secs(9)).success());
    let all_are_ready = || roles.iter().all(|role| role.readiness().contains("200 OK"));
    wait_until("all are ready", NOTICED, all_are_ready);
    broker.kill();
    let say_so = |role: &Process| {
        let said = role.readiness();
        said.contains("503 Service Unavailable") && said.contains("kafka: asking for topics")
    };
    wait_until("all say that Kafka is away", NOTICED, || roles.iter().all(say_so));
    broker.start();
    wait_until("all are ready again", NOTICED, all_are_ready);

    broker.kill();
    let gateway = fleet.ingest_with_spool(&keys, &format!("127.0.0.1:{}", free_port()));
    wait_until("the gateway is ready without Kafka", NOTICED, || gateway.readiness().contains("200 OK"));
    // By now it asks for its topics again, and the answer would take longer than this.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for role in roles.into_iter().chain([gateway]) {
        assert!(role.stop_within(Duration::from_secs(9)).success());
    }
}

/// Whether no point can have been judged while its neighbour was in the spool.
fn is_short(outage: Duration, point_wait: Duration) -> bool {
    outage + BETWEEN_NEIGHBOURS < point_wait
}

/// Plays an outage, and judges the tables unless it was too long for that; says how long it was.
async fn go_through_an_outage(point_wait: Duration) -> Duration {
    let broker = Broker(TempDir::new().unwrap());
    let mut fleet = Fleet::on("outage", broker.start()).await;
    let scripts = || (9_000..9_040).map(|seed| script(seed, 150)).collect::<Vec<_>>();
    let sent = scripts();
    let keys = write_keys(fleet.dir.path(), &sent);
    let listen = format!("127.0.0.1:{}", free_port());
    let gateway = fleet.ingest_with_spool(&keys, &listen);
    let (mut processor, mut sink) = (fleet.processor(point_wait.as_millis() as u32), fleet.sink());
    let url = format!("http://{listen}");
    let load = tokio::spawn(async move { play_all(sent, &url, Duration::from_millis(400)).await });

    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = Instant::now();
    broker.kill();
    let spool = fleet.dir.path().join("spool");
    wait_until("reports are in the spool", Duration::from_secs(20), || bytes_in(&spool) > 0);
    gateway.kill();
    let mut gateway = fleet.ingest_with_spool(&keys, &listen);
    let before = bytes_in(&spool);
    wait_until("a gateway without Kafka takes reports", Duration::from_secs(20), || bytes_in(&spool) > before);
    broker.start();
    let accepted = load.await.unwrap();
    wait_until("the spool is empty", Duration::from_secs(60), || bytes_in(&spool) == 0);
    let outage = began.elapsed();
    if !is_short(outage, point_wait) {
        return outage;
    }

    let client = fleet.connect().await;
    wait_until_complete(&client, accepted as u64).await;
    gateway.assert_running();
    processor.assert_running();
    sink.assert_running();
    judge(&fleet.log(), &fleet.heartbeats(), accepted, &client).await;
    let on_the_log: HashSet<_> = log::heartbeats(&fleet.log(), &fleet.heartbeats())
        .await
        .into_iter()
        .map(|logged| (logged.record.site, logged.record.session_id, logged.record.seq))
        .collect();
    let missing = scripts().iter().flat_map(names).filter(|name| !on_the_log.contains(name)).count();
    assert_eq!(missing, 0, "reports that were answered with 202 and are not on the log");
    outage
}

/// What names the reports of a script.
fn names(script: &Script) -> Vec<(String, String, u32)> {
    let name = |(site, body): (&str, &str)| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        (site.to_owned(), body["session_id"].as_str().unwrap().to_owned(), body["seq"].as_u64().unwrap() as u32)
    };
    script.bodies().map(name).collect()
}

/// Bytes of the segments of a spool.
fn bytes_in(spool: &Path) -> u64 {
    let entries = std::fs::read_dir(spool).unwrap().map(Result::unwrap);
    let segments = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "segment"));
    segments.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}
