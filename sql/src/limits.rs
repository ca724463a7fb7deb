//! Every limit of this crate.

use std::time::Duration;

/// The largest message that the topic of partials takes, 16 MiB; that no epoch needs more is the processor's business.
pub const MESSAGE_BYTES: u32 = 16 << 20;

/// A message on `partials` may not be greater than this after decompression: at a ratio of 16.
pub const DECOMPRESSED_BYTES: u64 = 16 * MESSAGE_BYTES as u64;

/// Values of all columns of a message, at most: an epoch has 32,768 records, each of which makes a few hundred values.
pub const VALUES: u64 = 1 << 25;

/// What a message's record takes on its topic beside its value, generously.
pub const RECORD_BYTES: usize = 1 << 10;

/// Bytes of one text of a message: ids have 128 characters, what a view makes of them should not have many more.
pub const TEXT_BYTES: i64 = 1 << 16;

/// An identifier in PostgreSQL keeps no more bytes than this.
pub const IDENTIFIER_BYTES: usize = 63;

/// One migration runs at a time; its lock lapses after this long without a statement, should its owner have died.
pub const MIGRATION_LEASE_SECONDS: i64 = 30;

/// How many times a migration looks whether another one has ended: for two minutes.
pub const MIGRATION_LOCK_TRIES: u32 = 1_200;

/// The pause between two looks.
pub const MIGRATION_POLL: Duration = Duration::from_millis(100);

/// How many times a statement of a migration is tried when the database reports a conflict with another one.
pub const MIGRATION_TRIES: u32 = 10;

/// How long a connection of a pool may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The server ends a transaction in which nothing is asked for this long: a client whose machine is gone would otherwise keep
/// its locks until the system finds the connection dead, which takes two hours by default.
pub const IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection is lost when what was sent on it stays unacknowledged for this long, unless the URL says otherwise: the
/// system would resend it for a quarter of an hour. No shorter than a transaction may take: a server that waits for a lock
/// and takes nothing in meanwhile looks the same.
pub const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection on which nothing moves is probed after this long, unless the URL says otherwise.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// How many times a snapshot is read when the database reports a conflict with those who write.
pub const SNAPSHOT_TRIES: u32 = 5;
