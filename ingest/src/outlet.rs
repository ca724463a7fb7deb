//! The way out of the gateway: to the log, or, while the log is away, to the spool on local disk, from where
//! [`crate::replay`] brings everything to the log in its order.
//!
//! What the log has not acknowledged in time goes to the spool too. The log may have it all the same; then it has those reports
//! twice, and a report counts once however often it is there (specification, section 3).

use crate::clock;
use crate::detour::Detour;
use crate::limits::{APPEND_TIMEOUT, DETOUR_AFTER, SAFE_LASTS};
use crate::queue::{Queue, Sent};
use crate::records::{PartitionSet, Records};
use crate::spool_writer::SpoolWriter;
use crate::topics::Topics;
use crate::trouble::Trouble;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use topic::{Producer, Spool};

/// Why a batch is not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too much waits already, here or in the spool.
    Full,
    /// Neither the log nor the spool takes records.
    Unavailable,
}

/// Which way records leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Straight to the log.
    Direct,
    /// To the spool, or, without one, to the log in batches that wait by themselves.
    Detour,
}

/// The way out; one for all workers.
pub(crate) struct Outlet {
    producer: Producer,
    pub(crate) topics: Topics,
    pub(crate) spool: Option<SpoolWriter>,
    detour: Detour,
    queue: Arc<Queue>,
    log_trouble: Trouble,
    /// When a batch was safe last.
    last_safe: Mutex<Option<Instant>>,
}

impl Outlet {
    pub(crate) fn new(producer: Producer, topics: Topics, spool: Option<Spool>) -> Outlet {
        let detour = Detour::default();
        if spool.as_ref().is_some_and(|spool| spool.depth().records > 0) {
            detour.begin_for_all();
        }
        Outlet {
            producer,
            topics,
            spool: spool.map(SpoolWriter::new),
            detour,
            queue: Arc::default(),
            log_trouble: Trouble::default(),
            last_safe: Mutex::default(),
        }
    }

    /// Takes out the records that must not wait together with the others.
    pub(crate) fn divert(&self, records: &mut Records) -> Records {
        if !self.detour.is_taken() {
            return Records::default();
        }
        self.topics.place(records);
        self.detour.divert(records)
    }

    /// Resolves when every record is safe, on the log or in the spool, or all count as refused.
    pub(crate) async fn take(&self, records: Records, way: Way) -> Result<(), Refused> {
        let taken = match &self.spool {
            Some(spool) if way == Way::Detour => self.keep(spool, records).await,
            Some(spool) => self.send_or_keep(spool, records).await,
            None => self.send_or_wait(records, way).await,
        };
        if taken.is_ok() {
            *self.last_safe() = Some(clock::instant());
        }
        taken
    }

    /// To the log, and what that does not acknowledge in time to the spool.
    async fn send_or_keep(&self, spool: &SpoolWriter, mut records: Records) -> Result<(), Refused> {
        if !self.topics.place(&mut records) {
            self.detour.begin_for_all();
            return self.keep(spool, records).await;
        }
        let Ok(mut sent) = self.send(&records, 1) else {
            return self.keep(spool, records).await; // too much waits for the log, whatever partitions are away
        };
        let settled = sent.settle(&mut records, DETOUR_AFTER).await;
        if self.conclude(sent, settled, &records).is_ok() {
            if self.is_direct() {
                spool.forget_trouble();
            }
            return Ok(());
        }
        self.begin_detour(&records);
        self.keep(spool, records).await
    }

    /// To the spool. If the spool fails, further records do not wait for it: they go straight to the log, which may be back, and
    /// if it is not they come here again.
    async fn keep(&self, spool: &SpoolWriter, records: Records) -> Result<(), Refused> {
        let kept = spool.keep(self.topics.to_spooled(records)).await;
        if spool.is_failing() {
            self.end_detour();
        }
        kept
    }

    /// To the log, for as long as a request waits. Records of partitions that do not take theirs in time wait among themselves
    /// from then on.
    async fn send_or_wait(&self, mut records: Records, way: Way) -> Result<(), Refused> {
        if !self.topics.place(&mut records) {
            return Err(Refused::Unavailable);
        }
        // Those that wait long leave room for the others.
        let mut sent = self.send(&records, if way == Way::Direct { 1 } else { 2 })?;
        let mut patience = APPEND_TIMEOUT;
        if way == Way::Direct {
            let settled = sent.settle(&mut records, DETOUR_AFTER).await;
            if settled.is_ok() {
                return self.conclude(sent, settled, &records);
            }
            self.begin_detour(&records);
            patience -= DETOUR_AFTER;
        }
        let waited_for = records.partitions();
        let settled = sent.settle(&mut records, patience).await;
        self.detour.end_for(&waited_for.without(&records.partitions()));
        self.conclude(sent, settled, &records)
    }

