//! What Linux accounts to processes: `/proc/PID/stat`, see proc_pid_stat(5).

use crate::role;
use anyhow::{Context, Result};
use std::fs;
use tokio_postgres::Client;

/// Clock ticks of /proc a second, on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process as it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    parent: u32,
    pub(crate) cpu_seconds: f64,
    /// Of its children that have ended.
    ended_cpu_seconds: f64,
}

impl Stat {
    pub(crate) fn of(pid: u32) -> Result<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name before the parenthesis may hold anything.
        let (_, fields) = text.rsplit_once(')').with_context(|| format!("stat of process {pid}"))?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |index: usize| fields.get(index).with_context(|| format!("stat of process {pid}"));
        let seconds = |index: usize| Ok::<_, anyhow::Error>(field(index)?.parse::<f64>()? / TICKS_PER_SECOND);
        Ok(Stat {
            parent: field(1)?.parse()?,
            cpu_seconds: seconds(11)? + seconds(12)?,
            ended_cpu_seconds: seconds(13)? + seconds(14)?,
        })
    }
}

/// Bytes of memory of a process, as `/proc/PID/status` names them: `VmRSS:` has those it has now, `VmHWM:` those it had at most.
pub(crate) fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|value| value.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{name} of process {pid}"))? * 1_024)
}

/// CPU seconds of the servers so far.
pub(crate) struct Servers {
    pub(crate) kafka: f64,
    pub(crate) postgres: f64,
}

impl Servers {
    pub(crate) async fn now(client: &Client) -> Result<Servers> {
        let server = postgres_server(client).await?;
        Ok(Servers { kafka: kafka_cpu_seconds()?, postgres: postgres_cpu_seconds(server)? })
    }
}

/// CPU seconds of the test Kafka so far.
fn kafka_cpu_seconds() -> Result<f64> {
    let pid = fs::read_to_string(format!("{}/kafka.pid", role::kafka_dir()?))?;
    Ok(Stat::of(pid.trim().parse()?)?.cpu_seconds)
}

/// The process of the PostgreSQL server that has this session.
pub(crate) async fn postgres_server(client: &Client) -> Result<u32> {
    let backend: i32 = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
    Ok(Stat::of(u32::try_from(backend)?)?.parent)
}

/// Processes that a process has started and that have not ended.
pub(crate) fn children(parent: u32) -> Result<Vec<u32>> {
    let processes = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(processes.filter(|pid| Stat::of(*pid).is_ok_and(|stat| stat.parent == parent)).collect())
}

/// CPU seconds so far of a PostgreSQL server, all its sessions included.
fn postgres_cpu_seconds(server: u32) -> Result<f64> {
    let itself = Stat::of(server)?;
    // One that ends meanwhile is missed: sessions of this program last.
    let children = children(server)?.into_iter().filter_map(|pid| Stat::of(pid).ok());
    Ok(itself.cpu_seconds + itself.ended_cpu_seconds + children.map(|child| child.cpu_seconds).sum::<f64>())
}
