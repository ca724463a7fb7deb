//! Who is at the other end: the address that limits are counted for. It is used for nothing else, and neither logged
//! nor stored.

use super::forwarded;
use super::slots::{RequestPlace, Slots};
use crate::untaken::Untaken;
use hyper::{HeaderMap, Version};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// Whose word about a client's address is believed. By default nobody's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// Load balancers that begin every connection with a PROXY protocol header, version 1 or 2.
    pub(crate) announcers: Vec<IpNet>,
    /// Reverse proxies whose `X-Forwarded-For` counts.
    pub(crate) forwarders: Vec<IpNet>,
}

impl Trust {
    pub(super) fn announces(&self, address: IpAddr) -> bool {
        self.announcers.iter().any(|network| network.contains(&address))
    }

    /// Whether an address stands for many clients, so that its connections are not limited.
    pub(super) fn exempts(&self, address: IpAddr) -> bool {
        self.announces(address) || self.forwards(address)
    }

    pub(super) fn forwards(&self, address: IpAddr) -> bool {
        self.forwarders.iter().any(|network| network.contains(&address))
    }
}

/// The other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Its address, or the one that a trusted load balancer announced for it.
    address: IpAddr,
    /// There when the peer is a trusted reverse proxy.
    trust: Option<Arc<Trust>>,
    pub(crate) untaken: Untaken,
    slots: Arc<Slots>,
    /// Whether its address has as many places as it likes.
    is_exempt: bool,
}

/// There is no place for a further request.
pub(crate) struct Crowded;

impl Peer {
    pub(super) fn new(address: IpAddr, trust: &Arc<Trust>, slots: &Arc<Slots>) -> Peer {
        Peer {
            address,
            trust: trust.forwards(address).then(|| trust.clone()),
            untaken: Untaken::default(),
            slots: slots.clone(),
            is_exempt: trust.exempts(address),
        }
    }

    /// A place for a request: over HTTP/2 each is counted as a connection, as nginx's `limit_conn` does. Over HTTP/1 there is
    /// one at a time, which has its connection's.
    pub(crate) fn place(&self, version: Version) -> Result<Option<RequestPlace>, Crowded> {
        match version {
            Version::HTTP_2 => {
                let address = (!self.is_exempt).then_some(self.address);
                self.slots.request(address).map(Some).ok_or(Crowded)
            }
            _ => Ok(None),
        }
    }

    /// The address of the client that sent a request with these headers. Costs a look at an option, unless the peer is a
    /// trusted reverse proxy.
    pub(crate) fn client(&self, headers: &HeaderMap) -> IpAddr {
        match &self.trust {
            None => self.address,
            Some(trust) => forwarded::client(self.address, headers, trust),
        }
    }
}
