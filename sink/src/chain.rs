//! The epochs of one partition as a chain: each begins where the one before ended. Decides what a message is, and keeps
//! those that came too early; merges and writes nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sql::partial::Partial;

use crate::limits;

/// One partition's place in the chain.
#[derive(Debug)]
pub struct Chain {
    /// Offset of `heartbeats` at which the next epoch must begin.
    next: u64,
    /// Fingerprint of all epochs so far; empty before the first.
    fingerprint: String,
    /// Next message on `partials` that has not been seen.
    position: u64,
    /// Epochs ahead of the chain, by their first offset.
    waiting: BTreeMap<u64, Arrival>,
    waiting_bytes: usize,
    /// Epochs for which there was no room; all of them lie beyond those that wait.
    dropped: Option<Dropped>,
    /// Where the chain stood when it was last read back for a gap.
    read_back_at: Option<u64>,
}

/// An epoch, and where on `partials` it was.
#[derive(Debug)]
pub struct Arrival {
    /// Offset on `partials`.
    pub offset: u64,
    /// Bytes it takes in memory.
    pub bytes: usize,
    /// The epoch.
    pub partial: Partial,
}

/// Epochs that were let go: they are read again when those before them are in.
#[derive(Debug, Clone, Copy)]
struct Dropped {
    /// First offset of the first of them.
    from: u64,
    /// Least offset of them on `partials`.
    offset: u64,
    /// Where `partials` ended when the first was let go, once that is known: a missing epoch is looked for up to there.
    end: Option<u64>,
}

/// What a message is to the chain.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// In the tables, or merged, already.
    Repeat,
    /// The next one.
    Extends,
    /// Ahead of its turn.
    Waits,
}

/// Why a chain is broken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Boundaries of epochs are a function of the log: these can only be of another log or program.
    #[error(
        "an epoch {from}..{to} overlaps the tables, which end at {next}: corrupt, or two different programs write this pipeline"
    )]
    Overlap {
        /// First offset.
        from: u64,
        /// Offset after the last.
        to: u64,
        /// Where the chain stands.
        next: u64,
    },
    /// The epoch between was never published, or retention took it.
    #[error(
        "the epoch that begins at {next} does not come, {waiting} wait for it, the first at {first}: replay the pipeline, or raise the retention of partials"
    )]
    Gap {
        /// Where the chain stands.
        next: u64,
        /// Epochs that wait.
        waiting: usize,
        /// First offset of the first of them.
        first: u64,
    },
    /// Another kernel, parameters, partition count or SQL.
    #[error("the epoch's fingerprint is {found}, that of the tables {expected}")]
    Fingerprint {
        /// In the message.
        found: String,
        /// In `progress`.
        expected: String,
    },
}

impl Chain {
    /// A chain that stands at `next`, to be read from `position` on `partials`.
    #[must_use]
    pub fn new(next: u64, fingerprint: String, position: u64) -> Chain {
        Chain {
            next,
            fingerprint,
            position,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            dropped: None,
            read_back_at: None,
        }
    }

    /// Takes a message, and returns the epochs that can be merged now, in order.
    pub fn take(&mut self, arrival: Arrival) -> Result<Vec<Arrival>, ChainError> {
        self.position = arrival.offset + 1;
        let found = &arrival.partial.fingerprint;
        if self.fingerprint.is_empty() {
            self.fingerprint.clone_from(found);
        } else if self.fingerprint != *found {
            return Err(ChainError::Fingerprint { found: found.clone(), expected: self.fingerprint.clone() });
        }
        let mut ready = Vec::new();
        match place(self.next, arrival.partial.from, arrival.partial.to)? {
            Place::Repeat => {}
            Place::Waits => self.keep(arrival),
            Place::Extends => {
                self.next = arrival.partial.to;
                ready.push(arrival);
                while let Some(arrival) = self.unblocked()? {
                    self.next = arrival.partial.to;
                    ready.push(arrival);
                }
            }
        }
        Ok(ready)
    }

    /// Keeps an epoch that is ahead; what there is no room for is let go, the farthest first.
    fn keep(&mut self, arrival: Arrival) {
        if self.dropped.is_some_and(|dropped| arrival.partial.from >= dropped.from) {
            return; // its offset is greater than that of the first dropped
        }
        if let Entry::Vacant(place) = self.waiting.entry(arrival.partial.from) {
            self.waiting_bytes += arrival.bytes;
            place.insert(arrival);
        }
        self.let_go(limits::WAITING_EPOCHS, limits::WAITING_BYTES);
    }

