//! Whether a consumer gets what is on the log. librdkafka has been seen to stand still after an outage, without an error. The cause that
//! is known is mended in [`super::bootstrap`]; against others nothing helps but a new client, so whoever watches is told, and ends.
//!
//! Only what is certain counts: Kafka answers another client, that client sees a record that ours does not get, or a group without the
//! member that ours thinks it is; ours asks all the time; and all that for minutes.

use super::context::Events;
use super::{Kafka, blocking, number_of};
use crate::record::{Record, Start};
use crate::{LogError, limits};
use rdkafka::admin::AdminClient;
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
    /// The partitions that are assigned.
    places: BTreeMap<u32, Place>,
    /// How long the consumer has waited while nothing came.
    idle: Duration,
}

/// How far a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The offset that comes next; unknown before the first record of a partition that began at the earliest.
    next: Option<u64>,
    /// Faults that came instead of records. Each shows that the client asks, so that a new one would get no further.
    faults: u64,
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
        self.noted().places.insert(partition, Place { next, faults: 0 });
    }

    /// These partitions are not read any more.
    pub(super) fn ends(&self, partitions: &[u32]) {
        let mut noted = self.noted();
        for partition in partitions {
            noted.places.remove(partition);
        }
    }

    /// Records came.
    pub(super) fn came(&self, records: &[Record<'_>]) {
        let mut noted = self.noted();
        for of_partition in records.chunk_by(|one, other| one.partition == other.partition) {
            let last = of_partition.last().expect("a chunk is never empty");
            if let Some(place) = noted.places.get_mut(&last.partition) {
                place.next = Some(last.offset + 1);
            }
        }
    }

    /// A fault came.
    pub(super) fn failed(&self, partition: u32) {
        if let Some(place) = self.noted().places.get_mut(&partition) {
            place.faults += 1;
        }
    }

    /// Nothing came although the consumer waited.
    pub(super) fn idled(&self, waited: Duration) {
        self.noted().idle += waited;
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
    /// How long it must have waited in vain meanwhile.
    pub(super) idle: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { look: limits::READING_LOOK, stalled_after: limits::STALLED_AFTER, idle: limits::STALLED_IDLE }
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
    idle: Duration,
    calls: u64,
}

impl Suspicion {
    fn new(lack: Lack, reading: &Reading, noted: &Noted) -> Suspicion {
        let calls = reading.calls.load(Ordering::Relaxed);
        Suspicion { lack, since: Instant::now(), idle: noted.idle, calls }
    }

    /// Whether it had time and occasion to get what it lacks, or does not come back from a call.
    fn is_proven(&self, reading: &Reading, noted: &Noted, patience: Patience) -> bool {
        let is_stuck = self.calls % 2 == 1 && self.calls == reading.calls.load(Ordering::Relaxed);
        let has_waited = noted.idle >= self.idle + patience.idle;
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
    if noted.places.is_empty() {
        kafka.shape(&reading.topic).await?; // without the topic nobody is in the group
        let (admin, reading) = (Arc::clone(&kafka.admin), Arc::clone(reading));
        return blocking(move || {
            Ok(has_no_member(&admin, &reading.group)?.then_some(Lack::Member).into_iter().collect())
        })
        .await;
    }
    let same = noted.places.iter().filter(|(partition, place)| before.places.get(partition) == Some(place));
    let same: Vec<(u32, u64)> = same.filter_map(|(partition, place)| Some((*partition, place.next?))).collect();
    let (admin, topic) = (Arc::clone(&kafka.admin), reading.topic.clone());
    blocking(move || Ok(beyond(&admin, &topic, &same))).await
}

/// Whether Kafka knows the group, and that nobody is in it. A group that it does not name may be one that it cannot tell of now.
fn has_no_member(admin: &AdminClient<Events>, group: &str) -> Result<bool, LogError> {
    let found = admin.inner().fetch_group_list(Some(group), limits::ADMIN_TIMEOUT);
    let found = found.map_err(|error| LogError::kafka("asking for the group", error))?;
    Ok(found.groups().iter().any(|found| found.name() == group && matches!(found.state(), "Empty" | "Dead")))
}

/// The records that are there, of those that would come next. A partition that does not answer has no leader perhaps: then nothing
/// of it comes to anybody, and the others are asked all the same, as long as there is time.
fn beyond(admin: &AdminClient<Events>, topic: &str, places: &[(u32, u64)]) -> Vec<Lack> {
    let deadline = Instant::now() + limits::ADMIN_TIMEOUT;
    let is_there = |&&(partition, next): &&(u32, u64)| {
        let answer = (Instant::now() < deadline)
            .then(|| admin.inner().fetch_watermarks(topic, number_of(partition), limits::READING_QUESTION));
        answer.and_then(Result::ok).is_some_and(|(_, end)| u64::try_from(end).is_ok_and(|end| end > next))
    };
    places.iter().filter(is_there).map(|&(partition, next)| Lack::Record { partition, next }).collect()
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
