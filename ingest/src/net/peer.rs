//! Who is at the other end: the address that limits are counted for. It is used for nothing else, and neither logged
//! nor stored.

use super::forwarded;
use crate::untaken::Untaken;
use hyper::HeaderMap;
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

    pub(super) fn forwards(&self, address: IpAddr) -> bool {
        self.forwarders.iter().any(|network| network.contains(&address))
    }
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address, or the one that a trusted load balancer announced for it.
    address: IpAddr,
    /// There when the peer is a trusted reverse proxy.
    trust: Option<Arc<Trust>>,
    pub(crate) untaken: Untaken,
}

impl Peer {
    pub(super) fn new(address: IpAddr, trust: &Arc<Trust>) -> Peer {
        Peer { address, trust: trust.forwards(address).then(|| trust.clone()), untaken: Untaken::default() }
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
