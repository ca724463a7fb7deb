//! Which request goes out next, and what follows from its answer: due times, retries, copies, sums. It knows no sockets;
//! those are the drivers' business ([`crate::http1`], [`crate::http2`]).

use crate::body::{Bodies, DeviceClock};
use crate::crowd::{Crowd, Sent};
use crate::limits::{FIRST_BACKOFF, MAX_BACKOFF, MAX_TRIES, MAX_TRIES_STOPPING};
use crate::pace::Pace;
use crate::settings::LoadError;
use crate::tally::{Failure, Tally};
use crate::viewer::Behaviour;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

/// A request on its way.
pub(crate) struct Ticket {
    sent: Sent,
    /// When it was due, since the start.
    due: Duration,
    /// It is the second copy.
    again: bool,
    tries: u32,
    backoff: Duration,
}

/// All requests of a process.
pub(crate) struct Desk {
    pub(crate) crowd: Crowd,
    pub(crate) tally: Tally,
    pace: Pace,
    bodies: Bodies,
    /// Without one each request is due when its viewer says.
    schedule: Option<Schedule>,
    /// Until then new requests go out.
    until: Duration,
    under_way: usize,
    copies: VecDeque<Box<Ticket>>,
    retries: BTreeMap<(Duration, u64), Box<Ticket>>,
    /// Tickets that serve again, in the boxes in which they go out.
    #[allow(clippy::vec_box)]
    blank: Vec<Box<Ticket>>,
    stopping: bool,
    /// Whether anything answered, if only that it is too busy.
    is_answered: bool,
}

/// Requests at a constant rate.
struct Schedule {
    /// Requests a second.
    rate: u32,
    /// When the first of the requests counted in `begun` was due.
    from: Duration,
    begun: u64,
}

#[derive(Deserialize)]
struct Answer {
    accepted: u64,
    rejected: Vec<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    code: String,
}

impl Desk {
    pub(crate) fn new(crowd: Crowd, bodies: Bodies, pace: Pace, rate: Option<u32>, until: Duration) -> Desk {
        Desk {
            crowd,
            tally: Tally::new(),
            pace,
            bodies,
            schedule: rate.map(|rate| Schedule { rate, from: Duration::ZERO, begun: 0 }),
            until,
            under_way: 0,
            copies: VecDeque::new(),
            retries: BTreeMap::new(),
            blank: Vec::new(),
            stopping: false,
            is_answered: false,
        }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.pace.elapsed()
    }

