//! One site under attack on others: latencies of a quiet site alone, and while thousands of connections dawdle and a noisy
//! site sends ten times what it may. Gateway on core 1; quiet load, attackers and Kafka on core 0. The attackers are a
//! process of lower priority than Kafka and the quiet load is a thread of higher priority, so that it measures the gateway,
//! not the core.

use crate::attack::raise_open_files;
use crate::figures::{Figures, median, print_line, round_2};
use crate::load::{self, Plan};
use crate::role::{self, Role, setting};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const PARTITIONS: u32 = 4;
/// Reports a second of the site that is watched.
const QUIET_RATE: u64 = 1_000;
/// What the noisy site may send; it sends ten times that.
const NOISY_ALLOWANCE: u64 = 1_000;
/// By how much, at most, an attack may multiply the p99 of a quiet site.
const MOST_RATIO: f64 = 2.0;
/// Connections that dawdle, and those of one address that opens far more than it may.
const SLOW: u64 = 10_000;
const GREEDY: u64 = 3_000;

pub(crate) fn run() -> Result<()> {
    raise_open_files()?;
    role::pin_kafka()?;
    role::migrate(PARTITIONS)?;
    let dir = tempfile::tempdir()?;
    let keys = dir.path().join("keys.json");
    let noisy = json!({"key": "noisy", "site": "noisy", "reports_per_second": NOISY_ALLOWANCE});
    std::fs::write(&keys, json!([{"key": "quiet", "site": "quiet"}, noisy]).to_string())?;
    let target = role::free_address()?;
    let gateway = Role::start(&["ingest", "--listen", &target.to_string(), "--keys", &keys.to_string_lossy()])?;
    let mut rounds = Vec::new();
    for _ in 0..setting("ROUNDS", 3)?.max(1) {
        let alone = quiet(&gateway, target)?;
        let attackers = Attackers::start(target)?;
        let attacked = quiet(&gateway, target)?;
        rounds.push((alone, attacked, attackers.stop()?));
    }
    let p99 = |of: fn(&(Figures, Figures, Value)) -> &Figures| median(&rounds, |round| of(round).latency_ms(0.99));
    let (alone, attacked) = (p99(|round| &round.0), p99(|round| &round.1));
    let errors: u64 = rounds.iter().map(|(alone, attacked, _)| alone.errors() + attacked.errors()).sum();
    let each = |of: fn(&(Figures, Figures, Value)) -> &Figures| -> Vec<f64> {
        rounds.iter().map(|round| of(round).latency_ms(0.99)).collect()
    };
    let attacks: Vec<&Value> = rounds.iter().map(|(.., attack)| attack).collect();
    let refused = |attack: &&Value| attack["noisy_answers"]["429"].as_u64().unwrap_or(0);
    let noisy_refused: u64 = attacks.iter().map(refused).sum();
    print_line(&json!({
        "bench": "armour",
        "p99_ms_quiet": alone,
        "p99_ms_attacked": attacked,
        "ratio": round_2(attacked / alone),
        "errors": errors,
        "noisy_429": noisy_refused,
        "quiet_requests_per_second": QUIET_RATE,
        "p99_ms_quiet_rounds": each(|round| &round.0),
        "p99_ms_attacked_rounds": each(|round| &round.1),
        "core_used_attacked": round_2(median(&rounds, |round| round.1.server_cpu_seconds / round.1.wall_seconds)),
        "attacks": attacks,
        "rounds": rounds.len(),
    }));
    ensure!(errors == 0, "{errors} requests of the quiet site were not taken");
    ensure!(
        attacks.iter().all(|attack| refused(attack) > 0),
        "a round refused nothing of the noisy site: it was no attack"
    );
    ensure!(attacked <= alone * MOST_RATIO, "the quiet site waited {attacked} ms under attack, {alone} ms without");
    Ok(())
}

/// The site that is watched.
fn quiet(gateway: &Role, target: SocketAddr) -> Result<Figures> {
    let plan = Plan {
        target,
        key: Some("quiet"),
        connections: 256,
        reports: 1,
        rate: Some(setting("QUIET_RATE", QUIET_RATE)? as f64),
        warm_up: Duration::from_secs(2),
        duration: Duration::from_secs(setting("SECONDS", 10)?),
    };
    load::run(&plan, &|| gateway.cpu())
}

/// The process that attacks.
struct Attackers {
    child: Child,
    told: BufReader<ChildStdout>,
}

impl Attackers {
    /// Starts them, and waits until all have come.
    fn start(target: SocketAddr) -> Result<Attackers> {
        let (slow, greedy) = (setting("SLOW", SLOW)?, setting("GREEDY", GREEDY)?);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["attack", "--target", &target.to_string(), "--key", "noisy"]);
        command.args(["--rate", &(NOISY_ALLOWANCE * 10).to_string()]);
        command.args(["--slow", &slow.to_string(), "--greedy", &greedy.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let told = BufReader::new(child.stdout.take().context("no output of the attackers")?);
        let mut attackers = Attackers { child, told };
        let ready = attackers.line()?;
        let open = ready["slow_connections"].as_u64().unwrap_or(0);
        ensure!(open * 100 >= slow * 95, "only {open} of {slow} slow connections could be opened");
        Ok(attackers)
    }

    /// Ends them; says what they did.
    fn stop(mut self) -> Result<Value> {
        drop(self.child.stdin.take());
        self.line()
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.told.read_line(&mut line)?;
        serde_json::from_str(&line).context("the attackers ended without a word")
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}
