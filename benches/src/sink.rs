//! The sink from published partials to committed rows, on one core; the database and Kafka have the other. Then the
//! floor: nothing but the upserts of the same epochs, merged beforehand into batches of the same size, on the core that the
//! sink had.

use crate::figures::{print_line, round_2};
use crate::process::process;
use crate::role::{self, Role, setting};
use anyhow::{Context, Result};
use playback::texts::Texts;
use serde_json::json;
use sink::merge::{Merged, MergedTable, OrderedRows, Work};
use sink::upsert;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Transaction};
use topic::{FromTheStart, KafkaSettings, Log, Record};

/// Of a backlog of a dozen transactions as shipped: while the first is merged nothing is written.
const HEARTBEATS: u64 = 64_000_000;
/// The tables, whose writes PostgreSQL counts by itself.
const WRITTEN: &str = "select coalesce(sum(n_tup_ins + n_tup_upd), 0)::bigint from pg_stat_user_tables where schemaname = 'watchbeat' and relname <> 'progress'";
/// Empty tables again, as at the start.
const EMPTY: &str = "do $$ declare name text; begin
    for name in select tablename from pg_tables where schemaname = 'watchbeat' and tablename not in ('migrations', 'videos')
    loop execute format('truncate watchbeat.%I', name); end loop; end $$";
/// Rows that the sink did not write yet when it was asked are few.
const NAP: Duration = Duration::from_millis(20);

pub(crate) async fn run() -> Result<()> {
    let heartbeats = setting("HEARTBEATS", HEARTBEATS)?;
    process(heartbeats).await?;
    let mut client = sql::database::connect(&role::database_url()?).await?;
    role::pin_database(&client).await?;
    let (written, sink) = sink(&client, heartbeats).await?;
    let rows_per_second = written as f64 / sink.writing_seconds;
    let batches = tokio::task::spawn_blocking(move || batches(heartbeats)).await??;
    client.batch_execute(EMPTY).await?;
    client.batch_execute("checkpoint").await?;
    role::take_the_roles_place()?;
    let (floor_rows, floor_seconds) = floor(&mut client, &batches).await?;
    let floor_rows_per_second = floor_rows as f64 / floor_seconds;
    print_line(&json!({
        "bench": "sink",
        "ratio_to_floor": round_2(rows_per_second / floor_rows_per_second),
        "rows_per_second": rows_per_second.round(),
        "floor_rows_per_second": floor_rows_per_second.round(),
        "us_per_row": sink.cost.cpu_seconds * 1e6 / written as f64,
        "heartbeats": heartbeats,
        "heartbeats_per_second": (heartbeats as f64 / sink.writing_seconds).round(),
        "rows_written": written,
        "floor_rows_written": floor_rows,
        "cpu_seconds": sink.cost.cpu_seconds,
        "writing_seconds": round_2(sink.writing_seconds),
        "peak_bytes": sink.cost.peak_bytes,
    }));
    Ok(())
}

struct Sunk {
    cost: role::Cost,
    /// From the first partition that is assigned to the last row: joining the consumer group writes nothing.
    writing_seconds: f64,
}

/// Runs the sink over all partials; how many rows that wrote, and what it cost.
async fn sink(client: &Client, heartbeats: u64) -> Result<(i64, Sunk)> {
    let mut role = Role::start(&["sink"])?;
    let mut assigned = None;
    loop {
        role.ensure_running()?;
        let progress = "select count(*), coalesce(sum(next_offset - ticks), 0)::bigint from watchbeat.progress";
        let row = client.query_one(progress, &[]).await?;
        if row.get::<_, i64>(0) > 0 {
            assigned.get_or_insert_with(Instant::now);
        }
        if row.get::<_, i64>(1) >= heartbeats as i64 {
            break;
        }
        tokio::time::sleep(NAP).await;
    }
    let writing_seconds = assigned.context("nothing was assigned")?.elapsed().as_secs_f64();
    let cost = role.cost()?;
    drop(role); // PostgreSQL tells its counts when a session ends
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok((client.query_one(WRITTEN, &[]).await?.get(0), Sunk { cost, writing_seconds }))
}

/// All partials, merged as the sink does when it is behind.
fn batches(heartbeats: u64) -> Result<Vec<OrderedRows>> {
    let log = Log::kafka(&KafkaSettings { brokers: role::brokers()?, client: Vec::new() })?;
    let mut consumer = log.consumer("partials", "floor", Box::new(FromTheStart))?;
    let rows = setting("WATCHBEAT_FLUSH_ROWS", sink::limits::FLUSH_ROWS as u64)? as usize;
    let mut batches = vec![Merged::default()];
    let mut covered: HashMap<u32, u64> = HashMap::new();
    while covered.values().sum::<u64>() < heartbeats {
        let mut added = Ok(());
        let mut add = |record: &Record<'_>| -> Result<()> {
            let partial = sql::codec::decode(record.value)?;
            // The ledger counts from the first record; ticks are on the log, too, and nobody's heartbeats.
            let ticks = partial.ledger.as_ref().context("a partial has a ledger")?.ticks;
            covered.insert(partial.partition, partial.to - ticks);
            let last = batches.last_mut().context("there is always a batch")?;
            last.add(&partial)?;
            if last.rows() >= rows {
                batches.push(Merged::default());
            }
            Ok(())
        };
        consumer.poll(NAP, 100, &mut |records| {
            if added.is_ok() {
                added = records.iter().try_for_each(&mut add);
            }
        })?;
        added?;
    }
    Ok(batches.into_iter().map(Merged::ordered).collect())
}

/// Runs nothing but the upserts, one transaction per batch; returns their rows, and the time without that for the parameters.
async fn floor(client: &mut Client, batches: &[OrderedRows]) -> Result<(u64, f64)> {
    let (mut rows, mut took) = (0, Duration::ZERO);
    for batch in batches {
        let mut tables: Vec<&(MergedTable, Work)> = batch.tables.iter().collect();
        tables.sort_unstable_by_key(|(table, _)| upsert::write_order(table));
        let transaction = client.transaction().await?;
        for (table, work) in tables {
            rows += upsert_all(&transaction, table, &batch.texts, &work.upserts, &mut took).await?;
        }
        let started = Instant::now();
        transaction.commit().await?;
        took += started.elapsed();
    }
    Ok((rows, took.as_secs_f64()))
}

async fn upsert_all(
    transaction: &Transaction<'_>,
    table: &MergedTable,
    texts: &Texts,
    upserts: &[u32],
    took: &mut Duration,
) -> Result<u64> {
    let statement = transaction.prepare(&upsert::upsert(table)).await?;
    let mut rows = 0;
    for chunk in upserts.chunks(sink::limits::ROWS_PER_STATEMENT) {
        let arrays = upsert::stored_arrays(table, texts, chunk);
        let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect();
        let started = Instant::now();
        rows += transaction.execute(&statement, &parameters).await?;
        *took += started.elapsed();
    }
    Ok(rows)
}
