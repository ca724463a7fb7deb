//! Compressed bodies.

use super::verdicts::told;
use crate::body::Form;
use crate::limits::{MAX_BODY_BYTES, MAX_MEMBERS, MAX_ZSTD_WINDOW_LOG};
use crate::problem::Fault;
use bytes::Bytes;
use flate2::read::{GzEncoder, MultiGzDecoder};
use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use std::io::{self, BufReader, Read};

/// A body in gzip or zstd, as the first byte chooses.
pub(super) fn decompress(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let is_gzip = choice % 2 == 0;
    let form = form(if is_gzip { "gzip" } else { "zstd" });
    let found = form.decompress(Bytes::copy_from_slice(body));
    // Read in small pieces it is the same.
    let piece = usize::from(choice / 2 % 16) + 1;
    let pieces = BufReader::with_capacity(piece, body);
    let again = if is_gzip { gzip(pieces) } else { zstd(pieces) };
    let bytes = match found {
        Ok(bytes) => bytes,
        Err(problem) => {
            told(&problem);
            match problem.fault {
                Fault::EmptyBody => assert!(body.is_empty()),
                Fault::BodyTooLarge => assert!(again.is_ok_and(|again| again.len() > MAX_BODY_BYTES)),
                fault => {
                    let is_expected = again.is_err() || has_old_frame(body) || may_have_many_members(body);
                    assert!(fault == Fault::MalformedEncoding && is_expected, "{fault:?}");
                }
            }
            return;
        }
    };
    assert!(bytes.len() <= MAX_BODY_BYTES);
    assert_eq!(again.unwrap(), bytes);
    if !bytes.is_empty() {
        let compressed = if is_gzip { gzipped(&bytes) } else { zstd::encode_all(&*bytes, 1) }.unwrap();
        assert_eq!(form.decompress(compressed.into()).unwrap(), bytes);
    }
}

fn form(encoding: &'static str) -> Form {
    let media_type = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Form::of(&HeaderMap::from_iter([media_type, (CONTENT_ENCODING, HeaderValue::from_static(encoding))])).unwrap()
}

fn gzip(body: impl Read) -> io::Result<Vec<u8>> {
    beyond_the_limit(MultiGzDecoder::new(body))
}

fn zstd(body: BufReader<&[u8]>) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::Decoder::with_buffer(body)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
    beyond_the_limit(decoder)
}

/// Whether there may be a frame in it of zstd 0.1 to 0.7, which the library reads and the gateway does not.
fn has_old_frame(body: &[u8]) -> bool {
    body.windows(4).any(|magic| matches!(magic, [0x1E | 0x22..=0x27, 0xB5, 0x2F, 0xFD] | [0xFD, 0x2F, 0xB5, 0x1E]))
}

/// Whether there is room in it for more members than are read.
fn may_have_many_members(body: &[u8]) -> bool {
    body.len() > 8 * MAX_MEMBERS
}

/// One byte more than is allowed, so that it can be told.
fn beyond_the_limit(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take(MAX_BODY_BYTES as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
}

fn gzipped(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut compressed).map(|_| compressed)
}
