//! The loop of a processor: take records, fold them, run the views over the epochs that ended, publish, tick,
//! snapshot. One thread, no locks; what it decides is in [`crate::shard`], what it computes in [`crate::views`].

use crate::assignment::{Change, Owned, PendingSnapshot};
use crate::columns::Run;
use crate::limits;
use crate::meters;
use crate::partials::partials;
use crate::shard::{ClosedEpoch, Folded, Reading};
use crate::snapshot::Snapshots;
use crate::ticks::Ticks;
use crate::views::Views;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use playback::kernel::{READ_AHEAD, SAVE_AT_ONCE};
use service::{Stop, TaskError};
use sql::codec::Encoder;
use sql::partial::Partial;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use topic::{Consumer, Delivery, Outgoing, Producer, Record};

/// How long a poll waits for records: bounds how late a tick or a stop is noticed.
const POLL_WAIT: Duration = Duration::from_millis(20);

/// Names of the topics of a processor's output.
pub(crate) struct Topics {
    pub(crate) partials: String,
    pub(crate) late: String,
}

/// Everything the loop holds.
pub(crate) struct Worker {
    pub(crate) topics: Topics,
    pub(crate) pipeline: String,
    pub(crate) fingerprint: String,
    pub(crate) views: Views,
    pub(crate) encoder: Encoder,
    pub(crate) snapshots: Snapshots,
    pub(crate) snapshot_every: Duration,
    pub(crate) producer: Producer,
    pub(crate) runtime: Handle,
    pub(crate) changes: Receiver<Change>,
    pub(crate) folding: Folding,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) ticks: Ticks,
}

/// What records fold into until the views run.
pub(crate) struct Folding {
    pub(crate) shards: BTreeMap<u32, Owned>,
    run: Run,
    epochs: Vec<ClosedEpoch>,
    late: Vec<Outgoing>,
    /// The next records, [`READ_AHEAD`] of them.
    readings: Vec<Reading>,
}

/// A run whose output is published but not yet acknowledged.
pub(crate) struct InFlight {
    /// Partition and end of each of its epochs.
    ends: Vec<(u32, u64)>,
    deliveries: Vec<Delivery>,
}

impl Worker {
    /// Runs until a stop is requested or it cannot go on.
    pub(crate) fn run(mut self, mut consumer: Consumer, stop: &Stop) -> Result<(), TaskError> {
        while !stop.is_requested() {
            self.step(&mut consumer)?;
            self.save();
        }
        self.wind_down(&mut consumer)?;
        self.acknowledge(0)?;
        self.save_at_stop();
        Ok(())
    }

    /// Takes the next records, if some come, and puts out what they end.
    fn step(&mut self, consumer: &mut Consumer) -> Result<(), TaskError> {
        let (folding, changes) = (&mut self.folding, &self.changes);
        let every = self.snapshot_every;
        let (mut folded, mut is_first, latest_ms) = (Ok(()), true, latest_log_time_ms());
        let taken = consumer.poll(POLL_WAIT, limits::POLL_RECORDS, &mut |records| {
            if std::mem::take(&mut is_first) {
                folding.follow(changes); // partitions come and leave before the first record of a poll only
            }
            let mut runs = records.chunk_by(|one, next| one.partition == next.partition);
            if folded.is_ok() {
                folded = runs.try_for_each(|run| {
                    check_log_times(run, latest_ms)?;
                    folding.take(run, every)
                });
            }
        })?;
        folded?;
        meters::records(taken);
        self.folding.follow(&self.changes);
        self.folding.note_records();
        self.publish()?;
        self.acknowledge(limits::RUNS_IN_FLIGHT)?;
        self.ticks.append(&mut self.folding.shards, &self.producer);
        self.report_progress(consumer);
        match self.producer.fatal_error() {
            Some(reason) => Err(format!("nothing reaches the log any more: {reason}").into()),
            None => Ok(()),
        }
    }

    /// Goes on until each partition has come to the end of an epoch, where it can be saved, and a snapshot is begun there.
    fn wind_down(&mut self, consumer: &mut Consumer) -> Result<(), TaskError> {
        let begun = Instant::now();
        self.folding.shards.values_mut().for_each(|owned| owned.snapshot_at = begun);
        while self.folding.shards.values().any(Owned::misses_snapshot) && begun.elapsed() < limits::WIND_DOWN {
            self.step(consumer)?;
        }
        Ok(())
    }

