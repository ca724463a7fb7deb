//! Who is at the other end: the address that limits are counted for. It is used for nothing else, and neither logged
//! nor stored.

use super::slots::{RequestPlace, Slots};
use super::{forwarded, meters};
use crate::untaken::Untaken;
use hyper::{HeaderMap, Method, Request, Version};
use ipnet::IpNet;
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
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
#[derive(Clone)]
pub(crate) struct Peer {
    /// Its address, or the one that a trusted load balancer announced for it.
    address: IpAddr,
    /// There when the peer is a trusted reverse proxy.
    trust: Option<Arc<Trust>>,
    pub(crate) untaken: Untaken,
    slots: Arc<Slots>,
    /// Whether a request has the place of the connection.
    is_busy: Rc<Cell<bool>>,
    /// Whether the places of its address are limited.
    is_limited: bool,
}

/// The place of a request of an HTTP/2 connection, until it is dropped: that of the connection, or a further one.
pub(crate) struct Place {
    of_connection: Option<Rc<Cell<bool>>>,
    _further: Option<RequestPlace>,
}

/// There is no place for a further request.
pub(crate) struct NoPlace;

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(is_busy) = &self.of_connection {
            is_busy.set(false);
        }
    }
}

impl Peer {
    pub(super) fn new(address: IpAddr, is_limited: bool, trust: &Arc<Trust>, slots: &Arc<Slots>) -> Peer {
        Peer {
            address,
            trust: trust.forwards(address).then(|| trust.clone()),
            untaken: Untaken::default(),
            slots: slots.clone(),
            is_busy: Rc::default(),
            is_limited,
        }
    }

    /// A place for a request. One request at a time has the place of its connection, and over HTTP/1 there is never more than
    /// one; each further one counts as a connection. A preflight takes no place: it is answered at once, and a browser does not
    /// tell a page why a preflight has failed.
    pub(crate) fn place<B>(&self, request: &Request<B>) -> Result<Option<Place>, NoPlace> {
        if request.version() != Version::HTTP_2 || request.method() == Method::OPTIONS {
            return Ok(None);
        }
        if !self.is_busy.replace(true) {
            return Ok(Some(Place { of_connection: Some(self.is_busy.clone()), _further: None }));
        }
        match self.slots.request(self.is_limited.then_some(self.address)) {
            Ok(place) => Ok(Some(Place { of_connection: None, _further: Some(place) })),
            Err(crowded) => {
                meters::request_without_place(crowded);
                Err(NoPlace)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, method: Method) -> Request<()> {
        let mut request = Request::new(());
        (*request.version_mut(), *request.method_mut()) = (version, method);
        request
    }

    #[test]
    fn further_requests_of_a_connection_have_places_of_its_address_if_that_is_limited() {
        let (slots, post) = (Slots::new(8, 2), request(Version::HTTP_2, Method::POST));
        let peer = |is_limited| Peer::new([203, 0, 113, 7].into(), is_limited, &Arc::default(), &slots);
        for (is_limited, places) in [(true, 3), (false, 9)] {
            let peer = peer(is_limited);
            let mut held: Vec<_> = std::iter::from_fn(|| peer.place(&post).ok()).take(20).collect();
            assert_eq!(held.len(), places);
            assert!(matches!(peer.place(&request(Version::HTTP_2, Method::OPTIONS)), Ok(None)));
            assert!(matches!(peer.place(&request(Version::HTTP_11, Method::POST)), Ok(None)));
            held.remove(0);
            assert!(peer.place(&post).is_ok(), "that of the connection is free again");
        }
        assert_eq!(slots.open_from([203, 0, 113, 7].into()), 0);
    }
}
