//! Viewers against a gateway that is at times too busy: everything is taken in the end, and counted once.

#![allow(clippy::unwrap_used)]

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use loadgen::Settings;
use serde_json::Value;
use service::Stop;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// What the gateway saw.
#[derive(Default)]
struct Seen {
    requests: u64,
    taken: u64,
    reports: BTreeSet<(String, u64)>,
}

#[tokio::test]
async fn a_busy_gateway_gets_every_report_in_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let server = tokio::spawn(serve(listener, Arc::clone(&seen)));

    let duration = Duration::from_secs(2);
    let settings = Settings { viewers: 10, duration, speedup: 600, batch: 5, ..Settings::new(target) };
    let verdict = loadgen::run(settings, Stop::new()).await.unwrap();
    server.abort();

    let seen = seen.lock().unwrap();
    assert!(verdict.passed() && !verdict.verified, "{verdict}");
    assert!(verdict.retries > 0 && verdict.duplicates_sent > 0, "{verdict}");
    assert_eq!(verdict.accepted, seen.taken);
    assert_eq!(verdict.accepted - verdict.duplicates_sent, seen.reports.len() as u64);
    let line = verdict.to_string();
    assert!(!line.contains('\n') && serde_json::from_str::<Value>(&line).is_ok(), "{line}");
}

#[tokio::test]
async fn a_stop_ends_a_demo() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, Arc::default()));
    let stop = Stop::new();
    let demo = tokio::spawn(loadgen::demo(target, 5, 1, stop.clone()));
    stop.request();
    let ended = tokio::time::timeout(Duration::from_secs(20), demo).await;
    ended.expect("the demo ends in time").unwrap().unwrap();
    server.abort();
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

/// Every fifth request is one too many.
async fn answer(request: Request<Incoming>, seen: Arc<Mutex<Seen>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body: Value = serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
    let reports = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    let mut seen = seen.lock().unwrap();
    seen.requests += 1;
    let (status, text) = if seen.requests.is_multiple_of(5) {
        (503, String::new())
    } else {
        seen.taken += reports.len() as u64;
        let names = reports.iter().map(|report| (report["session_id"].to_string(), report["seq"].as_u64().unwrap()));
        seen.reports.extend(names);
        (202, format!(r#"{{"accepted":{},"rejected":[]}}"#, reports.len()))
    };
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap())
}
