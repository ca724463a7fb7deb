//! Connections that take too long, and too many of them.

use super::*;

const SHORT: Duration = Duration::from_millis(200);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn impatient(change: impl FnOnce(&mut Timeouts)) -> Worker {
    let mut setup = Setup::default();
    change(&mut setup.timeouts);
    setup.start()
}

/// Reads to the end, which has to come in good time.
fn check_closed(stream: &mut TcpStream) -> String {
    let start = Instant::now();
    let text = rest(stream);
    assert!(start.elapsed() < DEADLINE / 2, "not closed in time");
    assert!(start.elapsed() > SHORT / 4, "closed too early");
    text
}

#[test]
fn who_says_nothing_is_closed() {
    let worker = impatient(|timeouts| timeouts.opening = SHORT);
    assert_eq!(check_closed(&mut worker.connect()), "");
}

#[test]
fn a_head_must_be_complete_in_time_however_it_trickles() {
    let worker = impatient(|timeouts| timeouts.head = SHORT);
    let mut stream = worker.connect();
    stream.set_nodelay(true).unwrap();
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < DEADLINE / 2 && stream.write_all(b"P").is_ok() {
        sent += 1;
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        if stream.read(&mut [0]).is_ok_and(|bytes| bytes == 0) {
            break;
        }
    }
    assert!(sent > 2 && start.elapsed() < DEADLINE / 2, "{sent} bytes in {:?}", start.elapsed());
}

#[test]
fn a_second_head_has_the_same_limit() {
    let worker = impatient(|timeouts| timeouts.head = SHORT);
    let mut stream = worker.connect();
    stream.write_all(GET).unwrap();
    until(&mut stream, ";");
    stream.write_all(b"GET / HT").unwrap();
    assert_eq!(check_closed(&mut stream), "");
}

#[test]
fn idle_connections_end_and_busy_ones_do_not() {
    let worker = impatient(|timeouts| timeouts.idle = SHORT);
    let mut busy = worker.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut idle = worker.connect();
    idle.write_all(GET).unwrap();
    until(&mut idle, ";");
    assert_eq!(check_closed(&mut idle), "");
    let mut later = worker.connect();
    later.write_all(GET).unwrap();
    until(&mut later, ";");
    assert_eq!(check_closed(&mut later), "");
    worker.release.add_permits(1);
    assert!(until(&mut busy, ";").contains("200 OK"));
}

#[test]
fn a_handshake_has_its_limit_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut setup = Setup { transport: tls::transport(&folder, "a.test").0, ..Setup::default() };
    setup.timeouts.opening = SHORT;
    let worker = setup.start();
    let mut stream = worker.connect();
    stream.write_all(&[0x16, 3, 1, 1]).unwrap();
    assert_eq!(check_closed(&mut stream), "");
}

#[test]
fn who_says_nothing_after_the_handshake_has_no_longer() {
    for protocol in ["http/1.1", "h2"] {
        let folder = tempfile::tempdir().unwrap();
        let (transport, certificate) = tls::transport(&folder, "a.test");
        let mut setup = Setup { transport, ..Setup::default() };
        setup.timeouts.opening = Duration::from_secs(1); // enough for the handshake
        let worker = setup.start();
        let closed = tokio::runtime::Runtime::new().unwrap().block_on(async {
            let mut stream =
                tls::Client::new(&[certificate], "a.test", protocol).connect(worker.address).await.unwrap();
            let mut answer = Vec::new();
            tokio::time::timeout(DEADLINE, tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer)).await
        });
        assert!(closed.is_ok(), "{protocol}");
    }
}

#[test]
fn an_address_has_its_share_of_connections() {
    let worker = Setup { slots: Slots::new(100, 3), ..Setup::default() }.start();
    let mut held: Vec<_> = (0..3).map(|_| worker.connect()).collect();
    eventually("three are open", || worker.slots.open_from(Ipv4Addr::LOCALHOST.into()) == 3);
    let start = Instant::now();
    assert_eq!(rest(&mut worker.connect()), "");
    assert!(start.elapsed() < DEADLINE / 2, "closed at once, not for its silence");
    held.pop();
    eventually("one has gone", || worker.slots.open_from(Ipv4Addr::LOCALHOST.into()) == 2);
    let mut stream = worker.connect();
    stream.write_all(GET).unwrap();
    assert!(until(&mut stream, ";").contains("200 OK"));
}

#[test]
fn beyond_all_places_newcomers_wait() {
    let worker = Setup { slots: Slots::new(2, 100), ..Setup::default() }.start();
    let first = worker.connect();
    let _second = worker.connect();
    eventually("two are open", || worker.slots.open_from(Ipv4Addr::LOCALHOST.into()) == 2);
    let mut third = worker.connect();
    third.write_all(GET).unwrap();
    third.set_read_timeout(Some(SHORT)).unwrap();
    assert!(third.read(&mut [0]).is_err(), "it waits");
    drop(first);
    third.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(until(&mut third, ";").contains("200 OK"));
}

#[test]
fn in_a_crowd_silence_is_cut_short() {
    let mut setup = Setup { slots: Slots::new(16, 100), ..Setup::default() };
    setup.timeouts.opening = DEADLINE * 2;
    setup.timeouts.idle = SHORT; // a short tick
    let worker = setup.start();
    let mut silent: Vec<_> = (0..16).map(|_| worker.connect()).collect();
    let start = Instant::now();
    assert_eq!(rest(&mut silent[0]), "");
    assert!(start.elapsed() < DEADLINE, "a quarter of the time");
}
