//! One request from its head to its answer: key, body, verdict, log. A 202 is only given when the log has acknowledged
//! every accepted report and every dead letter.

use crate::access;
use crate::adapters::{Answer, Format};
use crate::appender::Appender;
use crate::body::{Form, Reports};
use crate::clock;
use crate::grant::{Permit, Site};
use crate::keys::Keys;
use crate::limits::{
    BODY_TIMEOUT, DISCARD_TIMEOUT, MAX_BODIES_IN_FLIGHT_BYTES, MAX_BODY_BYTES, MAX_DISCARDED_BYTES, RETRY_AFTER_S,
};
use crate::meter::Meters;
use crate::net::Peer;
use crate::outlet::{Outlet, Refused};
use crate::problem::{Fault, Problem};
use crate::pseudonym::PepperFile;
use crate::rate::Guesses;
use crate::trace::{Sample, Sampler, Sampling};
use crate::verdict::{self, Rejected, Route, Verdict};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::task::Poll;
use tokio::time::timeout;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) keys: Keys,
    pub(crate) peppers: Option<PepperFile>,
    pub(crate) outlet: Arc<Outlet>,
    /// Unknown keys that a client may try.
    pub(crate) guesses: Guesses,
    /// Bytes of bodies in memory.
    pub(crate) bodies: AtomicU64,
    /// Requests that are logged.
    pub(crate) sampling: Sampling,
    /// Whether it was said that reports without consent come in and no pepper protects them.
    pub(crate) unprotected: Once,
}

/// Everything a request needs; one for all connections of a worker.
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    appender: Appender,
    meters: Rc<Meters>,
    sampler: Sampler,
}

/// What is answered when the request as such was fine.
#[derive(serde::Serialize)]
struct Counts<'a> {
    accepted: usize,
    rejected: &'a [Rejected],
}

/// The answer to nearly every request.
const ONE_ACCEPTED: &[u8] = br#"{"accepted":1,"rejected":[]}"#;

