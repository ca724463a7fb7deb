//! What a request is answered: a verdict, the success that senders of another format know, or a problem.

use crate::adapters::{Answer, Format};
use crate::problem::{Fault, Problem};
use crate::verdict::{Rejected, Verdict};
use bytes::Bytes;
use http_body_util::Full;
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

pub(crate) fn answered(verdict: &Verdict) -> Response<Full<Bytes>> {
    if verdict.accepted == 1 && verdict.rejected.is_empty() {
        return json_response(StatusCode::ACCEPTED, Bytes::from_static(ONE_ACCEPTED));
    }
    json_response(StatusCode::ACCEPTED, json(&Counts { accepted: verdict.accepted, rejected: &verdict.rejected }))
}

pub(crate) fn answered_foreign(format: Format) -> Response<Full<Bytes>> {
    let Answer { status, content_type, body } = format.answer();
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

pub(crate) fn refused(problem: &Problem) -> Response<Full<Bytes>> {
    let Problem { fault, detail, retry_after_s } = problem;
    let answer = serde_json::json!({"error": {"code": fault.as_str(), "detail": detail}});
    let mut response = json_response(fault.status(), json(&answer));
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
pub(crate) fn head_too_large() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

fn json(answer: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(answer).expect("texts and numbers are always JSON"))
}

fn json_response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
