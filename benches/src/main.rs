//! The benchmarks of whole roles: the release binary as a process pinned to one core, a real Kafka and PostgreSQL beside it,
//! figures from outside. The steps inside the processor are in `benches/steps.rs`.
//!
//! `cargo bench-gateway`, `cargo bench-process`, `cargo bench-sink`; the last line of each is one line of JSON.

mod gateway;
mod process;
mod role;
mod sink;
mod viewers;

use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    if std::env::var_os("WATCHBEAT_TEST_BROKERS").is_none() {
        return Err(again_with_services(&arguments));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.get(1).map(String::as_str) {
        Some("gateway") => runtime.block_on(gateway::run()),
        Some("process") => runtime.block_on(process::run()),
        Some("sink") => runtime.block_on(sink::run()),
        _ => bail!("usage: bench gateway|process|sink"),
    }
}

/// Builds the binary under test, and becomes this program anew with Kafka and PostgreSQL beside it.
fn again_with_services(arguments: &[String]) -> anyhow::Error {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let built = Command::new("cargo").args(["build", "--release", "--package", "watchbeat"]).current_dir(root).status();
    if !built.is_ok_and(|status| status.success()) {
        return anyhow::anyhow!("the binary under test does not build");
    }
    let program = std::env::current_exe().context("no name of this program");
    program.map_or_else(
        |error| error,
        |program| {
            let failed =
                Command::new(format!("{root}/scripts/with-services")).arg(program).args(&arguments[1..]).exec();
            anyhow::anyhow!("cannot run scripts/with-services: {failed}")
        },
    )
}
