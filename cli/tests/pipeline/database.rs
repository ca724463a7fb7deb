//! What is read from a test's database.

use loadgen::tables::{self, Filter};
use playback::tables::Tables;
use tokio_postgres::Client;

/// Every table of the database.
pub(crate) async fn all_tables(client: &Client) -> Tables {
    tables::read(client, Filter::All).await.unwrap()
}

/// How far the tables are: records in them per partition, and points that wait.
pub(crate) async fn progress(client: &Client) -> (Vec<u64>, i64) {
    let query = "select partition, next_offset, waiting from watchbeat.progress order by partition";
    let Ok(rows) = client.query(query, &[]).await else { return (Vec::new(), 0) };
    let offsets = rows.iter().map(|row| row.get::<_, i64>(1) as u64).collect();
    (offsets, rows.iter().map(|row| row.get::<_, i64>(2)).sum())
}

/// A name that no other test run has.
pub(crate) fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    format!("{now}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
