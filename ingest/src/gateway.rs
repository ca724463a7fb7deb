//! One request from its head to its answer: key, body, verdict, log. A 202 is only given when the log has acknowledged
//! every accepted report and every dead letter.

use crate::access;
use crate::body::Form;
use crate::clock;
use crate::keys::{Grant, Keys};
use crate::limits::{
    APPEND_TIMEOUT, BODY_TIMEOUT, MAX_BODIES_IN_FLIGHT_KIB, MAX_BODY_BYTES, MAX_DISCARDED_BYTES, MAX_QUEUED_RECORDS,
    RETRY_AFTER_S,
};
use crate::meter;
use crate::problem::{Fault, Problem};
use crate::verdict::{self, Rejected, Route, Verdict};
use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use topic::Producer;

/// A topic the gateway writes, as it was found at the start.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) topic: String,
    pub(crate) partitions: u32,
}

/// Everything a request needs; one for all connections.
pub(crate) struct Gateway {
    keys: Keys,
    producer: Producer,
    heartbeats: Destination,
    dead_letters: Destination,
    /// One permit per KiB of a body in memory.
    room: Semaphore,
    /// One permit per record the log has not settled. The producer blocks its caller when its own queue is full, so
    /// that must never happen here.
    queue: Arc<Semaphore>,
    /// Whether the last append failed: an outage is logged once and not once per request.
    is_failing: AtomicBool,
}

/// What is answered when the request as such was fine.
#[derive(serde::Serialize)]
struct Answer<'a> {
    accepted: usize,
    rejected: &'a [Rejected],
}

impl Gateway {
    pub(crate) fn new(keys: Keys, producer: Producer, heartbeats: Destination, dead_letters: Destination) -> Gateway {
        let room = Semaphore::new(MAX_BODIES_IN_FLIGHT_KIB);
        let queue = Arc::new(Semaphore::new(MAX_QUEUED_RECORDS));
        Gateway { keys, producer, heartbeats, dead_letters, room, queue, is_failing: AtomicBool::new(false) }
    }

