//! The programs under test as processes, by default on one core, and what they cost.

use crate::stat::{self, Stat};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_postgres::Client;

/// The core of the process under test; everything else shares the others.
const CORE: &str = "1";
/// As many as `watchbeat migrate` makes by default. The more there are, the longer an epoch of a given number of records lasts,
/// the more it merges, and the less memory its records touch.
pub(crate) const PARTITIONS: u64 = 64;
/// What is left for Kafka, the database and the load.
const OTHER_CORE: &str = "0";
/// Time for a process to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Brokers of the test Kafka.
pub(crate) fn brokers() -> Result<String> {
    std::env::var("WATCHBEAT_TEST_BROKERS").context("WATCHBEAT_TEST_BROKERS")
}

/// URL of the test database.
pub(crate) fn database_url() -> Result<String> {
    std::env::var("WATCHBEAT_TEST_DATABASE_URL").context("WATCHBEAT_TEST_DATABASE_URL")
}

/// Folder of the test Kafka, for `scripts/kafka-stop` and `scripts/kafka-start`.
pub(crate) fn kafka_dir() -> Result<String> {
    std::env::var("WATCHBEAT_TEST_KAFKA_DIR").context("WATCHBEAT_TEST_KAFKA_DIR")
}

/// Keeps Kafka off the core under test.
pub(crate) fn pin_kafka() -> Result<()> {
    let pid = fs::read_to_string(format!("{}/kafka.pid", kafka_dir()?))?;
    pin(pid.trim().parse()?, OTHER_CORE).context("Kafka")
}

/// Keeps the database off the core under test: its server, the sessions it has, and those to come.
pub(crate) async fn pin_database(client: &Client) -> Result<()> {
    let server = stat::postgres_server(client).await?;
    pin(server, OTHER_CORE).context("the database")?;
    for child in stat::children(server)? {
        // One that has ended meanwhile needs no core.
        pin(child, OTHER_CORE).or_else(|error| if Stat::of(child).is_ok() { Err(error) } else { Ok(()) })?;
    }
    Ok(())
}

/// Keeps this program off the core under test: what it reads and writes is not to be measured.
pub(crate) fn pin_this_program() -> Result<()> {
    pin(std::process::id(), OTHER_CORE)
}

/// Puts this program on the core under test, as the floor that the role is held against.
pub(crate) fn take_the_roles_place() -> Result<()> {
    pin(std::process::id(), CORE)
}

/// Moves a process with all its threads to a core, and what it starts from now on.
fn pin(pid: u32, core: &str) -> Result<()> {
    let pinned = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", core, &pid.to_string()])
        .stdout(Stdio::null())
        .status()?;
    ensure!(pinned.success(), "taskset cannot move process {pid} to core {core}");
    Ok(())
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

/// The binary under test, with Kafka and database in its environment.
pub(crate) fn command(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("watchbeat"));
    command.args(arguments);
    command.env("WATCHBEAT_BROKERS", brokers()?).env("WATCHBEAT_DATABASE_URL", database_url()?);
    Ok(command)
}

/// Runs a command of the binary to its end: its last line on standard output, which is JSON, whatever its exit status.
pub(crate) fn told(arguments: &[&str]) -> Result<Value> {
    last_line(command(arguments)?, arguments[0])
}

/// The same without the database.
pub(crate) fn told_without_database(arguments: &[&str]) -> Result<Value> {
    let mut command = command(arguments)?;
    command.env_remove("WATCHBEAT_DATABASE_URL");
    last_line(command, arguments[0])
}

/// The same off the core under test, and without the database.
pub(crate) fn told_beside(arguments: &[&str]) -> Result<Value> {
    let mut command = pinned(&command(arguments)?, OTHER_CORE);
    command.env_remove("WATCHBEAT_DATABASE_URL");
    last_line(command, arguments[0])
}

fn last_line(mut command: Command, name: &str) -> Result<Value> {
    let output = command.args(["--log", "warn"]).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().with_context(|| format!("watchbeat {name} said nothing"))?;
    Ok(serde_json::from_str(last)?)
}

/// The same command on one core.
fn pinned(command: &Command, core: &str) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", core]).arg(command.get_program()).args(command.get_args());
    pinned.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    pinned
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
    /// Starts a role on the core under test and waits until its admin port answers.
    pub(crate) fn start(arguments: &[&str]) -> Result<Role> {
        let (admin, arguments) = with_admin(arguments)?;
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Role::serving(pinned(&command(&arguments)?, CORE), admin)
    }

    /// Starts a role on any core and waits until its admin port answers.
    pub(crate) fn start_anywhere(arguments: &[&str]) -> Result<Role> {
        let (admin, arguments) = with_admin(arguments)?;
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Role::serving(command(&arguments)?, admin)
    }

    /// Starts the floor on the core under test; it holds answers back for `hold`.
    pub(crate) fn floor(listen: SocketAddr, status: u16, hold: Duration) -> Result<Role> {
        let mut command = Command::new(std::env::current_exe()?);
        let (listen_on, status, hold) = (listen.to_string(), status.to_string(), hold.as_millis().to_string());
        command.args(["floor", "--listen", &listen_on, "--status", &status, "--hold-ms", &hold]);
        Role::serving(pinned(&command, CORE), listen)
    }

    fn serving(mut command: Command, address: SocketAddr) -> Result<Role> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut role = Role { child, started: Instant::now() };
        while TcpStream::connect(address).is_err() {
            if let Some(status) = role.child.try_wait()? {
                bail!("{command:?} ended: {status}");
            }
            if role.started.elapsed() > START_TIMEOUT {
                bail!("{command:?} does not answer on {address}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(role)
    }

    /// CPU time so far; see [`cpu`].
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu(self.child.id())
    }

    /// CPU and wall time since the start, and the most memory it ever had.
    pub(crate) fn cost(&self) -> Result<Cost> {
        Ok(Cost {
            cpu_seconds: Stat::of(self.child.id())?.cpu_seconds,
            wall_seconds: self.started.elapsed().as_secs_f64(),
            peak_bytes: stat::memory(self.child.id(), "VmHWM:")?,
        })
    }

    /// Memory it has now.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        stat::memory(self.child.id(), "VmRSS:")
    }

    /// kill -9, and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// An error when it has ended by itself: what it should do will never come.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ended.map_or(Ok(()), |status| bail!("process {} under test ended by itself: {status}", self.child.id()))
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

impl Drop for Role {
    /// kill -9.
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// CPU time of the threads that a process has now, exact to the time slice.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile; those that carry the load do not.
        let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let on_core = schedstat.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        nanoseconds += on_core.context("schedstat of the role")?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The arguments with an admin port of their own.
fn with_admin(arguments: &[&str]) -> Result<(SocketAddr, Vec<String>)> {
    let admin = free_address()?;
    let more = ["--admin-listen".to_owned(), admin.to_string(), "--log".to_owned(), "warn".to_owned()];
    Ok((admin, arguments.iter().map(|argument| (*argument).to_owned()).chain(more).collect()))
}

/// A free address of the loopback interface.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The clock; ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A whole number from the environment, for longer or shorter runs.
pub(crate) fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no whole number")),
        Err(_) => Ok(default),
    }
}
