//! The header of the PROXY protocol, versions 1 and 2, that a load balancer puts before everything else.

use super::peek_stream::PeekStream;
use crate::limits::MAX_PROXY_HEADER_BYTES;
use ppp::{v1, v2};
use std::io;
use std::net::IpAddr;
use tokio::io::AsyncRead;

/// Whom a connection comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The load balancer itself: it checks our health, or cannot say who its client is.
    Balancer,
    /// A client behind it.
    Client(IpAddr),
}

/// Why there is no telling whom a connection comes from.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the connection broke before the PROXY header was complete")]
    Broken(#[from] io::Error),
    #[error("the connection does not begin with a PROXY header of at most {MAX_PROXY_HEADER_BYTES} bytes")]
    Malformed,
}

/// Takes the header off the stream.
pub(super) async fn read_header<T: AsyncRead + Unpin>(stream: &mut PeekStream<T>) -> Result<Source, HeaderError> {
    loop {
        if let Some(length) = header_bytes(stream.early())? {
            let source = source(&stream.early()[..length])?;
            stream.consume(length);
            return Ok(source);
        }
        if stream.read_early().await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

const SIGNATURE_1: &[u8] = b"PROXY ";
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, and the length of the rest.
const FIXED_2_BYTES: usize = 16;
/// Said by the specification: the longest line of version 1.
const MAX_1_BYTES: usize = 107;

/// How long the header is; `None` while that cannot be seen yet.
fn header_bytes(bytes: &[u8]) -> Result<Option<usize>, HeaderError> {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(byte, expected)| byte == expected);
    if begins(SIGNATURE_2) {
        let Some(fixed) = bytes.first_chunk::<FIXED_2_BYTES>() else { return Ok(None) };
        let length = FIXED_2_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        return match length {
            ..=MAX_PROXY_HEADER_BYTES => Ok((bytes.len() >= length).then_some(length)),
            _ => Err(HeaderError::Malformed),
        };
    }
    if !begins(SIGNATURE_1) {
        return Err(HeaderError::Malformed);
    }
    match bytes.iter().take(MAX_1_BYTES).position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some(end + 1)),
        None if bytes.len() >= MAX_1_BYTES => Err(HeaderError::Malformed),
        None => Ok(None),
    }
}

/// Reads a whole header.
fn source(header: &[u8]) -> Result<Source, HeaderError> {
    let client = if header.starts_with(SIGNATURE_1) {
        match v1::Header::try_from(header).map_err(|_| HeaderError::Malformed)?.addresses {
            v1::Addresses::Tcp4(addresses) => IpAddr::V4(addresses.source_address),
            v1::Addresses::Tcp6(addresses) => IpAddr::V6(addresses.source_address),
            v1::Addresses::Unknown => return Ok(Source::Balancer),
        }
    } else {
        let header = v2::Header::try_from(header).map_err(|_| HeaderError::Malformed)?;
        match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => IpAddr::V4(addresses.source_address),
            (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => IpAddr::V6(addresses.source_address),
            _ => return Ok(Source::Balancer),
        }
    };
    Ok(Source::Client(client.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header alone, cut anywhere and followed by more, gives the same; cut, it is not complete yet.
    fn check(header: &[u8], expected: Source) {
        for cut in 0..header.len() {
            assert!(matches!(header_bytes(&header[..cut]), Ok(None)), "cut at {cut}: {header:?}");
        }
        let followed = [header, b"POST / HTTP/1.1\r\n"].concat();
        let length = header_bytes(&followed).unwrap().unwrap();
        assert_eq!(length, header.len());
        assert_eq!(source(&followed[..length]).unwrap(), expected);
    }

    fn check_refused(bytes: &[u8]) {
        let refused = match header_bytes(bytes) {
            Ok(Some(length)) => source(&bytes[..length]).is_err(),
            Ok(None) => false,
            Err(_) => true,
        };
        assert!(refused, "{bytes:?}");
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE_2, &[command, family], &length, rest].concat()
    }

    fn client(address: &str) -> Source {
        Source::Client(address.parse().unwrap())
    }

    #[test]
    fn both_versions_tell_the_client() {
        check(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", client("203.0.113.7"));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", client("2001:db8::7"));
        check(&version_2(0x21, 0x11, &[203, 0, 113, 7, 192, 0, 2, 1, 1, 2, 3, 4]), client("203.0.113.7"));
        // With a field of the kind that AWS adds.
        check(
            &version_2(0x21, 0x11, &[203, 0, 113, 7, 192, 0, 2, 1, 1, 2, 3, 4, 0xEA, 0, 1, 7]),
            client("203.0.113.7"),
        );
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        six[15] = 7;
        check(&version_2(0x21, 0x21, &six), client("2001:db8::7"));
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        check(b"PROXY UNKNOWN\r\n", Source::Balancer);
        check(&version_2(0x20, 0x00, &[]), Source::Balancer);
        check(&version_2(0x21, 0x00, &[]), Source::Balancer);
    }

    #[test]
    fn the_longest_header_is_taken_and_a_longer_one_refused() {
        let of_bytes = |bytes| version_2(0x20, 0x00, &vec![0; bytes - FIXED_2_BYTES]);
        check(&of_bytes(MAX_PROXY_HEADER_BYTES), Source::Balancer);
        check_refused(&of_bytes(MAX_PROXY_HEADER_BYTES + 1));
    }

    #[test]
    fn anything_else_is_refused() {
        check_refused(b"GET / HTTP/1.1\r\n\r\n");
        check_refused(b"PROXY TCP4 203.0.113.700 192.0.2.1 4711 443\r\n");
        check_refused(b"PROXY TCP9 203.0.113.7 192.0.2.1 4711 443\r\n");
        check_refused(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\n");
        check_refused(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat());
        check_refused(&version_2(0x31, 0x11, &[0; 12]));
        check_refused(&version_2(0x21, 0x11, &[0; 11]));
        check_refused(&[SIGNATURE_2, &[0x21, 0x11, 0xff, 0xff]].concat());
    }
}
