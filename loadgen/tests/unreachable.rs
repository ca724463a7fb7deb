//! A load against an address where nobody listens: every connection is refused at once, so that there is always another try
//! to make. It must end all the same, and say what it could not deliver.

#![allow(clippy::unwrap_used)]

use loadgen::{LoadError, Settings, Verdict};
use service::Stop;
use std::time::Duration;

/// So many requests that there is one to try for longer than the run may take: they are refused some 20,000 times a second.
const RATE: u32 = 400_000;
/// Few enough to be there in a moment.
const VIEWERS: u32 = 20_000;

async fn load(http2: bool, duration: Duration, stop: Stop) -> Result<Verdict, LoadError> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = Settings { viewers: VIEWERS, rate: Some(RATE), duration, http2, ..Settings::new(target) };
    loadgen::run(settings, stop).await
}

fn check(verdict: &Verdict) {
    assert!(!verdict.passed() && verdict.undelivered > 0 && verdict.accepted == 0, "{verdict}");
    assert!(verdict.seconds < 20.0, "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_reaches_nobody_ends_with_its_time_over_either_http() {
    for http2 in [false, true] {
        check(&load(http2, Duration::from_secs(1), Stop::new()).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_seen_while_every_connection_is_refused_over_either_http() {
    for http2 in [false, true] {
        let stop = Stop::new();
        let mut run = tokio::spawn(load(http2, Duration::from_secs(60), stop.clone()));
        assert!(tokio::time::timeout(Duration::from_secs(3), &mut run).await.is_err(), "it goes on by itself");
        stop.request();
        check(&run.await.unwrap().unwrap());
    }
}
