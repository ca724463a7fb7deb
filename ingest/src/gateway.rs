//! One request from its head to its answer: key, body, verdict, log. A 202 is only given when the log has acknowledged
//! every accepted report and every dead letter.

use crate::access;
use crate::adapters::{self, Format};
use crate::answer;
use crate::appender::Appender;
use crate::body::{Form, Reports};
use crate::clock;
use crate::grant::{Denied, Grant, Permit, Site};
use crate::incoming::{self, Room};
use crate::keys::Keys;
use crate::limits::{ANSWER_PIECE_BYTES, MAX_BODY_BYTES, MAX_HEAD_FIELDS, RETRY_AFTER_S};
use crate::meters::Meters;
use crate::net::Peer;
use crate::outlet::{Outlet, Refused};
use crate::problem::{Fault, Problem};
use crate::pseudonym::PepperFile;
use crate::rate::Guesses;
use crate::trace::{Sample, Sampler, Sampling};
use crate::untaken::{AnswerBody, AnswerRoom, Untaken};
use crate::verdict::{self, Rejected, ReportContext, Verdict};
use bytes::Bytes;
use futures::FutureExt;
use hyper::body::{Body, Incoming};
use hyper::header::{EXPECT, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response};
use std::convert::Infallible;
use std::mem;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Once};

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) keys: Keys,
    pub(crate) peppers: Option<PepperFile>,
    pub(crate) outlet: Arc<Outlet>,
    /// Unknown keys that a client may try.
    pub(crate) guesses: Guesses,
    /// Bytes of bodies in memory.
    pub(crate) bodies: AtomicU64,
    /// Bytes of long answers that nobody has taken.
    pub(crate) untaken: Arc<AtomicUsize>,
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

impl Gateway {
    pub(crate) fn new(shared: Arc<Shared>, linger: std::time::Duration) -> Gateway {
        let meters = Rc::new(Meters::new());
        let appender = Appender::new(shared.outlet.clone(), meters.clone(), linger);
        Gateway { shared, appender, meters, sampler: Sampler::default() }
    }

    /// What answers the requests of a connection.
    pub(crate) fn service(
        self: Rc<Gateway>,
        peer: Peer,
    ) -> impl Service<Request<Incoming>, Response = Response<AnswerBody>, Error = Infallible> {
        let peer = Rc::new(peer);
        service_fn(move |request| self.clone().answer(request, peer.clone()).map(Ok))
    }

    /// Answers one request, whatever it is.
    async fn answer(self: Rc<Self>, request: Request<Incoming>, peer: Rc<Peer>) -> Response<AnswerBody> {
        if request.headers().len() > MAX_HEAD_FIELDS {
            // Over HTTP/2, where a field may be one byte and take a hundred in memory.
            return self.counted(answer::head_too_large());
        }
        let Ok(place) = peer.place(&request) else {
            let mut response = answer::no_place();
            access::allow_origin(response.headers_mut(), access::origin(request.headers()).cloned());
            return self.counted(response);
        };
        let sample = self.sampler.sample(&request, &self.shared.sampling);
        // Head and body are gone before the wait for the log: thousands of requests wait at a time, and their memory would
        // be cold when it is touched again.
        let (origin, outcome) = self.read(request, &peer, sample.as_deref()).await;
        let mut outcome = match outcome {
            Ok(Outcome::Judged(mut judged)) => self.append(&mut judged).await.map(|()| Outcome::Judged(judged)),
            outcome => outcome,
        };
        let (mut response, room) = match &mut outcome {
            Ok(Outcome::Preflight) => (access::preflight(), None),
            Ok(Outcome::Judged(Judged { format: Some(format), .. })) => (answer::answered_foreign(*format), None),
            Ok(Outcome::Judged(Judged { answer, room, .. })) => (answer::answered(mem::take(answer)), room.take()),
            Err(problem) => (answer::refused(problem), None),
        };
        if !matches!(&outcome, Err(problem) if problem.fault == Fault::OriginNotAllowed) {
            access::allow_origin(response.headers_mut(), origin);
        }
        response.body_mut().hold(room, place);
        if let Some(sample) = sample {
            sample.log(response.status().as_u16(), summary(&outcome));
        }
        self.counted(response)
    }

