//! A database of its own for a test, on the PostgreSQL that `scripts/with-services` starts; gone with the test. Not
//! part of any binary: behind the feature `testing`.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::Client;

use crate::database::{Database, Pool, connect};

/// Where the tests find a PostgreSQL in which they may create databases.
pub const URL_VARIABLE: &str = "WATCHBEAT_TEST_DATABASE_URL";

/// An empty database; dropped with this value.
pub struct TestDatabase {
    server_url: String,
    name: String,
    url: String,
}

impl TestDatabase {
    /// Creates it. Panics without the variable: a test that needs a database does not pass by leaving it out.
    pub async fn create() -> TestDatabase {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server_url = std::env::var(URL_VARIABLE).unwrap_or_else(|_| {
            panic!(
                "{URL_VARIABLE} is not set: run the tests by scripts/with-services, which starts PostgreSQL and sets it"
            )
        });
        let name = format!("watchbeat_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let server = connect(&server_url).await.expect("the PostgreSQL of the tests answers");
        let left_over = format!("drop database if exists {name} with (force)");
        server.batch_execute(&left_over).await.expect("a left-over database can be dropped");
        server.batch_execute(&format!("create database {name}")).await.expect("a database can be created");
        let url = with_database(&server_url, &name);
        TestDatabase { server_url, name, url }
    }

    /// URL of the database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same, opened.
    #[must_use]
    pub fn database(&self) -> Database {
        Database::new(&self.url, None).expect("the URL of the tests' PostgreSQL is one")
    }

    /// A pool of connections to it.
    #[must_use]
    pub fn pool(&self, size: usize) -> Pool {
        self.database().pool(size).expect("a pool without connections can be made")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (url, name) = (self.server_url.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let server = connect(&url).await?;
                server.batch_execute(&format!("drop database if exists {name} with (force)")).await?;
                Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
            })
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            tracing::warn!(database = self.name, "a test database could not be dropped");
        }
    }
}

/// Makes each connection fail once when it reads rows of a table, as YugabyteDB does when others write meanwhile. A read
/// cannot count; a lock that outlives the transaction records which connection has failed already.
pub async fn conflict_once(client: &Client, table: &str) {
    let make = format!(
        "create function watchbeat.conflict_once() returns boolean language plpgsql as $$ begin
            if not exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) then
                perform pg_advisory_lock(pg_backend_pid());
                raise 'Restart read required' using errcode = '40001';
            end if;
            return true; end $$;
        alter table watchbeat.{table} rename to {table}_rows;
        create view watchbeat.{table} as select * from watchbeat.{table}_rows where watchbeat.conflict_once();"
    );
    client.batch_execute(&make).await.expect("the table is there, and no other has been changed so");
}

/// `url` with its path replaced: `postgres://user@host:port/other?x=y` leads to the same server.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) = match url.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (url, String::new()),
    };
    let authority_from = base.find("://").map_or(0, |at| at + 3);
    let authority_to = base[authority_from..].find('/').map_or(base.len(), |at| authority_from + at);
    format!("{}/{name}{query}", &base[..authority_to])
}
