//! What can be wrong with a whole request: one code each, its status, and a sentence for the sender. What can be wrong
//! with a single report is in [`playback::rejection`].

use crate::rate::Exhausted;
use hyper::StatusCode;
use std::borrow::Cow;

/// A request that is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) fault: Fault,
    pub(crate) detail: Cow<'static, str>,
    /// Seconds after which another try makes sense.
    pub(crate) retry_after_s: Option<u64>,
}

impl Problem {
    /// The problem with a detail of its own.
    pub(crate) fn new(fault: Fault, detail: String) -> Problem {
        Problem { detail: Cow::Owned(detail), ..Problem::from(fault) }
    }

    /// The problem that may be gone after a while.
    pub(crate) fn retry(fault: Fault, retry_after_s: u64) -> Problem {
        Problem { retry_after_s: Some(retry_after_s), ..Problem::from(fault) }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        Problem { fault, detail: Cow::Borrowed(fault.meaning()), retry_after_s: None }
    }
}

impl From<Exhausted> for Problem {
    fn from(Exhausted { retry_after_s }: Exhausted) -> Problem {
        Problem::retry(Fault::RateExceeded, retry_after_s)
    }
}

/// The table below as an enum, its statuses, its names on the wire, and their meanings.
macro_rules! faults {
    ($($variant:ident $status:ident $name:literal $meaning:literal;)*) => {
        /// What is wrong with a request; the names are part of the contract and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $meaning] $variant,)*
        }

        impl Fault {
            /// Every fault, by status.
            pub const ALL: &'static [Fault] = &[$(Fault::$variant),*];

            /// The HTTP status it is answered with.
            pub fn status(self) -> StatusCode {
                match self { $(Fault::$variant => StatusCode::$status,)* }
            }

            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Fault::$variant => $name,)* }
            }

            /// A sentence for the sender.
            pub fn meaning(self) -> &'static str {
                match self { $(Fault::$variant => $meaning,)* }
            }
        }
    };
}

faults! {
    EmptyBody BAD_REQUEST "empty_body" "the body is empty";
    IncompleteBody BAD_REQUEST "incomplete_body" "the body ended before its announced length";
    MalformedEncoding BAD_REQUEST "malformed_encoding" "the body is not what Content-Encoding says";
    InvalidUtf8 BAD_REQUEST "invalid_utf8" "the body is not UTF-8";
    MalformedJson BAD_REQUEST "malformed_json" "the body is no JSON: send an object, an array or one object per line";
    MalformedProtobuf BAD_REQUEST "malformed_protobuf" "the body is no message watchbeat.v1.Heartbeats";
    UnknownKey UNAUTHORIZED "unknown_key" "send a known key: Authorization: Bearer KEY, X-Watchbeat-Key: KEY or ?key=KEY";
    OriginNotAllowed FORBIDDEN "origin_not_allowed" "the key may not be used from this web origin";
    NotFound NOT_FOUND "not_found" "there is nothing here: POST to /v1/heartbeats or /v1/beacon";
    MethodNotAllowed METHOD_NOT_ALLOWED "method_not_allowed" "use POST";
    BodyTimeout REQUEST_TIMEOUT "body_timeout" "the body did not arrive in time";
    BodyTooLarge PAYLOAD_TOO_LARGE "body_too_large" "a body has at most 1 MiB, also after decompression: send several";
    TooManyReports PAYLOAD_TOO_LARGE "too_many_reports" "a body has at most 500 reports: send several";
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" "Content-Type is one of application/json, application/x-ndjson, text/plain, application/x-protobuf";
    UnsupportedEncoding UNSUPPORTED_MEDIA_TYPE "unsupported_encoding" "Content-Encoding is one of gzip, zstd, identity";
    RateExceeded TOO_MANY_REQUESTS "rate_exceeded" "the rate of the key, of the user or of wrong keys is used up: try again later";
    LogUnavailable SERVICE_UNAVAILABLE "log_unavailable" "the log does not take records now: send the same body again later";
    Overloaded SERVICE_UNAVAILABLE "overloaded" "too much is in flight: send the same body again later";
}
