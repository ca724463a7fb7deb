//! What browsers and keys need of the headers: where a request carries its key, and the CORS headers of an answer.

use crate::limits::PREFLIGHT_MAX_AGE_S;
use crate::untaken::AnswerBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, AUTHORIZATION, HeaderValue,
    ORIGIN, VARY,
};
use hyper::{HeaderMap, Response, StatusCode};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The key of a request: `Authorization: Bearer`, or `Basic` with the key as the user (as Segment's libraries send it),
/// `X-Watchbeat-Key`, or `?key=`, the first that is there.
pub(crate) fn key<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<Cow<'a, str>> {
    let authorised = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, credentials) = value.to_str().ok()?.trim().split_once(' ')?;
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Cow::Borrowed(credentials));
        }
        let basic = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(credentials).ok()).flatten()?;
        let (user, _) = std::str::from_utf8(&basic).ok()?.split_once(':')?;
        Some(Cow::Owned(user.to_owned()))
    });
    let header = || headers.get("x-watchbeat-key").and_then(|value| value.to_str().ok()).map(Cow::Borrowed);
    // What is no text is no known key either.
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    let parameter = || query?.split('&').find_map(|pair| pair.strip_prefix("key=")).map(decoded);
    authorised.or_else(header).or_else(parameter)
}

/// The web origin that a browser says the request comes from.
pub(crate) fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(ORIGIN)
}

/// Lets the page read the answer. The origin is echoed instead of `*` because beacons are sent with credentials, for
/// which browsers refuse `*`; nothing here is authorised by a cookie, so that gives nothing away.
pub(crate) fn allow_origin(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    match origin {
        None => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Some(origin) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
    }
}

/// The answer to a preflight. It carries no key in a header, so every origin may ask; the request itself is checked.
pub(crate) fn preflight() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, baggage, content-encoding, content-type, sp-anonymous, traceparent, tracestate, x-retry-count, x-watchbeat-key",
        ),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE_S));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_any_of_its_places() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        let none = HeaderMap::new();
        assert_eq!(key(&headers("authorization", "Bearer a"), None).as_deref(), Some("a"));
        assert_eq!(key(&headers("authorization", "bearer  a "), Some("key=b")).as_deref(), Some("a"));
        assert_eq!(key(&headers("authorization", "Basic a"), Some("key=b")).as_deref(), Some("b"));
        assert_eq!(key(&headers("authorization", "Basic d3JpdGUta2V5Og=="), None).as_deref(), Some("write-key"));
        assert_eq!(key(&headers("x-watchbeat-key", "a"), None).as_deref(), Some("a"));
        assert_eq!(key(&none, Some("x=1&key=a%3ab%2")).as_deref(), Some("a:b%2"));
        assert_eq!(key(&none, Some("monkey=a")), None);
        assert_eq!(key(&none, None), None);
    }
}
