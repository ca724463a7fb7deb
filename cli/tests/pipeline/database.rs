//! A database of its own for each test, and what is read from it.

use loadgen::tables::{self, Filter};
use playback::model::Tables;
use tokio_postgres::Client;

/// A fresh database on the test server.
pub(crate) struct Database {
    pub(crate) url: String,
}

/// The test server, or how to get one.
fn server() -> String {
    std::env::var("WATCHBEAT_TEST_DATABASE_URL").expect(
        "WATCHBEAT_TEST_DATABASE_URL is not set: run the tests with `scripts/with-services cargo test --workspace`",
    )
}

impl Database {
    /// Makes one; its name begins with `name`.
    pub(crate) async fn create(name: &str) -> Database {
        let server = server();
        let database = format!("{name}_{}", unique());
        let client = sql::migrate::connect(&server).await.unwrap();
        client.batch_execute(&format!("create database {database}")).await.unwrap();
        let (front, _) = server.rsplit_once('/').unwrap();
        Database { url: format!("{front}/{database}") }
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> Client {
        sql::migrate::connect(&self.url).await.unwrap()
    }
}

/// Every table of the database.
pub(crate) async fn all_tables(client: &Client) -> Tables {
    tables::read(client, Filter::All).await.unwrap()
}

/// How far the tables are: records in them per partition, and points that wait.
pub(crate) async fn progress(client: &Client) -> (Vec<u64>, i64) {
    let rows =
        client.query("select partition, next_offset, waiting from watchbeat.progress order by partition", &[]).await;
    let Ok(rows) = rows else { return (Vec::new(), 0) };
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
