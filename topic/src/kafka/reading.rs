//! Whether a consumer gets what is on the log. After an outage of Kafka librdkafka has been seen to stand still: connected, without
//! an error, and no record came any more. Nothing but a new client mends that, so whoever watches is told, and ends.
//!
//! Only what is certain counts: Kafka answers another client, that client sees a record that ours does not get, or a group without the
//! member that ours thinks it is; ours asks all the time; and all that for minutes.

use super::{Kafka, blocking, end_offset};
use crate::record::{Record, Start};
use crate::{LogError, limits};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How far a consumer is. It notes that itself.
pub(super) struct Reading {
    pub(super) topic: String,
    pub(super) group: String,
    noted: Mutex<Noted>,
    /// Counts calls of the client as they begin and as they end, so it is odd in one.
    calls: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct Noted {
    /// The offset that comes next, of each partition that is assigned; unknown before the first record of one that began at the earliest.
    next: BTreeMap<u32, Option<u64>>,
    /// How often the consumer waited and nothing came.
    idle_turns: u64,
}

impl Reading {
    pub(super) fn new(topic: &str, group: &str) -> Reading {
        let (noted, calls) = (Mutex::default(), AtomicU64::new(0));
        Reading { topic: topic.to_owned(), group: group.to_owned(), noted, calls }
    }

    /// A partition is read from here on.
    pub(super) fn begins(&self, partition: u32, start: Start) {
        let next = match start {
            Start::Offset(offset) => Some(offset),
            Start::Earliest => None,
        };
        self.noted().next.insert(partition, next);
    }

    /// These partitions are not read any more.
    pub(super) fn ends(&self, partitions: &[u32]) {
        let mut noted = self.noted();
        for partition in partitions {
            noted.next.remove(partition);
        }
    }

    /// Records came.
    pub(super) fn came(&self, records: &[Record<'_>]) {
        let mut noted = self.noted();
        for of_partition in records.chunk_by(|one, other| one.partition == other.partition) {
            if let Some(Record { partition, offset, .. }) = of_partition.last() {
                noted.next.insert(*partition, Some(offset + 1));
            }
        }
    }

    /// None came although the consumer waited.
    pub(super) fn idles(&self) {
        self.noted().idle_turns += 1;
    }

    /// Calls the client.
    pub(super) fn calling<T>(&self, call: impl FnOnce() -> T) -> T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = call();
        self.calls.fetch_add(1, Ordering::Relaxed);
        answer
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a consumer counts as standing still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Pause between two looks.
    pub(super) look: Duration,
    /// For how long it must lack the same.
    pub(super) stalled_after: Duration,
    /// How often it must have waited in vain meanwhile.
    pub(super) idle_turns: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { look: limits::READING_LOOK, stalled_after: limits::STALLED_AFTER, idle_turns: limits::STALLED_TURNS }
    }
}

/// What another client sees and the consumer does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lack {
    /// The record that comes next.
    Record { partition: u32, next: u64 },
    /// Its membership: it has no partitions, and its group nobody who has them.
    Member,
}

/// Something that it lacked at every look since then.
struct Suspicion {
    lack: Lack,
    since: Instant,
    idle_turns: u64,
    calls: u64,
}

impl Suspicion {
    fn new(lack: Lack, reading: &Reading, noted: &Noted) -> Suspicion {
        let calls = reading.calls.load(Ordering::Relaxed);
        Suspicion { lack, since: Instant::now(), idle_turns: noted.idle_turns, calls }
    }

    /// Whether it had time and occasion to get what it lacks, or does not come back from a call.
    fn is_proven(&self, reading: &Reading, noted: &Noted, patience: Patience) -> bool {
        let is_stuck = self.calls % 2 == 1 && self.calls == reading.calls.load(Ordering::Relaxed);
        let has_waited = noted.idle_turns >= self.idle_turns + patience.idle_turns;
        self.since.elapsed() >= patience.stalled_after && (is_stuck || has_waited)
    }
}

/// Looks from time to time; ends when the consumer stands still, with that as an error.
pub(super) async fn watch(kafka: &Kafka, reading: &Arc<Reading>, patience: Patience) -> LogError {
    let mut suspicions: Vec<Suspicion> = Vec::new();
    let mut before = Noted::default();
    loop {
        tokio::time::sleep(patience.look).await;
        let noted = reading.noted().clone();
        // Without an answer nobody knows, and it would not be the consumer's fault.
        let found = lacks(kafka, reading, &before, &noted).await.unwrap_or_default();
        suspicions.retain(|suspicion| found.contains(&suspicion.lack));
        if let Some(proven) = suspicions.iter().find(|suspicion| suspicion.is_proven(reading, &noted, patience)) {
            return stalled(reading, &proven.lack, proven.since.elapsed());
        }
        let is_new = |lack: &Lack| suspicions.iter().all(|suspicion| suspicion.lack != *lack);
        let new: Vec<_> = found.into_iter().filter(is_new).collect();
        suspicions.extend(new.into_iter().map(|lack| Suspicion::new(lack, reading, &noted)));
        before = noted;
    }
}

/// What the consumer lacks now, of what it had not either at the last look.
async fn lacks(kafka: &Kafka, reading: &Arc<Reading>, before: &Noted, noted: &Noted) -> Result<Vec<Lack>, LogError> {
    let (admin, reading) = (Arc::clone(&kafka.admin), Arc::clone(reading));
    if noted.next.is_empty() {
        return blocking(move || {
            let found = admin.inner().fetch_group_list(Some(&reading.group), limits::ADMIN_TIMEOUT);
            let found = found.map_err(|error| LogError::kafka("asking for the group", error))?;
            let has_members = found.groups().iter().any(|group| !group.members().is_empty());
            Ok(if has_members { Vec::new() } else { vec![Lack::Member] })
        })
        .await;
    }
    let same = noted.next.iter().filter(|(partition, next)| before.next.get(partition) == Some(next));
    let same: Vec<(u32, u64)> = same.filter_map(|(partition, next)| Some((*partition, (*next)?))).collect();
    blocking(move || {
        let mut lacks = Vec::new();
        for (partition, next) in same {
            if end_offset(&admin, &reading.topic, partition)? > next {
                lacks.push(Lack::Record { partition, next });
            }
        }
        Ok(lacks)
    })
    .await
}

fn stalled(reading: &Reading, lack: &Lack, since: Duration) -> LogError {
    let seconds = since.as_secs();
    let reason = match lack {
        Lack::Record { partition, next } => {
            format!("offset {next} of partition {partition} is there, and has not come for {seconds} s")
        }
        Lack::Member => format!("its group {} has had no members for {seconds} s", reading.group),
    };
    LogError::Stalled { topic: reading.topic.clone(), reason }
}
