//! HTTP as it is met, and the end of connections when the worker stops.

use super::*;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";

#[test]
fn requests_in_a_row_are_answered_in_a_row() {
    let worker = Setup::default().start();
    let mut stream = worker.connect();
    stream.write_all([POST, POST, POST].concat().as_bytes()).unwrap();
    for _ in 0..3 {
        assert!(until(&mut stream, ";").ends_with("127.0.0.1 sent 3 bytes;"));
    }
    stream.write_all(POST.as_bytes()).unwrap();
    assert!(until(&mut stream, ";").starts_with("HTTP/1.1 200"));
    drop(stream);
    worker.end();
}

#[test]
fn bodies_come_in_chunks_and_after_a_question() {
    let worker = Setup::default().start();
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
    assert!(worker.exchange(chunked.as_bytes()).contains("sent 5 bytes"));
    let mut stream = worker.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n").unwrap();
    assert!(until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 100"));
    stream.write_all(b"abc").unwrap();
    assert!(until(&mut stream, ";").contains("sent 3 bytes"));
}

#[test]
fn who_shuts_its_side_still_gets_the_answer() {
    let worker = Setup::default().start();
    let mut stream = worker.connect();
    stream.write_all(POST.replace("POST /", "POST /slow").as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // The worker answers another one meanwhile, and so has seen the end of the first.
    let mut other = worker.connect();
    other.write_all(POST.as_bytes()).unwrap();
    assert!(until(&mut other, ";").contains("200 OK"));
    worker.release.add_permits(1);
    assert!(rest(&mut stream).contains("sent 3 bytes"));
}

#[test]
fn what_is_no_http_or_too_long_is_refused() {
    let worker = Setup::default().start();
    assert!(worker.exchange(b"\x16\x03\x01 hello\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert!(worker.exchange(b"PRI * HTTP/1.1\r\nconnection: close\r\n\r\n").starts_with("HTTP/1.1 200"));
    let long = format!("POST / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert!(worker.exchange(long.as_bytes()).starts_with("HTTP/1.1 431"));
    let many = format!("POST / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert!(worker.exchange(many.as_bytes()).starts_with("HTTP/1.1 431"));
}

#[test]
fn a_stop_ends_idle_connections_and_finishes_the_others() {
    let worker = Setup::default().start();
    let mut idle = worker.connect();
    idle.write_all(POST.as_bytes()).unwrap();
    until(&mut idle, ";");
    let mut busy = worker.connect();
    busy.write_all(b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n").unwrap();
    let mut fresh = worker.connect();
    eventually("both are there", || worker.slots.open_from(Ipv4Addr::LOCALHOST.into()) == 3);
    // The worker answers another request meanwhile, and so has read the slow one's head.
    idle.write_all(POST.as_bytes()).unwrap();
    until(&mut idle, ";");
    fresh.write_all(POST.as_bytes()).unwrap();
    worker.stop.request();
    assert_eq!(rest(&mut idle), "");
    // Answered before the stop or after it, but answered.
    assert!(rest(&mut fresh).contains("sent 3 bytes"));
    busy.write_all(b"abc").unwrap();
    worker.release.add_permits(1);
    let answer = rest(&mut busy);
    assert!(answer.contains("connection: close") && answer.contains("sent 3 bytes"), "{answer}");
    worker.end();
}

#[tokio::test]
async fn http2_without_asking_is_served_and_told_to_go() {
    let worker = Setup::default().start();
    let stream = tokio::net::TcpStream::connect(worker.address).await.unwrap();
    let (mut client, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request =
        |path: &str| Request::post(format!("http://a{path}")).body(Full::new(Bytes::from_static(b"abcd"))).unwrap();
    for _ in 0..3 {
        let answer = client.send_request(request("/")).await.unwrap();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text, "127.0.0.1 sent 4 bytes;");
    }
    let slow = client.send_request(request("/slow"));
    let quick = client.send_request(request("/")).await.unwrap();
    assert!(quick.status().is_success());
    worker.stop.request();
    worker.release.add_permits(1);
    let answer = slow.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "127.0.0.1 sent 4 bytes;");
    // The connection ends with GOAWAY, which is no error to the client.
    tokio::time::timeout(DEADLINE, connection).await.unwrap().unwrap().unwrap();
    worker.end();
}