    /// The next request that is due.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Box<Ticket>> {
        let ticket = match self.copies.pop_front() {
            Some(copy) => copy,
            None => match self.retries.first_entry() {
                Some(first) if first.key().0 <= now => first.remove(),
                _ => self.new_request(now)?,
            },
        };
        self.under_way += 1;
        Some(ticket)
    }

    fn new_request(&mut self, now: Duration) -> Option<Box<Ticket>> {
        let due = self.next_due().filter(|due| *due <= now)?;
        let mut ticket = self.blank.pop().unwrap_or_else(|| {
            let sent = Sent::empty(&self.crowd.world);
            Box::new(Ticket { sent, due, again: false, tries: 0, backoff: FIRST_BACKOFF })
        });
        (ticket.due, ticket.again, ticket.tries, ticket.backoff) = (due, false, 0, FIRST_BACKOFF);
        self.crowd.take(&mut ticket.sent);
        if let Some(schedule) = &mut self.schedule {
            schedule.take(due);
        }
        Some(ticket)
    }

    /// When the next new request is due.
    fn next_due(&mut self) -> Option<Duration> {
        if self.stopping {
            return None;
        }
        let by_viewer = self.crowd.next_due()?;
        let due = match &self.schedule {
            None => self.pace.due(by_viewer),
            Some(schedule) => {
                let due = schedule.next_due();
                let ahead_ms = self.pace.first_ms() + i64::from(by_viewer) - self.pace.at_ms(due);
                // Nobody reports what is still to come.
                due + Duration::from_millis(ahead_ms.max(0).unsigned_abs())
            }
        };
        (due <= self.until).then_some(due)
    }

    /// When to ask for the next request; `None`: not before an answer.
    pub(crate) fn next_time(&mut self) -> Option<Duration> {
        let retry = self.retries.first_key_value().map(|((at, _), _)| *at);
        let new = self.next_due();
        if self.copies.is_empty() { [retry, new].into_iter().flatten().min() } else { Some(Duration::ZERO) }
    }

    /// Whether every request was answered and no other will come.
    pub(crate) fn is_done(&mut self) -> bool {
        self.under_way == 0 && self.next_time().is_none()
    }

    /// Whether the run's time is over and nothing has ever answered: further tries are only for a gateway that was there.
    pub(crate) fn is_in_vain(&self, now: Duration) -> bool {
        now > self.until && !self.is_answered && self.tally.retries > 0
    }

    /// Sends no new requests. Those under way are not tried for much longer, and not again if they were tried often enough.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        let tally = &mut self.tally;
        self.retries.retain(|_, ticket| {
            let goes_on = ticket.tries < MAX_TRIES_STOPPING;
            tally.undelivered += if goes_on { 0 } else { ticket.sent.reports.len() as u64 };
            goes_on
        });
    }

    /// Appends the body of a request, as of now.
    pub(crate) fn put_body(&self, ticket: &Ticket, now: Duration, out: &mut Vec<u8>) {
        let who = ticket.sent.who;
        let clock = (who.behaviour == Behaviour::CorrectedClock).then(|| {
            let skew_ms = (i64::from(who.number % 49) - 24) * HOUR_MS;
            DeviceClock { skew_ms, sent_at: self.pace.at_ms(now) + skew_ms }
        });
        self.bodies.put(out, who, &ticket.sent.reports, clock);
    }

    /// The gateway gave an answer.
    pub(crate) fn answered(
        &mut self,
        ticket: Box<Ticket>,
        status: u16,
        answer: &[u8],
        now: Duration,
    ) -> Result<(), LoadError> {
        self.is_answered = true;
        match status {
            202 => self.taken(ticket, answer, now),
            408 | 429 | 500.. => {
                self.failed(ticket, Failure { reason: format!("status {status}"), uncertain: status >= 500 }, now)
            }
            _ => Err(refused(status, answer)),
        }
    }

    fn taken(&mut self, mut ticket: Box<Ticket>, answer: &[u8], now: Duration) -> Result<(), LoadError> {
        self.under_way -= 1;
        self.tally.answered(now, now.saturating_sub(ticket.due));
        let reports = ticket.sent.reports.len() as u64;
        let (accepted, rejected) = match plainly_accepted(answer) {
            Some(accepted) => (accepted, Vec::new()),
            None => {
                let answer: Answer = serde_json::from_slice(answer).map_err(|_| refused(202, answer))?;
                (answer.accepted, answer.rejected)
            }
        };
        if accepted + rejected.len() as u64 != reports {
            return Err(LoadError::Miscounted { reports, accepted, rejected: rejected.len() as u64 });
        }
        for Refused { code } in rejected {
            *self.tally.rejected.entry(code).or_default() += 1;
        }
        self.tally.reports += reports;
        self.tally.accepted += accepted;
        if ticket.again {
            self.tally.duplicates += accepted;
            self.crowd.taken_again(&ticket.sent);
        } else if ticket.sent.way.again && !self.stopping {
            ticket.sent.alter();
            (ticket.again, ticket.tries, ticket.due, ticket.backoff) = (true, 0, now, FIRST_BACKOFF);
            self.copies.push_back(ticket);
            return Ok(());
        }
        self.crowd.wait(ticket.sent.device);
        self.blank.push(ticket);
        Ok(())
    }

    /// A try failed. The next one sends the same reports with the same `seq`s, so it does no harm.
    pub(crate) fn failed(&mut self, mut ticket: Box<Ticket>, failure: Failure, now: Duration) -> Result<(), LoadError> {
        self.under_way -= 1;
        let reports = ticket.sent.reports.len();
        self.tally.failed(now, reports, &failure);
        ticket.tries += 1;
        if self.stopping && ticket.tries >= MAX_TRIES_STOPPING {
            self.tally.undelivered += reports as u64;
            return Ok(());
        }
        if ticket.tries >= MAX_TRIES {
            return Err(LoadError::Unreachable { tries: ticket.tries, reason: failure.reason });
        }
        let at = now + ticket.backoff;
        ticket.backoff = (ticket.backoff * 2).min(MAX_BACKOFF);
        self.retries.insert((at, u64::from(ticket.sent.device)), ticket);
        Ok(())
    }
}

impl Schedule {
    /// When the next request is due, if its viewer is that far.
    fn next_due(&self) -> Duration {
        self.from + Duration::from_secs_f64(self.begun as f64 / f64::from(self.rate))
    }

    /// A request that was due at `due` goes out. If the viewers were not that far any earlier, the rate continues from here:
    /// making up for the lost time would be a burst.
    fn take(&mut self, due: Duration) {
        if due > self.next_due() {
            (self.from, self.begun) = (due, 0);
        }
        self.begun += 1;
    }
}

fn refused(status: u16, answer: &[u8]) -> LoadError {
    LoadError::Refused { status, answer: String::from_utf8_lossy(answer).into_owned() }
}

/// The count in `{"accepted":n,"rejected":[]}`, which nearly all answers are.
fn plainly_accepted(answer: &[u8]) -> Option<u64> {
    let digits = answer.strip_prefix(br#"{"accepted":"#)?.strip_suffix(br#","rejected":[]}"#)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_waited_for_the_viewers_goes_on_at_its_rate() {
        let mut schedule = Schedule { rate: 10, from: Duration::ZERO, begun: 0 };
        for due_ms in [0, 100, 200, 1_000, 1_100, 1_200] {
            let due = Duration::from_millis(due_ms);
            assert!(schedule.next_due() <= due);
            schedule.take(due);
        }
        assert_eq!(schedule.next_due(), Duration::from_millis(1_300));
    }
}
