//! Gathers the records of many requests into one batch, hands it to the outlet, and tells the requests what became of
//! it. One appender per worker: nothing here is shared between threads.
//!
//! An append costs the log and this process about as much for a thousand records as for one, so batches that
//! are not full leave at least the linger after one another: see [`Pace`]. What the outlet does with a batch is its own business.

use crate::clock;
use crate::limits::MAX_BATCH_RECORDS;
use crate::meters::Meters;
use crate::outlet::{Outlet, Refused, Way};
use crate::records::Records;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Takes the records of requests. Those that take the detour have batches of their own, so that nobody waits for them.
pub(crate) struct Appender {
    outlet: Arc<Outlet>,
    direct: Rc<Lane>,
    detour: Rc<Lane>,
}

/// Batches that go one way.
struct Lane {
    outlet: Arc<Outlet>,
    meters: Rc<Meters>,
    way: Way,
    pace: Pace,
    gathering: RefCell<Option<Rc<Batch>>>,
}

/// When batches leave: the first at once, each further one a linger after the one before it, or earlier when it is full. So a
/// request waits for the linger at most, and only when there are others.
#[derive(Debug)]
struct Pace {
    linger: Duration,
    last: Cell<Option<Instant>>,
}

impl Pace {
    fn new(linger: Duration) -> Pace {
        Pace { linger, last: Cell::new(None) }
    }

    /// When the next batch is to leave, unless that is now.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.last.get().map(|last| last + self.linger).filter(|due| *due > now)
    }

    fn leaves(&self, now: Instant) {
        self.last.set(Some(now));
    }
}

/// Records of several requests on their way together.
#[derive(Default)]
struct Batch {
    records: RefCell<Records>,
    full: Notify,
    outcome: Cell<Option<Result<(), Refused>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Appender {
    pub(crate) fn new(outlet: Arc<Outlet>, meters: Rc<Meters>, linger: Duration) -> Appender {
        let lane = |way| {
            Rc::new(Lane {
                outlet: outlet.clone(),
                meters: meters.clone(),
                way,
                pace: Pace::new(linger),
                gathering: RefCell::default(),
            })
        };
        Appender { direct: lane(Way::Direct), detour: lane(Way::Detour), outlet }
    }

    /// Puts the records of one request with those of others; resolves when all of them are safe, or were refused. They
    /// stay in their order, and dropping the future takes nothing back once it was polled.
    pub(crate) async fn append(&self, records: &mut Records) -> Result<(), Refused> {
        let mut detoured = self.outlet.divert(records);
        let direct = (!records.is_empty()).then(|| self.direct.append(records));
        if !detoured.is_empty() {
            self.detour.append(&mut detoured).await?;
        }
        match direct {
            Some(direct) => direct.await,
            None => Ok(()),
        }
    }
}

impl Lane {
    fn append(self: &Rc<Lane>, records: &mut Records) -> Appended {
        let mut gathering = self.gathering.borrow_mut();
        let batch = gathering.get_or_insert_with(|| {
            let batch = Rc::new(Batch::default());
            tokio::task::spawn_local(self.clone().drive(batch.clone()));
            batch
        });
        let mut gathered = batch.records.borrow_mut();
        gathered.append(records);
        let is_full = gathered.len() >= MAX_BATCH_RECORDS;
        drop(gathered);
        let appended = Appended { batch: batch.clone(), place: None };
        if is_full {
            batch.full.notify_one();
            *gathering = None;
        }
        appended
    }

    /// Waits for company, then sees the batch through to its outcome, whether anybody still waits for it or not.
    async fn drive(self: Rc<Lane>, batch: Rc<Batch>) {
        if let Some(due) = self.pace.due(Instant::now()) {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = batch.full.notified() => {}
            }
        }
        self.pace.leaves(Instant::now());
        self.gathering.borrow_mut().take_if(|gathering| Rc::ptr_eq(gathering, &batch));
        let records = mem::take(&mut *batch.records.borrow_mut());
        let (started, count) = (clock::instant(), records.len());
        let outcome = self.outlet.take(records, self.way).await;
        self.meters.appended(started.elapsed(), count, outcome);
        batch.outcome.set(Some(outcome));
        batch.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// What became of the records of a request.
#[must_use = "a request may only be answered when its records are safe"]
pub(crate) struct Appended {
    batch: Rc<Batch>,
    /// Where its waker is among those that wait.
    place: Option<usize>,
}

impl Future for Appended {
    type Output = Result<(), Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Appended { batch, place } = &mut *self;
        if let Some(outcome) = batch.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut waiting = batch.waiting.borrow_mut();
        match place {
            Some(place) => waiting[*place].clone_from(context.waker()),
            None => {
                *place = Some(waiting.len());
                waiting.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn batches_keep_their_distance_and_the_first_waits_for_nothing() {
        let (pace, linger) = (Pace::new(Duration::from_millis(4)), Duration::from_millis(4));
        let start = Instant::now();
        assert_eq!(pace.due(start), None);
        pace.leaves(start);
        assert_eq!(pace.due(start + linger / 4), Some(start + linger));
        assert_eq!(pace.due(start + linger), None);
        // A full one leaves early, and the next keeps its distance to that.
        pace.leaves(start + linger / 2);
        assert_eq!(pace.due(start + linger), Some(start + linger * 3 / 2));
    }

    #[test]
    fn a_request_that_is_polled_again_waits_once_and_for_who_polled_last() {
        let batch = Rc::new(Batch::default());
        let mut requests = [0; 2].map(|_| Appended { batch: batch.clone(), place: None });
        let wakers: [Arc<Counted>; 3] = Default::default();
        let mut poll = |request: usize, waker: usize| {
            let waker = Waker::from(wakers[waker].clone());
            Pin::new(&mut requests[request]).poll(&mut Context::from_waker(&waker))
        };
        for (request, waker) in [(0, 0), (1, 1), (0, 0), (0, 2)] {
            assert!(poll(request, waker).is_pending());
        }
        batch.outcome.set(Some(Ok(())));
        batch.waiting.take().into_iter().for_each(Waker::wake);
        assert_eq!(wakers.each_ref().map(|waker| waker.0.load(Ordering::Relaxed)), [0, 1, 1]);
        assert!(poll(0, 2).is_ready() && poll(1, 1).is_ready());
    }
}
