//! The commands that ask the database or change it, and end: run as their users run them, on the PostgreSQL that
//! `scripts/with-services` starts.
#![allow(clippy::unwrap_used)]

mod catalogue;
mod migrate;
mod query;
mod verify;
mod watchbeat;
