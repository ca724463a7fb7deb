//! All maxima of the gateway, with their reasons.

use std::num::NonZeroU32;
use std::time::Duration;

/// Reports in one body: an hour of a player that was offline, at one per 7 s.
pub const MAX_REPORTS: usize = 500;
/// Bytes of a body, before and after decompression.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;
/// Memory for bodies that are being read or judged, as far as they have arrived; more is refused with 503.
pub(crate) const MAX_BODIES_IN_FLIGHT_BYTES: u64 = 128 << 20;
/// Records handed to the log and not settled yet; half of what the producer's queue holds.
pub(crate) const MAX_QUEUED_RECORDS: usize = 500_000;
/// Bytes of those records, which are in memory twice: here and in the producer's queue. The latter holds eight times as many, so
/// it never makes a worker wait.
pub(crate) const MAX_QUEUED_BYTES: usize = 128 << 20;
/// Records that go to the log in one call: 5 ms of 200,000 reports a second.
pub(crate) const MAX_BATCH_RECORDS: usize = 1_000;
/// One site may take one part in this many of the memory for bodies: a quarter, so that three noisy ones leave room for the rest.
pub(crate) const SITE_SHARE: u64 = 4;
/// Seconds of its rate that a user's bucket holds: a player that was offline for a while sends much at once.
pub(crate) const USER_BURST_S: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");
/// Users with a bucket; beyond it the full ones are forgotten.
pub(crate) const MAX_RATED_USERS: usize = 1_000_000;
/// Unknown keys that one client address may try in a row; one more comes back each second.
pub(crate) const KEY_GUESSES: NonZeroU32 = NonZeroU32::new(1_000).expect("1,000 is not 0");
/// Open connections, by default and at most; more wait in the listener's backlog.
pub const MAX_CONNECTIONS: usize = 65_536;
/// Open files that are not connections: listeners, brokers, the spool, the admin port.
pub(crate) const RESERVED_FILES: usize = 512;
/// Bytes of the head of a request.
pub(crate) const MAX_HEAD_BYTES: usize = 16 << 10;
/// Fields of the head of a request. In HTTP/1.1 the library counts them.
pub(crate) const MAX_HEAD_FIELDS: usize = 100;
/// Bytes that are kept of the refused reports of one body: room for a hundred usual ones, but not for the megabyte that a few
/// bytes can become.
pub(crate) const MAX_DEAD_BODY_BYTES: usize = 64 << 10;
/// Bytes of one connection's answers that its client has not taken: room for all of usual length, or for twenty of the longest.
pub(crate) const MAX_UNTAKEN_BYTES: usize = 1 << 20;
/// The same for all connections together.
pub(crate) const MAX_ALL_UNTAKEN_BYTES: usize = 64 << 20;
/// Bytes of an answer that are handed to a connection at a time.
pub(crate) const ANSWER_PIECE_BYTES: usize = 4 << 10;
/// Bytes of a refused report that are kept on the dead-letter topic, as they are written there: a control character takes six.
pub(crate) const MAX_DEAD_REPORT_BYTES: usize = 8 << 10;
/// Bytes of an unwanted body that are read and thrown away, so that the sender gets to see the answer.
pub(crate) const MAX_DISCARDED_BYTES: usize = 8 << 20;
/// Memory a zstd frame may ask for as its window: 8 MiB, what RFC 8878 recommends every decoder to support.
pub(crate) const MAX_ZSTD_WINDOW_LOG: u32 = 23;
/// Members of a gzip body, frames of a zstd body: one for each report, from a sender that compresses them one by one.
pub(crate) const MAX_MEMBERS: usize = MAX_REPORTS;
/// Characters of a key.
pub(crate) const MAX_KEY_CHARS: usize = 128;
/// Characters of a play token; one with the usual claims has 300.
pub(crate) const MAX_TOKEN_CHARS: usize = 4 << 10;
/// Play tokens that are remembered as verified, at about 150 bytes: those of 260,000 viewers. Beyond it one is verified again
/// now and then, which takes some 50 us.
pub(crate) const MAX_VERIFIED_TOKENS: usize = 1 << 18;
/// Parts of that memory with a lock each, so that workers do not wait for each other.
pub(crate) const TOKEN_SHARDS: usize = 64;
/// How far the clock of who issues play tokens may be off.
pub(crate) const TOKEN_LEEWAY_MS: i64 = 30_000;
/// Sampled requests that are logged per second at most: this many that clients ask for, and as many that the operator asks for.
pub(crate) const SAMPLED_LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("100 is not 0");

