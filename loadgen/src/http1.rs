//! The load over HTTP/1.1: connections that are kept alive, one request at a time on each, from one thread. Requests are
//! written as bytes and answers read as bytes, because the load must cost less than what it measures.

use crate::desk::{Desk, Ticket};
use crate::framing::{Framed, answer};
use crate::limits::{MAX_ANSWER_BYTES, REQUEST_TIMEOUT};
use crate::progress::Progress;
use crate::settings::LoadError;
use crate::tally::Failure;
use crate::target::Target;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use service::Stop;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long the thread sleeps at most: to see whether it shall stop, and which answers are overdue.
const NAP: Duration = Duration::from_millis(100);
/// How long it sleeps at least when it waits for requests to fall due: those that are due meanwhile go out together. Waking for
/// every single request would cost the load, and the gateway that wakes it, more than the request.
const TICK: Duration = Duration::from_millis(1);
/// How long it leaves answers alone after it has taken some: a gateway gives many at once, one after the other.
const PAUSE: Duration = Duration::from_micros(250);
const EVENTS: usize = 256;
const READ_BYTES: usize = 64 << 10;

/// Sends what the desk has until it has no more.
pub(crate) fn drive(
    desk: &mut Desk,
    target: &Target,
    connections: usize,
    stop: &Stop,
    progress: &mut Progress,
) -> Result<(), LoadError> {
    let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let lanes = (0..connections).map(|_| Lane::default()).collect();
    let buffer = vec![0; READ_BYTES];
    let mut driver = Driver { target, epoll, lanes, idle: (0..connections).collect(), buffer, body: Vec::new() };
    let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
    let mut next_look = Duration::ZERO;
    loop {
        let mut now = desk.now();
        if now >= next_look {
            next_look = now + NAP;
            driver.give_up_overdue(desk, now)?;
            progress.show(now, &mut desk.tally);
            if stop.is_requested() || desk.is_in_vain(now) {
                desk.stop();
            }
        }
        // A refused connection frees its lane at once: with retries always due, this loop would never end without the time limit.
        while now < next_look
            && !driver.idle.is_empty()
            && let Some(ticket) = desk.next(now)
        {
            driver.send(desk, ticket, now)?;
            now = desk.now();
        }
        if desk.is_done() {
            return Ok(());
        }
        // Without a free connection only an answer helps.
        let next = if driver.idle.is_empty() { None } else { desk.next_time() };
        let nap = next.map_or(NAP, |at| at.saturating_sub(desk.now())).clamp(TICK, NAP);
        let nap = Timespec { tv_sec: 0, tv_nsec: nap.as_nanos() as i64 };
        let ready = match epoll::wait(&driver.epoll, &mut events, Some(&nap)) {
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready.map_err(std::io::Error::from)?.0,
        };
        if ready.is_empty() {
            continue;
        }
        for Event { flags, data } in ready.iter().copied() {
            driver.turn(desk, data.u64() as usize, flags)?;
        }
        std::thread::sleep(PAUSE);
    }
}

struct Driver<'a> {
    target: &'a Target,
    epoll: OwnedFd,
    lanes: Vec<Lane>,
    idle: VecDeque<usize>,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

/// A connection, or the place of one.
#[derive(Default)]
struct Lane {
    stream: Option<TcpStream>,
    /// The request, and how much of it is sent.
    out: Vec<u8>,
    written: usize,
    /// The beginning of an answer whose end is not there yet.
    begun: Vec<u8>,
    ticket: Option<Box<Ticket>>,
    since: Duration,
}

