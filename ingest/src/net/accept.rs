//! The accept loop of a worker and its end. All connections of one worker share an [`Acceptor`]; all workers of the process
//! share what the acceptor holds in `Arc`s.

use super::connection::serve;
use super::meters::Meters;
use super::peer::{Peer, Trust};
use super::slots::Slots;
use super::tls::Certificates;
use super::watch::{Timeouts, Watches};
use crate::limits::ACCEPT_PAUSE;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use service::Stop;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_local;

/// What the connections of a worker have in common.
pub(crate) struct Acceptor {
    pub(super) slots: Arc<Slots>,
    pub(super) trust: Arc<Trust>,
    pub(super) watches: Watches,
    pub(super) meters: Meters,
}

/// What a listener speaks.
#[derive(Clone)]
pub(crate) enum Transport {
    /// HTTP/1.1, or HTTP/2 with prior knowledge.
    Plain,
    /// TLS, with HTTP/1.1 or HTTP/2 inside.
    Tls(Arc<Certificates>),
}

/// Held by every connection; the loop ends when nobody holds it any more.
type Open = mpsc::Sender<Infallible>;

impl Acceptor {
    /// The acceptor of one worker.
    pub(crate) fn new(slots: Arc<Slots>, trust: Arc<Trust>, timeouts: Timeouts) -> Rc<Acceptor> {
        Rc::new(Acceptor { slots, trust, watches: Watches::new(timeouts), meters: Meters::new() })
    }

    /// Accepts and serves connections until `stop` is requested and the last of them has ended. Must run in a `LocalSet`.
    ///
    /// At the limit of all connections nothing is accepted: newcomers wait in the backlog. Closing idle connections instead
    /// would fail requests of players that behave, and who has the most addresses would win every time. Waiting is short,
    /// because in a crowd silent connections are given less time (see [`Watches`]).
    pub(crate) async fn run<S, B>(
        self: Rc<Acceptor>,
        listener: TcpListener,
        transport: Transport,
        make_service: impl Fn(Peer) -> S + Clone + 'static,
        stop: Stop,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (open, mut ended) = mpsc::channel(1);
        let start = |accepted: (TcpStream, SocketAddr), place: OwnedSemaphorePermit| {
            self.start(accepted, place, &transport, make_service.clone(), open.clone());
        };
        tokio::select! {
            () = self.accept(&listener, start) => {}
            () = self.watches.sweep(&self.slots) => {}
            () = stop.requested() => {}
        }
        // Who got through the handshake before the stop is answered: only then is the listener closed.
        while let Some((accepted, place)) = self.waiting(&listener) {
            start(accepted, place);
        }
        drop((listener, open));
        self.watches.drain();
        tokio::select! {
            _ = ended.recv() => {}
            () = self.watches.sweep(&self.slots) => {}
        }
    }

    /// Accepts for ever.
    async fn accept(&self, listener: &TcpListener, start: impl Fn((TcpStream, SocketAddr), OwnedSemaphorePermit)) {
        loop {
            let place = self.slots.place().await;
            match listener.accept().await {
                Ok(accepted) => start(accepted, place),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection, trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A connection that waits in the backlog, when there is one and room for it.
    fn waiting(&self, listener: &TcpListener) -> Option<((TcpStream, SocketAddr), OwnedSemaphorePermit)> {
        let place = self.slots.free_place()?;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match listener.poll_accept(&mut context) {
            std::task::Poll::Ready(Ok(accepted)) => Some((accepted, place)),
            _ => None,
        }
    }

    fn start<S, B>(
        self: &Rc<Acceptor>,
        (stream, address): (TcpStream, SocketAddr),
        place: OwnedSemaphorePermit,
        transport: &Transport,
        make_service: impl FnOnce(Peer) -> S + 'static,
        open: Open,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + 'static,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let address = address.ip().to_canonical();
        // An unwelcome connection must cost as little as can be: no task, no read.
        let claim = if self.trust.forwards(address) || self.trust.announces(address) {
            None
        } else if let Some(claim) = self.slots.claim(address) {
            Some(claim)
        } else {
            return self.meters.too_many_of_one_address();
        };
        // Answers are small: without this they would wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let (acceptor, transport) = (self.clone(), transport.clone());
        spawn_local(async move {
            serve(stream, address, acceptor, transport, make_service).await;
            drop((claim, place, open));
        });
    }
}
