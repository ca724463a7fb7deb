//! The load over HTTP/2 without negotiation ("prior knowledge"): many requests at the same time on few connections.

use crate::desk::{Desk, Ticket};
use crate::limits::{CONNECT_TIMEOUT, MAX_ANSWER_BYTES, REQUEST_TIMEOUT, STREAMS};
use crate::progress::Progress;
use crate::settings::LoadError;
use crate::tally::Failure;
use crate::target::Target;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use service::Stop;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long it sleeps at most, to see whether it shall stop.
const NAP: Duration = Duration::from_millis(100);

/// A request that came to its end.
struct Ended {
    ticket: Box<Ticket>,
    connection: usize,
    outcome: Result<(u16, Bytes), Failure>,
}

type Sender = SendRequest<Full<Bytes>>;

/// Sends what the desk has until it has no more; at most `requests` are under way at the same time.
pub(crate) fn drive(
    desk: &mut Desk,
    target: &Target,
    requests: usize,
    stop: &Stop,
    progress: &mut Progress,
) -> Result<(), LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ended, endings) = unbounded_channel();
    let connections = (0..requests.div_ceil(STREAMS)).map(|_| None).collect();
    let driver = Driver { desk, target, connections, turn: 0, free: requests, ended };
    runtime.block_on(driver.run(endings, stop, progress))
}

struct Driver<'a> {
    desk: &'a mut Desk,
    target: &'a Target,
    connections: Vec<Option<Sender>>,
    /// The connection whose turn it is.
    turn: usize,
    /// Requests that may be under way besides those that are.
    free: usize,
    ended: UnboundedSender<Ended>,
}

impl Driver<'_> {
    async fn run(
        mut self,
        mut endings: UnboundedReceiver<Ended>,
        stop: &Stop,
        progress: &mut Progress,
    ) -> Result<(), LoadError> {
        let mut next_look = Duration::ZERO;
        loop {
            let now = self.desk.now();
            if now >= next_look {
                next_look = now + NAP;
                progress.show(now, &mut self.desk.tally);
                if stop.is_requested() || self.desk.is_in_vain(now) {
                    self.desk.stop();
                }
            }
            // A refused connection leaves `free` as it is: with retries always due, this would never end without the time limit.
            while self.desk.now() < next_look
                && self.free > 0
                && let Some(ticket) = self.desk.next(self.desk.now())
            {
                self.send(ticket).await?;
            }
            if self.desk.is_done() {
                return Ok(());
            }
            let next = if self.free == 0 { None } else { self.desk.next_time() };
            let nap = next.map_or(NAP, |at| at.saturating_sub(self.desk.now())).min(NAP);
            tokio::select! {
                biased;
                ending = endings.recv() => self.end(ending)?,
                () = tokio::time::sleep(nap) => {}
            }
            while let Ok(ending) = endings.try_recv() {
                self.end(Some(ending))?;
            }
        }
    }

    async fn send(&mut self, ticket: Box<Ticket>) -> Result<(), LoadError> {
        self.turn = (self.turn + 1) % self.connections.len();
        let mut body = Vec::with_capacity(512);
        let now = self.desk.now();
        self.desk.put_body(&ticket, now, &mut body);
        let mut request = Request::builder().method(Method::POST).uri(self.target.uri.clone());
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.target.key {
            request = request.header("x-watchbeat-key", key);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("method, address and headers are valid");
        let mut connection = match self.connections[self.turn].take().filter(|sender| !sender.is_closed()) {
            Some(connection) => connection,
            None => match connect(self.target).await {
                Ok(connection) => connection,
                Err(reason) => return self.desk.failed(ticket, Failure { reason, uncertain: false }, now),
            },
        };
        let answer = connection.send_request(request);
        let (ended, at) = (self.ended.clone(), self.turn);
        self.connections[at] = Some(connection);
        self.free -= 1;
        tokio::spawn(async move {
            let late = |_| Failure { reason: "no answer in time".to_owned(), uncertain: true };
            let answer = async {
                let answer = answer.await.map_err(failure)?;
                let status = answer.status().as_u16();
                let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
                let body = body.map_err(|error| Failure { reason: error.to_string(), uncertain: true })?;
                Ok((status, body.to_bytes()))
            };
            let outcome = tokio::time::timeout(REQUEST_TIMEOUT, answer).await.map_err(late).and_then(|outcome| outcome);
            // The receiver is only gone when the load has failed.
            let _ = ended.send(Ended { ticket, connection: at, outcome });
        });
        Ok(())
    }

    fn end(&mut self, ending: Option<Ended>) -> Result<(), LoadError> {
        let Some(Ended { ticket, connection, outcome }) = ending else { return Ok(()) };
        self.free += 1;
        let now = self.desk.now();
        match outcome {
            Ok((status, answer)) => self.desk.answered(ticket, status, &answer, now),
            Err(failure) => {
                self.connections[connection] = None;
                self.desk.failed(ticket, failure, now)
            }
        }
    }
}

async fn connect(target: &Target) -> Result<Sender, String> {
    let addresses = &target.addresses[..];
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addresses)).await;
    let stream = stream.map_err(|_| format!("{addresses:?}: no connection in time"))?;
    let stream = stream.map_err(|error| format!("{addresses:?}: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(sender)
}

fn failure(error: hyper::Error) -> Failure {
    // What was refused before it was sent cannot have been taken.
    Failure { uncertain: !error.is_canceled(), reason: error.to_string() }
}
