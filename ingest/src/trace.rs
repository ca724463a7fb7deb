//! One line in the log for a few requests: for those whose caller traces them (W3C trace context: a `traceparent` that is
//! sampled), and for one of so many if the operator wants that. Never a user id, a key or a query.
//!
//! What is not sampled costs a look at one header. There is no span of our own: the line names its parent.

use crate::adapters::Format;
use crate::clock;
use crate::grant::Site;
use crate::limits::SAMPLED_LINES_PER_SECOND;
use crate::meters;
use crate::verdict::Rejected;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::header::HeaderName;
use hyper::{HeaderMap, Request};
use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How much may be logged; one for all workers. Who traces requests cannot use up what the operator asked for.
pub(crate) struct Sampling {
    /// One of so many requests is drawn; 0 is none.
    every: u32,
    traced: DefaultDirectRateLimiter,
    drawn: DefaultDirectRateLimiter,
}

impl Sampling {
    pub(crate) fn new(every: u32) -> Sampling {
        let limiter = || RateLimiter::direct(Quota::per_second(SAMPLED_LINES_PER_SECOND));
        Sampling { every, traced: limiter(), drawn: limiter() }
    }
}

/// Decides which requests of a worker are logged.
#[derive(Default)]
pub(crate) struct Sampler {
    /// Requests since one was drawn.
    passed: Cell<u32>,
}

impl Sampler {
    /// What is to be gathered for the line of a request, when it gets one.
    pub(crate) fn sample<B>(&self, request: &Request<B>, sampling: &Sampling) -> Option<Box<Sample>> {
        let parent = Parent::of(request.headers());
        let is_traced = parent.is_some_and(|parent| parent.is_sampled);
        let is_drawn = self.is_drawn(sampling.every);
        if !is_traced && !is_drawn {
            return None;
        }
        let is_allowed = is_traced && sampling.traced.check().is_ok() || is_drawn && sampling.drawn.check().is_ok();
        if !is_allowed {
            meters::unlogged();
            return None;
        }
        Some(Box::new(Sample {
            started: clock::instant(),
            parent: parent.map(|parent| (parent.trace_id.to_owned(), parent.span_id.to_owned())),
            route: route(request.uri().path()),
            site: OnceCell::new(),
            body_bytes: Cell::new(0),
        }))
    }

    fn is_drawn(&self, every: u32) -> bool {
        if every == 0 {
            return false;
        }
        let passed = self.passed.get() + 1;
        self.passed.set(passed % every);
        passed == every
    }
}

/// What is known of a request that is logged.
pub(crate) struct Sample {
    started: Instant,
    /// Trace and span of the caller.
    parent: Option<(String, String)>,
    route: &'static str,
    pub(crate) site: OnceCell<Arc<Site>>,
    /// As they came, before decompression.
    pub(crate) body_bytes: Cell<usize>,
}

impl Sample {
    /// The line of a request that was answered, by its verdict or by the code of what was wrong with it.
    pub(crate) fn log(&self, status: u16, outcome: Result<(usize, &[Rejected]), &'static str>) {
        let rejected = outcome.map_or_else(|_| String::new(), |(_, rejected)| codes(rejected));
        tracing::info!(
            trace_id = self.parent.as_ref().map(|(trace_id, _)| trace_id.as_str()),
            parent_id = self.parent.as_ref().map(|(_, span_id)| span_id.as_str()),
            route = self.route,
            site = self.site.get().map(|site| site.name.as_str()),
            status,
            accepted = outcome.map_or(0, |(accepted, _)| accepted),
            rejected,
            error = outcome.err(),
            body_bytes = self.body_bytes.get(),
            duration_us = self.started.elapsed().as_micros() as u64,
            "request"
        );
    }
}

/// The codes of refused reports, each once.
fn codes(rejected: &[Rejected]) -> String {
    let codes: BTreeSet<&str> = rejected.iter().map(|rejected| rejected.code).collect();
    codes.into_iter().collect::<Vec<_>>().join(" ")
}