/// Time for the head of a request, from its first byte.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a body to arrive. This and the times below are short enough for a request to end while the gateway drains.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// Time to read what is left of an unwanted body.
pub(crate) const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the log to acknowledge; a player tries again after it.
pub(crate) const APPEND_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for the log to acknowledge before a batch goes to the spool instead: well above a leader election that goes well,
/// well below what a player waits.
pub(crate) const DETOUR_AFTER: Duration = Duration::from_secs(3);
/// Time to find the log when the gateway starts with a spool; after that the search goes on while the spool takes the reports.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(3);
/// How long the gateway is ready after a batch was safe, whatever is wrong with some partitions: batches come more often than
/// that.
pub(crate) const SAFE_LASTS: Duration = DETOUR_AFTER;
/// By how much records that go straight to the log may overtake the last ones of the spool: by as long as a record may wait for
/// the log anyway.
pub(crate) const OVERTAKEN_AT_MOST: Duration = DETOUR_AFTER;
/// Time for the spool's disk to answer; then records go straight to the log again, as they do when it fails.
pub(crate) const SPOOL_PATIENCE: Duration = Duration::from_secs(5);
/// Records of the spool that are brought to the log in one go.
pub(crate) const REPLAY_RECORDS: usize = 20_000;
/// The same in bytes.
pub(crate) const REPLAY_BYTES: usize = 8 << 20;
/// Batches of the spool that may be on their way to partitions that are behind.
pub(crate) const REPLAY_FLIGHTS: usize = 8;
/// How often it is looked whether they have arrived.
pub(crate) const REPLAY_POLL: Duration = Duration::from_millis(20);
/// Pause after the log refused records of the spool, or after the spool could not be read; it doubles with each failure in a row.
pub(crate) const REPLAY_PAUSE: Duration = Duration::from_millis(500);
/// The longest that this pause becomes. Records that time out or are refused for good make an idempotent producer begin anew,
/// which it cannot do for ever.
pub(crate) const REPLAY_LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long after a failed append the gateway is not ready: a gateway that is sent nothing meanwhile has to be tried again.
pub(crate) const TROUBLE_LASTS: Duration = Duration::from_secs(15);
/// How long the producer waits after the first record of a batch, for the rest of it to be handed over.
pub(crate) const PRODUCER_LINGER: Duration = Duration::from_millis(1);
/// Time for the last records to leave the producer at the end. Requests have had their answers by then: what is left was
/// given up.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the log is asked whether it is there, while it was not there yet.
pub(crate) const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted (out of file descriptors, as a rule).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What `Retry-After` says when the log or this process is at its limit.
pub(crate) const RETRY_AFTER_S: u64 = 2;
/// How long a browser may keep the answer to a preflight; browsers cut longer times down to this.
pub(crate) const PREFLIGHT_MAX_AGE_S: &str = "7200";

/// Connections of one address (of one /64 with IPv6): a carrier's NAT has thousands of players behind one address.
pub const MAX_CONNECTIONS_PER_ADDRESS: u32 = 1_024;
/// Connections that wait to be accepted; the kernel may allow fewer (`net.core.somaxconn`).
pub(crate) const BACKLOG: i32 = 4_096;
/// Time from the accept to the first byte of the first request, a TLS handshake included.
pub(crate) const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two requests: more than the 60 s after which common load balancers close their side, so that we never
/// close a connection on which they are about to send.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Time for a connection to end after its last answer, once it was asked to.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a PROXY protocol header with its extensions; load balancers send some hundred.
pub(crate) const MAX_PROXY_HEADER_BYTES: usize = 4 << 10;
/// Entries of `X-Forwarded-For` that are looked at, from the end.
pub(crate) const MAX_FORWARDED_HOPS: usize = 16;
/// Requests at a time on an HTTP/2 connection, the smallest limit that RFC 9113 recommends; further ones wait at the client. Each
/// is remembered until the client takes the answer, even if it was refused.
pub(crate) const H2_MAX_STREAMS: u32 = 100;
/// Bytes of one HTTP/2 body on their way: a usual body in one piece.
pub(crate) const H2_STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// Bytes of all bodies of an HTTP/2 connection on their way, which is memory a client may make us hold.
pub(crate) const H2_CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of answers that wait in an HTTP/2 stream for the client to take them.
pub(crate) const H2_MAX_SEND_BUFFER_BYTES: usize = 64 << 10;
/// Streams that a client reset before they were looked at; more is the attack known as rapid reset.
pub(crate) const H2_MAX_PENDING_RESETS: usize = 20;
/// Streams that we reset for the client's mistakes; more is an attack as well.
pub(crate) const H2_MAX_LOCAL_RESETS: usize = 256;
/// How often a quiet HTTP/2 connection is asked whether the client is there.
pub(crate) const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// Time for the answer to such a ping.
pub(crate) const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// TLS 1.2 sessions without tickets that can be resumed; almost nobody needs them.
pub(crate) const MAX_TLS_SESSIONS: usize = 1_024;
/// How often the files of certificates, keys and peppers are looked at.
pub(crate) const FILE_INTERVAL: Duration = Duration::from_secs(5);
