//! The whole pipeline, as its users run it: the binary's roles as processes, reports over HTTP, tables read with SQL. On
//! the embedded parts and on a real Kafka and PostgreSQL, which `scripts/with-services` starts.
//!
//! The judge is the model, run over the log itself: whatever the processes went through, the tables must equal it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod certificates;
mod crashes;
mod database;
mod dev;
mod drain;
mod exactness;
mod fleet;
mod load;
mod log;
mod outage;
mod players;
mod process;
mod standstill;
