//! Viewers against a gateway that is at times too busy: everything is taken in the end, and counted once. And a load at a
//! constant rate, whose latencies count from when a request was due.

#![allow(clippy::unwrap_used)]

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadgen::{LoadError, Part, Settings, Verdict};
use serde_json::Value;
use service::Stop;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// What the gateway saw.
#[derive(Default)]
struct Seen {
    requests: u64,
    taken: u64,
    reports: BTreeSet<(String, u64)>,
    /// How many requests it takes before it takes no more, as one whose keys were changed.
    most: Option<u64>,
}

/// A few seconds of viewers, many times as fast, against a gateway that refuses every fifth request.
async fn watch(settings: Settings) -> (Verdict, Arc<Mutex<Seen>>) {
    let (target, seen) = gateway().await;
    let settings = Settings { target, duration: Duration::from_secs(2), speedup: 600, batch: 5, ..settings };
    let verdict = loadgen::run(settings, Stop::new()).await.unwrap();
    (verdict, seen)
}

#[tokio::test]
async fn a_busy_gateway_gets_every_report_in_the_end_over_either_http() {
    for http2 in [false, true] {
        let (verdict, seen) = watch(Settings { viewers: 30, http2, ..Settings::new(String::new()) }).await;
        let seen = seen.lock().unwrap();
        assert!(verdict.passed() && !verdict.verified, "{verdict}");
        assert!(verdict.retries > 0 && verdict.duplicates_sent > 0, "{verdict}");
        assert_eq!(verdict.accepted, seen.taken);
        assert_eq!(verdict.accepted - verdict.duplicates_sent, seen.reports.len() as u64);
        let line = verdict.to_string();
        assert!(!line.contains('\n') && serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn two_parts_send_together_what_one_process_would() {
    let of = |number, of| Settings {
        viewers: 30,
        part: Part { number, of },
        run: Some("r1".to_owned()),
        ..Settings::new(String::new())
    };
    let whole = watch(of(1, 1)).await.1;
    let parts = [watch(of(1, 2)).await.1, watch(of(2, 2)).await.1];
    let reports = |seen: &Arc<Mutex<Seen>>| seen.lock().unwrap().reports.clone();
    assert!(reports(&parts[0]).is_disjoint(&reports(&parts[1])));
    assert_eq!(&reports(&parts[0]) | &reports(&parts[1]), reports(&whole));
}

#[tokio::test]
async fn a_stop_ends_a_demo() {
    let (target, seen) = gateway().await;
    let stop = Stop::new();
    let demo = tokio::spawn(loadgen::demo(target, 50, 1, stop.clone()));
    while seen.lock().unwrap().requests == 0 {
        assert!(!demo.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.request();
    let ended = tokio::time::timeout(Duration::from_secs(20), demo).await;
    ended.expect("the demo ends in time").unwrap();
}

#[tokio::test]
async fn what_a_slow_answer_holds_up_counts_from_when_it_was_due() {
    let target = slow_gateway(500, Duration::from_millis(300));
    let settings = Settings {
        viewers: 2_000,
        rate: Some(1_000),
        connections: 1,
        duration: Duration::from_secs(1),
        ..Settings::new(target)
    };
    let verdict = loadgen::run(settings, Stop::new()).await.unwrap();
    assert!((1_000..=1_030).contains(&verdict.requests), "{verdict}"); // and the copies
    // 300 of 1,000 were due meanwhile, and waited for half of that time on average.
    assert!(verdict.latency_ms.p90 >= 100.0 && verdict.latency_ms.max >= 300.0, "{verdict}");
}

#[tokio::test]
async fn at_a_constant_rate_requests_go_out_evenly_from_the_first_instant_however_many_reports_they_have() {
    for batch in [1, 12] {
        let (target, _) = gateway().await;
        let settings = Settings {
            viewers: 2_000,
            rate: Some(100),
            batch,
            duration: Duration::from_secs(1),
            ..Settings::new(target)
        };
        let verdict = loadgen::run(settings, Stop::new()).await.unwrap();
        assert!(
            (97..=103 + verdict.duplicates_sent).contains(&verdict.requests),
            "{batch} reports a request: {verdict}"
        );
    }
}

/// A run of which nothing is taken proves nothing, and a count that does not match the request belongs to another one.
#[tokio::test]
async fn a_run_without_an_accepted_report_has_not_passed_and_counts_must_add_up() {
    let (target, _) = gateway().await;
    let nobody_yet = Settings { viewers: 1, duration: Duration::from_millis(10), ..Settings::new(target) };
    let verdict = loadgen::run(nobody_yet, Stop::new()).await.unwrap();
    assert!(verdict.accepted == 0 && !verdict.passed(), "{verdict}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let _ = write!(stream, "HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{}", taken(9).len(), taken(9));
        }
    });
    let settings = Settings { speedup: 600, duration: Duration::from_secs(1), ..Settings::new(target) };
    let failed = loadgen::run(settings, Stop::new()).await.unwrap_err();
    assert!(matches!(failed, LoadError::Miscounted { accepted: 9, rejected: 0, .. }), "{failed}");
}

/// An error after hours does not take with it what they have shown.
#[tokio::test]
async fn a_run_that_ends_early_says_why_and_what_was_sent_till_then() {
    for (most, is_told) in [(0, false), (50, true)] {
        let dir = tempfile::tempdir().unwrap();
        let [account, hgrm] = ["run.account", "run.hgrm"].map(|name| Some(dir.path().join(name)));
        let (target, seen) = gateway().await;
        seen.lock().unwrap().most = Some(most);
        let duration = Duration::from_secs(60);
        let settings = Settings { duration, speedup: 600, account, hgrm: hgrm.clone(), ..Settings::new(target) };
        match loadgen::run(settings, Stop::new()).await {
            Ok(verdict) => {
                assert!(is_told && verdict.accepted == seen.lock().unwrap().taken && !verdict.passed(), "{verdict}");
                assert!(verdict.seconds < 60.0 && verdict.failed[0].contains("401"), "{verdict}");
                assert!(std::fs::read_to_string(hgrm.unwrap()).unwrap().contains("Value"));
            }
            Err(error) => assert!(!is_told && matches!(error, LoadError::Refused { .. }), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused_before_the_run_and_takes_no_verdict_with_it_after() {
    let dir = tempfile::tempdir().unwrap();
    let html = dir.path().join("there/load.html");
    let with_page = Settings { html: Some(html.clone()), ..Settings::new(String::new()) };
    let (target, seen) = gateway().await;
    let refused = loadgen::run(Settings { target, ..with_page.clone() }, Stop::new()).await.unwrap_err();
    assert!(matches!(refused, LoadError::Output { .. }) && seen.lock().unwrap().requests == 0, "{refused}");

    let there = html.parent().unwrap().to_owned();
    std::fs::create_dir(&there).unwrap();
    let gone = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        std::fs::remove_dir(&there).unwrap(); // the look before the run left nothing in it
    };
    let ((verdict, _), ()) = tokio::join!(watch(with_page), gone);
    assert!(verdict.accepted > 0 && verdict.rejected.is_empty() && !verdict.passed(), "{verdict}");
    assert!(verdict.failed[0].contains("load.html"), "{verdict}");
}

/// A gateway of one connection, whose answer to one of the requests takes long.
fn slow_gateway(slow: u32, pause: Duration) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut requests) = ([0; 4_096], 0);
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let reports = String::from_utf8_lossy(&buffer[..length]).matches("\"seq\"").count();
            let answer = taken(reports);
            let answer = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            requests += 1;
            if requests == slow {
                std::thread::sleep(pause);
            }
            if stream.write_all(answer.as_bytes()).is_err() {
                break;
            }
        }
    });
    format!("http://{address}")
}

/// One that refuses every fifth request.
async fn gateway() -> (String, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Seen::default()));
    tokio::spawn(serve(listener, Arc::clone(&seen))); // ends with the test's runtime
    (target, seen)
}

/// The answer to so many reports that were all accepted.
fn taken(reports: usize) -> String {
    format!(r#"{{"accepted":{reports},"rejected":[]}}"#)
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
        tokio::spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            server.serve_connection(TokioIo::new(stream), service).await
        });
    }
}

/// Every fifth request is one too many.
async fn answer(request: Request<Incoming>, seen: Arc<Mutex<Seen>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body: Value = serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
    let reports = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    let mut seen = seen.lock().unwrap();
    seen.requests += 1;
    let (status, text) = if seen.most.is_some_and(|most| seen.requests > most) {
        (401, String::new())
    } else if seen.requests.is_multiple_of(5) {
        (503, String::new())
    } else {
        seen.taken += reports.len() as u64;
        let names = reports.iter().map(|report| (report["session_id"].to_string(), report["seq"].as_u64().unwrap()));
        seen.reports.extend(names);
        (202, taken(reports.len()))
    };
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap())
}
