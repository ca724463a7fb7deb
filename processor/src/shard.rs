//! One partition: folds its records through the session kernel and cuts its log into epochs. A plain state machine:
//! records in, closed epochs out; it reads and writes nothing.

use crate::limits;
use playback::credit::Disposition;
use playback::facts::Facts;
use playback::kernel::{Kernel, Ledger, Parameters, Saved};
use playback::record::{Record, TICK};
use playback::validate::is_ours;
use prost::Message;
use serde::{Deserialize, Serialize};

/// State of one partition.
pub struct Shard {
    partition: u32,
    epoch_ms: i64,
    next_offset: u64,
    kernel: Kernel,
    open: Option<OpenEpoch>,
    facts: Facts,
}

/// A record of the log as a shard folds it; a tick until it has read one. It is reused for many records, so that its texts
/// keep their memory.
#[derive(Debug, Default)]
pub struct Reading {
    kind: Kind,
    /// What it says, if it is a heartbeat.
    record: Record,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Tick,
    Heartbeat,
    /// No record of ours, or one that says what none of ours can.
    Unreadable,
}

/// The epoch that the last record belongs to: where it ends is known only when the next record comes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct OpenEpoch {
    from: u64,
    first_clock: i64,
    records: u64,
    /// Whether it has anything to say: more than ticks.
    counts: bool,
}

/// An epoch that has ended: the offset range `[from, to)` of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedEpoch {
    /// Partition of the topic `heartbeats`.
    pub partition: u32,
    /// Its first offset.
    pub from: u64,
    /// The offset after its last.
    pub to: u64,
    /// Greatest log time up to `to`; ms since the epoch.
    pub clock: i64,
    /// Account of the partition up to `to`.
    pub ledger: Ledger,
}

/// What a record was, besides being folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folded {
    /// It is accounted for here.
    Taken,
    /// It was folded before: Kafka's client may give records again that it gave just before a rebalance.
    Repeated,
    /// It belongs on the late topic.
    Late,
    /// It is not a record of ours, or says what none of ours can. It counts as a tick, so that one foreign record does not
    /// stop a partition for good.
    Unreadable,
}

/// The log is not what it must be.
#[derive(Debug, thiserror::Error)]
#[error(
    "partition {partition} goes on at offset {found} instead of {expected}: records are missing or it holds transactions; \
     the tables would be wrong from here"
)]
pub struct LogGap {
    partition: u32,
    expected: u64,
    found: u64,
}

impl Reading {
    /// The record of this value.
    pub fn of(value: &[u8]) -> Reading {
        let mut reading = Reading::default();
        reading.read(value);
        reading
    }

    /// Becomes the record of this value.
    pub fn read(&mut self, value: &[u8]) {
        self.record.clear();
        self.kind = if value == TICK {
            Kind::Tick
        } else if self.record.merge(value).is_ok() && is_ours(&self.record) {
            Kind::Heartbeat
        } else {
            Kind::Unreadable
        };
    }
}

impl Shard {
    /// The state of a partition before its first record.
    pub fn new(partition: u32, epoch_ms: i64, parameters: Parameters) -> Shard {
        Shard {
            partition,
            epoch_ms,
            next_offset: 0,
            kernel: Kernel::new(parameters),
            open: None,
            facts: Facts::default(),
        }
    }

    /// Its partition.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The offset of the next record.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// The first offset of the open epoch, or else of the next: all output before it has been put out.
    pub fn complete_to(&self) -> u64 {
        self.open.map_or(self.next_offset, |open| open.from)
    }

    /// Whether the open epoch has nothing to say so far: only then can the shard be saved.
    pub fn is_quiet(&self) -> bool {
        self.open.is_none_or(|open| !open.counts)
    }

