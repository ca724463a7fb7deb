//! The outcome of one `append`: one counter for all its records, one waker.

use crate::LogError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Resolves when every record of one `append` is acknowledged, or with the first failure.
/// Dropping it takes nothing back.
#[must_use = "an append that nobody waits for may be lost unseen"]
pub struct Delivery(Arc<Acknowledgement>);

/// What the records of one `append` share; each settles it once.
pub(crate) struct Acknowledgement {
    waiting: AtomicUsize,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Outcome {
    failure: Option<LogError>,
    waker: Option<Waker>,
    settled: bool,
}

impl Delivery {
    /// A delivery of `records` records, and the side that settles it.
    pub(crate) fn of(records: usize) -> (Delivery, Arc<Acknowledgement>) {
        let acknowledgement = Arc::new(Acknowledgement {
            waiting: AtomicUsize::new(records),
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
}

impl Acknowledgement {
    /// Takes `records` off the count; a failure settles the whole delivery at once.
    pub(crate) fn settle(&self, records: usize, failure: Option<LogError>) {
        let left = self.waiting.fetch_sub(records, Ordering::AcqRel) - records;
        if left > 0 && failure.is_none() {
            return;
        }
        let waker = {
            let mut outcome = self.outcome();
            if !outcome.settled {
                outcome.settled = true;
                outcome.failure = failure;
            }
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
            return Poll::Ready(outcome.failure.take().map_or(Ok(()), Err));
        }
        outcome.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