/// The route of a path: never the path itself, in which a client may write whatever it likes.
fn route(path: &str) -> &'static str {
    match (path, Format::of_path(path)) {
        ("/v1/heartbeats", _) => "/v1/heartbeats",
        ("/v1/beacon", _) => "/v1/beacon",
        (_, Some(Format::Cmcd)) => "/v1/adapters/cmcd",
        (_, Some(Format::Snowplow)) => "/v1/adapters/snowplow",
        (_, Some(Format::Segment)) => "/v1/adapters/segment",
        (_, None) => "none",
    }
}

/// Who calls, as the header `traceparent` says: `00-TRACE-SPAN-FLAGS` in lowercase hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parent<'a> {
    trace_id: &'a str,
    span_id: &'a str,
    is_sampled: bool,
}

impl Parent<'_> {
    /// The one valid header; anything else is as good as none.
    fn of(headers: &HeaderMap) -> Option<Parent<'_>> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Parent::parse(value.to_str().ok()?),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Parent<'_>> {
        let mut fields = text.split('-');
        let (version, trace_id, span_id, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_hex = |text: &str, chars: usize| {
            text.len() == chars && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = |text: &str, chars: usize| is_hex(text, chars) && text.bytes().any(|byte| byte != b'0');
        let is_valid =
            version == "00" && is_id(trace_id, 32) && is_id(span_id, 16) && is_hex(flags, 2) && fields.next().is_none();
        let flags = u8::from_str_radix(flags, 16).ok()?;
        is_valid.then_some(Parent { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn request(traceparents: &[&str]) -> Request<()> {
        let mut request = Request::builder().uri("/v1/heartbeats?key=secret");
        for value in traceparents {
            request = request.header(TRACEPARENT, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn a_traceparent_is_read_by_the_standard() {
        let valid = |flags: &str| format!("00-{TRACE}-{SPAN}-{flags}");
        for (text, is_sampled) in [
            (valid("01"), Some(true)),
            (valid("00"), Some(false)),
            (valid("03"), Some(true)),
            (valid("fe"), Some(false)),
            (valid("0"), None),
            (valid("0g"), None),
            (valid("+1"), None),
            (valid("01-"), None),
            (valid("01-more"), None),
            (valid("01").to_uppercase(), None),
            (format!("01-{TRACE}-{SPAN}-01"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}0-{SPAN}-01"), None),
            (format!("00-{SPAN}-{TRACE}-01"), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (String::new(), None),
        ] {
            let expected = is_sampled.map(|is_sampled| Parent { trace_id: TRACE, span_id: SPAN, is_sampled });
            assert_eq!(Parent::parse(&text), expected, "{text}");
        }
        let twice = request(&[&valid("01"), &valid("01")]);
        assert_eq!(Parent::of(twice.headers()), None, "two callers are none");
    }

    #[test]
    fn one_of_so_many_requests_is_drawn() {
        for (every, expected) in [(0, 0), (1, 60), (3, 20), (50, 1), (100, 0)] {
            let (sampler, sampling) = (Sampler::default(), Sampling::new(every));
            let drawn = (0..60).filter(|_| sampler.sample(&request(&[]), &sampling).is_some()).count();
            assert_eq!(drawn, expected, "one of {every}");
        }
    }

    #[test]
    fn clients_cannot_make_us_log_without_end() {
        let (sampler, sampling) = (Sampler::default(), Sampling::new(1_000));
        let traced = request(&[&format!("00-{TRACE}-{SPAN}-01")]);
        // A hundred at once, and one more every 10 ms.
        let started = clock::instant();
        let logged = (0..999).filter(|_| sampler.sample(&traced, &sampling).is_some()).count();
        let most = 100 + started.elapsed().as_millis() as usize / 10 + 1;
        assert!((100..=most).contains(&logged), "{logged}");
        assert!(sampler.sample(&request(&[]), &sampling).is_some(), "there is room for what the operator asked for");
    }

    #[test]
    fn a_path_that_is_no_route_is_not_repeated() {
        for (path, expected) in [
            ("/v1/beacon", "/v1/beacon"),
            ("/com.snowplowanalytics.snowplow/tp2", "/v1/adapters/snowplow"),
            ("/v1/adapters/segment/users/alice", "/v1/adapters/segment"),
            ("/users/alice", "none"),
        ] {
            assert_eq!(route(path), expected);
        }
    }
}
