//! Valid bodies in every form land on the log, in the order of the body, before the answer.
#![allow(clippy::unwrap_used)]

mod support;

use flate2::{Compression, write::GzEncoder};
use playback::message;
use prost::Message;
use std::io::Write;
use support::{Gateway, PATIENCE, SKIPPED_FRAME, now_ms, reply, report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn pretty(text: &str) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(text).unwrap()).unwrap()
}

fn protobuf(seqs: std::ops::Range<i64>) -> Vec<u8> {
    let heartbeats = seqs.map(|seq| message::Heartbeat {
        session_id: Some("s".into()),
        seq: Some(seq),
        user_id: Some("u".into()),
        video_id: Some("v".into()),
        event_time: Some(now_ms()),
        position_ms: Some(1_000),
        ..message::Heartbeat::default()
    });
    message::Heartbeats { heartbeats: heartbeats.collect() }.encode_to_vec()
}

/// Starts a gateway, sends one body, and expects reports 0..count of it on the log in that order.
async fn check(name: &str, headers: &[(&str, &str)], body: &[u8], count: usize) {
    let gateway = Gateway::start(None).await;
    let answer = gateway.post("/v1/heartbeats", headers, body).await;
    assert_eq!(answer.status, 202, "{name}: {answer:?}");
    assert_eq!(answer.body, serde_json::json!({"accepted": count, "rejected": []}), "{name}");
    let records = gateway.records(count).await;
    let seqs: Vec<usize> = records.iter().map(|record| record.seq as usize).collect();
    assert_eq!(seqs, (0..count).collect::<Vec<_>>(), "{name}");
    assert!(records.iter().all(|record| record.site == "default" && record.user_id == "u"), "{name}");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_taken_as_object_array_and_lines() {
    let three = [report(0, ""), report(1, ",\"unknown\":[{}]"), report(2, ",\"state\":null")];
    let lines = three.join("\n");
    let array = format!("[{}]", three.join(", "));
    check("one object", &[JSON], three[0].as_bytes(), 1).await;
    check("an object over many lines", &[JSON], pretty(&three[0]).as_bytes(), 1).await;
    check("an array", &[JSON], array.as_bytes(), 3).await;
    check("an array over many lines", &[JSON], pretty(&array).as_bytes(), 3).await;
    check("an empty array", &[JSON], b" [ ] ", 0).await;
    check("lines", &[("Content-Type", "application/x-ndjson")], lines.as_bytes(), 3).await;
    check("lines as JSON", &[JSON], lines.as_bytes(), 3).await;
    let crlf = format!("\r\n{}\r\n\r\n", three.join("\r\n"));
    check("lines of Windows", &[("Content-Type", "text/plain;charset=UTF-8")], crlf.as_bytes(), 3).await;
    check("upper case type", &[("Content-Type", "Application/JSON; charset=utf-8")], three[0].as_bytes(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_reports_are_taken_at_once() {
    let reports: Vec<String> = (0..500).map(|seq| report(seq, "")).collect();
    check("array", &[JSON], format!("[{}]", reports.join(",")).as_bytes(), 500).await;
    check("lines", &[JSON], reports.join("\n").as_bytes(), 500).await;
    check("protobuf", &[("Content-Type", "application/x-protobuf")], &protobuf(0..500), 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_taken() {
    let body = [report(0, ""), report(1, "")].join("\n");
    let (first, second) = body.as_bytes().split_at(40);
    let members = [gzip(first), gzip(second)].concat();
    let zstd = zstd::encode_all(body.as_bytes(), 3).unwrap();
    check("gzip", &[JSON, ("Content-Encoding", "gzip")], &gzip(body.as_bytes()), 2).await;
    check("gzip in capitals", &[JSON, ("Content-Encoding", "GZIP")], &gzip(body.as_bytes()), 2).await;
    check("two gzip members", &[JSON, ("Content-Encoding", "gzip")], &members, 2).await;
    check("zstd", &[JSON, ("Content-Encoding", "zstd")], &zstd, 2).await;
    let (first, second) = body.as_bytes().split_at(body.len() / 2);
    let one_by_one = [zstd::encode_all(body.as_bytes(), 3).unwrap(), SKIPPED_FRAME.repeat(499)].concat();
    check("as many zstd frames as a body has reports", &[JSON, ("Content-Encoding", "zstd")], &one_by_one, 2).await;
    let halves = [first, second].map(|half| zstd::encode_all(half, 3).unwrap());
    let skipped = [0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 7];
    let frames = [&halves[0][..], &skipped, &halves[1]].concat();
    check("two zstd frames", &[JSON, ("Content-Encoding", "zstd")], &frames, 2).await;
    check("identity", &[JSON, ("Content-Encoding", "identity")], body.as_bytes(), 2).await;
    let headers = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "gzip")];
    check("protobuf in gzip", &headers, &gzip(&protobuf(0..3)), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_reaches_the_log() {
    let gateway = Gateway::start(None).await;
    let sent_at = now_ms() - 90_000;
    let event_time = sent_at - 2_000;
    let body = format!(
        r#"{{"session_id":"s","seq":5,"user_id":"u","video_id":"v","event_time":{event_time},"sent_at":{sent_at},
            "position_ms":1000,"from_ms":100,"played_ms":900,"state":"paused","rate":1.25,"duration_ms":5000,
            "territory":"FR","device":"smart tv","ad":{{"impression_id":"i","line_id":"l","creative_id":"c",
            "quartile":3,"viewable_ms":7}}}}"#
    );
    let before = now_ms();
    let answer = gateway.post_json(&body).await;
    assert_eq!((answer.status, answer.body["accepted"].as_u64()), (202, Some(1)), "{answer:?}\n{body}");
    let record = &gateway.records(1).await[0];
    assert!((before..=now_ms()).contains(&record.received_at));
    assert_eq!(record.event_time, record.received_at - 2_000);
    assert_eq!((record.seq, record.position_ms, record.from_ms, record.played_ms), (5, 1_000, Some(100), 900));
    assert_eq!((record.state, record.rate(), record.duration_ms), (1, 1_250, 5_000));
    assert_eq!((record.territory.as_str(), record.device.as_str()), ("FR", "smart tv"));
    let ad = record.ad.as_ref().unwrap();
    assert_eq!((ad.impression_id.as_str(), ad.line_id.as_str(), ad.creative_id.as_str()), ("i", "l", "c"));
    assert_eq!((ad.quartile, ad.viewable_ms), (3, Some(7)));
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_report_costs_only_itself_and_goes_to_the_dead_letters() {
    let gateway = Gateway::start(None).await;
    let long = format!("{{\"session_id\":\"{}\"}}", "ä".repeat(5_000));
    let lines =
        [report(0, ""), "{\"seq\":1".to_owned(), report(1, ",\"rate\":99"), long, report(2, ""), "7".to_owned()];
    let answer = gateway.post_json(&lines.join("\n")).await;
    assert_eq!((answer.status, answer.body["accepted"].as_u64()), (202, Some(2)));
    let rejected: Vec<(u64, &str)> = answer.body["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rejected| (rejected["index"].as_u64().unwrap(), rejected["code"].as_str().unwrap()))
        .collect();
    assert_eq!(rejected, [(1, "malformed_json"), (2, "rate_invalid"), (3, "session_id_invalid"), (5, "not_an_object")]);
    assert_eq!(gateway.records(2).await.iter().map(|record| record.seq).collect::<Vec<_>>(), [0, 2]);
    let letters = gateway.dead_letters(4).await;
    let codes: Vec<&str> = letters.iter().map(|letter| letter["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["malformed_json", "rate_invalid", "session_id_invalid", "not_an_object"]);
    assert!(letters.iter().all(|letter| letter["site"] == "default" && letter["received_at"].is_i64()));
    assert_eq!(letters[0]["report"], "{\"seq\":1");
    assert_eq!(
        (letters[1]["report"]["rate"].as_u64(), letters[1]["report"]["user_id"].as_str()),
        (Some(99), Some("u"))
    );
    let cut = letters[2]["report"].as_str().unwrap();
    assert!(cut.starts_with("{\"session_id\":\"ää") && (8_180..=8_192).contains(&cut.len()), "{}", cut.len());
    assert_eq!(letters[3]["report"], 7);
    gateway.stop().await.unwrap();
}

/// A request that is in flight: the gateway has said that it reads the body.
async fn in_flight(gateway: &Gateway, body_bytes: usize) -> TcpStream {
    let mut busy = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /v1/heartbeats HTTP/1.1\r\nHost: g\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: {body_bytes}\r\n\r\n"
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    tokio::time::timeout(PATIENCE, busy.read_exact(&mut interim)).await.unwrap().unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    busy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_body_stalls_is_answered_before_the_gateway_stops() {
    let gateway = Gateway::start(None).await;
    let mut stalled = in_flight(&gateway, 100).await;
    stalled.write_all(b"{").await.unwrap();
    gateway.stop().await.unwrap();
    let answer = reply(stalled).await;
    assert_eq!((answer.status, answer.body["error"]["code"].as_str()), (408, Some("body_timeout")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_finished_when_the_gateway_stops() {
    let gateway = Gateway::start(None).await;
    let body = report(0, "");
    let mut busy = in_flight(&gateway, body.len()).await;
    let idle = TcpStream::connect(gateway.address).await.unwrap();
    gateway.stop.request();
    busy.write_all(body.as_bytes()).await.unwrap();
    let answer = reply(busy).await;
    assert_eq!((answer.status, answer.body["accepted"].as_u64()), (202, Some(1)));
    gateway.records(1).await;
    let (address, log) = (gateway.address, gateway.log.clone());
    gateway.stop().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    drop((idle, log));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_requests() {
    let gateway = Gateway::start(None).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    for (seq, connection) in [(0, "keep-alive"), (1, "keep-alive"), (2, "close")] {
        let body = report(seq, "");
        let head = format!(
            "POST /v1/beacon HTTP/1.1\r\nHost: g\r\nConnection: {connection}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
    }
    let mut answers = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 202 Accepted").count(), 3, "{answers}");
    assert_eq!(gateway.records(3).await.iter().map(|record| record.seq).collect::<Vec<_>>(), [0, 1, 2]);
    gateway.stop().await.unwrap();
}
