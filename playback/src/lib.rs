//! The domain, and nothing else: what a heartbeat is, which are refused, and what each one credits.
//!
//! Pure: no clock, no randomness, no input or output. Every time is an argument in integer milliseconds
//! since the epoch (UTC), every position an integer millisecond of content, every interval half-open.
//!
//! The way of a heartbeat through this crate: [`heartbeat`] is a valid report, [`record`] is its form on the
//! log, [`kernel`] folds the log of one partition, and [`facts`] are the signed rows that say what each
//! report changed. [`credit`] holds the crediting rules alone.

pub mod credit;
pub mod facts;
pub mod heartbeat;
pub mod intervals;
pub mod json;
pub mod kernel;
pub mod message;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod ordered;
pub mod random;
pub mod record;
pub mod rejection;
pub mod tables;
pub mod texts;
pub mod validate;
mod words;
