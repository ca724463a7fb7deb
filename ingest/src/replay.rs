//! Brings what is in the spool to the log, in the order of each partition, as soon as the log takes it. A crash between the log's
//! acknowledgement and the removal here sends records again; they count once all the same.
//!
//! Partitions that stay away hold up nobody else: the spool is read on for the others, and for those that come back it is read
//! once more from where they fell behind. What all partitions have taken is removed.

mod places;

use crate::limits::{
    DETOUR_AFTER, OVERTAKEN_AT_MOST, REPLAY_BYTES, REPLAY_FLIGHTS, REPLAY_LONGEST_PAUSE, REPLAY_PAUSE, REPLAY_POLL,
    REPLAY_RECORDS, SPOOL_PATIENCE,
};
use crate::meters;
use crate::outlet::Outlet;
use crate::queue::Sent;
use crate::records::{PartitionSet, Records};
use crate::spool_writer::SpoolWriter;
use crate::topics::ForeignTopic;
use places::{Places, Try};
use service::Stop;
use std::ops::Range;
use std::pin::pin;
use tokio::time::{Instant, timeout};
use topic::{LogError, SpoolBatch, SpoolPlace};

/// Replays until asked to stop. What is left then stays for the next start.
pub(crate) async fn run(outlet: &Outlet, stop: &Stop) -> Result<(), ForeignTopic> {
    let Some(spool) = &outlet.spool else { return Ok(()) };
    tokio::select! {
        ended = replay(outlet, spool) => ended,
        () = stop.requested() => Ok(()),
    }
}

/// Never ends but with an error.
async fn replay(outlet: &Outlet, spool: &SpoolWriter) -> Result<(), ForeignTopic> {
    let mut replay = Replay { outlet, spool, places: Places::new(), flights: Vec::new(), done: None, is_untidy: false };
    loop {
        replay.land().await;
        let begun = Instant::now();
        let brought = replay.advance().await?;
        if brought == Brought::Some {
            continue;
        }
        // As long as the detour leads here, more comes in all the time. Once the detour ends, what has come in meanwhile is
        // overtaken by what goes straight to the log.
        if brought != Brought::Later && begun.elapsed() < OVERTAKEN_AT_MOST {
            outlet.end_detour_but_for(replay.places.behind());
        }
        let is_trying = replay.catch_up().await?;
        if brought != Brought::All && !is_trying {
            replay.rest().await;
        }
    }
}

/// The replay of a spool: a front that reads on for all partitions that take their records, and flights for those that are behind.
struct Replay<'a> {
    outlet: &'a Outlet,
    spool: &'a SpoolWriter,
    places: Places,
    flights: Vec<Flight>,
    /// What nobody needs any more but is not yet removed from the disk: where it ends, and how many records it has.
    done: Option<(SpoolPlace, usize)>,
    /// Whether a failed removal was logged.
    is_untidy: bool,
}

/// Records that were handed to the log, for partitions that are behind.
struct Flight {
    tried: Try,
    batch: SpoolBatch,
    sent: Sent,
    /// Those that it has not acknowledged.
    left: Records,
}

/// How much of what was in the spool was brought to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    Some,
    /// With what there was to its end.
    All,
    /// There was nothing.
    Nothing,
    /// Too much is in flight.
    Later,
}

