//! What every long-running role shares: telemetry, the admin endpoints, and an orderly end.
//!
//! A role makes a [`Stop`] and a [`Tasks`], gives each task a name, serves [`serve_admin`] on a port of its own and ends with
//! [`Tasks::join`]. Nothing here knows a heartbeat, a topic or a table, and nothing here reads flags.

mod admin;
mod limits;
mod process;
mod readiness;
mod stop;
mod tasks;
pub mod telemetry;

pub use admin::serve_admin;
pub use readiness::{Component, Readiness};
pub use stop::{Stop, stop_on_signals};
pub use tasks::{Failure, Tasks};
pub use telemetry::Metrics;

/// Whatever ended a task. It is only passed on to the line in which the process says why it gives up.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;
