//! Every limit of this crate.

use std::time::Duration;

/// How often the database is asked whether it is there.
pub const PING_EVERY: Duration = Duration::from_secs(2);

/// An answer that takes longer is given up, whatever number of statements it took; the connection with the statement that still
/// runs is not used again.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A statement that takes longer is ended by the database, which would work on for nobody otherwise. Sooner than
/// [`ANSWER_TIMEOUT`], so that an answer of one slow statement does not cost a connection.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_millis(9_500);

/// Rows of one kind in an answer: ten weeks of minutes.
pub const ROWS: i64 = 100_800;

/// Characters of the longest ids, those of users and titles.
pub const ID_CHARS: usize = 128;