impl Replay<'_> {
    /// Brings what is new in the spool to the partitions that are not behind. Those that do not take it in time are behind from now on.
    async fn advance(&mut self) -> Result<Brought, ForeignTopic> {
        if self.flights.len() >= REPLAY_FLIGHTS {
            return Ok(Brought::Later);
        }
        let tried = self.places.advance();
        let batch = self.read(&tried.places, REPLAY_RECORDS).await;
        if batch.records.is_empty() {
            if batch.end > tried.places.start {
                self.places.advanced(&tried, batch.end, PartitionSet::default()); // past what cannot be read
                self.remove(&tried, &batch).await;
            } else {
                self.remove_done().await; // what failed before
            }
            return Ok(Brought::Nothing);
        }
        let mut left = tried.of(self.records(&batch).await?);
        let (all, is_last) = (left.len(), batch.is_last);
        let mut sent = self.send(&left).await;
        let settled = sent.settle(&mut left, DETOUR_AFTER).await;
        self.outlet.tell(&settled, &left);
        meters::replayed(all - left.len());
        match self.places.advanced(&tried, batch.end, left.partitions()) {
            Some(tried) => self.flights.push(Flight { tried, batch, sent, left }),
            None => self.remove(&tried, &batch).await,
        }
        Ok(if is_last { Brought::All } else { Brought::Some })
    }

    /// Gives some partitions that are behind what comes next for them; says whether there were any.
    async fn catch_up(&mut self) -> Result<bool, ForeignTopic> {
        if self.flights.len() >= REPLAY_FLIGHTS {
            return Ok(false);
        }
        let Some(tried) = self.places.catch_up() else { return Ok(false) };
        // Little, as long as they refuse it.
        let batch = self.read(&tried.places, if tried.is_again { 1 } else { REPLAY_RECORDS }).await;
        let left = tried.of(self.records(&batch).await?);
        let sent = self.send(&left).await;
        self.flights.push(Flight { tried, batch, sent, left });
        Ok(true)
    }

    /// Takes in what the log has settled.
    async fn land(&mut self) {
        for mut flight in std::mem::take(&mut self.flights) {
            let before = flight.left.len();
            let settled = flight.sent.settled(&mut flight.left);
            meters::replayed(before - flight.left.len());
            let Some(settled) = settled else {
                self.flights.push(flight);
                continue;
            };
            self.outlet.tell(&settled, &flight.left);
            self.places.caught_up(&flight.tried, flight.batch.end, flight.left.partitions());
            self.remove(&flight.tried, &flight.batch).await;
        }
    }

    /// Removes what was read, unless somebody needs it still.
    async fn remove(&mut self, tried: &Try, batch: &SpoolBatch) {
        if self.places.is_done(tried) {
            let before = self.done.map_or(0, |(_, records)| records);
            self.done = Some((batch.end, before + batch.records.len()));
            self.remove_done().await;
        }
    }

    /// Removes what nobody needs any more. If that fails, the log has it all the same, and the removal is tried again with the
    /// next.
    async fn remove_done(&mut self) {
        let Some((end, records)) = self.done else { return };
        let spool = self.spool.spool.clone();
        match self.disk(move || spool.remove(end, records)).await {
            Ok(()) => (self.done, self.is_untidy) = (None, false),
            Err(error) => {
                if !std::mem::replace(&mut self.is_untidy, true) {
                    tracing::error!(%error, "what the log has cannot be removed from the spool; trying on");
                }
            }
        }
    }

    /// What comes next in the spool.
    async fn read(&self, places: &Range<SpoolPlace>, most: usize) -> SpoolBatch {
        let mut pause = REPLAY_PAUSE;
        loop {
            let (spool, places) = (self.spool.spool.clone(), places.clone());
            match self.disk(move || spool.read(places, most, REPLAY_BYTES)).await {
                Ok(batch) => return batch,
                Err(error) => self.spool.fails(error.to_string()),
            }
            self.outlet.end_detour();
            tokio::time::sleep(pause).await;
            pause = REPLAY_LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// What the spool's disk answers, however long that takes; meanwhile nobody waits for it.
    async fn disk<T: Send + 'static>(
        &self,
        ask: impl FnOnce() -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let mut asked = pin!(tokio::task::spawn_blocking(ask));
        let mut patience = SPOOL_PATIENCE;
        loop {
            if let Ok(answer) = timeout(patience, &mut asked).await {
                return answer.map_err(|_| LogError::Closed)?;
            }
            // Again and again: the detour begins anew while the log is away, and nobody else would end it.
            self.spool.hangs();
            self.outlet.end_detour();
            patience = REPLAY_LONGEST_PAUSE.min(patience * 2);
        }
    }

    /// Waits until there may be something to do.
    async fn rest(&self) {
        let pause = if self.flights.is_empty() { REPLAY_PAUSE } else { REPLAY_POLL };
        loop {
            tokio::select! {
                () = self.spool.appended() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if self.spool.spool.depth().records > 0 {
                return; // somebody is behind, a removal failed, or an append came after its time
            }
        }
    }

    /// The records of a batch in their places, as soon as those are known.
    async fn records(&self, batch: &SpoolBatch) -> Result<Records, ForeignTopic> {
        let mut records = self.outlet.topics.of_spooled(&batch.records)?;
        while !self.outlet.topics.place(&mut records) {
            tokio::time::sleep(REPLAY_PAUSE).await;
        }
        Ok(records)
    }

    /// Hands records to the log as soon as there is room for them.
    async fn send(&self, records: &Records) -> Sent {
        loop {
            match self.outlet.send(records, 1) {
                Ok(sent) => return sent,
                Err(_) => tokio::time::sleep(REPLAY_PAUSE).await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
