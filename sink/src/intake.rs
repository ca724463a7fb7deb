//! What a sink has taken in and not yet written: chains the epochs of each partition, and merges those whose turn it is into
//! the next batch. It reads a clock only to know when a flush is due.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use metrics::counter;
use topic::Record;

use crate::chain::{self, Arrival, Chain, ChainError};
use crate::pace::Pace;
use crate::progress::{Bookmark, Change, Progress};
use crate::transaction::{Gathered, Range};
use crate::writing::Writing;
use crate::{Settings, SinkError, limits, meters};

/// What the loop keeps between polls, apart from its connections.
pub(crate) struct Intake {
    pub(crate) settings: Settings,
    changes: Receiver<Change>,
    pub(crate) chains: BTreeMap<u32, Chain>,
    /// Fingerprint of the tables; empty before the first epoch of any partition.
    pub(crate) fingerprint: String,
    /// The fingerprint of the epoch that was last refused, of each partition.
    refused: BTreeMap<u32, String>,
    /// Epochs whose turn it is, with their partitions; empty before each poll.
    pub(crate) ready: VecDeque<(u32, Arrival)>,
    /// What is gathered.
    pub(crate) gathered: Gathered,
    /// The batch that is being written meanwhile; what is gathered comes after it.
    pub(crate) writing: Option<Writing>,
    pub(crate) pace: Pace,
    /// When what is gathered must be written.
    pub(crate) due: Option<Instant>,
    /// Whether something is gathered of a partition that was taken away.
    pub(crate) leaving: bool,
}

impl Intake {
    /// Nothing is taken in yet; a transaction may take `patience` at first.
    pub(crate) fn new(settings: Settings, changes: Receiver<Change>, patience: Duration) -> Intake {
        Intake {
            pace: Pace { rows: settings.flush_rows, patience },
            settings,
            changes,
            chains: BTreeMap::new(),
            fingerprint: String::new(),
            refused: BTreeMap::new(),
            ready: VecDeque::new(),
            gathered: Gathered::default(),
            writing: None,
            due: None,
            leaving: false,
        }
    }

