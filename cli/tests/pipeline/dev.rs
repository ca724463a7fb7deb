//! `watchbeat dev` as a newcomer uses it: one process, its own PostgreSQL, a directory that it goes on with.

use crate::process::{Process, wait_until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts `dev` on free ports and the folder `data` in `dir`, and gives its announcement.
pub(crate) fn start(dir: &Path, name: &str, flags: &[&str]) -> (Process, Value) {
    let data = dir.join("data");
    let mut arguments = vec!["dev", "--data-dir", data.to_str().unwrap()];
    for address in ["--listen", "--report-listen", "--admin-listen"] {
        arguments.extend([address, "127.0.0.1:0"]);
    }
    arguments.extend(flags);
    let mut process = Process::start(dir, name, &arguments);
    let ready: Value = serde_json::from_str(&process.first_line()).unwrap();
    assert_eq!(ready["ready"], json!(true));
    (process, ready)
}

/// An interval report of five seconds that ends now.
fn heartbeat(seq: u32) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    json!({
        "session_id": "s", "seq": seq, "user_id": "u", "video_id": "v", "event_time": now,
        "from_ms": seq * 5_000, "position_ms": (seq + 1) * 5_000, "played_ms": 5_000,
    })
    .to_string()
}

/// Status and body of a request.
fn request(url: &Value, method: &str, path: &str, body: &str) -> (u16, String) {
    let address = url.as_str().unwrap().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// What the report says of the one title that is watched.
fn watched(ready: &Value) -> Value {
    let (status, body) = request(&ready["report"], "GET", "/v1/users/u/videos/v", "");
    if status == 200 { serde_json::from_str(&body).unwrap() } else { Value::Null }
}

#[test]
fn a_newcomer_posts_reports_and_reads_the_segment_and_a_restart_goes_on_without_counting_twice() {
    let dir = TempDir::new().unwrap();
    let (process, ready) = start(dir.path(), "first", &[]);
    let both = format!("[{},{}]", heartbeat(0), heartbeat(1));
    let (status, answer) = request(&ready["ingest"], "POST", "/v1/heartbeats", &both);
    assert_eq!((status, answer.as_str()), (202, r#"{"accepted":2,"rejected":[]}"#));
    let segment = |to: u32| json!([{"from_ms": 0, "to_ms": to}]);
    wait_until("the segment is there", PATIENCE, || watched(&ready)["segments"] == segment(10_000));
    assert_eq!(request(&ready["admin"], "GET", "/readyz", "").0, 200);
    assert!(process.stop().success());

    let (process, ready) = start(dir.path(), "second", &[]);
    assert_eq!(watched(&ready)["segments"], segment(10_000));
    let again = format!("[{},{},{}]", heartbeat(0), heartbeat(1), heartbeat(2));
    assert_eq!(request(&ready["ingest"], "POST", "/v1/heartbeats", &again).0, 202);
    wait_until("the segment has grown", PATIENCE, || watched(&ready)["segments"] == segment(15_000));
    wait_until("the copies are counted as such", PATIENCE, || {
        let url = ready["database_url"].as_str().unwrap();
        let verify = std::process::Command::new(env!("CARGO_BIN_EXE_watchbeat"))
            .args(["verify", "--database-url", url])
            .output()
            .unwrap();
        let query = "select disposition || ' ' || sum(heartbeats) from ledger_minutes group by disposition order by disposition";
        let ledger = std::process::Command::new(env!("CARGO_BIN_EXE_watchbeat"))
            .args(["sql", query, "--database-url", url])
            .output()
            .unwrap();
        let lines = String::from_utf8(ledger.stdout).unwrap();
        verify.status.success() && lines.lines().skip(1).collect::<Vec<_>>() == ["credited 3", "duplicate 2"]
    });
    process.kill();
    wait_until("nothing of a killed dev is left", PATIENCE, || !any_process_names(dir.path()));

    let (process, ready) = start(dir.path(), "third", &[]);
    assert_eq!(watched(&ready)["segments"], segment(15_000));
    assert!(process.stop().success());
    assert!(!any_process_names(dir.path()), "dev left a process behind");
}

#[test]
fn the_tables_of_simulated_viewers_are_what_they_really_did() {
    let dir = TempDir::new().unwrap();
    let (process, ready) = start(dir.path(), "dev", &[]);
    let (target, url) = (ready["ingest"].as_str().unwrap(), ready["database_url"].as_str().unwrap());
    let flags = ["--viewers", "30", "--duration", "5", "--speedup", "120", "--batch", "3", "--database-url", url];
    let mut load = std::process::Command::new(env!("CARGO_BIN_EXE_watchbeat"));
    let verdict = load.args(["loadgen", "--target", target]).args(flags).output().unwrap();
    let told: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    assert!(verdict.status.success() && told["verified"] == json!(true), "{told}");
    assert!(told["accepted"].as_u64().unwrap() > 500 && told["duplicates_sent"].as_u64().unwrap() > 0, "{told}");
    assert!(process.stop().success());
}

/// Whether the command line of any process has this folder in it.
fn any_process_names(dir: &Path) -> bool {
    let needle = dir.to_str().unwrap().as_bytes();
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        command.windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn a_data_directory_of_another_postgresql_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let cluster = dir.path().join("data/postgres/cluster");
    std::fs::create_dir_all(&cluster).unwrap();
    std::fs::write(cluster.join("PG_VERSION"), "9.1\n").unwrap();
    let mut dev = Command::new(env!("CARGO_BIN_EXE_watchbeat"));
    dev.args(["dev", "--data-dir", dir.path().join("data").to_str().unwrap()]);
    let ended = dev.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("the data directory is of PostgreSQL 9.1, whose programs are not on this machine"), "{said}");
}
