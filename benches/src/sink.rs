//! The sink from published partials to committed rows, on one core; the database has the others.

use crate::process::{print_line, process};
use crate::role::{self, Role, setting};
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

/// The tables, whose writes PostgreSQL counts by itself.
const WRITTEN: &str = "select coalesce(sum(n_tup_ins + n_tup_upd), 0)::bigint from pg_stat_user_tables where schemaname = 'watchbeat' and relname <> 'progress'";

pub(crate) async fn run() -> Result<()> {
    let heartbeats = setting("HEARTBEATS", 2_000_000);
    process(heartbeats).await?;
    let client = sql::migrate::connect(&role::database_url()?).await?;
    let role = Role::start(&["sink"])?;
    loop {
        let rows = client
            .query_one("select coalesce(sum(next_offset - ticks), 0)::bigint from watchbeat.progress", &[])
            .await?;
        if rows.get::<_, i64>(0) >= heartbeats as i64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cost = role.cost()?;
    drop(role); // PostgreSQL tells its counts when a session ends
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written: i64 = client.query_one(WRITTEN, &[]).await?.get(0);
    print_line(&json!({
        "bench": "sink",
        "heartbeats": heartbeats,
        "rows_written": written,
        "rows_per_second": (written as f64 / cost.wall_seconds).round(),
        "us_per_row": cost.cpu_seconds * 1e6 / written as f64,
        "heartbeats_per_second": (heartbeats as f64 / cost.wall_seconds).round(),
        "cpu_seconds": cost.cpu_seconds,
        "wall_seconds": cost.wall_seconds,
        "peak_bytes": cost.peak_bytes,
    }));
    Ok(())
}
