//! The gateway: where it is, and the head of every request to it.

use crate::limits::CONNECT_TIMEOUT;
use crate::names::put_number;
use crate::settings::LoadError;
use hyper::Uri;
use hyper::header::HeaderValue;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

/// A gateway and its addresses; the first address that takes a connection is as good as any other.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) uri: Uri,
    pub(crate) key: Option<HeaderValue>,
    /// Everything of a request before the number of its bytes.
    head: Vec<u8>,
}

impl Target {
    /// Reads `http://HOST[:PORT][/PREFIX]`, and finds the host.
    pub(crate) fn new(target: &str, key: Option<&str>) -> Result<Target, LoadError> {
        let refuse = |reason: String| LoadError::Target { target: target.to_owned(), reason };
        let uri = format!("{}/v1/heartbeats", target.trim_end_matches('/'));
        let uri: Uri = uri.parse().map_err(|error: hyper::http::uri::InvalidUri| refuse(error.to_string()))?;
        if uri.scheme_str() != Some("http") {
            return Err(refuse("it does not begin with http://".to_owned()));
        }
        let authority = uri.authority().ok_or_else(|| refuse("it names no host".to_owned()))?;
        let host = authority.host().trim_matches(['[', ']']);
        let addresses =
            (host, authority.port_u16().unwrap_or(80)).to_socket_addrs().map_err(|error| refuse(error.to_string()))?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        if addresses.is_empty() {
            return Err(refuse("its host has no address".to_owned()));
        }
        let key =
            key.map(HeaderValue::from_str).transpose().map_err(|_| refuse("its key is no header value".to_owned()))?;
        let mut head =
            format!("POST {} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n", uri.path())
                .into_bytes();
        if let Some(key) = &key {
            head.extend_from_slice(b"x-watchbeat-key: ");
            head.extend_from_slice(key.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"content-length: ");
        Ok(Target { addresses, uri, key, head })
    }

    /// Connects and waits for it.
    pub(crate) fn connect(&self) -> Result<TcpStream, String> {
        let mut failed = String::new();
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = format!("{address}: {error}"),
            }
        }
        Err(failed)
    }

    /// Appends a request with this body.
    pub(crate) fn put_request(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        put_number(out, body.len() as u64);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_next_address_is_tried_where_one_refuses_and_the_last_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut target = Target::new(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // closed again
        target.addresses.insert(0, refusing);
        target.connect().unwrap();
        target.addresses.pop();
        assert!(target.connect().unwrap_err().starts_with(&refusing.to_string()));
    }
}
