//! Posts reports to the gateway until it takes them.

use crate::limits::{FIRST_BACKOFF, MAX_ANSWER_BYTES, MAX_BACKOFF, MAX_TRIES, MAX_TRIES_STOPPING, REQUEST_TIMEOUT};
use crate::outbox::Request;
use crate::settings::{LoadError, Settings};
use crate::tally::Tally;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use playback::model;
use serde::Deserialize;
use service::Stop;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A client of one gateway, shared by the viewers.
pub(crate) struct Gateway {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    key: Option<HeaderValue>,
    under_way: Semaphore,
    tally: Arc<Tally>,
    stop: Stop,
}

#[derive(Deserialize)]
struct Answer {
    accepted: usize,
    rejected: Vec<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    index: usize,
    code: String,
}

/// A try that another may follow.
struct Failed {
    reason: String,
    /// Whether the gateway may have taken it all the same.
    uncertain: bool,
}

impl Gateway {
    pub(crate) fn new(settings: &Settings, tally: Arc<Tally>, stop: Stop) -> Result<Gateway, LoadError> {
        let refuse = |reason: String| LoadError::Target { target: settings.target.clone(), reason };
        let uri = format!("{}/v1/heartbeats", settings.target.trim_end_matches('/'));
        let uri: Uri = uri.parse().map_err(|error: hyper::http::uri::InvalidUri| refuse(error.to_string()))?;
        if uri.scheme_str() != Some("http") {
            return Err(refuse("it does not begin with http://".to_owned()));
        }
        let key = settings.key.as_ref().map(|key| HeaderValue::from_str(key)).transpose();
        let key = key.map_err(|_| refuse("its key is no header value".to_owned()))?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(settings.connections).build(connector);
        Ok(Gateway { client, uri, key, under_way: Semaphore::new(settings.connections), tally, stop })
    }

    /// Sends a request that was due at `due`, again and again until it is taken. Another try says the same in the same
    /// `seq`s, so it harms nothing.
    pub(crate) async fn post(&self, request: &Request, due: Instant) -> Result<(), LoadError> {
        let body = body(request);
        let (mut tries, mut backoff) = (0, FIRST_BACKOFF);
        loop {
            let failed = match self.attempt(body.clone()).await? {
                Ok(refused) => {
                    self.tally.answered(&request.reports, request.again, &refused, due.elapsed());
                    return Ok(());
                }
                Err(failed) => failed,
            };
            self.tally.tried(request.reports.len(), failed.uncertain);
            tries += 1;
            if self.stop.is_requested() && tries >= MAX_TRIES_STOPPING {
                self.tally.gave_up(request.reports.len());
                return Ok(());
            }
            if tries >= MAX_TRIES {
                return Err(LoadError::Unreachable { tries, reason: failed.reason });
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<Result<Vec<(usize, String)>, Failed>, LoadError> {
        let _under_way = self.under_way.acquire().await.expect("the semaphore is never closed");
        let mut request = hyper::Request::builder().method(Method::POST).uri(self.uri.clone());
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header("x-watchbeat-key", key);
        }
        let request = request.body(Full::new(body)).expect("method, address and headers are valid");
        let answer = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|error| Failed { uncertain: !error.is_connect(), reason: error.to_string() })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| Failed { uncertain: true, reason: error.to_string() })?;
            Ok((status, body.to_bytes()))
        };
        match within(REQUEST_TIMEOUT, answer).await {
            Ok((StatusCode::ACCEPTED, answer)) => accepted(&answer).map(Ok),
            Ok((status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE), _)) => {
                let uncertain = status == StatusCode::SERVICE_UNAVAILABLE;
                Ok(Err(Failed { uncertain, reason: status.to_string() }))
            }
            Ok((status, answer)) => Err(refused(status, &answer)),
            Err(failed) => Ok(Err(failed)),
        }
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let late = |_| Failed { uncertain: true, reason: "no answer in time".to_owned() };
    tokio::time::timeout(limit, answer).await.map_err(late)?
}

fn accepted(answer: &[u8]) -> Result<Vec<(usize, String)>, LoadError> {
    let parsed: Answer = serde_json::from_slice(answer).map_err(|_| refused(StatusCode::ACCEPTED, answer))?;
    tracing::trace!(accepted = parsed.accepted, "request taken");
    Ok(parsed.rejected.into_iter().map(|refused| (refused.index, refused.code)).collect())
}

fn refused(status: StatusCode, answer: &[u8]) -> LoadError {
    LoadError::Refused { status: status.as_u16(), answer: String::from_utf8_lossy(answer).into_owned() }
}

fn body(request: &Request) -> Bytes {
    let reports: Vec<String> = request.reports.iter().map(model::body).collect();
    Bytes::from(if let [one] = reports.as_slice() { one.clone() } else { format!("[{}]", reports.join(",")) })
}
