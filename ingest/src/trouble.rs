//! What is wrong with something that failed and may come back.

use crate::clock;
use crate::limits::TROUBLE_LASTS;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Why the last append failed, if it did.
#[derive(Default)]
pub(crate) struct Trouble {
    is_there: AtomicBool,
    last: Mutex<Option<(Instant, String)>>,
}

impl Trouble {
    /// Notes a failed append; returns whether none had failed before, so that an outage is logged once and not once per batch.
    pub(crate) fn begins(&self, reason: String) -> bool {
        *self.last() = Some((clock::instant(), reason));
        !self.is_there.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Relaxed)
    }

    /// One succeeded; whether one had failed before.
    pub(crate) fn ends(&self) -> bool {
        self.is_there() && self.is_there.swap(false, Ordering::Relaxed)
    }

    /// Why the last append failed, if it did and that was lately. It expires, since a gateway that is not ready gets no reports, and could
    /// never find out that appends work again.
    pub(crate) fn lately(&self) -> Option<String> {
        let last = self.last();
        let (since, reason) = last.as_ref().filter(|_| self.is_there())?;
        (clock::instant() - *since < TROUBLE_LASTS).then(|| reason.clone())
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