impl Gateway {
    pub(crate) fn new(shared: Arc<Shared>, linger: std::time::Duration) -> Gateway {
        let meters = Rc::new(Meters::new());
        let appender = Appender::new(shared.outlet.clone(), meters.clone(), linger);
        Gateway { shared, appender, meters, sampler: Sampler::default() }
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Full<Bytes>> {
        let sample = self.sampler.sample(&request, &self.shared.sampling);
        // Head and body are gone before the wait for the log: thousands of requests wait at a time, and their memory would
        // be cold when it is touched again.
        let (origin, outcome) = self.read(request, peer, sample.as_deref()).await;
        let outcome = match outcome {
            Ok(Outcome::Judged(mut judged)) => self.append(&mut judged).await.map(|()| Outcome::Judged(judged)),
            outcome => outcome,
        };
        let mut response = match &outcome {
            Ok(Outcome::Preflight) => access::preflight(),
            Ok(Outcome::Judged(Judged { format: Some(format), .. })) => answered_foreign(*format),
            Ok(Outcome::Judged(Judged { verdict, .. })) => answered(verdict),
            Err(problem) => refused(problem),
        };
        if !matches!(&outcome, Err(problem) if problem.fault == Fault::OriginNotAllowed) {
            access::allow_origin(response.headers_mut(), origin);
        }
        self.meters.request(response.status().as_u16());
        if let Some(sample) = sample {
            sample.log(response.status().as_u16(), summary(&outcome));
        }
        response
    }

    /// Everything up to the log, and the web origin the request comes from.
    async fn read(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        sample: Option<&Sample>,
    ) -> (Option<HeaderValue>, Result<Outcome, Problem>) {
        let (head, mut body) = request.into_parts();
        let outcome = self.outcome(&head, &mut body, peer, sample).await;
        if let Err(Problem { fault, .. }) = &outcome {
            // Who waits for `100 Continue` has sent no body yet and learns from the answer not to; from who has gone silent
            // nothing more comes.
            let is_silent = matches!(fault, Fault::BodyTimeout | Fault::IncompleteBody);
            if !is_silent && !head.headers.contains_key(EXPECT) {
                discard(&mut body).await;
            }
        }
        (access::origin(&head.headers).cloned(), outcome)
    }

    async fn outcome(
        &self,
        head: &Parts,
        body: &mut Incoming,
        peer: &Peer,
        sample: Option<&Sample>,
    ) -> Result<Outcome, Problem> {
        let format = match head.uri.path() {
            "/v1/heartbeats" | "/v1/beacon" => None,
            path => Some(Format::of_path(path).ok_or(Fault::NotFound)?),
        };
        match head.method {
            Method::POST => {
                let permit = self.permit(head, peer, sample)?;
                self.judge(head, body, permit, format, sample).await.map(Outcome::Judged)
            }
            Method::OPTIONS => Ok(Outcome::Preflight),
            _ => Err(Fault::MethodNotAllowed.into()),
        }
    }

    async fn judge(
        &self,
        head: &Parts,
        body: &mut Incoming,
        Permit { grant, user_id }: Permit,
        format: Option<Format>,
        sample: Option<&Sample>,
    ) -> Result<Judged, Problem> {
        let slow_down = |retry_after_s| Problem::retry(Fault::RateExceeded, retry_after_s);
        grant.take(0, clock::now_ms()).map_err(slow_down)?;
        let form = if format.is_some() { Form::foreign(&head.headers) } else { Form::of(&head.headers) }?;
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Fault::BodyTooLarge.into());
        }
        let mut room = Room { site: &grant.site, of_all: &self.shared.bodies, bytes: 0 };
        let raw = read_in_time(body, &mut room).await?;
        self.meters.body(raw.len());
        if let Some(sample) = sample {
            sample.body_bytes.set(raw.len());
        }
        // What it is without its compression has no room of its own: a worker has one such body at a time.
        let bytes = form.decompress(raw)?;
        let reports = match format {
            None => form.reports(&bytes)?,
            Some(format) => Reports::Foreign(format.reports(&bytes, head.uri.query())?),
        };
        let received_at = clock::now_ms();
        grant.take(reports.len(), received_at).map_err(slow_down)?;
        let peppers = self.shared.peppers.as_ref().map(PepperFile::current);
        let route = Route {
            user_id: user_id.as_deref(),
            site: &grant.site.name,
            received_at,
            peppers: peppers.as_ref().map(|peppers| &***peppers),
            gathers_users: grant.user_rates.is_some(),
        };
        let verdict = verdict::judge(&reports, route);
        if verdict.unrecognised > 0 && peppers.is_none() {
            self.shared.unprotected.call_once(|| {
                tracing::warn!(
                    "reports without consent come in and there is no pepper: a guess of a user id can be checked, set --pepper"
                );
            });
        }
        if let Some(rates) = &grant.user_rates {
            verdict.users.iter().try_for_each(|(user, reports)| rates.take(user, *reports)).map_err(slow_down)?;
        }
        Ok(Judged { verdict, site: grant.site.clone(), format })
    }

    /// What the sender may do, by its key or play token and its web origin.
    fn permit(&self, head: &Parts, peer: &Peer, sample: Option<&Sample>) -> Result<Permit, Problem> {
        let key = access::key(&head.headers, head.uri.query());
        let Some(permit) = self.shared.keys.permit(key.as_deref(), clock::now_ms) else {
            return Err(match self.shared.guesses.take(peer.client(&head.headers)) {
                Ok(()) => Fault::UnknownKey.into(),
                Err(retry_after_s) => Problem::retry(Fault::RateExceeded, retry_after_s),
            });
        };
        if let Some(sample) = sample {
            sample.site.get_or_init(|| permit.grant.site.clone());
        }
        match access::origin(&head.headers) {
            Some(origin) if !origin.to_str().is_ok_and(|origin| permit.grant.allows_origin(origin)) => {
                Err(Fault::OriginNotAllowed.into())
            }
            _ => Ok(permit),
        }
    }

    /// Waits until everything is safe.
    async fn append(&self, Judged { verdict, site, .. }: &mut Judged) -> Result<(), Problem> {
        if verdict.records.len() > 0 {
            self.appender.append(&mut verdict.records).await.map_err(|refused| match refused {
                Refused::Full => Problem::retry(Fault::Overloaded, RETRY_AFTER_S),
                Refused::Unavailable => Problem::retry(Fault::LogUnavailable, RETRY_AFTER_S),
            })?;
        }
        self.meters.accepted(verdict.accepted);
        self.meters.ignored(verdict.ignored);
        site.accepted.increment(verdict.accepted as u64);
        verdict.rejected.iter().for_each(|rejected| self.meters.rejected(rejected.code));
        Ok(())
    }
}

