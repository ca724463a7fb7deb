//! What a run is asked to do, and why it may fail.

use crate::limits::{MAX_BATCH, MAX_SPAN, MAX_VERIFIED_REPORTS, MAX_VIEWERS};
use std::time::Duration;

/// Every viewer sends a report about this often; for the estimate of a run's size. ms of virtual time.
const REPORT_INTERVAL_MS: u64 = 3_000;

/// A run of the load generator.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The gateway, as in `http://127.0.0.1:8080`.
    pub target: String,
    /// A key of the gateway, once it knows keys.
    pub key: Option<String>,
    /// The site that the key, or the open gateway, stands for.
    pub site: String,
    /// Viewers at the same time.
    pub viewers: u32,
    /// How long they watch, in real time.
    pub duration: Duration,
    /// The same seed, the same viewers.
    pub seed: u64,
    /// How many times faster than real time they live.
    pub speedup: u32,
    /// Reports that a viewer gathers for one request.
    pub batch: usize,
    /// Requests under way at the same time.
    pub connections: usize,
    /// Connection URL of the database with the tables; without it there is no verdict on them.
    pub database: Option<String>,
    /// How long the tables may take to be complete.
    pub settle: Duration,
    /// Prefix of the ids of users, titles and lines; by default unique to the run, so that the database may be a
    /// used one.
    pub run: Option<String>,
}

impl Settings {
    /// A small run in real time, without a database.
    pub fn new(target: String) -> Settings {
        Settings {
            target,
            key: None,
            site: "default".to_owned(),
            viewers: 20,
            duration: Duration::from_secs(30),
            seed: 1,
            speedup: 1,
            batch: 1,
            connections: 256,
            database: None,
            settle: Duration::from_secs(120),
            run: None,
        }
    }

    /// Refuses what cannot be carried out.
    pub fn check(&self) -> Result<(), LoadError> {
        within("viewers", u64::from(self.viewers), 1, u64::from(MAX_VIEWERS))?;
        within("batch", self.batch as u64, 1, MAX_BATCH as u64)?;
        within("connections", self.connections as u64, 1, 65_535)?;
        within("speedup", u64::from(self.speedup), 1, 10_000)?;
        let span = self.duration * self.speedup;
        if span > MAX_SPAN {
            return Err(LoadError::Span { span_s: span.as_secs(), most_s: MAX_SPAN.as_secs() });
        }
        let reports = span.as_millis() as u64 / REPORT_INTERVAL_MS * u64::from(self.viewers);
        if self.database.is_some() && reports > MAX_VERIFIED_REPORTS {
            return Err(LoadError::TooManyToVerify { reports, most: MAX_VERIFIED_REPORTS });
        }
        Ok(())
    }
}

fn within(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), LoadError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(LoadError::Bounds { name, value, least, most }) }
}

/// Why a run has no verdict.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum LoadError {
    #[error("{name} is {value}, it must be between {least} and {most}")]
    Bounds { name: &'static str, value: u64, least: u64, most: u64 },
    #[error("viewers would live {span_s} s, which must stay under {most_s} s: lower the duration or the speedup")]
    Span { span_s: u64, most_s: u64 },
    #[error("about {reports} reports are too many to verify, {most} fit: run without a database or smaller")]
    TooManyToVerify { reports: u64, most: u64 },
    #[error("target {target} is no http address: {reason}")]
    Target { target: String, reason: String },
    #[error("gateway refused a request with {status}: {answer}")]
    Refused { status: u16, answer: String },
    #[error("gateway did not take a request in {tries} tries, the last failed with: {reason}")]
    Unreachable { tries: u32, reason: String },
    #[error("a viewer panicked")]
    Viewer,
    #[error("database: {0}")]
    Database(#[from] tokio_postgres::Error),
}