    /// Runs the views over the epochs that ended, and publishes one message for each.
    fn publish(&mut self) -> Result<(), TaskError> {
        let mut deliveries = Vec::new();
        let late = std::mem::take(&mut self.folding.late);
        if !late.is_empty() {
            deliveries.push(self.producer.append(&self.topics.late, &late));
        }
        let epochs = std::mem::take(&mut self.folding.epochs);
        if !epochs.is_empty() {
            let started = Instant::now();
            let run = Arc::new(std::mem::take(&mut self.folding.run));
            let outputs = self.runtime.block_on(self.views.run(&run))?;
            let partials = partials(&epochs, &run, &self.views, &outputs, &self.pipeline, &self.fingerprint);
            let encoder = &mut self.encoder;
            let messages = partials.iter().map(|partial| message(encoder, partial)).collect::<Result<Vec<_>, _>>()?;
            meters::run(epochs.len(), started.elapsed());
            deliveries.push(self.producer.append(&self.topics.partials, &messages));
        }
        if !deliveries.is_empty() {
            let ends = epochs.iter().map(|epoch| (epoch.partition, epoch.to)).collect();
            self.in_flight.push_back(InFlight { ends, deliveries });
        }
        Ok(())
    }

    /// Takes in what the log has acknowledged, waiting while more than `allowed` runs are not. A failed publish ends
    /// the processor: it starts again from its snapshots and publishes the same again, in order.
    fn acknowledge(&mut self, allowed: usize) -> Result<(), TaskError> {
        while let Some(mut first) = self.in_flight.pop_front() {
            let must_wait = self.in_flight.len() >= allowed;
            if !first.is_delivered(must_wait.then_some(&self.runtime))? {
                self.in_flight.push_front(first);
                return Ok(());
            }
            for (partition, to) in first.ends {
                if let Some(owned) = self.folding.shards.get_mut(&partition) {
                    owned.acknowledged = owned.acknowledged.max(to);
                }
            }
        }
        Ok(())
    }

    /// Makes snapshots, of one partition at a time and a few users at a time so that records hardly wait, and writes beside
    /// the loop those whose output is acknowledged. After a failed one, the next is tried when it is due, even if no record
    /// comes any more.
    fn save(&mut self) {
        let shards = &mut self.folding.shards;
        let under_way = shards.values_mut().filter_map(|owned| Some((owned.saving_since()?, owned)));
        if let Some((_, first)) = under_way.min_by_key(|(since, _)| *since) {
            first.save_some(SAVE_AT_ONCE, &self.runtime);
        }
        for owned in shards.values_mut() {
            owned.begin_snapshot_if_due(self.snapshot_every); // where no epoch ends any more
            begin_write(owned, &self.snapshots, &self.runtime);
        }
    }

    /// Saves what can be saved now that all output is acknowledged, so that the next start need not read it again and does
    /// not depend on the log having kept it.
    fn save_at_stop(&mut self) {
        let mut writes = Vec::new();
        for owned in self.folding.shards.values_mut() {
            owned.begin_snapshot();
            owned.save_some(usize::MAX, &self.runtime);
            // All at once: one after another, what an object storage takes for each would add up to more than there is time for.
            writes.extend(begin_write(owned, &self.snapshots, &self.runtime));
        }
        let all = join_all(writes);
        let written = self.runtime.block_on(async { tokio::time::timeout(limits::SNAPSHOTS_AT_STOP, all).await });
        if written.is_err() {
            tracing::warn!("not all partitions are saved: the next start reads more of the log");
        }
    }

    /// Tells lag monitors how far the output is acknowledged; nothing here reads it.
    fn report_progress(&mut self, consumer: &mut Consumer) {
        for owned in self.folding.shards.values_mut().filter(|owned| owned.committed < owned.acknowledged) {
            if let Err(error) = consumer.store_offset(owned.partition, owned.acknowledged) {
                tracing::debug!(partition = owned.partition, %error, "lag monitors were not told");
            }
            owned.committed = owned.acknowledged;
        }
    }
}

/// Begins to write the snapshot of a partition, if one is made and the output before it is acknowledged.
fn begin_write(owned: &mut Owned, snapshots: &Snapshots, runtime: &Handle) -> Option<JoinHandle<()>> {
    let pending = owned.take_snapshot()?;
    Some(runtime.spawn(write(snapshots.clone(), owned.partition, pending, owned.saved_to.clone())))
}

/// Writes one snapshot, and notes in `saved_to` that it is there.
async fn write(snapshots: Snapshots, partition: u32, pending: PendingSnapshot, saved_to: Arc<AtomicU64>) {
    let PendingSnapshot { offset, state, .. } = pending;
    let written = snapshots.write(partition, offset, state).await;
    meters::snapshot(written.as_ref().ok().copied());
    match written {
        Ok(bytes) => {
            saved_to.fetch_max(offset, Ordering::Relaxed);
            tracing::debug!(partition, offset, bytes, "snapshot written");
        }
        Err(error) => tracing::warn!(partition, offset, %error, "no snapshot, the next is tried in its time"),
    }
}

/// The message of an epoch. One that no sink takes ends the processor before it is published: it could not be taken back.
fn message(encoder: &mut Encoder, partial: &Partial) -> Result<Outgoing, TaskError> {
    let value = encoder.encode(partial).map_err(|error| {
        let Partial { partition, from, to, .. } = partial;
        format!("the views' rows of partition {partition}, {from}..{to} cannot be published: {error}")
    })?;
    Ok(Outgoing { partition: partial.partition, key: Bytes::new(), value: value.into() })
}

