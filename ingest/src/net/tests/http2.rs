//! What a client of HTTP/2 may make the server hold. The client speaks in frames of its own (RFC 9113, section 4.1): a library
//! would keep to the rules.

use super::{Setup, Worker};
use crate::limits::{H2_MAX_PENDING_RESETS, H2_MAX_STREAMS, H2_STREAM_WINDOW_BYTES, MAX_HEAD_BYTES};
use std::io::{Read, Write};
use std::net::TcpStream;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// A request for `/slow` without a body, in HPACK: three fields of the static table, and a path.
    fn request(stream: u32) -> Vec<u8> {
        let payload = [&[0x82, 0x86, 0x41, 1, b'a', 0x44, 5], b"/slow".as_slice()].concat();
        const END_STREAM_AND_HEADERS: u8 = 5;
        Frame { kind: HEADERS, stream, payload }.bytes(END_STREAM_AND_HEADERS)
    }

    fn reset(stream: u32) -> Vec<u8> {
        Frame { kind: RST_STREAM, stream, payload: CANCEL.to_be_bytes().to_vec() }.bytes(0)
    }

    fn bytes(&self, flags: u8) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[self.kind, flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }

    fn read(stream: &mut TcpStream) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, _flags, stream_id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        Ok(Frame { kind, stream: u32::from_be_bytes(stream_id), payload })
    }

    /// The number of four bytes that begins at `at`.
    fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A connection on which the preface and settings were sent.
fn connect(worker: &Worker) -> TcpStream {
    let mut stream = worker.connect();
    let settings = Frame { kind: SETTINGS, stream: 0, payload: Vec::new() }.bytes(0);
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", settings.as_slice()].concat()).unwrap();
    stream
}

fn until(stream: &mut TcpStream, is_it: impl Fn(&Frame) -> bool) -> Frame {
    loop {
        let frame = Frame::read(stream).unwrap();
        if is_it(&frame) {
            return frame;
        }
    }
}

#[test]
fn the_client_is_told_its_limits() {
    let worker = Setup::default().start();
    let settings = until(&mut connect(&worker), |frame| frame.kind == SETTINGS && !frame.payload.is_empty());
    let entries: Vec<_> = settings
        .payload
        .chunks(6)
        .map(|entry| (entry[1], u32::from_be_bytes(entry[2..].try_into().unwrap())))
        .collect();
    // RFC 9113, section 6.5.2.
    for expected in [(3, H2_MAX_STREAMS), (4, H2_STREAM_WINDOW_BYTES), (6, MAX_HEAD_BYTES as u32)] {
        assert!(entries.contains(&expected), "{expected:?} is not among {entries:?}");
    }
}

#[test]
fn a_stream_too_many_is_refused_and_the_others_go_on() {
    let worker = Setup::default().start();
    let mut stream = connect(&worker);
    let requests: Vec<_> = (0..=H2_MAX_STREAMS).flat_map(|request| Frame::request(2 * request + 1)).collect();
    stream.write_all(&requests).unwrap();
    let refused = until(&mut stream, |frame| frame.kind == RST_STREAM);
    assert_eq!((refused.stream, refused.number(0)), (2 * H2_MAX_STREAMS + 1, REFUSED_STREAM));
    worker.release.add_permits(1);
    until(&mut stream, |frame| frame.kind == HEADERS);
}

#[test]
fn a_client_that_resets_its_requests_at_once_is_sent_away() {
    let worker = Setup::default().start();
    let mut stream = connect(&worker);
    let streams = (0..20 * H2_MAX_PENDING_RESETS as u32).map(|request| 2 * request + 1);
    let resets: Vec<_> = streams.flat_map(|stream| [Frame::request(stream), Frame::reset(stream)].concat()).collect();
    stream.write_all(&resets).unwrap();
    let away = until(&mut stream, |frame| frame.kind == GOAWAY);
    assert_eq!(away.number(4), ENHANCE_YOUR_CALM);
}
