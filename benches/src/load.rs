//! A load on one HTTP server from one thread, cheap enough to leave the server the bottleneck. Closed: each connection
//! sends its next request after the last answer, which finds the highest rate. Open: requests are due at fixed times,
//! and a latency counts from the time its request was due, so that what a slow answer holds up is counted too
//! (coordinated omission).

use crate::figures::Figures;
use crate::framing::{message_bytes, status};
use crate::request::Requests;
use crate::role::now_ms;
use anyhow::{Context, Result};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::thread::CpuSet;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The core of every load; the server under test has another.
const CORE: usize = 0;
/// Before what else runs on that core: a load that waits for its turn would measure itself.
const NICENESS: i32 = -10;
/// Time for the last answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the thread sleeps at most, to see whether it shall stop.
const NAP: Duration = Duration::from_millis(100);
const EVENTS: usize = 256;
const READ_BYTES: usize = 16 << 10;

/// What load, on whom.
pub(crate) struct Plan<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) key: Option<&'a str>,
    pub(crate) connections: usize,
    /// Reports in each request.
    pub(crate) reports: usize,
    /// Requests in a second; `None` is as many as are answered.
    pub(crate) rate: Option<f64>,
    /// Runs before anything is counted.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// Runs a load to its end; `server_cpu` tells what the server has used so far.
pub(crate) fn run(plan: &Plan<'_>, server_cpu: &(dyn Fn() -> Result<Duration> + Sync)) -> Result<Figures> {
    run_as(NICENESS, plan, server_cpu, &AtomicBool::new(false))
}

/// Runs a load that is not measured, until `stop`, and gives way on the core to loads that are.
pub(crate) fn run_politely(plan: &Plan<'_>, stop: &AtomicBool) -> Result<Figures> {
    run_as(0, plan, &|| Ok(Duration::ZERO), stop)
}

fn run_as(
    niceness: i32,
    plan: &Plan<'_>,
    server_cpu: &(dyn Fn() -> Result<Duration> + Sync),
    stop: &AtomicBool,
) -> Result<Figures> {
    let load = || {
        let mut core = CpuSet::new();
        core.set(CORE);
        rustix::thread::sched_setaffinity(None, &core)?;
        if niceness != 0 {
            // Only root may; without it the load shares the core evenly.
            let _ = rustix::process::setpriority_process(None, niceness);
        }
        Load::new(plan)?.run(server_cpu, stop)
    };
    // A thread of its own, so that core and priority are its own.
    std::thread::scope(|scope| scope.spawn(load).join()).map_err(|_| anyhow::anyhow!("the load panicked"))?
}

struct Load<'a> {
    plan: &'a Plan<'a>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    requests: Requests,
    buffer: Vec<u8>,
    started: Instant,
    /// Requests of the schedule that were sent.
    sent: u64,
    figures: Figures,
}

struct Connection {
    stream: TcpStream,
    /// The beginning of an answer whose end is not there yet.
    begun: Vec<u8>,
    /// When the request that waits for its answer was due.
    due: Option<Duration>,
}

