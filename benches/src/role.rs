//! The binary under test as a process on one core, and what it costs.

use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The core of the process under test; everything else shares the others.
const CORE: &str = "1";
/// Clock ticks of /proc a second, on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Brokers of the test Kafka.
pub(crate) fn brokers() -> Result<String> {
    std::env::var("WATCHBEAT_TEST_BROKERS").context("WATCHBEAT_TEST_BROKERS")
}

/// URL of the test database.
pub(crate) fn database_url() -> Result<String> {
    std::env::var("WATCHBEAT_TEST_DATABASE_URL").context("WATCHBEAT_TEST_DATABASE_URL")
}

/// Makes schema and topics.
pub(crate) fn migrate(partitions: u32) -> Result<()> {
    let partitions = partitions.to_string();
    let arguments = ["migrate", "--partitions", &partitions, "--replication", "1", "--log", "warn"];
    let status = command(&arguments)?.status()?;
    if !status.success() {
        bail!("migrate failed");
    }
    Ok(())
}

fn command(arguments: &[&str]) -> Result<Command> {
    let binary = std::env::current_exe()?.with_file_name("watchbeat");
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", CORE]).arg(binary).args(arguments);
    command.env("WATCHBEAT_BROKERS", brokers()?).env("WATCHBEAT_DATABASE_URL", database_url()?);
    Ok(command)
}

/// A role under test.
pub(crate) struct Role {
    child: Child,
    started: Instant,
}

/// What a role has cost so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    pub(crate) wall_seconds: f64,
    pub(crate) peak_bytes: u64,
}

impl Role {
    /// Starts a role and waits until its admin port answers.
    pub(crate) fn start(arguments: &[&str]) -> Result<Role> {
        let admin = format!("127.0.0.1:{}", free_port()?);
        let mut all = arguments.to_vec();
        all.extend(["--admin-listen", &admin, "--log", "warn"]);
        let child = command(&all)?.stdin(Stdio::null()).spawn().context("taskset, of util-linux, starts the role")?;
        let mut role = Role { child, started: Instant::now() };
        while std::net::TcpStream::connect(&admin).is_err() {
            if let Some(status) = role.child.try_wait()? {
                bail!("the role ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(role)
    }

    /// CPU and wall time since the start, and the most memory it ever had.
    pub(crate) fn cost(&self) -> Result<Cost> {
        let folder = format!("/proc/{}", self.child.id());
        let stat = fs::read_to_string(format!("{folder}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("stat of the role")?;
        let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|value| value.trim().split(' ').next()?.parse::<u64>().ok());
        Ok(Cost {
            cpu_seconds: ticks / TICKS_PER_SECOND,
            wall_seconds: self.started.elapsed().as_secs_f64(),
            peak_bytes: peak.context("peak memory of the role")? * 1_024,
        })
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// A free port of the loopback interface.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The clock; ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A whole number from the environment, for longer or shorter runs.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}
