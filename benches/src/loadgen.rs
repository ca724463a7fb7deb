//! What the load generator costs beside the gateway that it loads, each on a core of its own: a load that costs as much as what
//! it measures leaves half a machine for the measurement.

use crate::figures::{median, print_line, round_2};
use crate::role::{self, Role, setting};
use anyhow::{Context, Result, ensure};
use serde_json::json;

const PARTITIONS: u32 = 4;
const VIEWERS: &str = "75000";

/// What a request cost the load and the gateway; µs.
struct Round {
    load: f64,
    gateway: f64,
}

pub(crate) fn run() -> Result<()> {
    role::pin_kafka()?;
    role::migrate(PARTITIONS)?;
    let listen = role::free_address()?;
    let gateway = Role::start(&["ingest", "--listen", &listen.to_string()])?;
    let (target, seconds) = (format!("http://{listen}"), setting("SECONDS", 15)?.to_string());
    let rounds = |batch: u64, rate: u64| -> Result<Vec<Round>> {
        let (batch, rate) = (batch.to_string(), rate.to_string());
        let connections = setting("CONNECTIONS", 256)?.to_string();
        let arguments = ["--batch", &batch, "--rate", &rate, "--connections", &connections, "--duration", &seconds];
        let arguments = [["loadgen", "--target", &target, "--viewers", VIEWERS].as_slice(), &arguments].concat();
        (0..setting("ROUNDS", 3)?.max(1)).map(|_| round(&gateway, &arguments)).collect()
    };
    let single = rounds(1, setting("RATE", 15_000)?)?;
    let batch = rounds(12, setting("RATE_BATCH12", 5_000)?)?;
    let ratio = |rounds: &[Round]| round_2(median(rounds, |round| round.load / round.gateway));
    let us = |rounds: &[Round], of: fn(&Round) -> f64| round_2(median(rounds, of));
    print_line(&json!({
        "bench": "loadgen",
        "ratio_single": ratio(&single),
        "ratio_batch12": ratio(&batch),
        "load_us_per_request_single": us(&single, |round| round.load),
        "gateway_us_per_request_single": us(&single, |round| round.gateway),
        "load_us_per_request_batch12": us(&batch, |round| round.load),
        "gateway_us_per_request_batch12": us(&batch, |round| round.gateway),
        "rounds": single.len(),
    }));
    Ok(())
}

fn round(gateway: &Role, arguments: &[&str]) -> Result<Round> {
    let before = gateway.cpu()?;
    let told = role::told_beside(arguments)?;
    let spent = gateway.cpu()?.saturating_sub(before);
    // What was refused or tried again has cost both, and counts for none.
    for wrong in ["rejected", "failures"] {
        ensure!(told[wrong].as_object().is_some_and(|all| all.is_empty()), "the load has {wrong}: {}", told[wrong]);
    }
    let figure = |name: &str| told[name].as_f64().with_context(|| format!("{name} of the load"));
    Ok(Round { load: figure("load_us_per_request")?, gateway: spent.as_secs_f64() * 1e6 / figure("requests")? })
}
