//! The edge to the network: listeners, connections, TLS, and who is at the other end. What a request means is the
//! gateway's business; nothing here reads one, beyond the fields that say whom it comes from.

mod accept;
mod connection;
mod forwarded;
mod listeners;
mod meters;
mod peek_stream;
mod peer;
mod proxy;
mod slots;
mod tls;
mod watch;

pub(crate) use accept::{Acceptor, Transport};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use connection::serve;
pub(crate) use listeners::listeners;
pub(crate) use meters::describe;
pub(crate) use peer::{Peer, Place, Trust};
pub(crate) use slots::{Slots, household};
pub(crate) use tls::Certificates;
pub(crate) use watch::Timeouts;

#[cfg(test)]
mod tests;
