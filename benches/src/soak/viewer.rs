//! The viewers of a soak: each sends a report every few seconds, and the same one again until it has a 202, as a player
//! does. So in the end each knows exactly what the tables must say about it.

use crate::framing::{message_bytes, status};
use crate::role::now_ms;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Content of one report.
pub(super) const REPORT_MS: u64 = 5_000;
/// How long a viewer waits for an answer before it tries again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Pause before the next try; each viewer's own is a little longer, so that they do not come all at once.
const RETRY_AFTER_MS: u64 = 1_000;
/// Without a 202 for this long a run has failed: more than any outage and its aftermath.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// All viewers of a run.
#[derive(Clone, Copy)]
pub(super) struct Crowd {
    pub(super) target: SocketAddr,
    pub(super) sessions: u64,
    pub(super) reports_per_second: u64,
    pub(super) duration: Duration,
    /// Tells the sessions of runs apart.
    pub(super) run: i64,
}

/// What the viewers were told.
#[derive(Default)]
pub(super) struct Told {
    /// Acknowledged reports by session; every one that was sent.
    pub(super) sessions: BTreeMap<String, u64>,
    pub(super) tries: u64,
    pub(super) answers: BTreeMap<u16, u64>,
    /// Tries without an answer.
    pub(super) broken: u64,
    pub(super) longest_wait: Duration,
}

impl Told {
    pub(super) fn acknowledged(&self) -> u64 {
        self.sessions.values().sum()
    }

    fn add(&mut self, other: Told) {
        self.sessions.extend(other.sessions);
        self.tries += other.tries;
        self.broken += other.broken;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        for (status, answers) in other.answers {
            *self.answers.entry(status).or_default() += answers;
        }
    }
}

impl Crowd {
    /// Plays until the time is up and every report has its 202.
    pub(super) async fn play(self) -> Result<Told> {
        let started = Instant::now();
        let viewers: Vec<_> = (0..self.sessions).map(|number| tokio::spawn(self.watch(number, started))).collect();
        let mut told = Told::default();
        for viewer in viewers {
            told.add(viewer.await??);
        }
        Ok(told)
    }

    /// One viewer. After a while in which it could not send, it sends what is due, one after another.
    async fn watch(self, number: u64, started: Instant) -> Result<Told> {
        let session = format!("soak-{}-{number:06}", self.run);
        let period = Duration::from_secs_f64(self.sessions as f64 / self.reports_per_second as f64);
        let mut viewer = Viewer { target: self.target, number, stream: None, told: Told::default() };
        let mut seq = 0;
        loop {
            let due = period.mul_f64(seq as f64 + number as f64 / self.sessions as f64);
            if due >= self.duration {
                viewer.told.sessions.insert(session, seq);
                return Ok(viewer.told);
            }
            sleep_until(started + due).await;
            viewer.insist(&report(&session, number, seq)).await?;
            seq += 1;
        }
    }
}

struct Viewer {
    target: SocketAddr,
    number: u64,
    stream: Option<TcpStream>,
    told: Told,
}

impl Viewer {
    /// Sends a body until it is acknowledged.
    async fn insist(&mut self, body: &str) -> Result<()> {
        let request = format!(
            "POST /v1/heartbeats HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.target,
            body.len()
        );
        let began = Instant::now();
        loop {
            self.told.tries += 1;
            match timeout(ANSWER_TIMEOUT, self.send(request.as_bytes())).await {
                Ok(Ok((202, answer))) => {
                    ensure!(answer.contains(r#""accepted":1,"#), "a valid report was answered {answer}");
                    *self.told.answers.entry(202).or_default() += 1;
                    self.told.longest_wait = self.told.longest_wait.max(began.elapsed());
                    return Ok(());
                }
                Ok(Ok((status @ (429 | 503), _))) => *self.told.answers.entry(status).or_default() += 1,
                Ok(Ok((status, answer))) => bail!("a valid report was answered {status}: {answer}"),
                Ok(Err(_)) | Err(_) => {
                    self.stream = None;
                    self.told.broken += 1;
                }
            }
            ensure!(began.elapsed() < GIVE_UP_AFTER, "a report was not acknowledged for {GIVE_UP_AFTER:?}");
            sleep(Duration::from_millis(RETRY_AFTER_MS + self.number % RETRY_AFTER_MS)).await;
        }
    }

    /// One try on the connection there is, or a new one.
    async fn send(&mut self, request: &[u8]) -> Result<(u16, String)> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.target).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().context("just connected")?;
        stream.write_all(request).await?;
        let mut answer = Vec::with_capacity(512);
        while message_bytes(&answer).is_none() {
            ensure!(stream.read_buf(&mut answer).await? > 0, "closed");
        }
        Ok((status(&answer), String::from_utf8_lossy(&answer).into_owned()))
    }
}

fn report(session: &str, number: u64, seq: u64) -> String {
    format!(
        r#"{{"session_id":"{session}","seq":{seq},"user_id":"user-{number:06}","video_id":"title-{:03}","event_time":{},"from_ms":{},"position_ms":{},"played_ms":{REPORT_MS},"territory":"DE","device":"tv"}}"#,
        number % 500,
        now_ms(),
        seq * REPORT_MS,
        (seq + 1) * REPORT_MS,
    )
}
