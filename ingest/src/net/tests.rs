//! Acceptors on real sockets. Each test has a worker of its own that answers every request with who sent it and how much.

mod http;
mod http2;
mod limits;
mod tls;
mod trust;

use super::{Acceptor, Peer, Slots, Timeouts, Transport, Trust, listeners};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use service::Stop;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// Longer than anything here takes when it works.
const DEADLINE: Duration = Duration::from_secs(10);

struct Worker {
    address: SocketAddr,
    slots: Arc<Slots>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    /// A request for `/slow` is answered when something is sent here.
    release: Arc<tokio::sync::Semaphore>,
}

struct Setup {
    slots: Arc<Slots>,
    trust: Trust,
    timeouts: Timeouts,
    transport: Transport,
}

impl Default for Setup {
    fn default() -> Setup {
        let timeouts = Timeouts { opening: DEADLINE, head: DEADLINE, idle: DEADLINE, finishing: DEADLINE };
        Setup { slots: Slots::new(1_000, 100), trust: Trust::default(), timeouts, transport: Transport::Plain }
    }
}

impl Setup {
    fn start(self) -> Worker {
        let listener = listeners((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap().pop().unwrap();
        let (address, slots, stop) = (listener.local_addr().unwrap(), self.slots.clone(), Stop::new());
        let release = Arc::new(tokio::sync::Semaphore::new(0));
        let (stopping, held) = (stop.clone(), release.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let acceptor = Acceptor::new(self.slots, Arc::new(self.trust), self.timeouts);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let make_service = move |peer: Peer| {
                    let held = held.clone();
                    service_fn(move |request| answer(request, peer.clone(), held.clone()))
                };
                acceptor.run(listener, self.transport, make_service, stopping).await;
            });
        });
        Worker { address, slots, stop, thread: Some(thread), release }
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    held: Arc<tokio::sync::Semaphore>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/slow" {
        held.acquire().await.unwrap().forget();
    }
    let bytes = body.collect().await.map_or(0, |body| body.to_bytes().len());
    let text = format!("{} sent {bytes} bytes;", peer.client(&head.headers));
    Ok(Response::new(Full::new(Bytes::from(text))))
}

impl Worker {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Connects, sends and reads to the end.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        rest(&mut stream)
    }

    /// Stops the worker and waits until everything in it has ended.
    fn end(mut self) {
        self.stop.request();
        let thread = self.thread.take().unwrap();
        eventually("the worker has ended", || thread.is_finished());
        thread.join().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.request();
    }
}

/// Everything until the other end closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Everything until a text has come.
fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(text) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.extend(byte);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
