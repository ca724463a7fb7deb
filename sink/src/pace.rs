//! Adapts the size of transactions to what the database can do: after a time-out, the same batch would only time out again.

use std::time::Duration;

use crate::limits;
use crate::transaction::Batch;

/// How much a transaction takes on, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Merged rows at which it is written.
    pub(crate) rows: usize,
    /// How long that may take.
    pub(crate) patience: Duration,
}

impl Pace {
    /// The pace after `batch` took too long: half its rows; a batch that cannot be halved gets more time.
    pub(crate) fn slower(self, batch: &Batch) -> Pace {
        match batch.epochs {
            0 | 1 => Pace { patience: (self.patience * 2).min(limits::LONGEST_TRANSACTION), ..self },
            _ => Pace { rows: (batch.merged.rows / 2).max(1), ..self },
        }
    }

    /// The pace after a transaction that was in time: twice as many rows, up to the initial number.
    pub(crate) fn faster(self, rows: usize, patience: Duration) -> Pace {
        Pace { rows: self.rows.saturating_mul(2).min(rows), patience }
    }
}
