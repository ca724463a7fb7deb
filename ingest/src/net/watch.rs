//! The times of connections without timers: a connection notes what it does and the tick it began, and once a tick a
//! sweep looks for those that took too long. A timer for each request would cost more than the request's own time here;
//! the price is that a connection may live a tick longer.

use super::slots::Slots;
use crate::clock;
use crate::limits::{DRAIN_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT, OPENING_TIMEOUT};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// From the accept: PROXY header, TLS handshake, first byte of the first request.
    pub(crate) opening: Duration,
    /// From the first byte of a request to the last of its head.
    pub(crate) head: Duration,
    /// From an answer to the next request.
    pub(crate) idle: Duration,
    /// From the request to finish, or the last answer after it, to the end of the connection.
    pub(crate) finishing: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { opening: OPENING_TIMEOUT, head: HEAD_TIMEOUT, idle: IDLE_TIMEOUT, finishing: DRAIN_TIMEOUT }
    }
}

/// What a connection is doing that has a limit; answering has its limits in the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimedOut {
    Opening,
    Head,
    Finishing,
}

impl TimedOut {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            TimedOut::Opening => "opening",
            TimedOut::Head => "head",
            TimedOut::Finishing => "finishing",
        }
    }
}

/// The notes of one connection.
pub(super) struct Watch {
    now: Rc<Cell<u32>>,
    phase: Cell<Phase>,
    /// The tick in which the phase began.
    since: Cell<u32>,
    /// Requests that are being answered: HTTP/2 has many at a time.
    answering: Cell<u32>,
    multiplexed: Cell<bool>,
    finishing: Cell<bool>,
    timed_out: Cell<Option<TimedOut>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Secured,
    Head,
    Idle,
    Answering,
}

/// A request that is being answered, until it is dropped.
pub(super) struct Answering(Rc<Watch>);

impl Watch {
    /// TLS is there, and HTTP may begin.
    pub(super) fn secured(&self, multiplexed: bool) {
        self.multiplexed.set(multiplexed);
        self.phase.set(Phase::Secured); // its time runs from the accept
    }

    /// HTTP begins.
    pub(super) fn opened(&self, multiplexed: bool) {
        self.multiplexed.set(multiplexed);
        // Of an HTTP/2 connection only requests are seen, not the frames of a head.
        self.enter(if multiplexed { Phase::Idle } else { Phase::Head });
    }

    /// Something came in.
    pub(super) fn heard(&self) {
        match self.phase.get() {
            Phase::Idle if !self.multiplexed.get() => self.enter(Phase::Head),
            Phase::Secured => self.opened(self.multiplexed.get()),
            _ => {}
        }
    }

    /// A head is complete; its request is being answered until the result is dropped.
    pub(super) fn answering(self: &Rc<Watch>) -> Answering {
        self.answering.set(self.answering.get() + 1);
        self.phase.set(Phase::Answering);
        Answering(self.clone())
    }

    /// Whether the connection should end with what is in flight.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.get()
    }

    /// Makes the task of the context the one to wake; tells what the connection is to be closed for.
    pub(super) fn attend(&self, context: &Context<'_>) -> Option<TimedOut> {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.timed_out.get()
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.now.get());
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn finish(&self) {
        self.finishing.set(true);
        self.since.set(self.now.get());
        self.wake();
    }

    fn close(&self, phase: TimedOut) {
        self.timed_out.set(Some(phase));
        self.wake();
    }

    /// Connections idle for too long are asked to end; those that do not, and all others that are late, are closed.
    fn judge(&self, limits: &Ticks) {
        let took = self.now.get().wrapping_sub(self.since.get());
        let finishing = self.finishing.get();
        match self.phase.get() {
            Phase::Answering => {}
            _ if finishing && took > limits.finishing => self.close(TimedOut::Finishing),
            _ if finishing => {}
            Phase::Opening | Phase::Secured if took > limits.opening => self.close(TimedOut::Opening),
            Phase::Head if took > limits.head => self.close(TimedOut::Head),
            Phase::Idle if took > limits.idle => self.finish(),
            _ => {}
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let watch = &self.0;
        watch.answering.set(watch.answering.get() - 1);
        if watch.answering.get() == 0 {
            watch.enter(Phase::Idle);
        }
    }
}

/// [`Timeouts`] in ticks.
#[derive(Clone, Copy)]
struct Ticks {
    opening: u32,
    head: u32,
    idle: u32,
    finishing: u32,
}

/// All connections of a worker.
pub(super) struct Watches {
    now: Rc<Cell<u32>>,
    began: Instant,
    tick: Duration,
    limits: Ticks,
    /// Those that have ended are forgotten in the next sweep.
    all: RefCell<Vec<Weak<Watch>>>,
    /// Whether connections are to end with what is in flight, those included that begin only now.
    draining: Cell<bool>,
}

impl Watches {
    pub(super) fn new(timeouts: Timeouts) -> Watches {
        let Timeouts { opening, head, idle, finishing } = timeouts;
        let shortest = opening.min(head).min(idle).min(finishing);
        let tick = (shortest / 8).clamp(Duration::from_millis(5), Duration::from_millis(500));
        let ticks = |time: Duration| time.div_duration_f64(tick).ceil() as u32;
        let limits =
            Ticks { opening: ticks(opening), head: ticks(head), idle: ticks(idle), finishing: ticks(finishing) };
        Watches {
            now: Rc::default(),
            began: clock::instant(),
            tick,
            limits,
            all: RefCell::default(),
            draining: Cell::new(false),
        }
    }

    /// The watch of a connection that was just accepted.
    pub(super) fn start(&self) -> Rc<Watch> {
        let watch = Rc::new(Watch {
            now: self.now.clone(),
            phase: Cell::new(Phase::Opening),
            since: Cell::new(self.now.get()),
            answering: Cell::new(0),
            multiplexed: Cell::new(false),
            finishing: Cell::new(self.draining.get()),
            timed_out: Cell::new(None),
            waker: RefCell::new(None),
        });
        self.all.borrow_mut().push(Rc::downgrade(&watch));
        watch
    }

    /// Asks every connection to finish. One that was accepted has a watch only when its task runs for the first time, which
    /// may be later.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.all.borrow().iter().filter_map(Weak::upgrade).for_each(|watch| watch.finish());
    }

    /// Looks for connections that take too long, for ever. In a crowd all have a quarter of their time, so that places
    /// become free before newcomers give up.
    pub(super) async fn sweep(&self, slots: &Slots) {
        let mut ticks = tokio::time::interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Counted by the clock, because a worker with two listeners sweeps twice, and a busy one late.
            self.now.set((clock::instant() - self.began).div_duration_f64(self.tick) as u32);
            let limits = if slots.is_crowded() { self.limits.in_a_crowd() } else { self.limits };
            self.all.borrow_mut().retain(|watch| {
                let Some(watch) = watch.upgrade() else { return false };
                watch.judge(&limits);
                true
            });
        }
    }
}

impl Ticks {
    fn in_a_crowd(self) -> Ticks {
        Ticks { opening: self.opening / 4, head: self.head / 4, idle: self.idle / 4, finishing: self.finishing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_begins_after_the_drain_is_asked_to_finish_too() {
        let watches = Watches::new(Timeouts::default());
        let before = watches.start();
        assert!(!before.is_finishing());
        watches.drain();
        assert!(before.is_finishing() && watches.start().is_finishing());
    }
}
