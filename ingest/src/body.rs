//! From the bytes of a body to its reports: content type, decompression, and the three ways JSON is laid out. Checking
//! the reports themselves is the domain's business.

use crate::adapters::Foreign;
use crate::limits::{MAX_BODY_BYTES, MAX_MEMBERS, MAX_REPORTS, MAX_ZSTD_WINDOW_LOG};
use crate::problem::{Fault, Problem};
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use playback::json::Plain;
use playback::message::{self, DecodeError};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};
use std::fmt;
use std::io::Read;
use zstd::zstd_safe::{DCtx, DParameter, ResetDirective};

/// The reports of a body, in its order.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there is one of them at a time, and a box would be an allocation per request
pub(crate) enum Reports<'a> {
    /// Parsed already, each with its text.
    Plain(PlainReports<'a>),
    /// What the events of another format say.
    Foreign(Vec<Foreign>),
    /// Texts; of a body with one report per line some may be no JSON.
    Json(Vec<&'a str>),
    /// Protobuf messages.
    Messages(Vec<message::Heartbeat>),
}

/// Most bodies are one report, and most of the others an array of them.
type PlainReports<'a> = SmallVec<[(Plain<'a>, &'a str); 1]>;

impl Reports<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Reports::Plain(reports) => reports.len(),
            Reports::Foreign(events) => events.len(),
            Reports::Json(texts) => texts.len(),
            Reports::Messages(messages) => messages.len(),
        }
    }
}

/// How a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    media: Media,
    encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    Protobuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Form {
    /// What the headers say. Parameters of the content type are ignored: JSON is UTF-8 here, or refused as such.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Form, Problem> {
        let media_type = single(headers, CONTENT_TYPE, Fault::UnsupportedMediaType)?;
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let media = match media_type.as_str() {
            "application/json" | "application/x-ndjson" | "text/plain" => Media::Json,
            "application/x-protobuf" => Media::Protobuf,
            _ => return Err(Fault::UnsupportedMediaType.into()),
        };
        Form::encoded(media, headers)
    }

    /// The same for a format of others, whose type is clear from its address.
    pub(crate) fn foreign(headers: &HeaderMap) -> Result<Form, Problem> {
        Form::encoded(Media::Json, headers)
    }

    fn encoded(media: Media, headers: &HeaderMap) -> Result<Form, Problem> {
        let encoding = single(headers, CONTENT_ENCODING, Fault::UnsupportedEncoding)?;
        let encoding = match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Encoding::Identity,
            "gzip" | "x-gzip" => Encoding::Gzip,
            "zstd" => Encoding::Zstd,
            _ => return Err(Fault::UnsupportedEncoding.into()),
        };
        Ok(Form { media, encoding })
    }

    /// The body without its compression.
    pub(crate) fn decompress(self, body: Bytes) -> Result<Bytes, Problem> {
        if body.is_empty() {
            return Err(Fault::EmptyBody.into());
        }
        match self.encoding {
            Encoding::Identity => Ok(body),
            Encoding::Gzip => gzip(&body),
            Encoding::Zstd => zstd(&body),
        }
    }

    /// The reports of a decompressed body.
    pub(crate) fn reports(self, body: &[u8]) -> Result<Reports<'_>, Problem> {
        match self.media {
            Media::Json => json(body),
            Media::Protobuf if body.is_empty() => Err(Fault::EmptyBody.into()),
            Media::Protobuf => message::decode(body, MAX_REPORTS).map(Reports::Messages).map_err(|error| match error {
                DecodeError::TooMany { .. } => Fault::TooManyReports.into(),
                DecodeError::Malformed(error) => Problem::new(Fault::MalformedProtobuf, error.to_string()),
            }),
        }
    }
}

/// The value of a header that may be there once; empty when it is not there.
fn single(headers: &HeaderMap, name: HeaderName, otherwise: Fault) -> Result<&str, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(""),
        (Some(value), None) => value.to_str().map_err(|_| otherwise.into()),
        _ => Err(otherwise.into()),
    }
}

/// The content of the gzip members or zstd frames of a body, one after the other. Their number is limited: beginning one is work,
/// and one without content takes only a few bytes and adds nothing to the content.
fn members(
    mut body: &[u8],
    mut read_one: impl FnMut(&mut &[u8], &mut Vec<u8>) -> Result<(), Problem>,
) -> Result<Bytes, Problem> {
    let mut content = Vec::new();
    for _ in 0..MAX_MEMBERS {
        if body.is_empty() {
            break;
        }
        read_one(&mut body, &mut content)?;
    }
    if body.is_empty() { Ok(content.into()) } else { Err(Fault::MalformedEncoding.into()) }
}

