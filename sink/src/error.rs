//! What ends a sink, one line each, with the way out.

use sql::database::PoolError;

use crate::chain::ChainError;
use crate::merge::MergeError;

/// Why a sink cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A message that is no partial.
    #[error("partials partition {partition} offset {offset}: {source}")]
    Codec {
        /// Partition.
        partition: u32,
        /// Offset on `partials`.
        offset: u64,
        /// What is wrong.
        source: sql::codec::CodecError,
    },
    /// A message that does not belong here.
    #[error(
        "partials partition {partition} offset {offset} is of pipeline {pipeline:?} partition {claimed}: each pipeline has a topic of partials of its own, see the --pipeline and --topic-prefix of who writes here"
    )]
    Stranger {
        /// Partition.
        partition: u32,
        /// Offset on `partials`.
        offset: u64,
        /// Pipeline it names.
        pipeline: String,
        /// Partition it names.
        claimed: u32,
    },
    /// The chain of epochs is broken.
    #[error("partition {partition}, partials offset {offset}: {source}")]
    Chain {
        /// Partition.
        partition: u32,
        /// Offset on `partials`.
        offset: u64,
        /// How.
        source: ChainError,
    },
    /// Rows that cannot be merged.
    #[error("partition {partition}, partials offset {offset}: {source}")]
    Merge {
        /// Partition.
        partition: u32,
        /// Offset on `partials`.
        offset: u64,
        /// Why.
        source: MergeError,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] topic::LogError),
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Told to stop before the database answered.
    #[error("stopped while waiting for the database")]
    Stopped,
}

/// What the database, or the way to it, answered.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No connection.
    #[error("no connection to the database: {}", sql::database::with_causes(.0))]
    Pool(#[from] PoolError),
    /// A statement failed.
    #[error("the database refused: {0}{detail}", detail = detail(.0))]
    Query(#[from] tokio_postgres::Error),
    /// No answer.
    #[error("the database did not answer in time")]
    TimedOut,
    /// No answer to a transaction; it is not repeated as it is.
    #[error("a transaction took too long")]
    GivenUp,
    /// The tables are another pipeline's.
    #[error(
        "the database has the tables of pipeline {other:?}, and {pipeline:?} would count the same log once more on top of them: each pipeline needs a database of its own, see --database-url and --pipeline"
    )]
    Taken {
        /// The sink's own.
        pipeline: String,
        /// Whose epochs are in the tables.
        other: String,
    },
    /// Meanwhile another sink has begun the tables with epochs made with different crediting.
    #[error(
        "epochs of fingerprint {found} cannot join tables of {expected}: changed crediting or SQL needs a new pipeline name and a database of its own"
    )]
    Mixed {
        /// Of the epochs.
        found: String,
        /// Of the tables.
        expected: String,
    },
}

/// What a server said, which the error's own text leaves out.
fn detail(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map(|said| format!(" ({}: {})", said.code().code(), said.message())).unwrap_or_default()
}
