//! The gateway: takes heartbeats over HTTP, checks them and appends them to the log before it answers.
//!
//! What a valid report is belongs to `playback`; what becomes of it afterwards is the processor's business. The HTTP
//! contract is `docs/api.md`.

mod access;
mod body;
mod clock;
mod gateway;
mod keys;
mod limits;
mod meter;
mod problem;
mod server;
mod verdict;

pub use problem::Fault;
pub use server::{Settings, StartError, serve};
