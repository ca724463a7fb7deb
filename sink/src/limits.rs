//! Every limit of this crate.

use std::time::Duration;

/// A flush is due at this many merged rows, unless told otherwise. Only a sink that is behind gets there, and the more it
/// merges, the less it writes. With some millions of rows, a replay on PostgreSQL is a tenth to a fifth faster
/// (docs/benchmarks-history.md), but a database that is slow per row would run into [`TRANSACTION_TIMEOUT`], and others wait
/// for the rows that the transaction locks.
pub const FLUSH_ROWS: usize = 400_000;

/// Rows per statement: what PostgreSQL and YugabyteDB both take well (more gained nothing, and holds locks longer).
pub const ROWS_PER_STATEMENT: usize = 1_000;

/// Statements that are sent before the first of them is answered: what keeps the database busy.
pub const STATEMENTS_UNDER_WAY: usize = 4;

/// Messages per poll: this many wait in memory, decoded, to be merged, and the message of a full epoch takes 10 MB there.
/// With 32, the sink spent most of its time on fresh memory pages.
pub const RECORDS_PER_POLL: usize = 4;

/// How long a poll waits when nothing is due: how soon a stop is seen.
pub const POLL_WAIT: Duration = Duration::from_millis(100);

/// How long a poll waits while a batch is being written: how soon the next one begins.
pub const WRITING_POLL_WAIT: Duration = Duration::from_millis(5);

/// Epochs per partition that wait in memory for a missing one: at one epoch a second, a quarter of an hour. Epochs further
/// on are read again.
pub const WAITING_EPOCHS: usize = 1_024;

/// Bytes of epochs that may wait per partition, decompressed: a full epoch has some millions.
pub const WAITING_BYTES: usize = 64 << 20;

/// Bytes of epochs that may wait in all, a quarter of the memory that a sink has in `k8s/base`. A chain keeps one epoch
/// whatever its size.
pub const WAITING_BYTES_IN_ALL: usize = 256 << 20;

/// How often the place to resume reading is noted for partitions that get nothing but repeats: well within any retention.
pub const BOOKMARK_INTERVAL: Duration = Duration::from_secs(300);

/// First pause before a transaction is tried again; doubles.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(2);

/// After this many tries the database counts as away: it is not ready, and tries are [`AWAY_BACKOFF`] apart.
pub const QUICK_TRIES: u32 = 10;

/// Pause between tries while the database is away.
pub const AWAY_BACKOFF: Duration = Duration::from_secs(1);

/// A transaction without an answer for this long is taken for lost, its outcome unknown; the next one is smaller.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest time that a transaction of a single epoch, which cannot be made smaller, is ever given.
pub const LONGEST_TRANSACTION: Duration = Duration::from_secs(960);
