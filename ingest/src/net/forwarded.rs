//! `X-Forwarded-For`: every proxy appends whom it got the request from, so only the end of the list is to be believed.

use super::peer::Trust;
use crate::limits::MAX_FORWARDED_HOPS;
use hyper::HeaderMap;
use std::net::{IpAddr, SocketAddr};

/// The rightmost address that is not a trusted proxy. A list of nothing but trusted proxies gives the leftmost; something
/// that is no address ends the search, because nobody knows who wrote what stands before it.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trust: &Trust) -> IpAddr {
    let mut client = peer;
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    for hop in hops.take(MAX_FORWARDED_HOPS) {
        let Some(address) = address(hop.trim()) else { break };
        client = address;
        if !trust.forwards(address) {
            break;
        }
    }
    client
}

/// Some proxies append the port.
fn address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: &str) {
        let trust =
            Trust { forwarders: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], ..Trust::default() };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        assert_eq!(client("10.0.0.1".parse().unwrap(), &headers, &trust).to_string(), expected, "{lines:?}");
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        check(&[], "10.0.0.1");
        check(&["203.0.113.7"], "203.0.113.7");
        check(&["198.51.100.1, 203.0.113.7"], "203.0.113.7");
        check(&["198.51.100.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7");
        check(&["198.51.100.1", "203.0.113.7,10.1.1.1"], "203.0.113.7");
        check(&["10.2.2.2, 10.3.3.3"], "10.2.2.2");
        check(&["203.0.113.7:4711"], "203.0.113.7");
        check(&["[2001:db8::7]:4711, fd00::1"], "2001:db8::7");
        check(&["::ffff:203.0.113.7"], "203.0.113.7");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        check(&["203.0.113.7, unknown"], "10.0.0.1");
        check(&["203.0.113.7, unknown, 10.4.4.4"], "10.4.4.4");
        check(&[""], "10.0.0.1");
    }
}
