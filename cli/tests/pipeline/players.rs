//! Players who post random logs: each log is a site of its own with a key of its own, posted in order, in requests of
//! random length.

use playback::model::{Logged, RandomLog, body, random_log};
use playback::random::Random;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One random log on its way: the bodies of its reports by site.
pub(crate) struct Script {
    seed: u64,
    sites: BTreeMap<String, Vec<String>>,
}

/// The random log of a seed, so far past that the gateway takes it.
pub(crate) fn script(seed: u64, reports: usize) -> Script {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let log = random_log(RandomLog { seed, reports, start: now - 4 * 3_600_000, outage: false });
    let mut sites: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Logged { record, .. } in &log {
        sites.entry(format!("{}-{seed}", record.site)).or_default().push(body(record));
    }
    Script { seed, sites }
}

/// Writes the keys of all scripts' sites; a site's key is `key-SITE`.
pub(crate) fn write_keys(dir: &Path, scripts: &[Script]) -> PathBuf {
    let sites = scripts.iter().flat_map(|script| script.sites.keys());
    let entries: Vec<_> = sites.map(|site| serde_json::json!({"key": format!("key-{site}"), "site": site})).collect();
    let file = dir.join("keys.json");
    std::fs::write(&file, serde_json::to_vec(&entries).unwrap()).unwrap();
    file
}

impl Script {
    /// Every report: its site and its body.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sites.iter().flat_map(|(site, bodies)| bodies.iter().map(move |body| (site.as_str(), body.as_str())))
    }

    /// Reports in it.
    pub(crate) fn reports(&self) -> usize {
        self.sites.values().map(Vec::len).sum()
    }

    /// Posts all of it, `pause` after each request; says how many reports the gateway accepted.
    pub(crate) fn play(&self, gateway: &str, pause: Duration) -> usize {
        let random = &mut Random::new(self.seed ^ 0x5eed);
        let mut client = Client::new(gateway);
        let mut accepted = 0;
        for (site, bodies) in &self.sites {
            let mut left = bodies.as_slice();
            while !left.is_empty() {
                let (batch, rest) = left.split_at(left.len().min(1 + random.below(40) as usize));
                let text = if random.chance(50) { format!("[{}]", batch.join(",")) } else { batch.join("\n") };
                accepted += client.post(site, &text);
                left = rest;
                std::thread::sleep(pause);
            }
        }
        accepted
    }
}

/// A player's connection, kept alive.
struct Client {
    address: String,
    stream: Option<TcpStream>,
}

impl Client {
    fn new(gateway: &str) -> Client {
        Client { address: gateway.trim_start_matches("http://").to_owned(), stream: None }
    }

    /// Posts until the answer is 202: a player sends again what was not acknowledged.
    fn post(&mut self, site: &str, body: &str) -> usize {
        for _ in 0..600 {
            match self.try_post(site, body) {
                Ok((202, answer)) => return accepted(&answer),
                Ok((status @ (429 | 503), _)) => println!("the gateway answered {status}, sending again"),
                Ok((status, answer)) => panic!("the gateway answered {status}: {answer}"),
                Err(_) => self.stream = None,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the gateway took no report for a minute");
    }

    fn try_post(&mut self, site: &str, body: &str) -> std::io::Result<(u16, String)> {
        if self.stream.is_none() {
            self.stream = Some(TcpStream::connect(&self.address)?);
        }
        let stream = self.stream.as_mut().unwrap();
        let request = format!(
            "POST /v1/heartbeats HTTP/1.1\r\nhost: {}\r\nx-watchbeat-key: key-{site}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        );
        stream.write_all(request.as_bytes())?;
        answer(stream)
    }
}

/// Status and body of one answer.
fn answer(stream: &mut TcpStream) -> std::io::Result<(u16, String)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(|length| length.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return Ok((head[9..12].parse().unwrap(), body.to_owned()));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
}

fn accepted(answer: &str) -> usize {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer["rejected"], serde_json::json!([]), "the reports of random logs are valid");
    answer["accepted"].as_u64().unwrap() as usize
}
