//! The floor that the gateway is held against: what one request must cost on this machine, whoever serves it. One thread,
//! one epoll, a read and a write per request; it finds the end of a request and answers, and that is all. Split and
//! pipelined requests are understood. A client that does not take its answers is dropped: this is no server to run.
//!
//! With a hold it keeps all answers back for that long, as a server that waits for a log must: this is what waiting alone costs.

use crate::framing::message_bytes;
use anyhow::Result;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The shortest answer there is.
const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// The gateway's own, byte by byte but for the date.
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\naccess-control-allow-origin: *\r\ncontent-length: 28\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{\"accepted\":1,\"rejected\":[]}";
/// Events taken from the kernel at a time.
const EVENTS: usize = 512;
/// Bytes read at a time; less than this means that the socket is empty.
const READ_BYTES: usize = 64 << 10;
/// Pipelined requests that one write answers.
const ANSWERS: usize = 64;

/// Serves until it is killed.
pub(crate) fn run(listen: SocketAddr, status: u16, hold: Duration) -> Result<()> {
    let answer = if status == 202 { ACCEPTED } else { NO_CONTENT };
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let mut floor = Floor {
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        connections: Vec::new(),
        buffer: vec![0; READ_BYTES],
        answers: answer.repeat(ANSWERS),
        answer_bytes: answer.len(),
        hold,
        held: Vec::new(),
        due: None,
    };
    let door = listener.as_raw_fd() as u64;
    epoll::add(&floor.epoll, &listener, EventData::new_u64(door), EventFlags::IN)?;
    let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
    loop {
        let (ready, _) = epoll::wait(&floor.epoll, &mut events, floor.nap().as_ref())?;
        for event in ready {
            match event.data.u64() {
                data if data == door => floor.accept(&listener)?,
                data => floor.serve(data as usize, event.flags),
            }
        }
        floor.release();
    }
}

struct Floor {
    epoll: OwnedFd,
    /// By file descriptor.
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    answers: Vec<u8>,
    answer_bytes: usize,
    hold: Duration,
    /// Connections with the requests whose answers are held back.
    held: Vec<(usize, usize)>,
    /// When they are answered.
    due: Option<Instant>,
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a request whose end is not there yet.
    begun: Vec<u8>,
}

impl Floor {
    fn serve(&mut self, connection: usize, flags: EventFlags) {
        let Some(Some(open)) = self.connections.get_mut(connection) else { return };
        let is_ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        while let Ok(length) = open.stream.read(&mut self.buffer) {
            let Some(requests) = open.requests(&self.buffer[..length]) else { break };
            if self.hold > Duration::ZERO {
                self.held.push((connection, requests));
                self.due.get_or_insert_with(|| Instant::now() + self.hold);
            } else if !open.answer(&self.answers, requests * self.answer_bytes) {
                self.connections[connection] = None;
                return;
            }
            // Edge-triggered, so the kernel need not look at each socket again; after a short read the socket is empty.
            if length < READ_BYTES && !is_ending {
                return;
            }
        }
        if is_ending {
            self.connections[connection] = None;
        }
    }

    /// How long to wait for events at most.
    fn nap(&self) -> Option<Timespec> {
        let left = self.due?.saturating_duration_since(Instant::now());
        Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) })
    }

    /// Answers what was held back long enough.
    fn release(&mut self) {
        if self.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.due = None;
        for (connection, requests) in self.held.drain(..) {
            let Some(open) = &mut self.connections[connection] else { continue };
            if !open.answer(&self.answers, requests * self.answer_bytes) {
                self.connections[connection] = None;
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = stream.as_raw_fd() as usize;
            let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), flags)?;
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] = Some(Connection { stream, begun: Vec::new() });
        }
    }
}

impl Connection {
    /// Writes `owed` bytes of answers; `false` when the client does not take them.
    fn answer(&mut self, answers: &[u8], mut owed: usize) -> bool {
        while owed > 0 {
            let answers = &answers[..owed.min(answers.len())];
            if !self.stream.write(answers).is_ok_and(|written| written == answers.len()) {
                return false;
            }
            owed -= answers.len();
        }
        true
    }

    /// How many requests end in these bytes; `None` at the end of the stream.
    fn requests(&mut self, bytes: &[u8]) -> Option<usize> {
        if bytes.is_empty() {
            return None;
        }
        if self.begun.is_empty() {
            let (requests, used) = count(bytes);
            self.begun.extend_from_slice(&bytes[used..]);
            return Some(requests);
        }
        self.begun.extend_from_slice(bytes);
        let (requests, used) = count(&self.begun);
        self.begun.drain(..used);
        Some(requests)
    }
}

/// Whole requests, and their bytes.
fn count(bytes: &[u8]) -> (usize, usize) {
    let (mut requests, mut used) = (0, 0);
    while let Some(length) = message_bytes(&bytes[used..]) {
        requests += 1;
        used += length;
    }
    (requests, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_and_pipelined_requests_are_each_answered_once() {
        for hold in [Duration::ZERO, Duration::from_millis(1)] {
            each_is_answered_once(hold);
        }
    }

    fn each_is_answered_once(hold: Duration) {
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        std::thread::spawn(move || run(listen, 204, hold));
        let mut client = loop {
            if let Ok(client) = TcpStream::connect(listen) {
                break client;
            }
        };
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".as_slice();
        let mut sent = 0;
        for split in 1..request.len() {
            for part in [&request[..split], &request[split..]] {
                client.write_all(part).unwrap();
            }
            sent += 1;
        }
        client.write_all(&request.repeat(1_000)).unwrap();
        sent += 1_000;
        let mut answers = vec![0; sent * NO_CONTENT.len()];
        client.read_exact(&mut answers).unwrap();
        assert_eq!(answers, NO_CONTENT.repeat(sent));
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut answers).unwrap(), 0, "not an answer more");
    }
}
