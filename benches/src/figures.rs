//! What a load came to: answers, costs and latencies; and how every benchmark tells its figures.

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// What came of a load, in the time that counts.
pub(crate) struct Figures {
    /// Answered requests by status.
    pub(crate) answers: BTreeMap<u16, u64>,
    /// Requests without an answer, because the connection broke or the time was up.
    pub(crate) unanswered: u64,
    pub(crate) wall_seconds: f64,
    pub(crate) server_cpu_seconds: f64,
    pub(crate) load_cpu_seconds: f64,
    /// Microseconds.
    pub(crate) latencies: Histogram<u64>,
}

impl Figures {
    pub(crate) fn new() -> Result<Figures> {
        Ok(Figures {
            answers: BTreeMap::new(),
            unanswered: 0,
            wall_seconds: 0.0,
            server_cpu_seconds: 0.0,
            load_cpu_seconds: 0.0,
            latencies: Histogram::new(3)?,
        })
    }

    pub(crate) fn requests(&self) -> u64 {
        self.answers.values().sum()
    }

    pub(crate) fn rate(&self) -> f64 {
        self.requests() as f64 / self.wall_seconds
    }

    pub(crate) fn server_us(&self) -> f64 {
        self.server_cpu_seconds * 1e6 / self.requests() as f64
    }

    pub(crate) fn load_us(&self) -> f64 {
        self.load_cpu_seconds * 1e6 / self.requests() as f64
    }

    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "requests": self.requests(),
            "errors": self.errors(),
            "answers": self.answers,
            "unanswered": self.unanswered,
            "requests_per_second": self.rate().round(),
            "server_us_per_request": self.server_us(),
            "load_us_per_request": self.load_us(),
            "p50_ms": self.latency_ms(0.5),
            "p99_ms": self.latency_ms(0.99),
            "p999_ms": self.latency_ms(0.999),
        })
    }

    /// Requests that were not taken.
    pub(crate) fn errors(&self) -> u64 {
        let refused = self.answers.iter().filter(|(status, _)| !matches!(status, 202 | 204));
        self.unanswered + refused.map(|(_, requests)| requests).sum::<u64>()
    }

    /// Figures of errors are none.
    pub(crate) fn all_taken(self) -> Result<Figures> {
        ensure!(self.errors() == 0, "not every request was taken: {:?}, {} unanswered", self.answers, self.unanswered);
        ensure!(self.requests() > 0, "no request was answered");
        Ok(self)
    }
}

/// The middle one of a figure of some rounds.
pub(crate) fn median<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

/// As many digits as the figure is worth.
pub(crate) fn round_2(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// The one line of JSON that a benchmark ends with.
#[allow(clippy::print_stdout)] // it is the output
pub(crate) fn print_line(figures: &serde_json::Value) {
    println!("{figures}");
}
