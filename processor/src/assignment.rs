//! Which partitions are ours: restores a shard for each that comes, and lets go of those that leave.

use crate::shard::Shard;
use crate::snapshot::{Packing, Snapshots};
use crate::ticks::LastTick;
use playback::kernel::Parameters;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use topic::{Assignment, AssignmentError, Position, Start};

/// A partition that came or left; the loop learns of it in order.
pub(crate) enum Change {
    Assigned(Box<Owned>),
    Revoked(u32),
}

/// A shard and what the loop keeps beside it. None of it reaches the output. At any time
/// `committed` ≤ `acknowledged` ≤ the shard's `complete_to` ≤ its `next_offset`.
pub(crate) struct Owned {
    pub(crate) partition: u32,
    pub(crate) shard: Shard,
    /// Published and acknowledged up to this offset.
    pub(crate) acknowledged: u64,
    /// The next snapshot is due at this moment.
    pub(crate) snapshot_at: Instant,
    /// A snapshot that is being made, or waits until the output before it is acknowledged.
    pub(crate) snapshot: Option<PendingSnapshot>,
    /// Offset of the newest snapshot that was written; its writer sets it.
    pub(crate) saved_to: Arc<AtomicU64>,
    /// When a poll last brought records, and the offset after them.
    pub(crate) last_record: Instant,
    pub(crate) polled_to: u64,
    pub(crate) last_tick: LastTick,
    /// Offset last told to lag monitors.
    pub(crate) committed: u64,
}

/// A snapshot that is not yet written.
pub(crate) struct PendingSnapshot {
    pub(crate) begun: Instant,
    pub(crate) offset: u64,
    /// Output before this offset must be acknowledged first.
    pub(crate) complete_to: u64,
    pub(crate) state: Packing,
    /// Whether `state` is complete.
    pub(crate) is_saved: bool,
}

impl Owned {
    /// Begins a snapshot if one is due, there is something new in it, and the shard is quiet.
    pub(crate) fn begin_snapshot_if_due(&mut self, every: Duration) {
        if Instant::now() >= self.snapshot_at && self.snapshot.is_none() && self.begin_snapshot() {
            self.snapshot_at = Instant::now() + every;
        }
    }

    /// Begins a snapshot of the shard's present state, if that has anything new and the shard is quiet; says whether it did.
    /// A snapshot that is not written yet is given up for it.
    pub(crate) fn begin_snapshot(&mut self) -> bool {
        let offset = self.shard.next_offset();
        if offset == self.saved_to.load(Ordering::Relaxed) || !self.shard.is_quiet() {
            return false;
        }
        self.shard.begin_save();
        let complete_to = self.shard.complete_to();
        let (begun, state) = (Instant::now(), Packing::default());
        self.snapshot = Some(PendingSnapshot { begun, offset, complete_to, state, is_saved: false });
        true
    }

    /// Whether it can be saved only at the end of the open epoch, and no snapshot of it is on its way.
    pub(crate) fn misses_snapshot(&self) -> bool {
        self.snapshot.is_none() && !self.shard.is_quiet()
    }

    /// When the snapshot that is being made was begun, if there is one.
    pub(crate) fn saving_since(&self) -> Option<Instant> {
        self.snapshot.as_ref().filter(|pending| !pending.is_saved).map(|pending| pending.begun)
    }

    /// Goes on with the snapshot that is being made, if one is, with at most so many users.
    pub(crate) fn save_some(&mut self, users: usize, runtime: &Handle) {
        if let Some(pending) = self.snapshot.as_mut().filter(|pending| !pending.is_saved) {
            let saved = self.shard.save_some(users);
            pending.state.add(saved.parts, runtime);
            pending.is_saved = saved.is_last;
        }
    }

    /// Takes out a snapshot that is made, once the output before it is acknowledged.
    pub(crate) fn take_snapshot(&mut self) -> Option<PendingSnapshot> {
        let acknowledged = self.acknowledged;
        self.snapshot.take_if(|pending| pending.is_saved && pending.complete_to <= acknowledged)
    }
}