/// Memory of a body as far as it has arrived: who only announces one takes nothing from others. Given back when dropped.
struct Room<'a> {
    site: &'a Site,
    /// Bytes of the bodies of all sites.
    of_all: &'a AtomicU64,
    bytes: u64,
}

impl Room<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let bytes = bytes as u64;
        self.bytes += bytes;
        let of_site = self.site.bodies.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let of_all = self.of_all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if of_site > self.site.max_bodies_bytes || of_all > MAX_BODIES_IN_FLIGHT_BYTES {
            return Err(Problem::retry(Fault::Overloaded, RETRY_AFTER_S));
        }
        Ok(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.site.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a request that is no problem came to.
enum Outcome {
    Preflight,
    Judged(Judged),
}

/// The reports of a body, judged, and whose they are.
struct Judged {
    verdict: Verdict,
    site: Arc<Site>,
    /// What the body was translated from.
    format: Option<Format>,
}

/// What the line of a sampled request says: how many reports were accepted and which refused, or what was wrong with all.
fn summary(outcome: &Result<Outcome, Problem>) -> Result<(usize, &[Rejected]), &'static str> {
    match outcome {
        Ok(Outcome::Preflight) => Ok((0, &[])),
        Ok(Outcome::Judged(Judged { verdict, .. })) => Ok((verdict.accepted, &verdict.rejected)),
        Err(problem) => Err(problem.fault.as_str()),
    }
}

/// Reads a body up to the limit. Most bodies are there already, and then no timer is set.
async fn read_in_time(body: &mut Incoming, room: &mut Room<'_>) -> Result<Bytes, Problem> {
    let mut reading = pin!(read(body, room));
    match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
        Poll::Ready(read) => read,
        Poll::Pending => timeout(BODY_TIMEOUT, reading).await.map_err(|_| Problem::from(Fault::BodyTimeout))?,
    }
}

/// Reads a body up to the limit, as long as there is room.
async fn read(body: &mut Incoming, room: &mut Room<'_>) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Fault::IncompleteBody)?.into_data() else { continue };
        if first.len().max(all.len()) + data.len() > MAX_BODY_BYTES {
            return Err(Fault::BodyTooLarge.into());
        }
        room.take(data.len())?;
        // Most bodies come in one piece, which then need not be copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Reads what is left of an unwanted body, within bounds: a connection closed on unread bytes is reset, and the sender
/// might never see the answer.
async fn discard(body: &mut Incoming) {
    let mut left = MAX_DISCARDED_BYTES;
    let discarding = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { break };
            left = rest;
        }
    };
    // A sender too slow for this has lost its answer; the connection is closed either way.
    let _ = timeout(DISCARD_TIMEOUT, discarding).await;
}

fn answered(verdict: &Verdict) -> Response<Full<Bytes>> {
    if verdict.accepted == 1 && verdict.rejected.is_empty() {
        return json_response(StatusCode::ACCEPTED, Bytes::from_static(ONE_ACCEPTED));
    }
    json_response(StatusCode::ACCEPTED, json(&Counts { accepted: verdict.accepted, rejected: &verdict.rejected }))
}

fn answered_foreign(format: Format) -> Response<Full<Bytes>> {
    let Answer { status, content_type, body } = format.answer();
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

fn refused(problem: &Problem) -> Response<Full<Bytes>> {
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

fn json(answer: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(answer).expect("texts and numbers are always JSON"))
}

fn json_response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