    /// Ends the open epoch if a record with this log time cannot belong to it; `close` gets the epoch and its facts.
    /// An epoch ends before the first record whose clock is `epoch_ms` past its first, or when it is full: of records, or of
    /// texts or facts, so that its message fits.
    pub fn cut(&mut self, logged_at: i64, close: impl FnOnce(ClosedEpoch, &Facts)) {
        let clock = self.kernel.clock().max(logged_at);
        let Some(open) = self.open else { return };
        if clock - open.first_clock < self.epoch_ms && !self.is_full(open) {
            return;
        }
        self.open = None;
        let epoch = ClosedEpoch {
            partition: self.partition,
            from: open.from,
            to: self.next_offset,
            clock: self.kernel.clock(),
            ledger: self.kernel.ledger(),
        };
        close(epoch, &self.facts);
        self.facts.clear();
    }

    fn is_full(&self, open: OpenEpoch) -> bool {
        open.records >= limits::EPOCH_RECORDS
            || self.facts.texts.bytes() >= limits::EPOCH_TEXT_BYTES
            || self.facts.rows() >= limits::EPOCH_FACTS
    }

    /// Reads what folding these will read, see [`Kernel::prefetch`].
    pub fn prefetch(&self, readings: &[Reading]) {
        let heartbeats = readings.iter().filter(|reading| reading.kind == Kind::Heartbeat);
        self.kernel.prefetch(heartbeats.map(|reading| &reading.record));
    }

    /// Folds the next record; a record that was folded before is passed over. Call [`Shard::cut`] first.
    pub fn fold(&mut self, offset: u64, logged_at: i64, reading: &Reading) -> Result<Folded, LogGap> {
        if offset < self.next_offset {
            return Ok(Folded::Repeated);
        }
        if offset > self.next_offset {
            return Err(LogGap { partition: self.partition, expected: self.next_offset, found: offset });
        }
        self.next_offset += 1;
        let folded = match reading.kind {
            Kind::Heartbeat => match self.kernel.fold(&reading.record, logged_at, &mut self.facts) {
                Some(Disposition::Late) => Folded::Late,
                _ => Folded::Taken,
            },
            Kind::Tick | Kind::Unreadable => {
                self.kernel.tick(logged_at, &mut self.facts);
                if reading.kind == Kind::Tick { Folded::Taken } else { Folded::Unreadable }
            }
        };
        let clock = self.kernel.clock();
        let open = self.open.get_or_insert(OpenEpoch { from: offset, first_clock: clock, records: 0, counts: false });
        open.records += 1;
        open.counts |= reading.kind != Kind::Tick || !self.facts.dispositions.is_empty();
        Ok(folded)
    }

    /// Log time that must be reached before something can be put out, if anything waits: the end of an epoch that has
    /// something to say, or the end of a point's wait. The latter lies in the past while points are left whose wait is over:
    /// they need another record or tick, whatever its time.
    pub fn due(&self) -> Option<i64> {
        let epoch = self.open.filter(|open| open.counts).map(|open| open.first_clock + self.epoch_ms);
        [epoch, self.kernel.next_deadline()].into_iter().flatten().min()
    }

    /// Greatest log time so far; ms since the epoch.
    pub fn clock(&self) -> i64 {
        self.kernel.clock()
    }

    /// Number of sessions kept.
    pub fn sessions(&self) -> usize {
        self.kernel.sessions()
    }

    /// Begins to save the state as it is now; [`Shard::save_some`] goes on with it, whatever is folded meanwhile. The facts of an
    /// open epoch are no part of it, so the shard must be quiet.
    pub fn begin_save(&mut self) {
        assert!(self.is_quiet(), "an open epoch has facts");
        let state = (self.partition, self.epoch_ms, self.next_offset, self.open);
        self.kernel.begin_save(postcard::to_stdvec(&state).expect("state is plain data"));
    }

    /// Saves at most so many users more. The parts one after another are the state as it was when the save began.
    pub fn save_some(&mut self, users: usize) -> Saved {
        self.kernel.save_some(users)
    }

    /// Restores the state from its saved parts, one after another.
    pub fn restore(saved: &[u8]) -> Result<Shard, postcard::Error> {
        let ((partition, epoch_ms, next_offset, open), kernel) = postcard::take_from_bytes(saved)?;
        let kernel = Kernel::restore(kernel)?;
        Ok(Shard { partition, epoch_ms, next_offset, kernel, open, facts: Facts::default() })
    }
}
