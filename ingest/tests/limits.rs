//! What one sender may take: fields and bytes of heads, room and time for bodies, a part of the dead letters.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use futures::stream::{self, FuturesUnordered, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ingest::Settings;
use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Gateway, PATIENCE, report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const TEXT: (&str, &str) = ("Content-Type", "text/plain");

/// A connection whose client takes so many bytes of each answer before it looks at it.
async fn http2(gateway: &Gateway, window: u32) -> SendRequest<BoxBody<Bytes, Infallible>> {
    let stream = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
    let mut builder = Builder::new(TokioExecutor::new());
    let (client, connection) = builder.initial_stream_window_size(window).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_limits() {
    let gateway = Gateway::start(None).await;
    let large = "x".repeat(20 << 10);
    assert_eq!(gateway.status("POST", "/v1/heartbeats", &[JSON, ("X-Large", &large)]).await, 431);
    assert_eq!(gateway.status("POST", "/v1/heartbeats", &[("X-Many", "x"); 101]).await, 431);
    assert_eq!(gateway.status("PO ST", "/v1/heartbeats", &[JSON]).await, 400);

    let mut client = http2(&gateway, 1 << 20).await;
    for (fields, status) in [(100, 202), (101, 431)] {
        let mut request = Request::post("http://gateway/v1/beacon").body(Full::from(report(0, "")).boxed()).unwrap();
        request.headers_mut().insert("content-type", HeaderValue::from_static("text/plain"));
        for _ in 0..fields - 2 {
            request.headers_mut().append("age", HeaderValue::from_static("")); // the client adds the length of the body
        }
        assert_eq!(client.send_request(request).await.unwrap().status(), status, "{fields} fields");
    }
    drop(client);
    gateway.stop().await.unwrap();
}

/// Whoever asks for long answers and takes none would have the gateway keep them all. What is refused for it is not written.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_have_bounded_room() {
    let gateway = Gateway::start(None).await;
    let mut taken = 0;
    for window in [0, 1, 5 * 4_096 + 1] {
        let mut client = http2(&gateway, window).await;
        let mut ask = async || {
            let body = Full::from(format!("[{}{}]", "0,".repeat(499), report(0, ""))).boxed();
            let request = Request::post("http://gateway/v1/heartbeats").header("content-type", "application/json");
            let answer = client.send_request(request.body(body).unwrap()).await.unwrap();
            taken += usize::from(answer.status() == 202);
            answer
        };
        let mut answers = vec![ask().await];
        while answers.len() < 50 && answers.iter().all(|answer| answer.status() == 202) {
            answers.push(ask().await);
        }
        assert_eq!(answers.last().unwrap().status(), 503, "after {} of 30 KB each", answers.len() - 1);
        drop(answers);
        while ask().await.status() != 202 {
            tokio::time::sleep(Duration::from_millis(20)).await; // it is not known at once that nobody wants them
        }
    }
    gateway.records(taken).await;
    gateway.stop().await.unwrap();
}

/// Asks over a connection that others use, too.
async fn beacon(
    client: &SendRequest<BoxBody<Bytes, Infallible>>,
    body: BoxBody<Bytes, Infallible>,
) -> Response<Incoming> {
    let request = Request::post("http://gateway/v1/beacon").header("content-type", "text/plain").body(body).unwrap();
    client.clone().send_request(request).await.unwrap()
}

/// Gateways for so many connections, of all and of an address.
async fn gateways_for(connections: u32) -> [Gateway; 2] {
    let in_all = |settings: &mut Settings, _: &Path| settings.connections = connections as usize;
    let of_an_address = |settings: &mut Settings, _: &Path| settings.connections_per_address = connections;
    [Gateway::start_with(None, 1 << 20, in_all).await, Gateway::start_with(None, 1 << 20, of_an_address).await]
}

