//! One connection from accept to end: the PROXY header, TLS, the choice between HTTP/1.1 and HTTP/2, and the requests.
//! Its times are kept by [`Watch`], so that nothing here sets a timer.

use super::accept::{Acceptor, Transport};
use super::meters::Protocol;
use super::peek_stream::PeekStream;
use super::peer::Peer;
use super::proxy::{self, Source};
use super::slots::Claim;
use super::watch::Watch;
use crate::limits::{
    H2_CONNECTION_WINDOW_BYTES, H2_MAX_LOCAL_RESETS, H2_MAX_PENDING_RESETS, H2_MAX_SEND_BUFFER_BYTES, H2_MAX_STREAMS,
    H2_PING_INTERVAL, H2_PING_TIMEOUT, H2_STREAM_WINDOW_BYTES, MAX_HEAD_BYTES,
};
use futures::FutureExt;
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until it ends, by its peer's will, by its times, or because the worker stops.
pub(crate) async fn serve<T, S, B>(
    stream: T,
    address: IpAddr,
    acceptor: Rc<Acceptor>,
    transport: Transport,
    make_service: impl FnOnce(Peer) -> S,
) where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let _open = acceptor.meters.open();
    let watch = acceptor.watches.start();
    let mut converse =
        pin!(converse(PeekStream::new(stream, watch.clone()), address, &acceptor, transport, &watch, make_service));
    poll_fn(|context| {
        if let Some(phase) = watch.attend(context) {
            acceptor.meters.timed_out(phase);
            return Poll::Ready(());
        }
        // How a connection ends is the peer's business; what matters of it is in the answers.
        converse.as_mut().poll(context).map(drop)
    })
    .await;
}

/// `None` is an end before the first request.
async fn converse<T, S, B>(
    mut stream: PeekStream<T>,
    address: IpAddr,
    acceptor: &Acceptor,
    transport: Transport,
    watch: &Rc<Watch>,
    make_service: impl FnOnce(Peer) -> S,
) -> Option<()>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Announced { address, is_limited, _claim } = announced(&mut stream, address, acceptor).await?;
    let service = make_service(Peer::new(address, is_limited, &acceptor.trust, &acceptor.slots));
    match transport {
        Transport::Plain => {
            let http2 = begins_with_preface(&mut stream).await?;
            watch.opened(http2);
            speak(stream, http2, acceptor, watch, service).await;
        }
        Transport::Tls(certificates) => {
            let accepted = certificates.acceptor().accept(stream).await;
            let secured = accepted.inspect_err(|_| acceptor.meters.failed_handshake()).ok()?;
            let http2 = secured.get_ref().1.alpn_protocol() == Some(b"h2");
            watch.secured(http2);
            speak(secured, http2, acceptor, watch, service).await;
        }
    }
    Some(())
}

/// Who is at the other end.
struct Announced {
    address: IpAddr,
    is_limited: bool,
    /// The claim of a client that a load balancer announces; other clients that are limited have had theirs since they were accepted.
    _claim: Option<Claim>,
}

/// The address of the client, after the header of a load balancer that announces it. Such a client has its own limit.
async fn announced<T: AsyncRead + Unpin>(
    stream: &mut PeekStream<T>,
    address: IpAddr,
    acceptor: &Acceptor,
) -> Option<Announced> {
    if !acceptor.trust.announces(address) {
        return Some(Announced { address, is_limited: !acceptor.trust.forwards(address), _claim: None });
    }
    match proxy::read_header(stream).await {
        Ok(Source::Balancer) => Some(Announced { address, is_limited: false, _claim: None }),
        Ok(Source::Client(address)) if acceptor.trust.forwards(address) => {
            Some(Announced { address, is_limited: false, _claim: None })
        }
        Ok(Source::Client(address)) => match acceptor.slots.claim(address) {
            Some(claim) => Some(Announced { address, is_limited: true, _claim: Some(claim) }),
            None => {
                acceptor.meters.too_many_of_one_address();
                None
            }
        },
        Err(_) => {
            acceptor.meters.bad_proxy_header();
            None
        }
    }
}

/// Whether the client speaks HTTP/2 without having asked. What was read for it stays in the stream.
async fn begins_with_preface<T: AsyncRead + Unpin>(stream: &mut PeekStream<T>) -> Option<bool> {
    loop {
        let early = stream.early();
        if early.len() >= HTTP2_PREFACE.len() || !HTTP2_PREFACE.starts_with(early) {
            return Some(early.starts_with(HTTP2_PREFACE));
        }
        stream.read_early().await.ok().filter(|bytes| *bytes > 0)?;
    }
}

async fn speak<S, B, T>(io: T, http2: bool, acceptor: &Acceptor, watch: &Rc<Watch>, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (io, watched) = (TokioIo::new(io), watch.clone());
    let service = service_fn(move |request| {
        let answering = watched.answering();
        // Not an async block, which would have room for the call twice, in every connection.
        service.call(request).inspect(move |_| drop(answering))
    });
    if http2 {
        acceptor.meters.speaks(Protocol::Http2);
        let connection = pin!(http2_builder().serve_connection(io, service));
        drive(connection, watch, http2::Connection::graceful_shutdown).await;
    } else {
        acceptor.meters.speaks(Protocol::Http1);
        let connection = pin!(http1_builder().keep_alive(!watch.is_finishing()).serve_connection(io, service));
        drive(connection, watch, http1::Connection::graceful_shutdown).await;
    }
}

/// Polls a connection to its end. When the watch asks to finish, what has arrived is answered first.
async fn drive<C: Future>(mut connection: Pin<&mut C>, watch: &Watch, finish: impl Fn(Pin<&mut C>)) {
    let mut finishing = false;
    poll_fn(|context| {
        let mut polled = connection.as_mut().poll(context);
        if polled.is_pending() && watch.is_finishing() && !finishing {
            finishing = true;
            finish(connection.as_mut());
            polled = connection.as_mut().poll(context);
        }
        polled.map(drop)
    })
    .await;
}

/// A head has at most 100 fields, which is hyper's default: setting the limit explicitly costs 6 KB of memory written per
/// request.
fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None) // the watch keeps the time without a timer for each request
        .max_buf_size(MAX_HEAD_BYTES)
        .max_header_size(MAX_HEAD_BYTES)
        .writev(false) // head and body of an answer are one small piece
        .half_close(true); // a beacon may shut its side as soon as it is sent, and still wants the answer
    builder
}

fn http2_builder() -> http2::Builder<OnThisWorker> {
    let mut builder = http2::Builder::new(OnThisWorker);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_pending_accept_reset_streams(H2_MAX_PENDING_RESETS)
        .max_local_error_reset_streams(H2_MAX_LOCAL_RESETS)
        .max_send_buf_size(H2_MAX_SEND_BUFFER_BYTES)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

/// Runs the streams of an HTTP/2 connection where the connection is.
#[derive(Clone, Copy)]
struct OnThisWorker;

impl<F: Future + 'static> Executor<F> for OnThisWorker
where
    F::Output: 'static,
{
    fn execute(&self, stream: F) {
        spawn_local(stream);
    }
}