    /// Takes one message.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> Result<(), SinkError> {
        self.follow_assignment();
        let (partition, offset) = (record.partition, record.offset);
        let Some(chain) = self.chains.get_mut(&partition) else {
            return Ok(());
        };
        let partial =
            sql::codec::decode(record.value).map_err(|source| SinkError::Codec { partition, offset, source })?;
        if partial.pipeline != self.settings.pipeline || partial.partition != partition {
            let (pipeline, claimed) = (partial.pipeline, partial.partition);
            return Err(SinkError::Stranger { partition, offset, pipeline, claimed });
        }
        let arrival = Arrival { offset, bytes: partial.bytes(), partial };
        chain.expect_fingerprint(&self.fingerprint);
        let ready = match chain.take(arrival) {
            Err(ChainError::Fingerprint { found, expected }) => {
                self.refuse(partition, offset, found, &expected);
                return Ok(());
            }
            taken => taken.map_err(|source| SinkError::Chain { partition, offset, source })?,
        };
        if self.fingerprint.is_empty() {
            chain.fingerprint().clone_into(&mut self.fingerprint);
        }
        if ready.is_empty() && chain.waiting() == 0 {
            counter!(meters::REPEATS).increment(1);
        }
        let shortened = chain::bound(&mut self.chains, limits::WAITING_BYTES_IN_ALL);
        for partition in shortened.into_iter().chain([partition]) {
            meters::waiting(partition, self.chains[&partition].waiting());
        }
        self.ready.extend(ready.into_iter().map(|arrival| (partition, arrival)));
        Ok(())
    }

    /// Passes over an epoch made with other crediting. It can never join the chain, and it stays on the topic: a sink that ended
    /// because of it would end again at each start, even once the right processors are back.
    fn refuse(&mut self, partition: u32, offset: u64, found: String, expected: &str) {
        counter!(meters::REFUSED).increment(1);
        if self.refused.get(&partition) != Some(&found) {
            tracing::error!(
                partition,
                offset,
                found,
                expected,
                "epochs of another fingerprint are passed over: a processor with other crediting or SQL writes for this pipeline"
            );
            self.refused.insert(partition, found);
        }
    }

    pub(crate) fn merge(&mut self, partition: u32, arrival: Arrival) -> Result<(), SinkError> {
        let Arrival { offset, partial, .. } = arrival;
        let (from, to, clock) = (partial.from, partial.to, partial.clock);
        let ledger = partial.ledger.expect("the codec refuses a partial without a ledger");
        let merged = self.gathered.merged.add(&partial);
        merged.map_err(|source| SinkError::Merge { partition, offset, source })?;
        let fingerprint = partial.fingerprint;
        let range = Range { from, to, clock, fingerprint, partials_offset: offset + 1, ledger };
        self.gathered
            .ranges
            .entry(partition)
            .and_modify(|merged| *merged = Range { from: merged.from, ..range.clone() })
            .or_insert(range);
        self.gathered.epochs += 1;
        counter!(meters::EPOCHS).increment(1);
        self.due.get_or_insert_with(|| Instant::now() + Duration::from_millis(self.settings.flush_ms));
        Ok(())
    }

    /// Carries out what the assignment has noted.
    pub(crate) fn follow_assignment(&mut self) {
        while let Ok(change) = self.changes.try_recv() {
            match change {
                Change::Assigned(row) => self.assign(row),
                Change::Revoked(partition) => self.revoke(partition),
            }
        }
    }

    /// The partition is now another sink's, which reads the ready epochs itself; what is gathered from it is written at once.
    pub(crate) fn revoke(&mut self, partition: u32) {
        self.chains.remove(&partition);
        meters::waiting(partition, 0);
        self.ready.retain(|(of, _)| *of != partition);
        self.leaving |= self.gathered.ranges.contains_key(&partition);
    }

    /// Drops what is merged and what waits to be merged.
    pub(crate) fn forget_gathered(&mut self) {
        self.gathered = Gathered::default();
        self.ready.clear();
        self.due = None;
        self.leaving = false;
    }

    /// A partition that comes back while its epochs are still on their way into the tables continues after those epochs, or
    /// where the tables end if that is further on. In the latter case somebody else has written after these epochs or in their
    /// place; the guard detects that, and everything starts over.
    fn assign(&mut self, row: Progress) {
        let Progress { partition, next_offset, clock, fingerprint, partials_offset } = row;
        meters::clock(partition, next_offset, clock); // whoever wrote it may be gone, and the next transaction may fail for long
        let gathered = self.gathered.ranges.get(&partition);
        let range = gathered.or_else(|| self.writing.as_ref()?.batch().ranges.get(&partition));
        let next = range.map_or(next_offset, |range| range.to.max(next_offset));
        self.chains.insert(partition, Chain::new(next, fingerprint, partials_offset));
    }

    /// Where to resume reading, for partitions that have nothing on its way into the tables. A partition without an epoch in
    /// the tables gets no bookmark: it is read from the beginning.
    pub(crate) fn bookmarks(&self) -> Vec<Bookmark> {
        let is_written =
            |partition| self.writing.as_ref().is_some_and(|writing| writing.batch().ranges.contains_key(partition));
        let is_gathered = |partition| self.gathered.ranges.contains_key(partition);
        let begun = self.chains.iter().filter(|(_, chain)| chain.next() > 0);
        let quiet = begun.filter(|(partition, _)| !is_gathered(*partition) && !is_written(*partition));
        let bookmark = |(&partition, chain): (&u32, &Chain)| Bookmark {
            partition,
            next_offset: chain.next(),
            partials_offset: chain.resume_at(),
        };
        quiet.map(bookmark).collect()
    }

    /// Notes where each gathered partition would be read on.
    pub(crate) fn place_positions(&mut self) {
        for (partition, range) in &mut self.gathered.ranges {
            if let Some(chain) = self.chains.get(partition) {
                let ready = self.ready.iter().filter(|(of, _)| of == partition).map(|(_, arrival)| arrival.offset);
                range.partials_offset = ready.fold(chain.resume_at(), u64::min);
            }
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.is_full() || self.due.is_some_and(|due| due <= Instant::now())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.gathered.merged.rows() >= self.pace.rows
    }

    /// How long a poll may wait.
    pub(crate) fn wait(&self) -> Duration {
        if self.writing.is_some() {
            return limits::WRITING_POLL_WAIT;
        }
        self.due.map_or(limits::POLL_WAIT, |due| due.saturating_duration_since(Instant::now()).min(limits::POLL_WAIT))
    }
}

#[cfg(test)]
mod tests;
