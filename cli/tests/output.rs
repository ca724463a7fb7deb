//! What commands do when nobody takes their answer, or their environment has what is not theirs.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::pipe;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

fn capacity(stdout: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchbeat"));
    command.args(["capacity", "--viewers", "1000"]).stdout(stdout).stderr(Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn who_closes_the_output_has_read_enough() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = capacity(writer);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_output() {
    let output = capacity(File::options().write(true).open("/dev/full").unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write to standard output") && said.contains("No space left"), "{said}");
}

#[test]
fn a_variable_that_is_no_utf8_is_somebody_elses() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchbeat"));
    command.args(["process", "--brokers", "127.0.0.1:1", "--snapshots", "s3://bucket"]);
    command.env("AWS_ALLOW_HTTP", "perhaps"); // read behind the other, and refused
    let output = command.env("SOMEBODYS", OsStr::from_bytes(&[0xff])).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("failed to parse \"perhaps\""), "{said}");
}