impl Driver<'_> {
    fn send(&mut self, desk: &mut Desk, ticket: Box<Ticket>, now: Duration) -> Result<(), LoadError> {
        let Some(index) = self.idle.pop_front() else { return Ok(()) };
        let lane = &mut self.lanes[index];
        self.body.clear();
        desk.put_body(&ticket, now, &mut self.body);
        lane.out.clear();
        self.target.put_request(&self.body, &mut lane.out);
        (lane.written, lane.since, lane.ticket) = (0, now, Some(ticket));
        if lane.stream.is_none()
            && let Err(error) = lane.open(self.target, &self.epoll, index)
        {
            return self.broken(desk, index, &error);
        }
        self.write(desk, index)
    }

    /// Sends what the socket takes; the rest when it takes more.
    fn write(&mut self, desk: &mut Desk, index: usize) -> Result<(), LoadError> {
        let lane = &mut self.lanes[index];
        let Some(stream) = &mut lane.stream else { return Ok(()) };
        while lane.written < lane.out.len() {
            match stream.write(&lane.out[lane.written..]) {
                Ok(length) => lane.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return self.broken(desk, index, &error.kind().to_string()),
            }
        }
        Ok(())
    }

    fn turn(&mut self, desk: &mut Desk, index: usize, flags: EventFlags) -> Result<(), LoadError> {
        if flags.contains(EventFlags::OUT) && self.lanes[index].written < self.lanes[index].out.len() {
            self.write(desk, index)?;
        }
        let ending = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        let is_ending = flags.intersects(ending);
        if flags.contains(EventFlags::IN) || is_ending {
            self.read(desk, index, is_ending)?;
        }
        Ok(())
    }

    fn read(&mut self, desk: &mut Desk, index: usize, is_ending: bool) -> Result<(), LoadError> {
        loop {
            let lane = &mut self.lanes[index];
            let Some(stream) = &mut lane.stream else { return Ok(()) };
            let length = match stream.read(&mut self.buffer) {
                Ok(0) => return self.broken(desk, index, "connection closed"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return self.broken(desk, index, &error.kind().to_string()),
            };
            self.take_answer(desk, index, length)?;
            // A whole answer in a buffer with room left: there is nothing more to read.
            if length < self.buffer.len() && !is_ending {
                return Ok(());
            }
        }
    }

    fn take_answer(&mut self, desk: &mut Desk, index: usize, length: usize) -> Result<(), LoadError> {
        let lane = &mut self.lanes[index];
        let fresh = &self.buffer[..length];
        let is_continued = !lane.begun.is_empty();
        if is_continued {
            lane.begun.extend_from_slice(fresh);
        }
        let bytes = if is_continued { &lane.begun[..] } else { fresh };
        match answer(bytes) {
            Framed::Whole { status, body, closes } => {
                let (now, body) = (desk.now(), bytes[body].to_vec());
                lane.begun.clear();
                let Some(ticket) = lane.ticket.take() else {
                    return self.broken(desk, index, "an answer without a request");
                };
                if closes {
                    lane.stream = None;
                }
                self.idle.push_back(index);
                desk.answered(ticket, status, &body, now)
            }
            Framed::Begun if bytes.len() <= MAX_ANSWER_BYTES => {
                if !is_continued {
                    lane.begun.extend_from_slice(fresh);
                }
                Ok(())
            }
            Framed::Begun => self.broken(desk, index, "an answer that is too long"),
            Framed::Unknown => self.broken(desk, index, "no answer of HTTP/1.1 with a length"),
        }
    }

    /// Gives up a connection; a request that waits on it failed.
    fn broken(&mut self, desk: &mut Desk, index: usize, reason: &str) -> Result<(), LoadError> {
        let lane = &mut self.lanes[index];
        lane.stream = None;
        lane.begun.clear();
        let Some(ticket) = lane.ticket.take() else { return Ok(()) };
        self.idle.push_back(index);
        let uncertain = lane.written > 0;
        lane.out.clear();
        lane.written = 0;
        desk.failed(ticket, Failure { reason: reason.to_owned(), uncertain }, desk.now())
    }

    fn give_up_overdue(&mut self, desk: &mut Desk, now: Duration) -> Result<(), LoadError> {
        for index in 0..self.lanes.len() {
            let lane = &self.lanes[index];
            if lane.ticket.is_some() && now.saturating_sub(lane.since) > REQUEST_TIMEOUT {
                self.broken(desk, index, "no answer in time")?;
            }
        }
        Ok(())
    }
}

impl Lane {
    fn open(&mut self, target: &Target, epoll: &OwnedFd, index: usize) -> Result<(), String> {
        let stream = target.connect()?;
        let ready = stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true));
        ready.map_err(|error| error.to_string())?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &stream, EventData::new_u64(index as u64), flags).map_err(|error| error.to_string())?;
        self.stream = Some(stream);
        Ok(())
    }
}
