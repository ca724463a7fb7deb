//! Keys, web origins and rates: who may send, from where, and how much.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Gateway, report};

const KEYS: &str = r#"[
    {"key": "key-a", "site": "a"},
    {"key": "key:b", "site": "b", "allowed_origins": ["https://b.example"]},
    {"key": "key-c", "site": "c", "reports_per_second": 1}
]"#;
const TEXT: (&str, &str) = ("Content-Type", "text/plain;charset=UTF-8");

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_known_by_header_or_parameter_and_names_the_site() {
    let gateway = Gateway::start(Some(KEYS)).await;
    let body = report(0, "");
    for (path, header, status) in [
        ("/v1/heartbeats", ("X-None", "none"), 401),
        ("/v1/heartbeats", ("Authorization", "Bearer nobody"), 401),
        ("/v1/beacon?key=", ("X-None", "none"), 401),
        ("/v1/heartbeats?key=nobody", ("X-None", "none"), 401),
        ("/v1/heartbeats", ("Authorization", "Bearer key-a"), 202),
        ("/v1/heartbeats", ("X-Watchbeat-Key", "key-a"), 202),
        ("/v1/beacon?x=1&key=key%3Ab", ("X-None", "none"), 202),
    ] {
        let answer = gateway.post(path, &[TEXT, header], body.as_bytes()).await;
        assert_eq!(answer.status, status, "{path} {header:?}");
        assert_eq!(answer.code(), if status == 401 { "unknown_key" } else { "" });
    }
    let mut sites: Vec<String> = gateway.records(3).await.into_iter().map(|record| record.site).collect();
    sites.sort();
    assert_eq!(sites, ["a", "a", "b"]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_not_use_a_key() {
    let gateway = Gateway::start(Some(KEYS)).await;
    let body = report(0, "");
    for (key, origin, status) in [
        ("key-a", "https://anywhere.example", 202),
        ("key:b", "https://b.example", 202),
        ("key:b", "https://b.example.evil.example", 403),
        ("key:b", "null", 403),
    ] {
        let headers = [TEXT, ("X-Watchbeat-Key", key), ("Origin", origin)];
        let answer = gateway.post("/v1/heartbeats", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{key} {origin}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, (status == 202).then_some(origin), "{key} {origin}");
    }
    let native = gateway.post("/v1/heartbeats", &[TEXT, ("X-Watchbeat-Key", "key:b")], body.as_bytes()).await;
    assert_eq!((native.status, native.header("access-control-allow-origin")), (202, Some("*")));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_are_answered_and_cacheable() {
    let gateway = Gateway::start(Some(KEYS)).await;
    for path in ["/v1/heartbeats", "/v1/beacon?key=key-a"] {
        let headers = [
            ("Origin", "https://a.example"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type,x-watchbeat-key"),
        ];
        let answer = gateway.request("OPTIONS", path, &headers, b"").await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST, OPTIONS"));
        assert_eq!(answer.header("access-control-max-age"), Some("7200"));
        let allowed = answer.header("access-control-allow-headers").unwrap();
        for header in
            ["authorization", "content-encoding", "content-type", "traceparent", "tracestate", "x-watchbeat-key"]
        {
            assert!(allowed.contains(header), "{header}");
        }
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_over_its_rate_is_told_when_to_come_back() {
    let gateway = Gateway::start(Some(KEYS)).await;
    let headers = [TEXT, ("X-Watchbeat-Key", "key-c")];
    let body = vec![report(0, ""); 500].join("\n");
    assert_eq!(gateway.post("/v1/heartbeats", &headers, body.as_bytes()).await.status, 202);
    let answer = gateway.post("/v1/heartbeats", &headers, report(1, "").as_bytes()).await;
    assert_eq!((answer.status, answer.code()), (429, "rate_exceeded"));
    assert!((400..=500).contains(&answer.header("retry-after").unwrap().parse::<u64>().unwrap()));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_counts_as_a_report() {
    let gateway = Gateway::start(Some(KEYS)).await;
    let headers = [("Content-Type", "application/json"), ("X-Watchbeat-Key", "key-c")];
    let mut codes = Vec::new();
    for body in ["[", "{", "[", "{"] {
        codes.push(gateway.post("/v1/heartbeats", &headers, body.as_bytes()).await.code().to_owned());
    }
    // Of two tokens, and what comes in a second at most, three reports can be paid.
    assert_eq!(codes[0], "malformed_json");
    assert!(codes.iter().any(|code| code == "rate_exceeded"), "{codes:?}");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_take_turns_in_a_body_are_not_refused_for_ever() {
    let keys = r#"[{"key": "k", "site": "a", "reports_per_second_per_user": 1}]"#;
    let gateway = Gateway::start(Some(keys)).await;
    let of = |seq: u32| report(seq, "").replace("\"user_id\":\"u\"", &format!("\"user_id\":\"u-{}\"", seq % 2));
    let body = (0..500).map(of).collect::<Vec<_>>().join("\n");
    let answer = gateway.post("/v1/heartbeats", &[TEXT, ("X-Watchbeat-Key", "k")], body.as_bytes()).await;
    assert_eq!((answer.status, answer.body["accepted"].as_u64()), (202, Some(500)));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_keys_file_stops_the_start() {
    let gateway = Gateway::start(Some("[{}]")).await;
    let error = gateway.stop().await.unwrap_err().to_string();
    assert!(error.contains("keys.json") && error.contains("line 1"), "{error}");
}
