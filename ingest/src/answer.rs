//! What a request is answered: a verdict, the success that senders of another format know, or a problem.

use crate::adapters::{Answer, Format};
use crate::limits::RETRY_AFTER_S;
use crate::problem::{Fault, Problem};
use crate::untaken::AnswerBody;
use crate::verdict::{Rejected, Verdict};
use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

/// What is answered when the request as such was fine.
#[derive(serde::Serialize)]
struct Counts<'a> {
    accepted: usize,
    rejected: &'a [Rejected],
}

/// The answer to nearly every request.
const ONE_ACCEPTED: &[u8] = br#"{"accepted":1,"rejected":[]}"#;

/// What is answered when everything is safe.
pub(crate) fn counts(verdict: &Verdict) -> Bytes {
    match verdict {
        Verdict { accepted: 1, rejected, .. } if rejected.is_empty() => Bytes::from_static(ONE_ACCEPTED),
        Verdict { accepted, rejected, .. } => json(&Counts { accepted: *accepted, rejected }),
    }
}

pub(crate) fn answered(counts: Bytes) -> Response<AnswerBody> {
    json_response(StatusCode::ACCEPTED, AnswerBody::new(counts))
}

pub(crate) fn answered_foreign(format: Format) -> Response<AnswerBody> {
    let Answer { status, content_type, body } = format.answer();
    let mut response = Response::new(AnswerBody::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

pub(crate) fn refused(problem: &Problem) -> Response<AnswerBody> {
    let Problem { fault, detail, retry_after_s } = problem;
    let answer = serde_json::json!({"error": {"code": fault.as_str(), "detail": detail}});
    let mut response = json_response(fault.status(), AnswerBody::new(json(&answer)));
    let headers = response.headers_mut();
    if let Some(retry_after_s) = retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
    }
    match fault {
        Fault::MethodNotAllowed => {
            headers.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
        }
        Fault::UnknownKey => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

/// There is no place for the request, and so none for an answer that waits to be taken: this one has no body.
pub(crate) fn no_place() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::default());
    *response.status_mut() = Fault::Overloaded.status();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    response
}

/// As the library answers a head with too many fields in HTTP/1.1.
pub(crate) fn head_too_large() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::default());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

fn json(answer: &impl serde::Serialize) -> Bytes {
    let json = serde_json::to_vec(answer).expect("texts and numbers are always JSON");
    Bytes::from(json.into_boxed_slice()) // no more memory than it has bytes
}

fn json_response(status: StatusCode, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
