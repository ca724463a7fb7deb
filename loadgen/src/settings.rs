//! What a run is asked to do, and why it may fail.

use crate::crowd::Part;
use crate::limits::{
    MAX_BATCH, MAX_BEHIND, MAX_CONNECTIONS, MAX_PARTS, MAX_RATE, MAX_RUN_CHARS, MAX_SPAN, MAX_VIEWERS,
};
use crate::profile::Profile;
use playback::validate::{SITE_CHARS, is_id};
use sql::database::Database;
use std::path::PathBuf;
use std::time::Duration;

/// A run of the load generator against a gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The gateway, as in `http://127.0.0.1:8080`.
    pub target: String,
    /// A key of the gateway, once it knows keys.
    pub key: Option<String>,
    /// The site that the key, or the open gateway, stands for.
    pub site: String,
    /// Who watches what; the other settings here take precedence over it.
    pub profile: Profile,
    /// Accounts.
    pub viewers: u32,
    /// How long they watch, in real time.
    pub duration: Duration,
    /// The same seed, the same viewers.
    pub seed: u64,
    /// How many times faster than real time they live.
    pub speedup: u32,
    /// Requests a second, whatever the viewers' beats would make.
    pub rate: Option<u32>,
    /// Reports that a device gathers for one request.
    pub batch: usize,
    /// Requests under way at the same time.
    pub connections: usize,
    /// HTTP/2 without negotiation, instead of HTTP/1.1.
    pub http2: bool,
    /// Which part of the viewers.
    pub part: Part,
    /// The database with the tables; without it there is no verdict on them.
    pub database: Option<Database>,
    /// Where to write the account of what the viewers did, for a later check.
    pub account: Option<PathBuf>,
    /// How long the tables may take to be complete.
    pub settle: Duration,
    /// Name of the run, which begins the ids of users, titles and lines; by default unique, so that the database may be a
    /// used one.
    pub run: Option<String>,
    /// Where to write the latencies as HdrHistogram's percentile text.
    pub hgrm: Option<PathBuf>,
    /// Where to write a report with plots.
    pub html: Option<PathBuf>,
    /// Whether to say how far it is.
    pub progress: bool,
}

impl Settings {
    /// A small run in real time, without a database.
    pub fn new(target: String) -> Settings {
        let profile = Profile::default();
        Settings {
            target,
            key: None,
            site: "default".to_owned(),
            viewers: profile.viewers,
            batch: profile.batch,
            rate: profile.rate,
            profile,
            duration: Duration::from_secs(30),
            seed: 1,
            speedup: 1,
            connections: 256,
            http2: false,
            part: Part::WHOLE,
            database: None,
            account: None,
            settle: Duration::from_secs(120),
            run: None,
            hgrm: None,
            html: None,
            progress: false,
        }
    }

    /// Refuses what cannot be carried out.
    pub fn check(&self) -> Result<(), LoadError> {
        within("viewers", u64::from(self.viewers), 1, u64::from(MAX_VIEWERS))?;
        within("batch", self.batch as u64, 1, MAX_BATCH as u64)?;
        within("connections", self.connections as u64, 1, MAX_CONNECTIONS as u64)?;
        within("speedup", u64::from(self.speedup), 1, 10_000)?;
        within("rate", u64::from(self.rate.unwrap_or(1)), 1, u64::from(MAX_RATE))?;
        check_part(self.part, self.viewers)?;
        check_ids(self.run.as_deref(), &self.site)?;
        if self.part.of > 1 && self.run.is_none() {
            return Err(LoadError::PartWithoutRun);
        }
        if self.part.of > 1 && self.database.is_some() {
            return Err(LoadError::PartWithDatabase);
        }
        check_span(self.duration.saturating_mul(self.speedup), self.duration)
    }

    /// Whether anybody wants to know what the viewers did.
    pub(crate) fn keeps_account(&self) -> bool {
        self.database.is_some() || self.account.is_some()
    }
}

/// Refuses names from which no valid ids can be made.
pub(crate) fn check_ids(run: Option<&str>, site: &str) -> Result<(), LoadError> {
    for (name, value, most) in [("run", run.unwrap_or("r"), MAX_RUN_CHARS), ("site", site, SITE_CHARS)] {
        if !is_id(value, most) {
            return Err(LoadError::Id { name, value: value.to_owned(), most });
        }
    }
    Ok(())
}

