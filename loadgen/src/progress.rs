//! Says how far a run is: a bar on a terminal, a line now and then in a log.

use crate::tally::Tally;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// Between two lines of a log.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far a run is.
pub(crate) enum Progress {
    Silent,
    Bar(ProgressBar),
    Lines { next: Duration, total: u64 },
}

impl Progress {
    /// Progress towards `total`: seconds or records.
    pub(crate) fn new(wanted: bool, total: u64, unit: &str) -> Progress {
        if !wanted {
            return Progress::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Progress::Lines { next: LINE_EVERY, total };
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4));
        let template = format!("{{bar:30}} {{pos}}/{{len}} {unit} {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    /// Of a load, so long after its start.
    pub(crate) fn show(&mut self, now: Duration, tally: &mut Tally) {
        tally.move_to(now);
        let rate = tally.moments.last().map_or(0, |moment| moment.requests);
        match self {
            Progress::Silent => {}
            Progress::Bar(bar) => {
                let ms = |quantile| tally.latencies.value_at_quantile(quantile) as f64 / 1e3;
                let (p50, p99) = (ms(0.5), ms(0.99));
                bar.set_message(format!(
                    "{rate} requests/s, p50 {p50:.2} ms, p99 {p99:.2} ms, {} retries",
                    tally.retries
                ));
                bar.set_position(now.as_secs().min(bar.length().unwrap_or(0)));
            }
            Progress::Lines { next, total } if now >= *next => {
                *next = now + LINE_EVERY;
                let p99_ms = tally.latencies.value_at_quantile(0.99) as f64 / 1e3;
                let (seconds, total, retries) = (now.as_secs(), *total, tally.retries);
                tracing::info!(seconds, total, requests = tally.requests, rate, p99_ms, retries, "viewers watch");
            }
            Progress::Lines { .. } => {}
        }
    }

    /// Of a log that is written, so long after the start.
    pub(crate) fn show_written(&mut self, now: Duration, written: u64) {
        match self {
            Progress::Silent => {}
            Progress::Bar(bar) => {
                bar.set_message(format!("{:.0} records/s", written as f64 / now.as_secs_f64()));
                bar.set_position(written);
            }
            Progress::Lines { next, total } if now >= *next => {
                *next = now + LINE_EVERY;
                tracing::info!(written, total = *total, seconds = now.as_secs(), "records are written");
            }
            Progress::Lines { .. } => {}
        }
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
