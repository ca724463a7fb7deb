//! The way to the database: one connection, or a pool of them. What is asked over them is not decided here.

use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;

use crate::caps;

pub use deadpool_postgres::{Client as Connection, Pool, PoolError, Transaction};

/// Why there can be no pool.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is none.
    #[error("the database URL is not usable: {0}")]
    Url(tokio_postgres::Error),
    /// The pool could not be made.
    #[error("the connection pool could not be made: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// Opens one connection, driven by a task of its own that ends with the client.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a database connection has ended");
        }
    });
    Ok(client)
}

/// A pool of at most `size` connections; none is made yet. Recycled without `discard all`, which would drop the prepared
/// statements (and which YugabyteDB's connection manager takes badly).
pub fn pool(url: &str, size: usize) -> Result<Pool, OpenError> {
    let config: tokio_postgres::Config = url.parse().map_err(OpenError::Url)?;
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let pool = Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(caps::CONNECT_TIMEOUT))
        .wait_timeout(Some(caps::CONNECT_TIMEOUT))
        .build()?;
    Ok(pool)
}
