//! The schema of the tables, the statements that read them, and the form in which changes to them travel. What the
//! changes are is decided by the views, and written by the sink.
pub mod codec;
pub mod column;
pub mod database;
pub mod ledger;
pub mod limits;
pub mod migrate;
pub mod numbers;
pub mod partial;
pub mod queries;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod spelt;
#[cfg(feature = "testing")]
pub mod testing;
pub mod views;
