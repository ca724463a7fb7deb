//! Just enough of HTTP/1.1 to measure with: where a message ends, and what an answer says. It believes its peer, knows no
//! chunked bodies, and is not for anybody's traffic but our own.

use memchr::{memchr_iter, memmem};

const LENGTH: &[u8] = b"content-length:";

/// Bytes of the first message, head and body; `None` while it is not all there.
pub(crate) fn message_bytes(bytes: &[u8]) -> Option<usize> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let whole = head + body_bytes(&bytes[..head]);
    (bytes.len() >= whole).then_some(whole)
}

/// What `Content-Length` announces; 0 without one.
fn body_bytes(head: &[u8]) -> usize {
    let announced = memchr_iter(b'\n', head).find_map(|end| {
        let line = &head[end + 1..];
        // Most lines are told apart by their first letter.
        let is_it = line.first().is_some_and(|first| first | 0x20 == b'c')
            && line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH));
        is_it.then(|| &line[LENGTH.len()..])
    });
    let digits = announced.unwrap_or_default().iter().skip_while(|byte| **byte == b' ');
    digits.take_while(|byte| byte.is_ascii_digit()).fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

/// Status of an answer; 0 when it is none.
pub(crate) fn status(answer: &[u8]) -> u16 {
    match answer.get(..12) {
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', digits @ ..]) => {
            digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit.wrapping_sub(b'0')))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_body_does() {
        let request = b"POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 12\r\n\r\nHello World!POST";
        assert_eq!(message_bytes(request), Some(request.len() - 4));
        assert_eq!(message_bytes(&request[..request.len() - 5]), None, "a byte of the body is missing");
        assert_eq!(message_bytes(&request[..20]), None, "the head is not all there");
        assert_eq!(message_bytes(b"HTTP/1.1 204 No Content\r\n\r\nHTTP"), Some(27));
        assert_eq!(message_bytes(b"POST / HTTP/1.1\r\nContent-Length-Of: 12\r\n\r\n"), Some(42));
    }

    #[test]
    fn an_answer_has_a_status() {
        assert_eq!(status(b"HTTP/1.1 429 Too Many Requests\r\n"), 429);
        assert_eq!(status(b"POST / HTTP/1.1\r\n"), 0);
        assert_eq!(status(b""), 0);
    }
}
