//! Just enough of HTTP/1.1 to read a gateway's answers: where one ends, and what it says. It knows no chunked bodies: an
//! answer without a length is none.

use std::ops::Range;

/// Headers of an answer; the gateway sends fewer than ten.
const MAX_HEADERS: usize = 32;

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
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Framed::Begun,
        Err(_) => return Framed::Unknown,
    };
    let status = response.code;
    let value = |name: &str| response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let closes = value("connection").is_some_and(|header| header.value.eq_ignore_ascii_case(b"close"));
    let announced =
        value("content-length").and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    let length: Option<usize> = if status == Some(204) { Some(0) } else { announced };
    let (Some(status), Some(length)) = (status, length) else { return Framed::Unknown };
    let end = head.saturating_add(length);
    if bytes.len() < end { Framed::Begun } else { Framed::Whole { status, body: head..end, closes } }
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
