//! What signals do to a process. The process is this test program again, run with `CHILD` set.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use service::{Stop, Tasks, stop_on_signals, telemetry};

const CHILD: &str = "SERVICE_TEST_CHILD";

#[test]
fn the_first_signal_drains_and_the_process_ends_well() {
    let (mut child, mut log) = child("drains");
    wait_for(&mut log, "running");
    signal(&child, "TERM");
    wait_for(&mut log, "\"signal\":15");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let (mut child, mut log) = child("hangs");
    wait_for(&mut log, "running");
    signal(&child, "TERM");
    wait_for(&mut log, "waiting for tasks to end");
    signal(&child, "INT");
    wait_for(&mut log, "without waiting for the drain");
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
}

/// Not a test of its own: what the tests above run in another process.
#[test]
fn child_process() {
    let Ok(behaviour) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        telemetry::init(true, "info").unwrap();
        let stop = Stop::new();
        let mut tasks = Tasks::new(stop.clone());
        let signals = tokio::spawn(stop_on_signals(stop.clone()));
        // On the one thread there is, the task above has its turn now, and listens from then on.
        tokio::task::yield_now().await;
        tasks.spawn("worker", async move {
            stop.requested().await;
            if behaviour == "hangs" { std::future::pending().await } else { Ok(()) }
        });
        tracing::info!("running");
        tasks.join(Duration::from_secs(60)).await.unwrap();
        signals.await.unwrap();
    });
}

fn child(behaviour: &str) -> (Child, BufReader<ChildStderr>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD, behaviour)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    (child, log)
}

/// Reads the log up to a line with `text`; a process that ends without it closes the log, which fails the test.
fn wait_for(log: &mut BufReader<ChildStderr>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the process ended without logging `{text}`");
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}
