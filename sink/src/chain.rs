//! The epochs of one partition as a chain: each begins where the one before ended. Decides what a message is, and keeps
//! those that came too early; merges and writes nothing.

use std::collections::BTreeMap;

use sql::partial::Partial;

use crate::caps;

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
    /// Where the chain stood when it was last read back for a gap.
    read_back_at: Option<u64>,
}

/// An epoch, and where on `partials` it was.
#[derive(Debug)]
pub struct Arrival {
    /// Offset on `partials`.
    pub offset: u64,
    /// Bytes it had there.
    pub bytes: usize,
    /// The epoch.
    pub partial: Partial,
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
    #[error(
        "the epoch's fingerprint is {found}, that of the tables {expected}: changed crediting or SQL needs a new pipeline name"
    )]
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
        Chain { next, fingerprint, position, waiting: BTreeMap::new(), waiting_bytes: 0, read_back_at: None }
    }

    /// Takes a message: the epochs that can be merged now, in order.
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

    fn keep(&mut self, arrival: Arrival) {
        let bytes = arrival.bytes;
        let mut is_new = false;
        self.waiting.entry(arrival.partial.from).or_insert_with(|| {
            is_new = true;
            arrival
        });
        if is_new {
            self.waiting_bytes += bytes;
        }
    }

    /// The next of those that wait, if it is its turn; what has become a repeat is dropped on the way.
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

    /// Whether so much waits that the missing epoch must be looked for.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.waiting.len() > caps::WAITING_EPOCHS || self.waiting_bytes > caps::WAITING_BYTES
    }

    /// Remembers that a stuck chain is read back; the second time at the same place is the end.
    pub fn note_read_back(&mut self) -> Result<(), ChainError> {
        if self.read_back_at == Some(self.next) {
            let first = self.waiting.keys().next().copied().unwrap_or(self.next);
            return Err(ChainError::Gap { next: self.next, waiting: self.waiting.len(), first });
        }
        self.read_back_at = Some(self.next);
        Ok(())
    }

    /// Stands where `progress` says, with nothing waiting.
    pub fn reset(&mut self, next: u64, fingerprint: String, position: u64) {
        *self = Chain { read_back_at: self.read_back_at, ..Chain::new(next, fingerprint, position) };
    }

    /// Where to read on `partials` after a restart, so that nothing that waits is lost.
    #[must_use]
    pub fn resume_at(&self) -> u64 {
        self.waiting.values().map(|arrival| arrival.offset).fold(self.position, u64::min)
    }

    /// Epochs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
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
mod tests {
    use super::*;

    fn arrival(offset: u64, from: u64, to: u64) -> Arrival {
        let partial = Partial { from, to, fingerprint: "f".into(), ..Partial::default() };
        Arrival { offset, bytes: 1, partial }
    }

    /// What each message of `script` (from, to) lets through, as from-offsets.
    fn taken(script: &[(u64, u64)]) -> Result<Vec<Vec<u64>>, ChainError> {
        let mut chain = Chain::new(0, String::new(), 0);
        let messages = script.iter().enumerate();
        messages
            .map(|(offset, &(from, to))| {
                let ready = chain.take(arrival(offset as u64, from, to))?;
                Ok(ready.iter().map(|arrival| arrival.partial.from).collect())
            })
            .collect()
    }

    #[test]
    fn epochs_are_taken_once_and_in_order_however_they_come() {
        /// Epochs as they come, and those that are ready after each.
        type Case<'a> = (&'a [(u64, u64)], &'a [&'a [u64]]);
        let cases: &[Case<'_>] = &[
            (&[(0, 5), (5, 9)], &[&[0], &[5]]),
            (&[(0, 5), (0, 5), (5, 9), (0, 5)], &[&[0], &[], &[5], &[]]),
            (&[(5, 9), (9, 10), (0, 5)], &[&[], &[], &[0, 5, 9]]),
            (&[(0, 5), (9, 10), (9, 10), (5, 9), (9, 10)], &[&[0], &[], &[], &[5, 9], &[]]),
        ];
        for (script, expected) in cases {
            assert_eq!(taken(script), Ok(expected.iter().map(|ready| ready.to_vec()).collect()), "{script:?}");
        }
    }

    #[test]
    fn an_overlap_and_another_fingerprint_stop_the_chain() {
        assert_eq!(taken(&[(0, 5), (3, 9)]), Err(ChainError::Overlap { from: 3, to: 9, next: 5 }));
        let mut chain = Chain::new(0, "other".into(), 0);
        assert!(matches!(chain.take(arrival(0, 0, 1)), Err(ChainError::Fingerprint { .. })));
    }

    #[test]
    fn a_chain_with_waiting_epochs_resumes_at_the_first_of_them() -> Result<(), ChainError> {
        let mut chain = Chain::new(0, String::new(), 7);
        chain.take(arrival(7, 5, 9))?;
        chain.take(arrival(8, 9, 12))?;
        assert_eq!(chain.resume_at(), 7);
        chain.take(arrival(9, 0, 5))?;
        assert_eq!((chain.resume_at(), chain.waiting()), (10, 0));
        Ok(())
    }

    #[test]
    fn a_gap_that_stays_after_reading_back_is_the_end() -> Result<(), ChainError> {
        let mut chain = Chain::new(0, String::new(), 0);
        for epoch in 1..=caps::WAITING_EPOCHS as u64 + 1 {
            assert!(!chain.is_stuck());
            chain.take(arrival(epoch, epoch, epoch + 1))?;
        }
        assert!(chain.is_stuck());
        chain.note_read_back()?;
        chain.reset(0, String::new(), 0);
        assert!(matches!(chain.note_read_back(), Err(ChainError::Gap { next: 0, .. })));
        Ok(())
    }
}