/// Refuses a part that is none of the whole.
pub(crate) fn check_part(part: Part, viewers: u32) -> Result<(), LoadError> {
    within("parts", u64::from(part.of), 1, u64::from(MAX_PARTS.min(viewers)))?;
    within("part", u64::from(part.number), 1, u64::from(part.of))
}

/// Refuses virtual time that is too long, or begins too early.
pub(crate) fn check_span(span: Duration, duration: Duration) -> Result<(), LoadError> {
    if span > MAX_SPAN {
        return Err(LoadError::Span { span_s: span.as_secs(), most_s: MAX_SPAN.as_secs() });
    }
    let behind = span.saturating_sub(duration);
    if behind > MAX_BEHIND {
        return Err(LoadError::Behind { behind_s: behind.as_secs(), most_s: MAX_BEHIND.as_secs() });
    }
    Ok(())
}

pub(crate) fn within(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), LoadError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(LoadError::Bounds { name, value, least, most }) }
}

/// Why a run has no verdict.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum LoadError {
    #[error("{name} is {value}, it must be between {least} and {most}")]
    Bounds { name: &'static str, value: u64, least: u64, most: u64 },
    #[error("{name} {value:?} is no id: it has 1 to {most} of A-Z, a-z, 0-9 and . _ : -")]
    Id { name: &'static str, value: String, most: usize },
    #[error(
        "{connections} connections need {needed} open files and this process may have {most}: raise its limit (ulimit -n), or lower --connections"
    )]
    OpenFiles { connections: usize, needed: u64, most: u64 },
    #[error("viewers would live {span_s} s, which must not be over {most_s} s: lower the duration or the speedup")]
    Span { span_s: u64, most_s: u64 },
    #[error(
        "the viewers' first reports would be {behind_s} s old, over {most_s} s some would be late: lower the speedup, or the duration"
    )]
    Behind { behind_s: u64, most_s: u64 },
    #[error("so few viewers make {natural} requests a second: {rate} would need more of them, or a shorter run")]
    Rate { natural: u64, rate: u32 },
    #[error("a part of a run needs the run's name, the same for all parts (--run)")]
    PartWithoutRun,
    #[error(
        "the tables show all parts of a run: give no part a database (neither --database-url nor WATCHBEAT_DATABASE_URL), let each write its account (--account) and check them together (loadgen verify)"
    )]
    PartWithDatabase,
    #[error("profile {name}: {reason}")]
    Profile { name: String, reason: String },
    #[error("target {target} is no http address: {reason}")]
    Target { target: String, reason: String },
    #[error("gateway refused a request with {status}: {answer}")]
    Refused { status: u16, answer: String },
    #[error("gateway answered a request of {reports} reports that it accepted {accepted} and rejected {rejected}")]
    Miscounted { reports: u64, accepted: u64, rejected: u64 },
    #[error("gateway did not take a request in {tries} tries, the last failed with: {reason}")]
    Unreachable { tries: u32, reason: String },
    #[error("the load stopped")]
    Io(#[from] std::io::Error),
    #[error("the load panicked")]
    Panicked,
    #[error("the database cannot be reached")]
    Connect(#[from] sql::database::ConnectError),
    #[error("the database failed")]
    Database(#[from] tokio_postgres::Error),
    #[error("account {path}: {reason}")]
    AccountFile { path: String, reason: String },
    #[error("run {run}: not everything was taken, so nothing can be judged")]
    NotWhole { run: String },
    #[error("no account was named")]
    NoAccount,
    #[error("accounts of the runs {one} and {other} do not belong together")]
    OtherRun { one: String, other: String },
    #[error("run {run}: two accounts are of the same viewers")]
    SamePart { run: String },
    #[error("{path}: {reason}")]
    Output { path: String, reason: String },
    #[error("the log failed")]
    Log(#[from] topic::LogError),
    #[error(
        "the disk of {path} has {free} MB free, the log would take about {needed} MB: make room, or write fewer heartbeats"
    )]
    Disk { path: String, free: u64, needed: u64 },
    #[error(
        "stopped, and the log does not acknowledge what it was given: it may hold a part of the day, which nothing accounts for"
    )]
    Unacknowledged,
    #[error(
        "writing took so long that reports of {at_ms} would be late: write fewer heartbeats, or to a faster log; it holds a part of the day, which nothing accounts for"
    )]
    TooSlow { at_ms: i64 },
}