impl InFlight {
    /// Whether all of it is acknowledged; waits for that on `runtime`, if given.
    fn is_delivered(&mut self, runtime: Option<&Handle>) -> Result<bool, TaskError> {
        while let Some(delivery) = self.deliveries.last_mut() {
            let delivered = match runtime {
                Some(runtime) => Some(runtime.block_on(delivery)),
                None => delivery.now_or_never(),
            };
            match delivered {
                Some(result) => result?,
                None => return Ok(false),
            }
            self.deliveries.pop();
        }
        Ok(true)
    }
}

impl Folding {
    pub(crate) fn new() -> Folding {
        let readings = std::iter::repeat_with(Reading::default).take(READ_AHEAD).collect();
        Folding { shards: BTreeMap::new(), run: Run::default(), epochs: Vec::new(), late: Vec::new(), readings }
    }

    /// Takes in which partitions came and left since the last time.
    fn follow(&mut self, changes: &Receiver<Change>) {
        for change in changes.try_iter() {
            match change {
                Change::Assigned(owned) => drop(self.shards.insert(owned.partition, *owned)),
                Change::Revoked(partition) => drop(self.shards.remove(&partition)),
            }
            meters::owned(self.shards.len());
        }
    }

    /// Notes which partitions records came from since the last time.
    fn note_records(&mut self) {
        let now = Instant::now();
        for owned in self.shards.values_mut().filter(|owned| owned.polled_to < owned.shard.next_offset()) {
            owned.polled_to = owned.shard.next_offset();
            owned.last_record = now;
        }
    }

    /// Folds records of one partition into its shard. Several are read at a time: folding spends most of its time waiting for
    /// the memory of users, and that of many users comes as soon as that of one.
    fn take(&mut self, records: &[Record<'_>], every: Duration) -> Result<(), TaskError> {
        let Folding { shards, run, epochs, late, readings } = self;
        let Some(Record { partition, .. }) = records.first() else { return Ok(()) };
        let not_assigned = || format!("a record came from partition {partition}, which is not assigned here");
        let owned = shards.get_mut(partition).ok_or_else(not_assigned)?;
        for records in records.chunks(READ_AHEAD) {
            let readings = &mut readings[..records.len()];
            readings.iter_mut().zip(records).for_each(|(reading, record)| reading.read(record.value));
            owned.shard.prefetch(readings);
            for (reading, record) in readings.iter().zip(records) {
                let epochs_before = epochs.len();
                owned.shard.cut(record.timestamp_ms, |epoch, facts| {
                    run.append(facts);
                    epochs.push(epoch);
                });
                if epochs.len() > epochs_before {
                    owned.begin_snapshot_if_due(every);
                }
                match owned.shard.fold(record.offset, record.timestamp_ms, reading)? {
                    Folded::Taken | Folded::Repeated => {}
                    Folded::Late => late.push(late_copy(record)),
                    Folded::Unreadable => tell_unreadable(record),
                }
            }
        }
        Ok(())
    }
}

/// The latest time that a record can have been logged at, by this machine's clock; ms since the epoch.
fn latest_log_time_ms() -> i64 {
    let latest = SystemTime::now() + limits::LOG_AHEAD;
    latest.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Refuses records that were logged in the future. It decides whether to go on, never what is put out.
fn check_log_times(records: &[Record<'_>], latest_ms: i64) -> Result<(), TaskError> {
    match records.iter().find(|record| record.timestamp_ms > latest_ms) {
        None => Ok(()),
        Some(Record { partition, offset, timestamp_ms, .. }) => Err(format!(
            "record {offset} of partition {partition} was logged at {timestamp_ms} ms since 1970, which is in the future: a clock \
             is wrong, the broker's or this machine's, and all that follows would count as late"
        )
        .into()),
    }
}

/// A late record, for the topic of such.
fn late_copy(record: &Record<'_>) -> Outgoing {
    meters::late();
    let (key, value) = (Bytes::copy_from_slice(record.key), Bytes::copy_from_slice(record.value));
    Outgoing { partition: record.partition, key, value }
}

fn tell_unreadable(record: &Record<'_>) {
    meters::unreadable();
    let (partition, offset) = (record.partition, record.offset);
    tracing::error!(
        partition,
        offset,
        "the record is neither a heartbeat nor a tick: counted as a tick, who else writes to this topic?"
    );
}

#[cfg(test)]
mod tests {
    use super::{Record, check_log_times};

    #[test]
    fn a_record_of_the_future_is_refused() {
        let record =
            |timestamp_ms| Record { partition: 3, offset: 7, timestamp_ms, key: b"".as_slice(), value: b"".as_slice() };
        assert!(check_log_times(&[record(900), record(1_000)], 1_000).is_ok());
        let refused = check_log_times(&[record(900), record(1_001)], 1_000).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("record 7 of partition 3")));
    }
}
