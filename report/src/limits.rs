//! Every limit of this crate.

use std::time::Duration;

/// How often the database is asked whether it is there.
pub const PING_EVERY: Duration = Duration::from_secs(2);

/// An answer that takes longer is given up, however many statements it took; the connection whose statement is still running
/// is not used again.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A statement that takes longer is ended by the database, which would otherwise go on working for nobody. Shorter than
/// [`ANSWER_TIMEOUT`], so that an answer with one slow statement does not cost a connection.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_millis(9_500);

/// Rows of one kind in an answer: ten weeks of minutes. They have two or three numbers each.
pub const ROWS: usize = 100_800;

/// Sessions in an answer, whose rows are ten times as long: one every five minutes for a month.
pub const SESSIONS: usize = 10_000;

/// Requests that wait for a connection to the database; more are refused at once.
pub const WAITING: usize = 256;

/// Characters of the longest ids, those of users and titles.
pub const ID_CHARS: usize = 128;