    /// Answers one request, whatever it is.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, mut body) = request.into_parts();
        let outcome = self.outcome(&head, &mut body).await;
        let origin = access::origin(&head.headers);
        let mut response = match &outcome {
            Ok(Outcome::Preflight) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                access::preflight(response.headers_mut());
                response
            }
            Ok(Outcome::Judged(verdict)) => answered(verdict),
            Err(problem) => refused(problem),
        };
        if !matches!(&outcome, Err(problem) if problem.fault == Fault::OriginNotAllowed) {
            access::allow_origin(response.headers_mut(), origin);
        }
        // Who waits for `100 Continue` has sent no body yet and learns from the answer not to.
        if outcome.is_err() && !head.headers.contains_key(EXPECT) {
            discard(&mut body).await;
        }
        meter::request(response.status().as_u16());
        response
    }

    async fn outcome(&self, head: &Parts, body: &mut Incoming) -> Result<Outcome, Problem> {
        if !matches!(head.uri.path(), "/v1/heartbeats" | "/v1/beacon") {
            return Err(Fault::NotFound.into());
        }
        match head.method {
            Method::POST => self.take(head, body).await.map(Outcome::Judged),
            Method::OPTIONS => Ok(Outcome::Preflight),
            _ => Err(Fault::MethodNotAllowed.into()),
        }
    }

    async fn take(&self, head: &Parts, body: &mut Incoming) -> Result<Verdict, Problem> {
        let grant = self.grant(head)?;
        let form = Form::of(&head.headers)?;
        let announced = body.size_hint().upper().unwrap_or(MAX_BODY_BYTES as u64);
        if announced > MAX_BODY_BYTES as u64 {
            return Err(Fault::BodyTooLarge.into());
        }
        let decompressed = if form.is_compressed() { MAX_BODY_BYTES as u64 } else { 0 };
        let _room = self.room(announced + decompressed)?;
        let raw = timeout(BODY_TIMEOUT, read(body)).await.map_err(|_| Fault::BodyTimeout)??;
        meter::body(raw.len());
        let bytes = form.decompress(raw)?;
        let reports = form.reports(&bytes)?;
        let received_at = clock::now_ms();
        grant
            .take(reports.len(), received_at)
            .map_err(|retry_after_s| Problem::retry(Fault::RateExceeded, retry_after_s))?;
        let route = Route {
            site: &grant.site,
            received_at,
            heartbeat_partitions: self.heartbeats.partitions,
            dead_letter_partitions: self.dead_letters.partitions,
        };
        let mut verdict = verdict::judge(&reports, route);
        self.append(&mut verdict).await?;
        meter::accepted(verdict.accepted);
        verdict.rejected.iter().for_each(|rejected| meter::rejected(rejected.code));
        Ok(verdict)
    }

    /// What the sender may do, by its key and its web origin.
    fn grant(&self, head: &Parts) -> Result<Arc<Grant>, Problem> {
        let key = access::key(&head.headers, head.uri.query());
        let grant = self.keys.grant(key.as_deref()).ok_or(Fault::UnknownKey)?;
        match access::origin(&head.headers) {
            Some(origin) if !origin.to_str().is_ok_and(|origin| grant.allows_origin(origin)) => {
                Err(Fault::OriginNotAllowed.into())
            }
            _ => Ok(grant),
        }
    }

    /// Room for a body, kept until the answer.
    fn room(&self, bytes: u64) -> Result<SemaphorePermit<'_>, Problem> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10).max(1)).map_err(|_| Fault::BodyTooLarge)?;
        self.room.try_acquire_many(kib).map_err(|_| Problem::retry(Fault::Overloaded, RETRY_AFTER_S))
    }

    /// Hands everything to the log and waits until it has it.
    async fn append(&self, verdict: &mut Verdict) -> Result<(), Problem> {
        let started = clock::instant();
        let batches = [
            (&self.heartbeats.topic, std::mem::take(&mut verdict.records)),
            (&self.dead_letters.topic, std::mem::take(&mut verdict.dead_letters)),
        ];
        let records = u32::try_from(batches.iter().map(|(_, records)| records.len()).sum::<usize>());
        let queued = records.ok().and_then(|records| self.queue.clone().try_acquire_many_owned(records).ok());
        let queued = queued.ok_or_else(|| Problem::retry(Fault::Overloaded, RETRY_AFTER_S))?;
        let deliveries: Vec<_> = batches
            .into_iter()
            .filter(|(_, records)| !records.is_empty())
            .map(|(topic, records)| self.producer.append(topic, records))
            .collect();
        if deliveries.is_empty() {
            return Ok(());
        }
        // A task of its own, so that the records count as queued until the log has settled them, even when the sender
        // has gone or we have given up waiting.
        let delivered = tokio::spawn(async move {
            let outcome = try_join_all(deliveries).await;
            drop(queued);
            outcome
        });
        let outcome = match timeout(APPEND_TIMEOUT, delivered).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(panic)) => Err(panic.to_string()),
            Err(_) => Err(format!("no acknowledgement within {} s", APPEND_TIMEOUT.as_secs())),
        };
        meter::append(started.elapsed(), outcome.is_ok());
        let was_failing = self.is_failing.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Ok(()) if was_failing => tracing::info!("the log takes records again"),
            Err(reason) if !was_failing => {
                tracing::warn!(reason, "the log does not take records, requests are answered with 503");
            }
            _ => {}
        }
        outcome.map_err(|_| Problem::retry(Fault::LogUnavailable, RETRY_AFTER_S))
    }
}

/// What a request that is no problem came to.
enum Outcome {
    Preflight,
    Judged(Verdict),
}

/// Reads a body up to the limit.
async fn read(body: &mut Incoming) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Fault::IncompleteBody)?.into_data() else { continue };
        if first.len().max(all.len()) + data.len() > MAX_BODY_BYTES {
            return Err(Fault::BodyTooLarge.into());
        }
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
    let _ = timeout(BODY_TIMEOUT, discarding).await;
}

fn answered(verdict: &Verdict) -> Response<Full<Bytes>> {
    json_response(StatusCode::ACCEPTED, &Answer { accepted: verdict.accepted, rejected: &verdict.rejected })
}

fn refused(problem: &Problem) -> Response<Full<Bytes>> {
    let Problem { fault, detail, retry_after_s } = problem;
    let answer = serde_json::json!({"error": {"code": fault.as_str(), "detail": detail}});
    let mut response = json_response(fault.status(), &answer);
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

fn json_response(status: StatusCode, answer: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(answer).expect("texts and numbers are always JSON");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
