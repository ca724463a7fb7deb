//! The gateway over HTTP with acks=all on a real Kafka, on one core: one report per request, then twelve.

use crate::process::print_line;
use crate::role::{self, Cost, Role, free_port, now_ms, setting};
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: u64 = 64;
const PARTITIONS: u32 = 4;

/// Requests answered, and what they cost the gateway.
struct Load {
    requests: u64,
    cpu_seconds: f64,
    wall_seconds: f64,
}

pub(crate) async fn run() -> Result<()> {
    role::migrate(PARTITIONS)?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let role = Role::start(&["ingest", "--listen", &listen])?;
    let duration = Duration::from_secs(setting("SECONDS", 10));
    load(&listen, 1, Duration::from_secs(2), &role).await?; // warm
    let single = load(&listen, 1, duration, &role).await?;
    let twelve = load(&listen, 12, duration, &role).await?;
    let Cost { peak_bytes, .. } = role.cost()?;
    print_line(&json!({
        "bench": "gateway",
        "connections": CONNECTIONS,
        "us_per_request_single": single.cpu_seconds * 1e6 / single.requests as f64,
        "requests_per_second_single": (single.requests as f64 / single.wall_seconds).round(),
        "us_per_heartbeat_batch12": twelve.cpu_seconds * 1e6 / (twelve.requests * 12) as f64,
        "heartbeats_per_second_batch12": (twelve.requests as f64 * 12.0 / twelve.wall_seconds).round(),
        "peak_bytes": peak_bytes,
    }));
    Ok(())
}

/// As many requests as the gateway answers, each connection one after another.
async fn load(listen: &str, reports: u64, duration: Duration, role: &Role) -> Result<Load> {
    let before = role.cost()?;
    let until = Instant::now() + duration;
    let players: Vec<_> =
        (0..CONNECTIONS).map(|viewer| tokio::spawn(play(listen.to_owned(), viewer, reports, until))).collect();
    let mut requests = 0;
    for player in players {
        requests += player.await??;
    }
    let after = role.cost()?;
    let (cpu_seconds, wall_seconds) =
        (after.cpu_seconds - before.cpu_seconds, after.wall_seconds - before.wall_seconds);
    Ok(Load { requests, cpu_seconds, wall_seconds })
}

async fn play(listen: String, viewer: u64, reports: u64, until: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(&listen).await?;
    stream.set_nodelay(true)?;
    let (mut seq, mut requests, mut answer) = (0, 0, vec![0; 1_024]);
    while Instant::now() < until {
        let body: Vec<_> = (seq..seq + reports).map(|seq| report(viewer, seq)).collect();
        let body = if reports == 1 { body[0].clone() } else { format!("[{}]", body.join(",")) };
        seq = (seq + reports) % 500_000;
        let request = format!(
            "POST /v1/heartbeats HTTP/1.1\r\nHost: {listen}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let length = stream.read(&mut answer).await?;
        ensure!(
            answer[..length].starts_with(b"HTTP/1.1 202"),
            "the gateway answered {}",
            String::from_utf8_lossy(&answer[..length])
        );
        requests += 1;
    }
    Ok(requests)
}

fn report(viewer: u64, seq: u64) -> String {
    format!(
        r#"{{"session_id":"0190a2b4-77c3-7d11-9e2f-{viewer:012}","seq":{seq},"user_id":"user-{viewer:08}","video_id":"title-00042","event_time":{},"from_ms":{},"position_ms":{},"played_ms":5000,"territory":"DE","device":"tv"}}"#,
        now_ms(),
        seq * 100,
        seq * 100 + 5_000,
    )
}