fn gzip(body: &[u8]) -> Result<Bytes, Problem> {
    members(body, |body, content| read(GzDecoder::new(body), content))
}

/// The library also reads what zstd wrote before its format was settled, by code that nobody looks at any more; strangers have no
/// business there.
fn zstd(body: &[u8]) -> Result<Bytes, Problem> {
    let malformed = |_| Problem::from(Fault::MalformedEncoding);
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(MAX_ZSTD_WINDOW_LOG)).map_err(malformed)?;
    members(body, |body, content| {
        if !is_zstd_frame(body) {
            return Err(Fault::MalformedEncoding.into());
        }
        context.reset(ResetDirective::SessionOnly).map_err(malformed)?;
        read(zstd::Decoder::with_context(body, &mut context).single_frame(), content)
    })
}

/// Whether it begins like a frame, or like one that is to be skipped: RFC 8878, sections 3.1.1 and 3.1.2.
fn is_zstd_frame(body: &[u8]) -> bool {
    body.first_chunk().is_some_and(|magic| {
        let magic = u32::from_le_bytes(*magic);
        magic == 0xFD2F_B528 || magic & 0xFFFF_FFF0 == 0x184D_2A50
    })
}

/// Reads until the limit and not a byte further, however much the body would become.
fn read(decoder: impl Read, content: &mut Vec<u8>) -> Result<(), Problem> {
    let most = (MAX_BODY_BYTES + 1 - content.len()) as u64;
    decoder.take(most).read_to_end(content).map_err(|_| Problem::from(Fault::MalformedEncoding))?;
    if content.len() > MAX_BODY_BYTES { Err(Fault::BodyTooLarge.into()) } else { Ok(()) }
}

/// The texts of the reports: of an array its elements, of one value itself, otherwise one per line.
fn json(body: &[u8]) -> Result<Reports<'_>, Problem> {
    let body = std::str::from_utf8(body).map_err(|_| Problem::from(Fault::InvalidUtf8))?;
    let body = body.trim_matches(is_json_space);
    if body.is_empty() {
        return Err(Fault::EmptyBody.into());
    }
    if let Some(reports) = plain(body) {
        return Ok(Reports::Plain(reports));
    }
    let whole = if body.starts_with('[') {
        serde_json::from_str(body).map(|Elements(texts)| texts)
    } else {
        serde_json::from_str::<&RawValue>(body).map(|value| vec![value.get()])
    };
    let texts = match whole {
        Ok(texts) => texts,
        Err(error) => lines(body).ok_or_else(|| Problem::new(Fault::MalformedJson, error.to_string()))?,
    };
    if texts.len() > MAX_REPORTS {
        return Err(Fault::TooManyReports.into());
    }
    Ok(Reports::Json(texts))
}

/// The reports of a body that is one or an array of them, in one pass, when all are plain and not too many.
fn plain(body: &str) -> Option<PlainReports<'_>> {
    let Some(elements) = body.strip_prefix('[') else {
        return Plain::parse(body).map(|report| smallvec![(report, body)]);
    };
    let mut reports = PlainReports::new();
    let mut rest = elements.trim_start_matches(is_json_space);
    while reports.len() < MAX_REPORTS {
        let (report, bytes) = Plain::parse_first(rest)?;
        let (text, behind) = rest.split_at(bytes);
        reports.push((report, text));
        let behind = behind.trim_start_matches(is_json_space);
        match behind.strip_prefix(',') {
            Some(next) => rest = next.trim_start_matches(is_json_space),
            None => return (behind == "]").then_some(reports),
        }
    }
    None
}

/// One report per line, when the body is laid out like that: several lines, at least one of them JSON. A body that
/// begins as an array is only taken for lines when its first line is a value by itself; otherwise it is a broken array
/// whose reports the sender did not mean to send one by one.
fn lines(body: &str) -> Option<Vec<&str>> {
    let is_json = |line: &str| serde_json::from_str::<&RawValue>(line).is_ok();
    let mut lines = body.split('\n').map(|line| line.trim_matches(is_json_space)).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.by_ref().take(MAX_REPORTS + 1).collect();
    if body.starts_with('[') && !is_json(lines.first()?) {
        return None;
    }
    lines.iter().any(|line| is_json(line)).then_some(lines)
}

fn is_json_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// The elements of an array, as texts. Those beyond the limit are checked and not kept.
struct Elements<'a>(Vec<&'a str>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of reports")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Elements<'de>, A::Error> {
        let mut texts = Vec::new();
        while texts.len() <= MAX_REPORTS {
            match elements.next_element::<&RawValue>()? {
                Some(element) => texts.push(element.get()),
                None => return Ok(Elements(texts)),
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Elements(texts))
    }
}