/// Restores shards when partitions are assigned.
pub(crate) struct Restoring {
    /// Topic of heartbeats.
    pub(crate) topic: String,
    /// Partitions it had when the fingerprint was made.
    pub(crate) partitions: u32,
    pub(crate) snapshots: Snapshots,
    pub(crate) parameters: Parameters,
    pub(crate) epoch_ms: i64,
    pub(crate) snapshot_every: Duration,
    pub(crate) runtime: Handle,
    pub(crate) changes: Sender<Change>,
}

impl Restoring {
    /// Refuses an added partition: users have moved, but the fingerprint, made with the old count, would not tell the outputs
    /// apart.
    fn check(&self, partition: u32) -> Result<(), AssignmentError> {
        let Restoring { topic, partitions, .. } = self;
        if partition < *partitions {
            return Ok(());
        }
        Err(format!(
            "topic {topic} has a partition {partition} now, and had {partitions} when the processor started: users have moved \
             between partitions, which no pipeline outlives; begin anew with another topic and another pipeline name"
        )
        .into())
    }

    fn restore(&self, partition: u32) -> Result<Owned, AssignmentError> {
        self.check(partition)?;
        let restored = self.runtime.block_on(self.snapshots.restore(partition))?;
        let shard = restored.unwrap_or_else(|| Shard::new(partition, self.epoch_ms, self.parameters));
        let offset = shard.next_offset();
        tracing::info!(partition, offset, sessions = shard.sessions(), "partition assigned");
        let now = Instant::now();
        let stagger = self.snapshot_every / 8 * (partition % 8);
        Ok(Owned {
            partition,
            acknowledged: shard.complete_to(),
            saved_to: Arc::new(AtomicU64::new(offset)),
            shard,
            snapshot_at: now + self.snapshot_every / 2 + stagger,
            snapshot: None,
            last_record: now,
            polled_to: offset,
            last_tick: LastTick::none(now),
            committed: offset,
        })
    }
}

impl Assignment for Restoring {
    fn assigned(&mut self, partitions: &[u32]) -> Result<Vec<Position>, AssignmentError> {
        let mut positions = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let owned = self.restore(partition)?;
            // Without a snapshot the log must be there from its first record: any other start would lose sessions.
            positions.push(Position { partition, start: Start::Offset(owned.shard.next_offset()) });
            self.changes.send(Change::Assigned(Box::new(owned))).map_err(|_| "the processor has ended")?;
        }
        Ok(positions)
    }

    fn revoked(&mut self, partitions: &[u32]) {
        for &partition in partitions {
            tracing::info!(partition, "partition revoked");
            // Nobody listens any more when the processor has ended, and then nothing is left to let go of.
            let _ = self.changes.send(Change::Revoked(partition));
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use object_store::memory::InMemory;
    use std::sync::mpsc;
    use tokio::runtime::Runtime;

    #[test]
    fn a_partition_that_was_added_under_a_running_processor_is_refused() {
        let runtime = Runtime::new().unwrap();
        let (changes, came) = mpsc::channel();
        let mut restoring = Restoring {
            topic: "heartbeats".into(),
            partitions: 2,
            snapshots: Snapshots::new(Arc::new(InMemory::new()), "main", "f"),
            parameters: Parameters::default(),
            epoch_ms: 1_000,
            snapshot_every: Duration::from_secs(60),
            runtime: runtime.handle().clone(),
            changes,
        };
        assert_eq!(restoring.assigned(&[0, 1]).unwrap().len(), 2);
        let refused = restoring.assigned(&[2]).unwrap_err().to_string();
        assert!(refused.contains("topic heartbeats has a partition 2 now, and had 2"), "{refused}");
        assert_eq!(came.try_iter().count(), 2);
    }
}