/// What the clocks said at a moment.
struct Reading {
    at: Duration,
    server_cpu: Duration,
    load_cpu: Duration,
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan<'a>) -> Result<Load<'a>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let open = |index| Connection::open(plan.target, &epoll, index);
        let connections = (0..plan.connections).map(open).collect::<Result<_>>()?;
        let figures = Figures::new()?;
        Ok(Load {
            plan,
            epoll,
            connections,
            idle: (0..plan.connections).collect(),
            requests: Requests::new(&plan.target.to_string(), plan.key, plan.reports),
            buffer: vec![0; READ_BYTES],
            started: Instant::now(),
            sent: 0,
            figures,
        })
    }

    fn run(mut self, server_cpu: &dyn Fn() -> Result<Duration>, stop: &AtomicBool) -> Result<Figures> {
        let mut end = self.plan.warm_up + self.plan.duration;
        let read = |at| Ok::<_, anyhow::Error>(Reading { at, server_cpu: server_cpu()?, load_cpu: load_cpu() });
        let (mut first, mut last) = (None, None);
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        self.started = Instant::now();
        loop {
            let now = self.started.elapsed();
            if first.is_none() && now >= self.plan.warm_up {
                first = Some(read(now)?);
            }
            if stop.load(Ordering::Relaxed) {
                end = end.min(now);
            }
            if now >= end && last.is_none() {
                last = Some(read(now)?);
            }
            let mut next = self.due(now);
            while next < end && next <= now && !self.idle.is_empty() {
                self.send(next)?;
                next = self.due(now);
            }
            let is_done = next >= end && self.idle.len() == self.connections.len();
            if now >= end && (is_done || now >= end + PATIENCE) {
                break;
            }
            // Without a free connection only an answer helps.
            let next = (next < end && !self.idle.is_empty()).then_some(next);
            let nap = next.map_or(NAP, |due| due.saturating_sub(self.started.elapsed())).min(NAP);
            let nap = Timespec { tv_sec: 0, tv_nsec: nap.as_nanos() as i64 };
            let (ready, _) = epoll::wait(&self.epoll, &mut events, Some(&nap))?;
            for Event { flags, data } in ready.iter().copied() {
                let is_ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                self.receive(data.u64() as usize, is_ending)?;
            }
        }
        self.finish(end, first.context("the load was stopped before it was warm")?, last.context("no end")?)
    }

    fn finish(mut self, end: Duration, first: Reading, last: Reading) -> Result<Figures> {
        // Due and never sent, because no connection became free.
        let late = end.saturating_sub(self.due(end)).as_secs_f64();
        self.figures.unanswered += (late * self.plan.rate.unwrap_or(0.0)).ceil() as u64;
        self.figures.unanswered += (self.connections.len() - self.idle.len()) as u64;
        self.figures.wall_seconds = (last.at - first.at).as_secs_f64();
        self.figures.server_cpu_seconds = last.server_cpu.saturating_sub(first.server_cpu).as_secs_f64();
        self.figures.load_cpu_seconds = (last.load_cpu - first.load_cpu).as_secs_f64();
        Ok(self.figures)
    }

    /// When the next request is due.
    fn due(&self, now: Duration) -> Duration {
        self.plan.rate.map_or(now, |rate| Duration::from_secs_f64(self.sent as f64 / rate))
    }

    fn send(&mut self, due: Duration) -> Result<()> {
        let Some(index) = self.idle.pop_front() else { return Ok(()) };
        self.sent += 1;
        let request = self.requests.next(now_ms() as u64);
        let connection = &mut self.connections[index];
        connection.due = Some(due);
        // The socket is empty, so a request is taken whole, or the connection is broken, which its event will tell.
        let _ = connection.stream.write(request);
        Ok(())
    }

    fn receive(&mut self, index: usize, is_ending: bool) -> Result<()> {
        let connection = &mut self.connections[index];
        if let Ok(length) = connection.stream.read(&mut self.buffer)
            && let Some(status) = connection.answered(&self.buffer[..length])
            && let Some(due) = connection.due
        {
            self.answered(index, status, due)?;
        }
        if is_ending { self.reopen(index) } else { Ok(()) }
    }

    fn answered(&mut self, index: usize, status: u16, due: Duration) -> Result<()> {
        let connection = &mut self.connections[index];
        connection.due = None;
        self.idle.push_back(index);
        let now = self.started.elapsed();
        let counts = match self.plan.rate {
            None => now >= self.plan.warm_up && now < self.plan.warm_up + self.plan.duration,
            Some(_) => due >= self.plan.warm_up,
        };
        if counts {
            *self.figures.answers.entry(status).or_default() += 1;
            self.figures.latencies.record((now - due).as_micros() as u64)?;
        }
        Ok(())
    }

    /// Puts a new connection in the place of a broken one.
    fn reopen(&mut self, index: usize) -> Result<()> {
        if self.connections[index].due.is_some() {
            self.figures.unanswered += 1;
            self.idle.push_back(index);
        }
        self.connections[index] = Connection::open(self.plan.target, &self.epoll, index)?;
        Ok(())
    }
}

impl Connection {
    fn open(target: SocketAddr, epoll: &OwnedFd, index: usize) -> Result<Connection> {
        let stream = TcpStream::connect(target).with_context(|| format!("cannot connect to {target}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &stream, EventData::new_u64(index as u64), flags)?;
        Ok(Connection { stream, begun: Vec::new(), due: None })
    }

    /// Status of the answer that these bytes end, if they do.
    fn answered(&mut self, bytes: &[u8]) -> Option<u16> {
        if self.begun.is_empty() && message_bytes(bytes) == Some(bytes.len()) {
            return Some(status(bytes));
        }
        self.begun.extend_from_slice(bytes);
        let length = message_bytes(&self.begun)?;
        let status = status(&self.begun);
        self.begun.drain(..length);
        Some(status)
    }
}

fn load_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A load of a second, at 1,000 requests a second.
    fn figures(target: SocketAddr, connections: usize) -> Figures {
        let (warm_up, duration) = (Duration::from_millis(100), Duration::from_millis(900));
        let plan = Plan { target, key: None, connections, reports: 1, rate: Some(1_000.0), warm_up, duration };
        run_politely(&plan, &AtomicBool::new(false)).unwrap()
    }

    /// A server of one connection that answers until `spoil` says not to.
    fn server(spoil: impl Fn(u32) -> bool + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut request = 0;
            for stream in listener.incoming() {
                let (mut stream, mut buffer) = (stream.unwrap(), [0; 2_048]);
                while stream.read(&mut buffer).is_ok_and(|length| length > 0) {
                    request += 1;
                    if spoil(request) || stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    #[test]
    fn an_open_load_sends_each_request_that_is_due() {
        let figures = figures(server(|_| false), 1);
        assert_eq!((figures.requests(), figures.errors()), (900, 0));
    }

    #[test]
    fn what_a_slow_answer_holds_up_counts_from_when_it_was_due() {
        let slow = |request| {
            if request == 500 {
                std::thread::sleep(Duration::from_millis(300));
            }
            false
        };
        let figures = figures(server(slow), 1);
        assert_eq!((figures.requests(), figures.errors()), (900, 0));
        // 300 of 900 were due meanwhile, and waited for half of that time on average.
        let p85 = figures.latency_ms(0.85);
        assert!(p85 >= 100.0, "p85 is {p85} ms");
    }

    #[test]
    fn a_request_whose_connection_breaks_is_an_error() {
        let figures = figures(server(|request| request == 500), 1);
        assert_eq!((figures.requests(), figures.errors()), (899, 1));
    }
}
