//! The benchmarks of whole roles: the release binary as a process pinned to one core, a real Kafka and PostgreSQL beside it,
//! figures from outside. The steps inside the processor are in `benches/steps.rs`.
//!
//! `cargo bench-gateway`, `cargo bench-loadgen`, `cargo bench-armour`, `cargo soak`, `cargo bench-process`, `cargo bench-kernel`,
//! `cargo bench-sink`, `cargo bench-day`, `cargo bench-e2e`; the last line of each is one line of JSON. `bench load` loads any server that takes heartbeats;
//! `floor` and `attack` are parts of the others.

mod armour;
mod attack;
mod day;
mod e2e;
mod figures;
mod floor;
mod framing;
mod gateway;
mod kernel;
mod load;
mod loadgen;
mod process;
mod request;
mod role;
mod sink;
mod soak;
mod stat;
mod viewers;

use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

/// That of the binary under test.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What needs Kafka and PostgreSQL, and the binary under test.
const WITH_SERVICES: [&str; 8] = ["gateway", "loadgen", "armour", "soak", "process", "sink", "day", "e2e"];

fn main() -> Result<()> {
    let arguments = Arguments(std::env::args().collect());
    let name = arguments.0.get(1).map_or("", String::as_str);
    match name {
        "floor" => {
            let hold = Duration::from_millis(arguments.find("--hold-ms")?.unwrap_or(0));
            return floor::run(arguments.value("--listen")?, arguments.value("--status")?, hold);
        }
        "load" => return load_alone(&arguments),
        "attack" => return attack::run(&arguments),
        "kernel" => return kernel::run(),
        _ if !WITH_SERVICES.contains(&name) => bail!("usage: bench kernel|load|{}", WITH_SERVICES.join("|")),
        _ if std::env::var_os("WATCHBEAT_TEST_BROKERS").is_none() => return Err(again_with_services(&arguments.0)),
        "gateway" => return gateway::run(),
        "loadgen" => return loadgen::run(),
        "armour" => return armour::run(),
        _ => {}
    }
    let runtime = tokio::runtime::Runtime::new()?;
    match name {
        "process" => runtime.block_on(process::run()),
        "sink" => runtime.block_on(sink::run()),
        "soak" => runtime.block_on(soak::run()),
        "day" => runtime.block_on(day::run()),
        _ => runtime.block_on(e2e::run()),
    }
}

/// Arguments of the parts, each a flag and a value.
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    /// The value of a flag that may be absent.
    pub(crate) fn find<T: FromStr>(&self, flag: &str) -> Result<Option<T>> {
        let Some(place) = self.0.iter().position(|argument| argument == flag) else { return Ok(None) };
        let value = self.0.get(place + 1).and_then(|value| value.parse().ok());
        value.map(Some).with_context(|| format!("{flag} needs a value"))
    }

    /// The value of a flag that must be there.
    pub(crate) fn value<T: FromStr>(&self, flag: &str) -> Result<T> {
        self.find(flag)?.with_context(|| format!("{flag} is missing"))
    }
}

/// One load on a server that somebody else started, whose process is `--pid`.
fn load_alone(arguments: &Arguments) -> Result<()> {
    let key: Option<String> = arguments.find("--key")?;
    let plan = load::Plan {
        target: arguments.value("--target")?,
        key: key.as_deref(),
        connections: arguments.find("--connections")?.unwrap_or(256),
        reports: arguments.find("--reports")?.unwrap_or(1),
        rate: arguments.find("--rate")?,
        warm_up: Duration::from_secs(1),
        duration: Duration::from_secs(arguments.find("--seconds")?.unwrap_or(5)),
    };
    let pid: Option<u32> = arguments.find("--pid")?;
    let server_cpu = || pid.map_or(Ok(Duration::ZERO), role::cpu);
    let figures = load::run(&plan, &server_cpu)?;
    figures::print_line(&figures.to_json());
    Ok(())
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
