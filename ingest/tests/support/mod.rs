//! A gateway on the embedded log in a folder of its own, and a client that sends exactly the bytes it is given.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use ingest::{Listeners, Settings};
use playback::record::Record;
use prost::Message;
use serde_json::Value;
use service::{Readiness, Stop, TaskError};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use topic::{FromTheStart, Log, TopicSpec};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A zstd frame without content, which every decoder skips.
pub(crate) const SKIPPED_FRAME: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    pub(crate) readiness: Readiness,
    pub(crate) stop: Stop,
    serving: JoinHandle<Result<(), TaskError>>,
    _dir: TempDir,
}

impl Gateway {
    /// Starts a gateway; `keys` is the text of its keys file.
    pub(crate) async fn start(keys: Option<&str>) -> Gateway {
        Gateway::start_on(keys, "heartbeats", 1 << 20).await
    }

    /// Starts a gateway that writes `topic`; the topics there are take records up to `max_message_bytes`.
    pub(crate) async fn start_on(keys: Option<&str>, topic: &str, max_message_bytes: u32) -> Gateway {
        Gateway::start_with(keys, max_message_bytes, |settings, _| settings.heartbeats_topic = topic.to_owned()).await
    }

    /// The same with other settings; files may be put into the folder that is given.
    pub(crate) async fn start_with(
        keys: Option<&str>,
        max_message_bytes: u32,
        change: impl FnOnce(&mut Settings, &Path),
    ) -> Gateway {
        let dir = TempDir::new().unwrap();
        let log = Log::embedded(&dir.path().join("log")).unwrap();
        for name in ["heartbeats", "dead_letters"] {
            let spec =
                TopicSpec { name: name.to_owned(), partitions: 4, replication: 1, retention_ms: -1, max_message_bytes };
            log.create_topic(&spec).await.unwrap();
        }
        let keys = keys.map(|text| {
            let path = dir.path().join("keys.json");
            std::fs::write(&path, text).unwrap();
            path
        });
        let topics = Settings::new("heartbeats".to_owned(), "dead_letters".to_owned());
        let mut settings = Settings { keys, linger: Duration::ZERO, ..topics };
        change(&mut settings, dir.path());
        let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap(), None, 2).unwrap();
        let address = listeners.local_addr().unwrap();
        let (readiness, stop) = (Readiness::new(), Stop::new());
        let serving = tokio::spawn(ingest::serve(listeners, log.clone(), settings, readiness.clone(), stop.clone()));
        Gateway { address, log, readiness, stop, serving, _dir: dir }
    }

    /// Sends a body with these header lines to a path.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.request("POST", path, headers, body).await
    }

    pub(crate) async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        reply(stream).await
    }

    /// The status of an answer to a request without a body.
    pub(crate) async fn status(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.request(method, path, headers, b"").await.status
    }

    /// Sends JSON reports, one body.
    pub(crate) async fn post_json(&self, body: &str) -> Reply {
        self.post("/v1/heartbeats", &[("Content-Type", "application/json")], body.as_bytes()).await
    }

    /// Waits until the gateway says so of itself.
    pub(crate) async fn until_ready(&self, is_ready: bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.readiness.is_ready() != is_ready {
            assert!(Instant::now() < deadline, "{:?}", self.readiness.reasons());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The records of the heartbeats topic, once there are `count`.
    pub(crate) async fn records(&self, count: usize) -> Vec<Record> {
        let values = self.values("heartbeats", count).await;
        values.iter().map(|value| Record::decode(value.as_slice()).unwrap()).collect()
    }

    /// The dead letters, once there are `count`.
    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<Value> {
        let values = self.values("dead_letters", count).await;
        values.iter().map(|value| serde_json::from_slice(value).unwrap()).collect()
    }

    async fn values(&self, topic: &'static str, count: usize) -> Vec<Vec<u8>> {
        let log = self.log.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut consumer = log.consumer(topic, "test", Box::new(FromTheStart)).unwrap();
            let mut values = Vec::new();
            let deadline = Instant::now() + PATIENCE;
            while values.len() < count {
                assert!(Instant::now() < deadline, "{} records instead of {count} on {topic}", values.len());
                consumer
                    .poll(Duration::from_millis(20), 1_000, &mut |records| {
                        values.extend(records.iter().map(|record| record.value.to_vec()));
                    })
                    .unwrap();
            }
            values
        });
        let values = reading.await.unwrap();
        let ends = self.log.end_offsets(topic).await.unwrap();
        assert_eq!(ends.iter().sum::<u64>(), count as u64, "nothing more is on {topic}");
        values
    }

    /// Asks it to stop and waits for its end.
    pub(crate) async fn stop(self) -> Result<(), TaskError> {
        self.stop.request();
        tokio::time::timeout(PATIENCE, self.serving).await.expect("the gateway ends").unwrap()
    }
}

/// An answer; `body` is null when there is none, and a string when it is no JSON.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Reply {
    /// The code of the whole request, or of its first refused report.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().or(self.body["rejected"][0]["code"].as_str()).unwrap_or("")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Reads an answer to the end of the connection.
pub(crate) async fn reply(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head[9..12].parse().unwrap();
    let body = match body {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    };
    Reply { status, head: head.to_owned(), body }
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A valid report of user `u`, number `seq`, with more fields.
pub(crate) fn report(seq: u32, more: &str) -> String {
    let event_time = now_ms();
    format!(
        r#"{{"session_id":"s","seq":{seq},"user_id":"u","video_id":"v","event_time":{event_time},"position_ms":1000{more}}}"#
    )
}
