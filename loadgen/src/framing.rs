//! Just enough of HTTP/1.1 to read a gateway's answers: where one ends, and what it says. It knows no chunked bodies: an
//! answer without a length is none.

use std::ops::Range;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A whole answer.
    Whole {
        status: u16,
        body: Range<usize>,
        /// The server will close the connection.
        closes: bool,
    },
    /// The beginning of one.
    Begun,
    /// No answer that can be read.
    Unknown,
}

/// Reads an answer.
pub(crate) fn answer(bytes: &[u8]) -> Framed {
    let start = b"HTTP/1.1 ";
    if !bytes.starts_with(&start[..start.len().min(bytes.len())]) {
        return Framed::Unknown;
    }
    let Some(head) = end_of_head(bytes) else { return Framed::Begun };
    let status = bytes[9..12]
        .iter()
        .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0')));
    let (mut length, mut closes) = (None, false);
    for line in bytes[..head].split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
        } else if name.eq_ignore_ascii_case(b"connection") {
            closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    let length = if status == Some(204) { Some(0) } else { length };
    let (Some(status), Some(length)) = (status, length) else { return Framed::Unknown };
    let end = head.saturating_add(length);
    if bytes.len() < end { Framed::Begun } else { Framed::Whole { status, body: head..end, closes } }
}

/// Where the empty line ends.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_body_does() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nContent-LENGTH: 5\r\ndate: x\r\n\r\nHello";
        let whole = Framed::Whole { status: 202, body: 53..58, closes: false };
        assert_eq!(answer(bytes), whole);
        for cut in 0..bytes.len() {
            assert_eq!(answer(&bytes[..cut]), Framed::Begun, "{cut}");
        }
        let closing = b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert!(matches!(answer(closing), Framed::Whole { status: 503, closes: true, .. }));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for bytes in [&b"SSH-2.0"[..], b"HTTP/1.1 2x2 A\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"] {
            assert_eq!(answer(bytes), Framed::Unknown);
        }
    }
}
