//! Whose word about a client's address counts.

use super::*;

fn local() -> Vec<ipnet::IpNet> {
    vec!["127.0.0.0/8".parse().unwrap()]
}

const FORWARDED: &str =
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-forwarded-for: 198.51.100.1, 203.0.113.7\r\n\r\n";

#[test]
fn nobody_is_believed_unless_trusted() {
    let worker = Setup::default().start();
    assert!(worker.exchange(FORWARDED.as_bytes()).contains("127.0.0.1 sent"));
    let announced = format!("PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n{FORWARDED}");
    assert!(worker.exchange(announced.as_bytes()).starts_with("HTTP/1.1 400"));
}

#[test]
fn a_trusted_proxy_names_the_client_and_shares_no_limit() {
    let trust = Trust { forwarders: local(), ..Trust::default() };
    let worker = Setup { trust, slots: Slots::new(100, 1), ..Setup::default() }.start();
    let _other = worker.connect();
    assert!(worker.exchange(FORWARDED.as_bytes()).contains("203.0.113.7 sent"));
}

#[test]
fn a_trusted_balancer_announces_the_client_and_must() {
    let trust = Trust { announcers: local(), ..Trust::default() };
    let worker = Setup { trust, ..Setup::default() }.start();
    // What the client itself says counts for nothing.
    let version_1 = format!("PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n{FORWARDED}");
    assert!(worker.exchange(version_1.as_bytes()).contains("203.0.113.9 sent"));
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x0a\xc0\0\x02\x01\0\x01\0\x02";
    let version_2 = [header.as_slice(), FORWARDED.as_bytes()].concat();
    assert!(worker.exchange(&version_2).contains("203.0.113.10 sent"));
    assert_eq!(worker.exchange(FORWARDED.as_bytes()), "");
    // In pieces, as it may come.
    let mut stream = worker.connect();
    stream.set_nodelay(true).unwrap();
    for byte in version_1.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(rest(&mut stream).contains("203.0.113.9 sent"));
}

#[test]
fn announced_clients_have_their_own_limits() {
    let trust = Trust { announcers: local(), ..Trust::default() };
    let worker = Setup { trust, slots: Slots::new(100, 1), ..Setup::default() }.start();
    let announce = |address: &str| {
        let mut stream = worker.connect();
        write!(stream, "PROXY TCP4 {address} 192.0.2.1 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        stream
    };
    let mut first = announce("203.0.113.9");
    assert!(until(&mut first, ";").contains("203.0.113.9"));
    assert_eq!(rest(&mut announce("203.0.113.9")), "");
    assert!(until(&mut announce("203.0.113.10"), ";").contains("203.0.113.10"));
}
