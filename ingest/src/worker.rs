//! A worker: a thread with an event loop and listeners of its own. What it accepts it serves to the end, so threads share
//! little on the way of a request: counters, the way out to the log, and, behind locks held for moments, the rates of keys and
//! users, the places of client addresses and the play tokens already verified.

use crate::gateway::{Gateway, Shared};
use crate::net::{Acceptor, Certificates, Slots, Timeouts, Transport, Trust};
use service::{Stop, TaskError};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// What a worker is made of.
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) clear: TcpListener,
    pub(crate) tls: Option<(TcpListener, Arc<Certificates>)>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) linger: Duration,
}

impl Worker {
    /// Starts the worker. The result is there when it was asked to stop and its last connection has ended.
    pub(crate) fn start(self, stop: Stop) -> Result<oneshot::Receiver<Result<(), TaskError>>, TaskError> {
        let (ended, end) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(self.name.clone()).spawn(move || {
            let served = LocalSet::new().block_on(&runtime, self.serve(stop));
            // Nobody listens once the drain is given up, and then nobody needs to know.
            let _ = ended.send(served);
        })?;
        Ok(end)
    }

    async fn serve(self, stop: Stop) -> Result<(), TaskError> {
        let gateway = Rc::new(Gateway::new(self.shared, self.linger));
        let make_service = move |peer| gateway.clone().service(peer);
        let acceptor = Acceptor::new(self.slots, self.trust, Timeouts::default());
        let clear = tokio::net::TcpListener::from_std(self.clear)?;
        let clear = acceptor.clone().run(clear, Transport::Plain, make_service.clone(), stop.clone());
        match self.tls {
            None => clear.await,
            Some((listener, certificates)) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::join!(clear, acceptor.run(listener, Transport::Tls(certificates), make_service, stop));
            }
        }
        Ok(())
    }
}
