//! Which requests have a line in the log, and what it says. In a process of its own: there is one log per process.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use support::{Gateway, PATIENCE, report};
use tracing_subscriber::fmt::MakeWriter;

const KEYS: &str = r#"[{"key": "top-secret", "site": "films"}]"#;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Logged;

    fn make_writer(&self) -> Logged {
        self.clone()
    }
}

impl Logged {
    /// The lines of requests, once there are `count`.
    async fn requests(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("secret") && !text.contains("somebody"), "{text}");
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let lines: Vec<Value> = lines.filter(|line| line["message"] == "request").collect();
            if lines.len() >= count {
                assert_eq!(lines.len(), count, "{text}");
                return lines;
            }
            assert!(Instant::now() < deadline, "{} lines instead of {count}", lines.len());
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traced_requests_and_one_of_so_many_are_logged_and_no_others() {
    let logged = Logged::default();
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(logged.clone()).init();
    let gateway = Gateway::start(Some(KEYS)).await;
    let (sampled, unsampled) = (format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{SPAN}-00"));
    let key = ("X-Watchbeat-Key", "top-secret");
    let text = ("Content-Type", "text/plain");
    let good = report(0, "").replace("\"user_id\":\"u\"", "\"user_id\":\"somebody\"");
    let bad = good.replace("\"seq\":0", "\"seq\":-1");
    let body = [good.as_str(), bad.as_str(), bad.as_str()].join("\n");

    let none = gateway.post("/v1/heartbeats", &[text, key, ("traceparent", &unsampled)], body.as_bytes()).await;
    let all = gateway.post("/v1/heartbeats", &[text, key, ("traceparent", &sampled)], body.as_bytes()).await;
    assert_eq!((none.status, all.status), (202, 202));
    let path = "/v1/beacon?key=not-the-secret";
    let wrong = gateway.post(path, &[text, ("traceparent", &sampled)], body.as_bytes()).await;
    assert_eq!(wrong.status, 401);
    let lost = gateway.post("/users/somebody", &[text, key, ("traceparent", &sampled)], body.as_bytes()).await;
    assert_eq!(lost.status, 404);
    let lines = logged.requests(3).await;
    for (line, expected) in lines.iter().zip([
        json!(["/v1/heartbeats", "films", 202, 1, "seq_invalid", null, body.len()]),
        json!(["/v1/beacon", null, 401, 0, "", "unknown_key", 0]),
        json!(["none", null, 404, 0, "", "not_found", 0]),
    ]) {
        let names = ["route", "site", "status", "accepted", "rejected", "error", "body_bytes"];
        assert_eq!(json!(names.map(|name| &line[name])), expected);
        assert_eq!((&line["trace_id"], &line["parent_id"]), (&json!(TRACE), &json!(SPAN)));
        assert_eq!((&line["level"], line["duration_us"].is_u64()), (&json!("INFO"), true));
    }
    gateway.stop().await.unwrap();

    let all = Gateway::start_with(Some(KEYS), 1 << 20, |settings, _| settings.log_sample = 1).await;
    assert_eq!(all.post("/v1/heartbeats", &[text, key], good.as_bytes()).await.status, 202);
    let lines = logged.requests(4).await;
    assert_eq!((&lines[3]["trace_id"], &lines[3]["site"]), (&Value::Null, &json!("films")));
    all.stop().await.unwrap();
}
