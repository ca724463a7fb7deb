//! The gateway over HTTP with acks=all on a real Kafka, on one core, held against the floor: what a bare epoll server uses
//! for the same requests on the same core in the same minute. Then latencies by an open load.

use crate::figures::{Figures, median, print_line, round_2};
use crate::load::{self, Plan};
use crate::role::{self, Role, setting};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

const PARTITIONS: u32 = 4;
/// More connections for an open load, so that hardly a request has to wait for one.
const OPEN_FACTOR: usize = 4;
/// What the floor answers: 204, or with 202 as many bytes as the gateway.
const FLOOR_STATUS: u64 = 204;
/// How long the holding floor waits before it answers: the longest that the gateway waits for company before the log has
/// anything.
const HOLD: Duration = Duration::from_millis(4);
const WARM_UP: Duration = Duration::from_secs(1);

/// How long and how wide the loads are.
struct Bench {
    connections: usize,
    duration: Duration,
}

/// One round of all closed loads.
struct Round {
    floor: Figures,
    holding_floor: Figures,
    floor_64: Figures,
    single: Figures,
    single_64: Figures,
    batch: Figures,
}

pub(crate) fn run() -> Result<()> {
    role::pin_kafka()?;
    role::migrate(PARTITIONS)?;
    let bench = Bench {
        connections: setting("CONNECTIONS", 256)? as usize,
        duration: Duration::from_secs(setting("SECONDS", 5)?),
    };
    let (floor_at, holding_at, gateway_at) = (role::free_address()?, role::free_address()?, role::free_address()?);
    let status = setting("FLOOR_STATUS", FLOOR_STATUS)? as u16;
    let floor = Role::floor(floor_at, status, Duration::ZERO)?;
    let holding_floor = Role::floor(holding_at, status, HOLD)?;
    let gateway = Role::start(&["ingest", "--listen", &gateway_at.to_string()])?;
    let rounds: Vec<Round> = (0..setting("ROUNDS", 5)?.max(1))
        .map(|_| {
            Ok(Round {
                floor: bench.closed(&floor, floor_at, bench.connections, 1)?,
                holding_floor: bench.closed(&holding_floor, holding_at, bench.connections, 1)?,
                single: bench.closed(&gateway, gateway_at, bench.connections, 1)?,
                floor_64: bench.closed(&floor, floor_at, 64, 1)?,
                single_64: bench.closed(&gateway, gateway_at, 64, 1)?,
                batch: bench.closed(&gateway, gateway_at, bench.connections, 12)?,
            })
        })
        .collect::<Result<_>>()?;
    let rate = median(&rounds, |round| round.single.rate());
    let open = |share: f64| -> Result<Value> {
        let figures = bench.open(&gateway, gateway_at, (rate * share).round())?;
        Ok(json!({
            "rate": (rate * share).round(),
            "p50_ms": figures.latency_ms(0.5),
            "p99_ms": figures.latency_ms(0.99),
            "p999_ms": figures.latency_ms(0.999),
            "us_per_request": round_2(figures.server_us()),
        }))
    };
    let (half, most) = (open(0.5)?, open(0.8)?);
    let us = |of: fn(&Round) -> &Figures| round_2(median(&rounds, |round| of(round).server_us()));
    print_line(&json!({
        "bench": "gateway",
        "ratio_single": round_2(median(&rounds, ratio)),
        "ratio_single_64": round_2(median(&rounds, |round| round.single_64.server_us() / round.floor_64.server_us())),
        "ratio_single_to_holding_floor":
            round_2(median(&rounds, |round| round.single.server_us() / round.holding_floor.server_us())),
        "ratios": rounds.iter().map(|round| round_2(ratio(round))).collect::<Vec<_>>(),
        "floor_us": us(|round| &round.floor),
        "holding_floor_us": us(|round| &round.holding_floor),
        "floor_us_64": us(|round| &round.floor_64),
        "us_per_request_single": us(|round| &round.single),
        "us_per_request_single_64": us(|round| &round.single_64),
        "us_per_heartbeat_batch12": round_2(median(&rounds, |round| round.batch.server_us() / 12.0)),
        // What a whole core is good for, by CPU time; Kafka and the load on the other core may allow less.
        "requests_per_second_per_core": (1e6 / median(&rounds, |round| round.single.server_us())).round(),
        "requests_per_second_seen": rate.round(),
        "core_used": round_2(median(&rounds, |round| round.single.server_cpu_seconds / round.single.wall_seconds)),
        "floor_requests_per_second_seen": median(&rounds, |round| round.floor.rate()).round(),
        "floor_core_used": round_2(median(&rounds, |round| round.floor.server_cpu_seconds / round.floor.wall_seconds)),
        "load_us_per_request": round_2(median(&rounds, |round| round.single.load_us())),
        "open_loop": {"50": half, "80": most},
        "rounds": rounds.len(),
        "seconds": bench.duration.as_secs(),
        "connections": bench.connections,
        "peak_bytes": gateway.cost()?.peak_bytes,
    }));
    Ok(())
}

impl Bench {
    /// As many requests as are answered.
    fn closed(&self, server: &Role, target: SocketAddr, connections: usize, reports: usize) -> Result<Figures> {
        let plan =
            Plan { target, key: None, connections, reports, rate: None, warm_up: WARM_UP, duration: self.duration };
        load::run(&plan, &|| server.cpu())?.all_taken().with_context(|| {
            format!("closed load on {target} with {connections} connections, {reports} reports a request")
        })
    }

    /// Single reports at a constant rate.
    fn open(&self, server: &Role, target: SocketAddr, rate: f64) -> Result<Figures> {
        let connections = self.connections * OPEN_FACTOR;
        let plan = Plan {
            target,
            key: None,
            connections,
            reports: 1,
            rate: Some(rate),
            warm_up: WARM_UP,
            duration: self.duration,
        };
        load::run(&plan, &|| server.cpu())?.all_taken()
    }
}

fn ratio(round: &Round) -> f64 {
    round.single.server_us() / round.floor.server_us()
}