/// One connection could hold the memory of hundreds.
#[tokio::test(flavor = "multi_thread")]
async fn further_requests_of_a_connection_count_as_connections() {
    for gateway in gateways_for(8).await {
        let client = http2(&gateway, 1 << 20).await;
        let announced = || BodyExt::boxed(StreamBody::new(stream::pending::<Result<Frame<_>, _>>()));
        let mut waiting: FuturesUnordered<_> = (0..9).map(|_| beacon(&client, announced())).collect();
        assert_eq!(waiting.next().await.unwrap().status(), 503);
        assert!(timeout(Duration::from_millis(200), waiting.next()).await.is_err(), "eight wait for their bodies");
        let report = || Full::from(report(0, "")).boxed();
        assert_eq!(beacon(&client, report()).await.status(), 503);
        drop(waiting);
        while beacon(&client, report()).await.status() != 202 {
            tokio::time::sleep(Duration::from_millis(20)).await; // it is not known at once that nobody wants them
        }
        gateway.stop().await.unwrap();
    }
}

/// A client may take a part of an answer, and then nothing for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_until_its_answer_is_taken() {
    for window in [0, 1] {
        for gateway in gateways_for(8).await {
            let client = http2(&gateway, window).await;
            let report = || Full::from(report(0, "")).boxed();
            let mut answers = Vec::new();
            for _ in 0..8 {
                answers.push(beacon(&client, report()).await);
            }
            assert!(answers.iter().all(|answer| answer.status() == 202), "window of {window}");
            assert_eq!(beacon(&client, report()).await.status(), 503, "window of {window}");
            drop((client, answers));
            gateway.stop().await.unwrap();
        }
    }
}

/// However many connections there are, each has a place for a request.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_take_no_places_from_each_others_requests() {
    for gateway in gateways_for(4).await {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(http2(&gateway, 1 << 20).await);
        }
        for client in clients.iter().cycle().take(8) {
            let answer = beacon(client, Full::from(report(0, "")).boxed()).await;
            assert_eq!(answer.status(), 202);
            answer.into_body().collect().await.unwrap();
        }
        gateway.stop().await.unwrap();
    }
}

/// A key is in every page: whoever has it can begin to send as much as its site may have in memory.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_to_their_end_take_no_room_from_those_that_do() {
    let gateway = Gateway::start(Some(r#"[{"key": "k", "site": "a"}]"#)).await;
    let size = 1 << 20;
    let head = format!(
        "POST /v1/beacon?key=k HTTP/1.1\r\nHost: g\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    );
    let mut slow = Vec::new();
    for _ in 0..33 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; size - 1]).await.unwrap();
        slow.push(stream);
    }
    let (mut refused, deadline) = (0, Instant::now() + PATIENCE);
    while refused == 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        refused = slow.iter().filter(|stream| stream.try_read(&mut [0; 12]).is_ok()).count();
    }
    assert!(refused > 0, "the site has no room left");
    assert_eq!(gateway.post("/v1/beacon?key=k", &[TEXT], report(0, "").as_bytes()).await.status, 202);
    drop(slow);
    gateway.stop().await.unwrap();
}

/// Compressed, such a body has some hundred bytes.
#[tokio::test(flavor = "multi_thread")]
async fn of_the_refused_reports_of_a_body_a_part_is_kept() {
    let gateway = Gateway::start(None).await;
    let report = format!("{{\"x\":\"{}\"}}", "a".repeat(2_000));
    let answer = gateway.post_json(&vec![report; 500].join("\n")).await;
    assert_eq!((answer.status, answer.body["rejected"].as_array().map(Vec::len)), (202, Some(500)));
    let letters = gateway.dead_letters(500).await;
    let kept = letters.iter().filter(|letter| !letter["report"].is_null()).count();
    assert_eq!(kept, (64 << 10) / 2_008);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_only_announced_take_no_room_from_others() {
    let gateway = Gateway::start(None).await;
    let head = "POST /v1/beacon HTTP/1.1\r\nHost: g\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    let mut waiting = Vec::new();
    // With a MiB for each, and one for what is in it, they would take twice what there is.
    for _ in 0..128 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        waiting.push(stream);
    }
    assert_eq!(gateway.post_json(&report(0, "")).await.status, 202);
    drop(waiting);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_has_the_same_limit() {
    let gateway = Gateway::start(None).await;
    let head = "POST /v1/beacon HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, status) in [(report(0, ""), 202), (" ".repeat((1 << 20) + 1), 413)] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let (first, second) = body.split_at(30);
        let chunks = format!("{head}1e\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", second.len());
        stream.write_all(chunks.as_bytes()).await.unwrap();
        assert_eq!(support::reply(stream).await.status, status);
    }
    gateway.stop().await.unwrap();
}
