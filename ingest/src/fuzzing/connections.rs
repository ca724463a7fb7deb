//! Whole connections, served by a real gateway whose log is away: what it answers 202 must be in its spool.

use super::scratch;
use crate::gateway::{Gateway, Shared};
use crate::keys::Keys;
use crate::net::{self, Acceptor, Slots, Timeouts, Transport, Trust};
use crate::outlet::Outlet;
use crate::rate::Guesses;
use crate::topics::Topics;
use crate::trace::Sampling;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;
use tokio::time::timeout;
use topic::{Log, Spool, SpoolPlace};

/// Nothing waits for anything here, so this is for ever.
const FOREVER: Duration = Duration::from_secs(5);
/// Both announces clients by the PROXY protocol and forwards for them.
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const CAPACITY_BYTES: u64 = 64 << 20;
/// The public key is that of the token in the dictionary.
const KEYS: &str = r#"[{"key":"k","site":"fuzzed","allowed_origins":["https://a"]},
    {"public_key":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg","kid":"2026-a","site":"fuzzed"}]"#;

thread_local! {
    static HOST: Host = Host::new();
}

/// The bytes of a connection; the first byte chooses who it comes from, who may send, and how the bytes are cut.
pub(super) fn http_framing(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let [is_balancer, is_closed, is_cut] = [1, 2, 4].map(|bit| choice & bit != 0);
    let (address, shared) = HOST.with(|host| {
        (if is_balancer { BALANCER } else { STRANGER }, if is_closed { host.closed.clone() } else { host.open.clone() })
    });
    let pipe_bytes = if is_cut { usize::from(choice >> 3) + 1 } else { 64 << 10 };
    let answers = HOST.with(|host| host.exchange(bytes, address, &shared, pipe_bytes));
    assert!(answers.len() <= (64 << 10) + 64 * bytes.len(), "{} bytes for {}", answers.len(), bytes.len());
    let spooled = HOST.with(|host| host.drained());
    if is_balancer && !begins_as_proxy(bytes) {
        assert!(answers.is_empty() && spooled == 0, "a balancer that announces nobody is not listened to");
    }
    if is_http2(bytes, is_balancer) {
        frames(&answers);
    } else {
        let (answers, is_torn) = responses(&answers);
        assert!(!is_torn || is_cut, "an answer is torn that the client had room for");
        let safe: u64 = answers.iter().filter(|answer| answer.status == 202).map(Answer::reports).sum();
        let foreign = answers.iter().any(|answer| [200, 204].contains(&answer.status));
        assert!(
            safe == spooled || (foreign || is_torn) && safe < spooled,
            "{safe} reports answered as safe, {spooled} in the spool"
        );
    }
}

/// What outlives a connection.
struct Host {
    runtime: tokio::runtime::Runtime,
    spool: Spool,
    open: Arc<Shared>,
    closed: Arc<Shared>,
    _dir: TempDir,
}

impl Host {
    fn new() -> Host {
        let dir = scratch();
        let log = Log::embedded(&dir.path().join("log")).unwrap();
        let spool = Spool::open(&dir.path().join("spool"), CAPACITY_BYTES).unwrap();
        let keys = dir.path().join("keys.json");
        std::fs::write(&keys, KEYS).unwrap();
        // It is never asked for its topics, so it counts as away.
        let producer = log.producer(Duration::ZERO).unwrap();
        let outlet = Arc::new(Outlet::new(producer, Topics::new("heartbeats", "dead_letters"), Some(spool.clone())));
        let shared = |keys: Keys| {
            Arc::new(Shared {
                keys,
                peppers: None,
                outlet: outlet.clone(),
                guesses: Guesses::new(),
                bodies: AtomicU64::new(0),
                untaken: Arc::default(),
                sampling: Sampling::new(0),
                unprotected: Once::new(),
            })
        };
        Host {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            spool,
            open: shared(Keys::load(None).unwrap()),
            closed: shared(Keys::load(Some(&keys)).unwrap()),
            _dir: dir,
        }
    }

    /// Sends the bytes through a pipe that holds so many at a time, and gives everything that is answered.
    fn exchange(&self, bytes: &[u8], address: IpAddr, shared: &Arc<Shared>, pipe_bytes: usize) -> Vec<u8> {
        let slots = Slots::new(8, 8);
        let balancer = vec![BALANCER.into()];
        let trust = Arc::new(Trust { announcers: balancer.clone(), forwarders: balancer });
        let mut answers = Vec::new();
        // With it everything ends that the connection has started.
        let tasks = LocalSet::new();
        let exchange = async {
            let gateway = Rc::new(Gateway::new(shared.clone(), Duration::ZERO));
            let make_service = |peer| gateway.service(peer);
            let acceptor = Acceptor::new(slots.clone(), trust, Timeouts::default());
            let (client, server) = tokio::io::duplex(pipe_bytes);
            let (mut reading, mut writing) = tokio::io::split(client);
            let sending = async {
                // The server may end first.
                let _ = writing.write_all(bytes).await;
                let _ = writing.shutdown().await;
            };
            let serving = net::serve(server, address, acceptor, Transport::Plain, make_service);
            let reading = reading.read_to_end(&mut answers);
            let (_, (), read) = tokio::join!(serving, sending, reading);
            read.unwrap();
        };
        let ended = tasks.block_on(&self.runtime, async { timeout(FOREVER, exchange).await });
        ended.expect("a connection ends when its client has said everything");
        drop(tasks);
        assert_eq!(shared.bodies.load(Ordering::Relaxed), 0, "room for bodies is given back");
        assert_eq!(shared.untaken.load(Ordering::Relaxed), 0, "room for answers is given back");
        assert_eq!(slots.open_from(address), 0, "places of connections are given back");
        answers
    }

    /// Empties the spool and counts what was in it.
    fn drained(&self) -> u64 {
        let mut records = 0;
        loop {
            let batch = self.spool.read(SpoolPlace::START..SpoolPlace::END, usize::MAX, usize::MAX).unwrap();
            if batch.records.is_empty() {
                return records;
            }
            records += batch.records.len() as u64;
            self.spool.remove(batch.end, batch.records.len()).unwrap();
        }
    }
}

fn begins_as_proxy(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n")
}

/// Whether the preface of HTTP/2 comes first, or first behind the header of a balancer.
fn is_http2(bytes: &[u8], is_balancer: bool) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if !is_balancer {
        return bytes.starts_with(PREFACE);
    }
    let header = match bytes {
        [b'P', ..] => bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1),
        _ => bytes.get(14..16).map(|len| 16 + usize::from(len[0]) * 256 + usize::from(len[1])),
    };
    header.and_then(|header| bytes.get(header..)).is_some_and(|rest| rest.starts_with(PREFACE))
}

