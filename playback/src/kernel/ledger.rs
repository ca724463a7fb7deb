//! The account of a partition's log: how each of its records ended.

use crate::credit::Disposition;
use serde::{Deserialize, Serialize};

/// How the records of a partition ended; with the waiting points and the ticks they add up to the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Records that only moved the clock.
    pub ticks: u64,
    /// Points that wait for their place.
    pub waiting: u64,
    /// Records by their disposition, in the order of [`Disposition::ALL`].
    pub dispositions: [u64; Disposition::ALL.len()],
}

impl Ledger {
    /// How many records met this disposition.
    pub fn count(&self, disposition: Disposition) -> u64 {
        self.dispositions[disposition as usize]
    }
}