    /// Hands records, which have their places, to the log, if there is room for them in one of `share` equal parts of the queue.
    pub(crate) fn send(&self, records: &Records, share: usize) -> Result<Sent, Refused> {
        let queued = self.queue.take(records, share).ok_or(Refused::Full)?;
        Ok(Sent::new(&self.producer, &self.topics, records, queued))
    }

    /// Tells what became of records that nobody waits for any longer.
    fn conclude(&self, sent: Sent, settled: Result<(), String>, left: &Records) -> Result<(), Refused> {
        self.tell(&settled, left);
        settled.map_err(|_| {
            sent.leave();
            Refused::Unavailable
        })
    }

    /// Says once that the log does not take records, and once that it does again.
    pub(crate) fn tell(&self, settled: &Result<(), String>, left: &Records) {
        match settled {
            Ok(()) if self.is_direct() && self.log_trouble.ends() => tracing::info!("the log takes records again"),
            Ok(()) => {}
            Err(reason) => {
                if self.log_trouble.begins(reason.clone()) {
                    tracing::warn!(reason, partitions = %left.partitions(), "the log does not take records");
                }
            }
        }
    }

    fn begin_detour(&self, refused: &Records) {
        let new = self.detour.begin(&refused.partitions());
        if !new.is_empty() && !self.spool.as_ref().is_some_and(SpoolWriter::is_failing) {
            let what = if self.spool.is_some() { "go to the spool" } else { "wait, the others do not" };
            tracing::warn!(partitions = %new, "the log does not take records of these partitions: they {what}");
        }
    }

    /// Ends the detour, whatever is left in the spool.
    pub(crate) fn end_detour(&self) {
        self.detour.end_but_for(PartitionSet::default());
    }

    /// Ends the detour except for these partitions: the log has what was in the spool for all others. Records that are on their
    /// way into the spool meanwhile reach the log a little later than newer ones; the delay is shorter than the time that a point
    /// waits for the one before it.
    pub(crate) fn end_detour_but_for(&self, left: PartitionSet) {
        let are_some_left = !left.is_empty();
        if self.detour.end_but_for(left) {
            let which = if are_some_left { "but for the partitions that are away" } else { "of all partitions" };
            tracing::info!("records go straight to the log again, {which}");
        }
    }

    /// Why a report would hardly be answered with 202 now: no batch has been safe for a moment, and this is why the last one was
    /// not, as long as that was not long ago.
    pub(crate) fn trouble(&self) -> Option<String> {
        let is_full = self.spool.as_ref().is_some_and(|writer| writer.spool.is_full());
        if is_full && self.is_mostly_away() {
            return Some("the spool is full".to_owned());
        }
        if self.last_safe().is_some_and(|last| clock::instant() - last < SAFE_LASTS) {
            return None; // most are, whatever is wrong with some partitions
        }
        match &self.spool {
            Some(spool) => spool.lately(),
            None => self.log_trouble.lately(),
        }
    }

    /// Whether most heartbeats take the detour.
    fn is_mostly_away(&self) -> bool {
        let (away, known) = (self.detour.partitions(), self.topics.partitions.get());
        away.zip(known).is_none_or(|(away, known)| away.heartbeats.len() * 2 > known.heartbeats as usize)
    }

    /// How many partitions take no records, as far as it is known.
    pub(crate) fn partitions_away(&self) -> usize {
        let all = || self.topics.partitions.get().map_or(1, |known| known.each().iter().sum::<u32>() as usize);
        self.detour.partitions().map_or_else(all, |away| away.len())
    }

    /// Whether everything goes straight to the log.
    pub(crate) fn is_direct(&self) -> bool {
        !self.detour.is_taken()
    }

    /// Why nothing will reach the log any more, if that is so.
    pub(crate) fn fatal_error(&self) -> Option<String> {
        self.producer.fatal_error()
    }

    fn last_safe(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last_safe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests;
