//! The one thread that writes: gathers what waits into a group, one fsync for all of it, then acknowledges.
//! It also gives out offsets and append times, and removes what is past its retention.

use super::state::{Bounds, Shared, Topic};
use crate::delivery::Acknowledgement;
use crate::record::TopicSpec;
use crate::{LogError, Outgoing, limits};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the writer is asked to do.
pub(super) enum Command {
    /// Append to the topic with this id; the records are checked.
    Append { topic: u32, records: Vec<Outgoing>, acknowledgement: Arc<Acknowledgement> },
    /// Make a topic, or find it as it is.
    Create { spec: TopicSpec, acknowledgement: Arc<Acknowledgement> },
    /// Settle when all before it is settled.
    Flush { acknowledgement: Arc<Acknowledgement> },
}

/// New ends of partitions, by topic and partition.
type Ends = BTreeMap<(u32, u32), Bounds>;

impl Command {
    /// Settles it with a failure.
    pub(super) fn settle(&self, failure: &dyn Fn() -> LogError) {
        let (Command::Append { acknowledgement, .. }
        | Command::Create { acknowledgement, .. }
        | Command::Flush { acknowledgement }) = self;
        acknowledgement.settle(1, Some(failure()));
    }
}

/// Runs until every sender is gone.
pub(super) fn run(shared: &Shared, commands: &Receiver<Command>) {
    let opened = Instant::now();
    let mut next_removal = opened;
    loop {
        let now = Instant::now();
        if now >= next_removal {
            next_removal = now + remove_old(shared, now - opened);
        }
        match commands.recv_timeout(next_removal.saturating_duration_since(now)) {
            Ok(first) => {
                let rest = commands.try_iter().take(limits::EMBEDDED_GROUP - 1);
                carry_out(shared, std::iter::once(first).chain(rest).collect());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Carries a group out in order: appends together, a topic by itself.
fn carry_out(shared: &Shared, group: Vec<Command>) {
    let mut appends = Vec::new();
    for command in group {
        match command {
            Command::Append { topic, records, acknowledgement } => appends.push((topic, records, acknowledgement)),
            Command::Create { spec, acknowledgement } => {
                append(shared, &std::mem::take(&mut appends));
                acknowledgement.settle(1, create(shared, spec).err());
            }
            Command::Flush { acknowledgement } => {
                append(shared, &std::mem::take(&mut appends));
                acknowledgement.settle(1, None);
            }
        }
    }
    append(shared, &appends);
}

fn append(shared: &Shared, appends: &[(u32, Vec<Outgoing>, Arc<Acknowledgement>)]) {
    if appends.is_empty() {
        return;
    }
    let now_ms = append_clock_ms();
    let mut ends = current_ends(shared, appends);
    let mut group = shared.storage.group();
    for (topic, records, _) in appends {
        for record in records {
            let bounds =
                ends.get_mut(&(*topic, record.partition)).expect("current_ends has every partition appended to");
            bounds.timestamp_ms = bounds.timestamp_ms.max(now_ms); // the clock may go back, the log may not
            group.put_record(*topic, bounds.end, bounds.timestamp_ms, record);
            bounds.end += 1;
        }
    }
    for ((topic, partition), bounds) in &ends {
        group.put_end(*topic, *partition, *bounds);
    }
    let written = group.commit();
    if written.is_ok() {
        shared.change(|topics| publish(topics, &ends));
    }
    for (_, _, acknowledgement) in appends {
        acknowledgement.settle(1, written.as_ref().err().map(|error| LogError::storage("appending", error)));
    }
}

/// The bounds of every partition that is appended to.
fn current_ends(shared: &Shared, appends: &[(u32, Vec<Outgoing>, Arc<Acknowledgement>)]) -> Ends {
    shared.change(|topics| {
        let by_id: BTreeMap<u32, &Topic> = topics.values().map(|topic| (topic.id, topic)).collect();
        let touched = appends.iter().flat_map(|(id, records, _)| records.iter().map(|record| (*id, record.partition)));
        touched.map(|(id, partition)| ((id, partition), by_id[&id].partitions[partition as usize])).collect()
    })
}

fn publish(topics: &mut BTreeMap<String, Topic>, ends: &Ends) {
    for topic in topics.values_mut() {
        for ((_, partition), bounds) in ends.range((topic.id, 0)..=(topic.id, u32::MAX)) {
            topic.partitions[*partition as usize] = *bounds;
        }
    }
}

fn create(shared: &Shared, spec: TopicSpec) -> Result<(), LogError> {
    let found = shared.with_topic(&spec.name, |topic| topic.spec.partitions);
    match found {
        Ok(found) if found == spec.partitions => return Ok(()),
        Ok(found) => return Err(LogError::PartitionCount { topic: spec.name, found, wanted: spec.partitions }),
        Err(_) => {}
    }
    let id = shared.change(|topics| topics.values().map(|topic| topic.id + 1).max().unwrap_or(0));
    let mut group = shared.storage.group();
    group.put_topic(id, &spec);
    group.commit()?;
    let partitions = vec![Bounds::default(); spec.partitions as usize];
    shared.change(|topics| topics.insert(spec.name.clone(), Topic { id, spec, partitions }));
    Ok(())
}

/// Removes records past their retention; says when to look again: at once while there is more. Age is measured against the
/// partition's newest append, so that a pause ages nothing; and only once the log has been open for a while.
fn remove_old(shared: &Shared, open_for: Duration) -> Duration {
    let bounded: Vec<(String, u32, i64, Vec<Bounds>)> = shared.change(|topics| {
        let bounded = topics.values().filter(|topic| topic.spec.retention_ms >= 0);
        bounded
            .map(|topic| (topic.spec.name.clone(), topic.id, topic.spec.retention_ms, topic.partitions.clone()))
            .collect()
    });
    let mut next = limits::EMBEDDED_RETENTION_EVERY;
    for (name, id, retention_ms, partitions) in bounded {
        let held_for = Duration::from_millis(retention_ms.unsigned_abs()).min(limits::EMBEDDED_RETENTION_HOLD);
        if open_for < held_for {
            next = next.min(held_for - open_for);
            continue;
        }
        for (partition, bounds) in (0..).zip(partitions) {
            match remove_partition(shared, id, partition, bounds, bounds.timestamp_ms.saturating_sub(retention_ms)) {
                Ok(0) => {}
                Ok(removed) => {
                    if removed == limits::EMBEDDED_REMOVALS {
                        next = Duration::ZERO;
                    }
                    tracing::debug!(topic = name, partition, removed, "removed records past their retention");
                }
                Err(error) => tracing::error!(topic = name, partition, %error, "could not remove old records"),
            }
        }
    }
    next
}

/// Removes the records of a partition appended before `before_ms`, some at a time; says how many.
fn remove_partition(
    shared: &Shared,
    topic: u32,
    partition: u32,
    bounds: Bounds,
    before_ms: i64,
) -> Result<usize, LogError> {
    let mut removed = 0;
    let mut group = shared.storage.group();
    shared.storage.read(topic, partition, bounds.start, bounds.end, &mut |record| {
        let old = record.timestamp_ms < before_ms && removed < limits::EMBEDDED_REMOVALS;
        if old {
            group.remove_record(topic, partition, record.offset);
            removed += 1;
        }
        old
    })?;
    if removed == 0 {
        return Ok(0);
    }
    // Readers are turned away before the records go, never after.
    let start = bounds.start + removed as u64;
    shared.change(|topics| publish(topics, &Ends::from([((topic, partition), Bounds { start, ..bounds })])));
    group.commit()?;
    Ok(removed)
}

/// The one clock of this crate: the time of an append.
fn append_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {

    use super::super::state::Bounds;
    use super::super::{Embedded, Storage};
    use super::{Shared, append_clock_ms, limits, remove_old};
    use crate::{Outgoing, Record, TopicSpec};
    use bytes::Bytes;
    use std::time::Duration;

    const DAY_MS: i64 = 86_400_000;

    /// A log whose topic keeps records for a week, with one record at each of these append times.
    fn appended(dir: &std::path::Path, times: &[i64]) -> Shared {
        let storage = Storage::open(dir).unwrap();
        let mut group = storage.group();
        let (name, retention_ms) = ("week".to_owned(), 7 * DAY_MS);
        group.put_topic(0, &TopicSpec { name, partitions: 1, replication: 1, retention_ms, max_message_bytes: 1_000 });
        let record = Outgoing { partition: 0, key: Bytes::new(), value: Bytes::new() };
        for (offset, timestamp_ms) in (0..).zip(times) {
            group.put_record(0, offset, *timestamp_ms, &record);
            group.put_end(0, 0, Bounds { start: 0, end: offset + 1, timestamp_ms: *timestamp_ms });
        }
        group.commit().unwrap();
        Shared::recover(storage).unwrap()
    }

    fn start(shared: &Shared) -> u64 {
        shared.with_topic("week", |topic| topic.partitions[0].start).unwrap()
    }

    #[test]
    fn a_pause_longer_than_the_retention_removes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let paused = append_clock_ms() - 8 * DAY_MS;
        let shared = appended(dir.path(), &[paused - 30_000, paused]);
        remove_old(&shared, limits::EMBEDDED_RETENTION_HOLD);
        assert_eq!(start(&shared), 0);
    }

    #[test]
    fn what_is_old_goes_when_the_log_has_been_open_for_a_while_and_not_with_the_first_record_after_a_pause() {
        let dir = tempfile::tempdir().unwrap();
        let now = append_clock_ms();
        let shared = appended(dir.path(), &[now - 9 * DAY_MS, now - 8 * DAY_MS, now - 6 * DAY_MS, now]);
        let next = remove_old(&shared, Duration::ZERO);
        assert_eq!((start(&shared), next), (0, limits::EMBEDDED_RETENTION_EVERY));
        remove_old(&shared, limits::EMBEDDED_RETENTION_HOLD);
        assert_eq!(start(&shared), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn append_times_do_not_go_back_when_the_clock_does() {
        let dir = tempfile::tempdir().unwrap();
        let spec = TopicSpec {
            name: "clock".to_owned(),
            partitions: 1,
            replication: 1,
            retention_ms: -1,
            max_message_bytes: 1_000,
        };
        Embedded::open(dir.path()).unwrap().create_topic(&spec).await.unwrap();
        // The last append was in the far future, as seen by a clock that was set back since.
        let future_ms = 1 << 50;
        let storage = Storage::open(dir.path()).unwrap();
        let mut group = storage.group();
        group.put_end(0, 0, Bounds { start: 0, end: 0, timestamp_ms: future_ms });
        group.commit().unwrap();
        drop(storage);

        let log = Embedded::open(dir.path()).unwrap();
        let record = Outgoing { partition: 0, key: Bytes::new(), value: Bytes::new() };
        log.producer().append("clock", &[record]).await.unwrap();
        let mut times = Vec::new();
        let mut each = |record: Record<'_>| {
            times.push(record.timestamp_ms);
            true
        };
        log.0.shared.storage.read(0, 0, 0, 1, &mut each).unwrap();
        assert_eq!(times, [future_ms]);
    }
}
