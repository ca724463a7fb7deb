//! The gateway: takes heartbeats over HTTP, checks them and appends them to the log before it answers.
//!
//! What a valid report is belongs to `playback`; what becomes of it afterwards is the processor's business. The HTTP
//! contract is `docs/api.md`.

mod access;
mod adapters;
mod answer;
mod appender;
mod body;
mod by_topic;
mod clock;
mod consent;
mod dead_letter;
mod detour;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod grant;
mod incoming;
mod keys;
mod limits;
mod meters;
mod net;
mod outlet;
mod problem;
mod pseudonym;
mod queue;
mod rate;
mod records;
mod redaction;
mod replay;
mod server;
mod settings;
mod spool_writer;
mod token;
mod topic_watch;
mod topics;
mod trace;
mod trouble;
mod untaken;
mod verdict;
mod worker;

pub use limits::{MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS as CONNECTIONS_PER_ADDRESS, MAX_REPORTS};
pub use problem::Fault;
pub use server::serve;
pub use settings::{Listeners, Settings, SpoolSettings, TlsFiles};
