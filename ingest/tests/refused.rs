//! What is wrong is answered with its documented status and code, kept as a dead letter when it is a report, and never
//! stops the gateway.
#![allow(clippy::unwrap_used)]

mod support;

use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use support::{Gateway, SKIPPED_FRAME, now_ms, report};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");
const ZSTD: (&str, &str) = ("Content-Encoding", "zstd");

/// A body that is wrong: headers, bytes, and the status and code it must be answered with.
struct Wrong {
    name: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn wrong(name: &str, headers: &[(&'static str, &'static str)], body: &[u8], status: u16, code: &'static str) -> Wrong {
    Wrong { name: name.to_owned(), headers: headers.to_vec(), body: body.to_vec(), status, code }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Single reports that break a bound: a field and its JSON text.
fn wrong_reports() -> Vec<Wrong> {
    let digits = "9".repeat(40);
    let (old, future) = ((now_ms() - 604_900_000).to_string(), (now_ms() + 400_000).to_string());
    let ad = |fields: &str| format!("{{\"impression_id\":\"i\",\"line_id\":\"l\",{fields}}}");
    [
        ("session_id", "null".to_owned(), "session_id_missing"),
        ("session_id", "\"a b\"".to_owned(), "session_id_invalid"),
        ("session_id", format!("\"{}\"", "a".repeat(65)), "session_id_invalid"),
        ("seq", "null".to_owned(), "seq_missing"),
        ("seq", "1000001".to_owned(), "seq_invalid"),
        ("seq", "-1".to_owned(), "seq_invalid"),
        ("seq", "1.0".to_owned(), "seq_invalid"),
        ("seq", "1e400".to_owned(), "seq_invalid"),
        ("seq", digits.clone(), "seq_invalid"),
        ("seq", "\"1\"".to_owned(), "seq_invalid"),
        ("user_id", "null".to_owned(), "user_id_missing"),
        ("user_id", "17".to_owned(), "user_id_invalid"),
        ("video_id", "null".to_owned(), "video_id_missing"),
        ("video_id", "[]".to_owned(), "video_id_invalid"),
        ("event_time", "null".to_owned(), "event_time_missing"),
        ("event_time", "1.5".to_owned(), "event_time_invalid"),
        ("event_time", digits.clone(), "event_time_invalid"),
        ("event_time", "9223372036854775807".to_owned(), "event_time_in_future"),
        ("event_time", "-9223372036854775808".to_owned(), "event_time_too_old"),
        ("event_time", old, "event_time_too_old"),
        ("event_time", future, "event_time_in_future"),
        ("position_ms", "null".to_owned(), "position_ms_missing"),
        ("position_ms", "172800001".to_owned(), "position_ms_invalid"),
        ("sent_at", "\"now\"".to_owned(), "sent_at_invalid"),
        ("sent_at", "0".to_owned(), "sent_at_before_event_time"),
        ("sent_at", "9223372036854775807".to_owned(), "sent_at_too_late"),
        ("from_ms", "0".to_owned(), "interval_incomplete"),
        ("from_ms", "-1".to_owned(), "from_ms_invalid"),
        ("played_ms", "5000".to_owned(), "interval_incomplete"),
        ("played_ms", "120001".to_owned(), "played_ms_invalid"),
        ("state", "\"dancing\"".to_owned(), "state_invalid"),
        ("rate", "1e400".to_owned(), "rate_invalid"),
        ("rate", "0".to_owned(), "rate_invalid"),
        ("duration_ms", "999".to_owned(), "duration_ms_invalid"),
        ("territory", "\"Germany\"".to_owned(), "territory_invalid"),
        ("device", "\"\\u0007\"".to_owned(), "device_invalid"),
        ("consent", "\"false\"".to_owned(), "consent_invalid"),
        ("ad", "[]".to_owned(), "ad_invalid"),
        ("ad", "{}".to_owned(), "ad_impression_id_missing"),
        ("ad", "{\"impression_id\":\"?\"}".to_owned(), "ad_impression_id_invalid"),
        ("ad", "{\"impression_id\":\"i\"}".to_owned(), "ad_line_id_missing"),
        ("ad", "{\"impression_id\":\"i\",\"line_id\":\"\"}".to_owned(), "ad_line_id_invalid"),
        ("ad", ad("\"creative_id\":false"), "ad_creative_id_invalid"),
        ("ad", ad("\"quartile\":5"), "ad_quartile_invalid"),
        ("ad", ad("\"viewable_ms\":600001"), "ad_viewable_ms_invalid"),
    ]
    .into_iter()
    .map(|(field, text, code)| {
        let kept: Vec<String> = report(0, "")
            .trim_matches(['{', '}'])
            .split(',')
            .filter(|pair| !pair.starts_with(&format!("\"{field}\"")))
            .map(str::to_owned)
            .collect();
        let body = format!("{{{},\"{field}\":{text}}}", kept.join(","));
        wrong(&format!("{field}: {text}"), &[JSON], body.as_bytes(), 202, code)
    })
    .collect()
}

/// Bodies that are JSON, and reports that are not.
fn wrong_shapes() -> Vec<Wrong> {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let many = |separator: &str| vec!["{}"; 501].join(separator);
    vec![
        wrong("a field twice", &[JSON], b"{\"seq\":1,\"seq\":1}", 202, "duplicate_field"),
        wrong("a number", &[JSON], b"42", 202, "not_an_object"),
        wrong("null", &[JSON], b"null", 202, "not_an_object"),
        wrong("an array in an array", &[JSON], b"[[]]", 202, "not_an_object"),
        wrong("nested 100,000 deep", &[JSON], deep.as_bytes(), 202, "not_an_object"),
        wrong("nested 100,000 deep and open", &[JSON], "[".repeat(100_000).as_bytes(), 400, "malformed_json"),
        wrong("objects 100,000 deep and open", &[JSON], "{\"a\":".repeat(100_000).as_bytes(), 400, "malformed_json"),
        wrong("no JSON", &[JSON], b"hello", 400, "malformed_json"),
        wrong("no JSON on many lines", &[JSON], b"hello\nworld\n", 400, "malformed_json"),
        wrong("not closed", &[JSON], b"{\"seq\":1", 400, "malformed_json"),
        wrong("NaN", &[JSON], b"{\"seq\":NaN}", 400, "malformed_json"),
        wrong("a comment", &[JSON], b"{\"seq\":1 // one\n}", 400, "malformed_json"),
        wrong("a trailing comma", &[JSON], b"{\"seq\":1,}", 400, "malformed_json"),
        wrong("a trailing comma in an array", &[JSON], b"[{},\n{},\n]", 400, "malformed_json"),
        wrong("a broken array of good lines", &[JSON], b"[\n{}\n,,\n{}\n]", 400, "malformed_json"),
        wrong("an array that is not closed", &[JSON], b"[{}", 400, "malformed_json"),
        wrong("an array without a comma", &[JSON], b"[{} {}]", 400, "malformed_json"),
        wrong("something after an array", &[JSON], b"[{}] 1", 400, "malformed_json"),
        wrong("single quotes", &[JSON], b"{'seq':1}", 400, "malformed_json"),
        wrong("a leading zero", &[JSON], b"{\"seq\":01}", 400, "malformed_json"),
        wrong("a byte order mark", &[JSON], "\u{feff}{}".as_bytes(), 400, "malformed_json"),
        wrong("a raw control character", &[JSON], b"{\"seq\":\"\x01\"}", 400, "malformed_json"),
        wrong("two objects on a line", &[JSON], b"{}{}", 400, "malformed_json"),
        wrong("half a surrogate pair", &[JSON], b"{\"session_id\":\"\\ud800\"}", 202, "session_id_invalid"),
        wrong("bad UTF-8", &[JSON], b"{\"device\":\"\xff\"}", 400, "invalid_utf8"),
        wrong("UTF-16", &[JSON], b"\xff\xfe{\0}\0", 400, "invalid_utf8"),
        wrong("nothing", &[JSON], b"", 400, "empty_body"),
        wrong("only space", &[JSON], b" \r\n\t", 400, "empty_body"),
        wrong("501 in an array", &[JSON], format!("[{}]", many(",")).as_bytes(), 413, "too_many_reports"),
        wrong("501 lines", &[JSON], many("\n").as_bytes(), 413, "too_many_reports"),
        wrong(
            "half a million numbers",
            &[JSON],
            format!("[{}0]", "0,".repeat(500_000)).as_bytes(),
            413,
            "too_many_reports",
        ),
        wrong("a byte too much", &[JSON], &vec![b' '; (1 << 20) + 1], 413, "body_too_large"),
        wrong("five MiB", &[JSON], &vec![b'x'; 5 << 20], 413, "body_too_large"),
    ]
}

/// Bodies whose headers or bytes are wrong.
fn wrong_encodings() -> Vec<Wrong> {
    let bomb = gzip(&vec![b' '; 200 << 20]);
    let zstd_bomb = zstd::encode_all(vec![b' '; 200 << 20].as_slice(), 3).unwrap();
    let good = report(0, "");
    let whole = gzip(good.as_bytes());
    let zstd = zstd::encode_all(good.as_bytes(), 3).unwrap();
    let empty_member = gzip(b"");
    let garbage = [whole.as_slice(), b"garbage"].concat();
    let mut corrupt = whole.clone();
    let checksum = corrupt.len() - 8;
    corrupt[checksum] ^= 1;
    vec![
        wrong("no content type", &[], good.as_bytes(), 415, "unsupported_media_type"),
        wrong(
            "a form",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            b"a=b",
            415,
            "unsupported_media_type",
        ),
        wrong("XML", &[("Content-Type", "text/xml")], b"<a/>", 415, "unsupported_media_type"),
        wrong("two content types", &[JSON, JSON], good.as_bytes(), 415, "unsupported_media_type"),
        wrong("brotli", &[JSON, ("Content-Encoding", "br")], good.as_bytes(), 415, "unsupported_encoding"),
        wrong("two encodings", &[JSON, ("Content-Encoding", "gzip, zstd")], &whole, 415, "unsupported_encoding"),
        wrong("gzip that is none", &[JSON, GZIP], good.as_bytes(), 400, "malformed_encoding"),
        wrong("truncated gzip", &[JSON, GZIP], &whole[..whole.len() - 9], 400, "malformed_encoding"),
        wrong("gzip cut in its header", &[JSON, GZIP], &whole[..5], 400, "malformed_encoding"),
        wrong("gzip with a wrong checksum", &[JSON, GZIP], &corrupt, 400, "malformed_encoding"),
        wrong("garbage after gzip", &[JSON, GZIP], &garbage, 400, "malformed_encoding"),
        wrong("an empty gzip body", &[JSON, GZIP], b"", 400, "empty_body"),
        wrong("gzip of nothing", &[JSON, GZIP], &gzip(b""), 400, "empty_body"),
        wrong("a gzip bomb", &[JSON, GZIP], &bomb, 413, "body_too_large"),
        wrong("zstd that is none", &[JSON, ZSTD], good.as_bytes(), 400, "malformed_encoding"),
        wrong("zstd of 2014", &[JSON, ZSTD], b"\x24\xb5\x2f\xfd\x00\xff\xff\x00", 400, "malformed_encoding"),
        wrong("truncated zstd", &[JSON, ZSTD], &zstd[..zstd.len() - 4], 400, "malformed_encoding"),
        wrong("garbage after zstd", &[JSON, ZSTD], &[&zstd[..], b"garbage"].concat(), 400, "malformed_encoding"),
        wrong("zstd of too many frames", &[JSON, ZSTD], &SKIPPED_FRAME.repeat(501), 400, "malformed_encoding"),
        wrong("gzip of too many members", &[JSON, GZIP], &empty_member.repeat(501), 400, "malformed_encoding"),
        wrong("a zstd bomb", &[JSON, ZSTD], &zstd_bomb, 413, "body_too_large"),
        wrong("truncated protobuf", &[PROTOBUF], b"\x0a\x10\x0a", 400, "malformed_protobuf"),
        wrong("JSON as protobuf", &[PROTOBUF], good.as_bytes(), 400, "malformed_protobuf"),
        wrong("bad UTF-8 in protobuf", &[PROTOBUF], b"\x0a\x03\x0a\x01\xff", 400, "malformed_protobuf"),
        wrong("deep groups in protobuf", &[PROTOBUF], &[0x13; 100_000], 400, "malformed_protobuf"),
        wrong("empty protobuf", &[PROTOBUF], b"", 400, "empty_body"),
        wrong("an empty message", &[PROTOBUF], b"\x0a\x00", 202, "session_id_missing"),
        wrong("half a million messages", &[PROTOBUF], &b"\x0a\x00".repeat(500_000), 413, "too_many_reports"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_body_has_its_status_and_code_and_stops_nothing() {
    let gateway = Gateway::start(None).await;
    let table: Vec<Wrong> = [wrong_reports(), wrong_shapes(), wrong_encodings()].into_iter().flatten().collect();
    assert!(table.len() >= 90, "{}", table.len());
    let mut dead = Vec::new();
    for Wrong { name, headers, body, status, code } in &table {
        let answer = gateway.post("/v1/heartbeats", headers, body).await;
        assert_eq!((answer.status, answer.code()), (*status, *code), "{name}: {answer:?}");
        if *status == 202 {
            assert_eq!(
                (answer.body["accepted"].as_u64(), answer.body["rejected"][0]["index"].as_u64()),
                (Some(0), Some(0))
            );
            dead.push(*code);
        }
    }
    let answer = gateway.post_json(&report(0, "")).await;
    assert_eq!(
        (answer.status, answer.body["accepted"].as_u64()),
        (202, Some(1)),
        "after all that a valid one is taken"
    );
    gateway.records(1).await;
    let letters = gateway.dead_letters(dead.len()).await;
    let codes: Vec<&str> = letters.iter().map(|letter| letter["code"].as_str().unwrap()).collect();
    assert_eq!(codes, dead, "the dead letters are the refused reports, in order");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_methods_are_answered_in_json() {
    let gateway = Gateway::start(None).await;
    for (method, path, status, code) in [
        ("POST", "/", 404, "not_found"),
        ("POST", "/v1/heartbeats/", 404, "not_found"),
        ("GET", "/v2/heartbeats", 404, "not_found"),
        ("OPTIONS", "/nowhere", 404, "not_found"),
        ("GET", "/v1/heartbeats", 405, "method_not_allowed"),
        ("PUT", "/v1/beacon", 405, "method_not_allowed"),
        ("DELETE", "/v1/heartbeats", 405, "method_not_allowed"),
    ] {
        let answer = gateway.request(method, path, &[JSON], b"{}").await;
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_goes_away_in_the_middle_takes_nobody_with_it() {
    let gateway = Gateway::start(None).await;
    for head in ["", "POST", "POST /v1/heartbeats HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n{"]
    {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
    }
    assert_eq!(gateway.post_json(&report(0, "")).await.status, 202);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_does_not_take_is_answered_with_503_and_a_time_to_come_back() {
    let gateway = Gateway::start_on(None, "heartbeats", 100).await;
    let longer = report(1, &format!(",\"device\":\"{}\"", "d".repeat(64)));
    let answer = gateway.post_json(&[report(0, ""), longer].join("\n")).await;
    assert_eq!((answer.status, answer.code()), (503, "log_unavailable"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("2"));
    let answer = gateway.post_json("{\"a\":1}").await;
    assert_eq!((answer.status, answer.code()), (503, "log_unavailable"), "a dead letter is waited for too");
    assert_eq!(gateway.post_json(&report(2, "")).await.status, 202, "the log takes what it can again");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_reports_the_log_refuses_is_not_ready() {
    let gateway = Gateway::start_on(None, "heartbeats", 100).await;
    gateway.until_ready(true).await;
    let longer = report(1, &format!(",\"device\":\"{}\"", "d".repeat(64)));
    assert_eq!(gateway.post_json(&longer).await.status, 503);
    gateway.until_ready(false).await;
    assert!(format!("{:?}", gateway.readiness.reasons()).contains("heartbeats"), "{:?}", gateway.readiness.reasons());
    assert_eq!(gateway.post_json(&report(2, "")).await.status, 202);
    gateway.until_ready(true).await;
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_topic_the_gateway_does_not_start() {
    let gateway = Gateway::start_on(None, "nowhere", 1 << 20).await;
    let error = gateway.stop().await.unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_number_of_partitions_than_it_was_told_the_gateway_does_not_start() {
    let gateway = Gateway::start_with(None, 1 << 20, |settings, _| settings.partitions = Some(5)).await;
    let error = gateway.stop().await.unwrap_err().to_string();
    assert!(error.contains("heartbeats has 4 partitions, not 5"), "{error}");
}