    fn counted(&self, response: Response<AnswerBody>) -> Response<AnswerBody> {
        self.meters.request(response.status().as_u16());
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
        let origin = access::origin(&head.headers).cloned();
        if let Err(Problem { fault, .. }) = &outcome {
            // A client that waits for `100 Continue` has sent no body yet and learns from the answer not to send one; from a
            // client that has gone silent nothing more comes.
            let is_silent = matches!(fault, Fault::BodyTimeout | Fault::IncompleteBody);
            let has_sent = !is_silent && !head.headers.contains_key(EXPECT);
            drop(head); // the rest of the body may take its time
            if has_sent {
                incoming::discard(&mut body).await;
            }
        }
        (origin, outcome)
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
                let mut judged = self.judge(head, body, permit, format, sample).await?;
                if format.is_none() {
                    judged.prepare_answer(&peer.untaken, &self.shared.untaken)?;
                }
                Ok(Outcome::Judged(judged))
            }
            Method::OPTIONS => Ok(Outcome::Preflight),
            _ => Err(Fault::MethodNotAllowed.into()),
        }
    }

    /// Reads the reports of a body and judges them.
    async fn judge(
        &self,
        head: &Parts,
        body: &mut Incoming,
        Permit { grant, user_id }: Permit,
        format: Option<Format>,
        sample: Option<&Sample>,
    ) -> Result<Judged, Problem> {
        grant.take(0, clock::now_ms())?;
        let form = if format.is_some() { Form::foreign(&head.headers) } else { Form::of(&head.headers) }?;
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Fault::BodyTooLarge.into());
        }
        let mut room = Room::new(&grant.site, &self.shared.bodies);
        let raw = incoming::read_in_time(body, &mut room).await?;
        self.meters.body(raw.len());
        if let Some(sample) = sample {
            sample.body_bytes.set(raw.len());
        }
        // A body that cannot be read was work all the same and counts as one report; it is refused anyway, whatever is left of
        // the rate.
        let spoiled = |_: &Problem| grant.take(1, clock::now_ms()).unwrap_or_default();
        // The decompressed body takes no room of its own: a worker has only one of them at a time.
        let bytes = form.decompress(raw).inspect_err(spoiled)?;
        let (reports, user_id) = match format {
            None => (form.reports(&bytes), user_id),
            Some(format) => {
                let reports = format.reports(&bytes, head.uri.query(), user_id.as_deref()).map(Reports::Foreign);
                // A token for an empty user id stays bound to it: without a user it would be good for everybody.
                (reports, user_id.map(|user_id| adapters::id(&user_id).unwrap_or_default().into()))
            }
        };
        let verdict = self.verdict(&reports.inspect_err(spoiled)?, &grant, user_id.as_deref())?;
        Ok(Judged { verdict, site: grant.site.clone(), format, answer: Bytes::new(), room: None })
    }

    /// Judges reports, and takes them off the rates of their key and their users.
    fn verdict(&self, reports: &Reports<'_>, grant: &Grant, user_id: Option<&str>) -> Result<Verdict, Problem> {
        let received_at = clock::now_ms();
        grant.take(reports.len(), received_at)?;
        let peppers = self.shared.peppers.as_ref().map(PepperFile::current);
        let context = ReportContext {
            user_id,
            site: &grant.site.name,
            received_at,
            peppers: peppers.as_deref().map(Arc::as_ref),
            gathers_users: grant.user_rates.is_some(),
        };
        let verdict = verdict::judge(reports, context);
        if verdict.unrecognised > 0 && peppers.is_none() {
            self.shared.unprotected.call_once(warn_of_guesses);
        }
        if let Some(rates) = &grant.user_rates {
            verdict.users.iter().try_for_each(|(user_id, reports)| rates.take(user_id, *reports))?;
        }
        Ok(verdict)
    }

    /// What the sender may do, by its key or play token and its web origin.
    fn permit(&self, head: &Parts, peer: &Peer, sample: Option<&Sample>) -> Result<Permit, Problem> {
        let key = access::key(&head.headers, head.uri.query());
        let permit = match self.shared.keys.permit(key.as_deref(), clock::now_ms) {
            Ok(permit) => permit,
            Err(denied) => {
                if denied == Denied::Unknown {
                    self.shared.guesses.take(peer.client(&head.headers))?;
                }
                return Err(Fault::UnknownKey.into());
            }
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
        if !verdict.records.is_empty() {
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

fn warn_of_guesses() {
    tracing::warn!(
        "reports without consent come in and there is no pepper: a guess of a user id can be checked, set --pepper"
    );
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
    /// What is said of the reports, when they are safe.
    answer: Bytes,
    /// Of a long answer.
    room: Option<AnswerRoom>,
}

impl Judged {
    /// Makes the answer before the reports are written: without room for it no report is written, or all would be written again
    /// when the body is sent again.
    fn prepare_answer(&mut self, untaken: &Untaken, of_all: &Arc<AtomicUsize>) -> Result<(), Problem> {
        self.answer = answer::counts(&self.verdict);
        if self.answer.len() > ANSWER_PIECE_BYTES {
            let room = untaken.room(self.answer.len(), of_all);
            self.room = Some(room.ok_or_else(|| Problem::retry(Fault::Overloaded, RETRY_AFTER_S))?);
        }
        Ok(())
    }
}

/// What the line of a sampled request says: how many reports were accepted and which refused, or what was wrong with all.
fn summary(outcome: &Result<Outcome, Problem>) -> Result<(usize, &[Rejected]), &'static str> {
    match outcome {
        Ok(Outcome::Preflight) => Ok((0, &[])),
        Ok(Outcome::Judged(Judged { verdict, .. })) => Ok((verdict.accepted, &verdict.rejected)),
        Err(problem) => Err(problem.fault.as_str()),
    }
}
