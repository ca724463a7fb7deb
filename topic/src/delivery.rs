//! The outcome of one `append`: one counter for all its records, one for those of each partition, one waker.

use crate::LogError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Resolves when every record of one `append` is acknowledged or has failed, with the first failure if there is one.
/// Dropping it takes nothing back, and it may be asked again.
#[must_use = "an append that nobody waits for may be lost unseen"]
pub struct Delivery(Arc<Acknowledgement>);

/// What the records of one `append` share; each settles it once.
pub(crate) struct Acknowledgement {
    waiting: AtomicUsize,
    /// Records that are not acknowledged, by partition; empty for an append that is acknowledged as a whole.
    missing: Box<[(u32, AtomicUsize)]>,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Outcome {
    failure: Option<LogError>,
    waker: Option<Waker>,
    settled: bool,
}

impl Delivery {
    /// A delivery of `records` records, acknowledged as a whole, and the side that settles it.
    pub(crate) fn of(records: usize) -> (Delivery, Arc<Acknowledgement>) {
        Delivery::new(records, Box::default())
    }

    /// A delivery of so many records for each partition, by partition, and the side that settles it.
    pub(crate) fn of_parts(parts: impl Iterator<Item = (u32, usize)>) -> (Delivery, Arc<Acknowledgement>) {
        let parts: Vec<(u32, usize)> = parts.collect();
        let records = parts.iter().map(|(_, records)| records).sum();
        Delivery::new(records, parts.into_iter().map(|(partition, records)| (partition, records.into())).collect())
    }

    fn new(records: usize, missing: Box<[(u32, AtomicUsize)]>) -> (Delivery, Arc<Acknowledgement>) {
        let acknowledgement = Arc::new(Acknowledgement {
            waiting: AtomicUsize::new(records),
            missing,
            outcome: Mutex::new(Outcome { settled: records == 0, ..Outcome::default() }),
        });
        (Delivery(Arc::clone(&acknowledgement)), acknowledgement)
    }

    /// One that has failed before anything was enqueued.
    pub(crate) fn failed(error: LogError) -> Delivery {
        let (delivery, acknowledgement) = Delivery::of(1);
        acknowledgement.settle(1, Some(error));
        delivery
    }

    /// Whether all its records for this partition are acknowledged, as they may be while others are not or have failed.
    pub fn is_safe(&self, partition: u32) -> bool {
        match self.0.missing_of(partition) {
            Some(missing) => missing.load(Ordering::Acquire) == 0,
            None => {
                let outcome = self.0.outcome();
                outcome.settled && outcome.failure.is_none()
            }
        }
    }
}

impl Acknowledgement {
    /// Takes a record of the partition off the count.
    pub(crate) fn settle_one(&self, partition: u32, failure: Option<LogError>) {
        if let (Some(missing), None) = (self.missing_of(partition), &failure) {
            missing.fetch_sub(1, Ordering::Release);
        }
        self.settle(1, failure);
    }

    fn missing_of(&self, partition: u32) -> Option<&AtomicUsize> {
        let index = self.missing.binary_search_by_key(&partition, |(partition, _)| *partition).ok()?;
        Some(&self.missing[index].1)
    }

    /// Takes `records` off the count.
    pub(crate) fn settle(&self, records: usize, failure: Option<LogError>) {
        if let Some(failure) = failure {
            self.outcome().failure.get_or_insert(failure);
        }
        if self.waiting.fetch_sub(records, Ordering::AcqRel) > records {
            return;
        }
        let waker = {
            let mut outcome = self.outcome();
            outcome.settled = true;
            outcome.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        // Nothing panics while it is held, and the state is whole at every step.
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Delivery {
    type Output = Result<(), LogError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = self.0.outcome();
        if outcome.settled {
            return Poll::Ready(outcome.failure.clone().map_or(Ok(()), Err));
        }
        outcome.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