/// Frames, the settings first. The last may be torn: a client that breaks off within a frame is not told all that was to be
/// said.
fn frames(mut answers: &[u8]) {
    assert!(answers.get(3).is_none_or(|kind| *kind == 4), "{answers:?}");
    while let Some((header, rest)) = answers.split_first_chunk::<9>() {
        let [high, middle, low, kind, ..] = *header;
        let len = u32::from_be_bytes([0, high, middle, low]) as usize;
        assert!(kind <= 9 && len <= 16_384, "a frame of kind {kind} with {len} bytes");
        let Some(behind) = rest.get(len..) else { break };
        answers = behind;
    }
}

/// One answer of HTTP/1.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// The reports that are safe by its word.
    fn reports(&self) -> u64 {
        let rejected = self.body["rejected"].as_array().expect("what was rejected is named");
        self.body["accepted"].as_u64().expect("what was accepted is counted") + rejected.len() as u64
    }
}

/// Takes the bytes apart into answers, and says whether the last was torn: who sends nonsense and takes the answers byte by
/// byte is not waited for.
fn responses(mut bytes: &[u8]) -> (Vec<Answer>, bool) {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else { return (answers, true) };
        // The origin comes back as it came, and a header may hold any byte that is no control character.
        let head = String::from_utf8_lossy(&bytes[..end]);
        bytes = &bytes[end + 4..];
        let (line, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
        let line = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 ")).expect(line);
        let (status, reason) = line.split_once(' ').expect(line);
        assert!(status.len() == 3 && !reason.is_empty(), "{line}");
        let status: u16 = status.parse().unwrap();
        assert!(status != 500 && status != 503, "{head}");
        let fields =
            fields.split("\r\n").filter(|field| !field.is_empty()).map(|field| field.split_once(": ").unwrap());
        let fields: Vec<(&str, &str)> = fields.collect();
        let field = |name: &str| fields.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let len: usize = field("content-length").map_or(0, |len| len.parse().unwrap());
        // The answer to HEAD announces a body that does not come.
        let is_bare = bytes.is_empty() || bytes.starts_with(b"HTTP/1.");
        let body = if is_bare { Some(&bytes[..0]) } else { bytes.split_off(..len) };
        let Some(body) = body else { return (answers, true) };
        let is_json = !body.is_empty() && field("content-type") == Some("application/json");
        let body = if is_json { serde_json::from_slice(body).expect("JSON is JSON") } else { Value::Null };
        answers.push(Answer { status, body });
    }
    (answers, false)
}
