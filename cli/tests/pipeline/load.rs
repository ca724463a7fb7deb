//! `watchbeat loadgen` besides its plain use: a day written straight to the log, and one run shared by two processes. What
//! the viewers really did is in files, and the tables are judged by them afterwards.

use crate::dev;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// `watchbeat loadgen` with these arguments; its last line on standard output.
fn loadgen(arguments: &[&str]) -> (Output, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_watchbeat")).arg("loadgen").args(arguments).output().unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, told)
}

/// Checks accounts against the tables: whether they are right, and what is said.
fn verify(url: &str, settle: &str, accounts: &[&Path]) -> (bool, Value) {
    let mut arguments = vec!["verify", "--database-url", url, "--settle", settle];
    arguments.extend(accounts.iter().map(|path| path.to_str().unwrap()));
    let (output, told) = loadgen(&arguments);
    assert!(told.is_object(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), told)
}

#[test]
fn a_day_written_to_the_log_is_judged_by_its_account_and_a_wrong_row_is_named() {
    let dir = TempDir::new().unwrap();
    let (process, _) = dev::start(dir.path(), "first", &[]);
    assert!(process.stop().success());
    let (data, account) = (dir.path().join("data"), dir.path().join("account"));
    let (data, file) = (data.to_str().unwrap(), account.to_str().unwrap());
    let (output, told) =
        loadgen(&["fill", "--data-dir", data, "--viewers", "150", "--heartbeats", "20000", "--account", file]);
    assert!(output.status.success() && told["heartbeats"].as_u64() >= Some(20_000), "{output:?}");

    let (process, ready) = dev::start(dir.path(), "second", &[]);
    let url = ready["database_url"].as_str().unwrap();
    let (right, told) = verify(url, "60", &[&account]);
    assert!(right && told["rows"].as_u64() > Some(1_000), "{told}");
    let spoil = "update watchbeat.title_hours set gross_ms = gross_ms + 1 where ctid = (select min(ctid) from watchbeat.title_hours)";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { sql::database::connect(url).await.unwrap().batch_execute(spoil).await.unwrap() });
    let (right, told) = verify(url, "0", &[&account]);
    assert!(!right && told["differences"][0].as_str().unwrap().starts_with("title_hours: "), "{told}");
    assert!(process.stop().success());
}

#[test]
fn two_processes_share_a_run_and_only_both_accounts_are_all_of_it() {
    let dir = TempDir::new().unwrap();
    let (process, ready) = dev::start(dir.path(), "dev", &[]);
    let (target, url) = (ready["ingest"].as_str().unwrap(), ready["database_url"].as_str().unwrap());
    let accounts = ["1/2", "2/2"].map(|part| dir.path().join(part.replace('/', "-of-")));
    let parts = ["1/2", "2/2"].into_iter().zip(&accounts).map(|(part, account)| {
        let flags =
            ["--viewers", "30", "--duration", "3", "--speedup", "200", "--run", "r1", "--http2", "--part", part];
        let file = ["--target", target, "--account", account.to_str().unwrap()];
        Command::new(env!("CARGO_BIN_EXE_watchbeat")).arg("loadgen").args(flags).args(file).spawn().unwrap()
    });
    let parts: Vec<_> = parts.collect();
    for mut part in parts {
        assert!(part.wait().unwrap().success());
    }
    let (right, told) = verify(url, "60", &[&accounts[0], &accounts[1]]);
    assert!(right, "{told}");
    assert_eq!(told["differences"], json!([]));
    let (right, told) = verify(url, "0", &[&accounts[0]]);
    assert!(!right && !told["differences"].as_array().unwrap().is_empty(), "{told}");
    assert!(process.stop().success());
}
