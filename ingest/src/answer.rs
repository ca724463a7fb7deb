//! What a request is answered: a verdict, the success that senders of another format know, or a problem.

use crate::adapters::{Answer, Format};
use crate::limits::RETRY_AFTER_S;
use crate::problem::{Fault, Problem};
use crate::untaken::{AnswerBody, Untaken};
use crate::verdict::{Rejected, Verdict};
use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// What is answered when the request as such was fine.
#[derive(serde::Serialize)]
struct Counts<'a> {
    accepted: usize,
    rejected: &'a [Rejected],
}

/// The answer to nearly every request.
const ONE_ACCEPTED: &[u8] = br#"{"accepted":1,"rejected":[]}"#;

/// Who has taken so little of what was answered before that there is no room for a long answer is to try again. `of_all` are bytes
/// that nobody has taken.
pub(crate) fn answered(verdict: &Verdict, untaken: &Untaken, of_all: &Arc<AtomicUsize>) -> Response<AnswerBody> {
    if verdict.rejected.is_empty() && verdict.accepted == 1 {
        return json_response(StatusCode::ACCEPTED, AnswerBody::new(Bytes::from_static(ONE_ACCEPTED), None));
    }
    let counts = json(&Counts { accepted: verdict.accepted, rejected: &verdict.rejected });
    if verdict.rejected.is_empty() {
        return json_response(StatusCode::ACCEPTED, AnswerBody::new(counts, None));
    }
    match untaken.room(counts.len(), of_all) {
        Some(room) => json_response(StatusCode::ACCEPTED, AnswerBody::new(counts, Some(room))),
        None => refused(&Problem::retry(Fault::Overloaded, RETRY_AFTER_S)),
    }
}

pub(crate) fn answered_foreign(format: Format) -> Response<AnswerBody> {
    let Answer { status, content_type, body } = format.answer();
    let mut response = Response::new(AnswerBody::new(Bytes::from_static(body.as_bytes()), None));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

pub(crate) fn refused(problem: &Problem) -> Response<AnswerBody> {
    let Problem { fault, detail, retry_after_s } = problem;
    let answer = serde_json::json!({"error": {"code": fault.as_str(), "detail": detail}});
    let mut response = json_response(fault.status(), AnswerBody::new(json(&answer), None));
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

/// As the library answers a head with too many fields in HTTP/1.1.
pub(crate) fn head_too_large() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::default());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

fn json(answer: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(answer).expect("texts and numbers are always JSON"))
}

fn json_response(status: StatusCode, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
