//! Writes epochs from the topic `partials` into the tables, each exactly once. The guard is `progress.next_offset`: a
//! transaction begins by moving it from where its epochs begin to where they end, and writes nothing when somebody else
//! has moved it. The sink writes what the messages say: the only tables it knows are `progress` and `owner`; of the others it
//! knows only in which order to write those whose rows many partitions share ([`upsert::write_order`]). It never reads
//! heartbeats.

pub mod chain;
mod database;
mod error;
mod intake;
pub mod limits;
pub mod merge;
mod meters;
mod owner;
mod pace;
mod progress;
mod run;
mod transaction;
pub mod upsert;
mod writing;

pub use error::{DatabaseError, SinkError};
pub use run::run;

/// What a sink is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Topic it reads; partition p carries the epochs of partition p of `heartbeats`.
    pub partials_topic: String,
    /// Consumer group, which shares the partitions among sinks.
    pub group: String,
    /// Pipeline it writes for; messages of another one are refused.
    pub pipeline: String,
    /// A transaction is due this long after its first message, in ms.
    pub flush_ms: u64,
    /// ... or at this many merged rows.
    pub flush_rows: usize,
}