    /// Lets the farthest epochs go until at most this many epochs and bytes wait; one epoch may always wait, whatever its size.
    fn let_go(&mut self, epochs: usize, bytes: usize) {
        while self.waiting.len() > epochs || (self.waiting_bytes > bytes && self.waiting.len() > 1) {
            let Some((from, farthest)) = self.waiting.pop_last() else { return };
            self.waiting_bytes -= farthest.bytes;
            let dropped = self.dropped.get_or_insert(Dropped { from, offset: farthest.offset, end: None });
            (dropped.from, dropped.offset) = (from, dropped.offset.min(farthest.offset));
        }
    }

    /// The first waiting epoch, if its turn has come; waiting epochs that have become repeats are dropped on the way.
    fn unblocked(&mut self) -> Result<Option<Arrival>, ChainError> {
        while let Some(first) = self.waiting.first_entry() {
            let (from, to) = (first.get().partial.from, first.get().partial.to);
            let place = place(self.next, from, to)?;
            if place == Place::Waits {
                return Ok(None);
            }
            let arrival = first.remove();
            self.waiting_bytes -= arrival.bytes;
            if place == Place::Extends {
                return Ok(Some(arrival));
            }
        }
        Ok(None)
    }

    /// Where to read `partials` again, once nothing waits any more and it is the turn of the epochs that were let go.
    pub fn read_again(&mut self) -> Option<u64> {
        if !self.waiting.is_empty() {
            return None;
        }
        self.position = self.dropped.take()?.offset;
        Some(self.position)
    }

    /// Whether epochs were let go, and it is not known yet how far a missing one is to be looked for.
    #[must_use]
    pub fn wants_end(&self) -> bool {
        self.dropped.is_some_and(|dropped| dropped.end.is_none())
    }

    /// Notes where `partials` ends.
    pub fn note_end(&mut self, end: u64) {
        if let Some(dropped) = &mut self.dropped {
            dropped.end.get_or_insert(end);
        }
    }

    /// Whether epochs wait, others found no room, and the missing epoch was not found.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let is_at_end = |dropped: Dropped| dropped.end.is_some_and(|end| self.position >= end);
        !self.waiting.is_empty() && self.dropped.is_some_and(is_at_end)
    }

    /// Remembers that a stuck chain is being read back; a second time at the same place is an error.
    pub fn note_read_back(&mut self) -> Result<(), ChainError> {
        if self.read_back_at == Some(self.next) {
            let first = self.waiting.keys().next().copied().unwrap_or(self.next);
            return Err(ChainError::Gap { next: self.next, waiting: self.waiting.len(), first });
        }
        self.read_back_at = Some(self.next);
        Ok(())
    }

    /// Moves the chain to where `progress` says, with nothing waiting.
    pub fn reset(&mut self, next: u64, fingerprint: String, position: u64) {
        *self = Chain { read_back_at: self.read_back_at, ..Chain::new(next, fingerprint, position) };
    }

    /// Offset of `heartbeats` at which the next epoch must begin.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Fingerprint of all epochs so far; empty before the first.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Before the first epoch, demands that it has this fingerprint; an empty one demands nothing.
    pub fn expect_fingerprint(&mut self, fingerprint: &str) {
        if self.fingerprint.is_empty() {
            fingerprint.clone_into(&mut self.fingerprint);
        }
    }

    /// Where to read on `partials` after a restart, so that nothing that waits is lost.
    #[must_use]
    pub fn resume_at(&self) -> u64 {
        let dropped = self.dropped.map(|dropped| dropped.offset);
        self.waiting.values().map(|arrival| arrival.offset).chain(dropped).fold(self.position, u64::min)
    }

    /// Epochs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// If more than `bytes` wait in all, the chain with the most waiting bytes lets its farthest epochs go. Returns its partition.
pub fn bound(chains: &mut BTreeMap<u32, Chain>, bytes: usize) -> Option<u32> {
    let over = chains.values().map(|chain| chain.waiting_bytes).sum::<usize>().saturating_sub(bytes);
    let some = chains.iter_mut().filter(|(_, chain)| over > 0 && chain.waiting.len() > 1);
    let (partition, chain) = some.max_by_key(|(_, chain)| chain.waiting_bytes)?;
    chain.let_go(limits::WAITING_EPOCHS, chain.waiting_bytes.saturating_sub(over));
    Some(*partition)
}

/// What an epoch `[from, to)` is to a chain that stands at `next`.
pub fn place(next: u64, from: u64, to: u64) -> Result<Place, ChainError> {
    if to <= next {
        Ok(Place::Repeat)
    } else if from == next {
        Ok(Place::Extends)
    } else if from > next {
        Ok(Place::Waits)
    } else {
        Err(ChainError::Overlap { from, to, next })
    }
}

#[cfg(test)]
mod tests;
