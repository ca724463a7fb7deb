//! Logs to standard error and metrics for Prometheus. What is logged or counted is the business of the other crates.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::{limits, process};

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no filter.
    #[error("log filter `{filter}` is invalid ({reason}), write for example `info` or `info,processor=debug`")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else installed a subscriber before.
    #[error("logging is already set up in this process")]
    Twice,
}

/// Sends events that pass `filter` (`info`, `info,processor=debug`, …) to standard error, as text or as one JSON object a line.
/// Standard output stays free: it is the protocol of some commands.
///
/// # Errors
/// The filter is invalid, or logging is set up already.
pub fn init(json: bool, filter: &str) -> Result<(), TelemetryError> {
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), reason: error.to_string() })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let installed = if json {
        subscriber.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        use std::io::IsTerminal;
        subscriber.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    installed.map_err(|_| TelemetryError::Twice)
}

/// The metrics of this process, to be rendered for Prometheus. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics {
    recorder: PrometheusHandle,
}

/// Installs the recorder behind the `metrics` macros and returns a handle to it. The macros have one recorder per process,
/// so a second call returns the same metrics; the roles of one process share them.
pub fn install_metrics() -> Metrics {
    static INSTALLED: OnceLock<Metrics> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets(&limits::SIZES)
                .and_then(|builder| {
                    builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &limits::SECONDS)
                })
                .expect("the bucket lists are not empty")
                .install_recorder()
                .expect("nothing else in this program installs a recorder");
            metrics::describe_gauge!("watchbeat_build_info", "The version of the program, with the constant value 1.");
            metrics::gauge!("watchbeat_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            Metrics { recorder }
        })
        .clone()
}

impl Metrics {
    /// All metrics in the text format of Prometheus, those of the process itself included.
    pub fn render(&self) -> String {
        let mut text = self.recorder.render();
        process::render(&mut text);
        text
    }

    /// Folds recorded samples into their buckets; [`crate::serve_admin`] does it every few seconds.
    pub(crate) fn fold(&self) {
        self.recorder.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_buckets_of_seconds() {
        let metrics = install_metrics();
        metrics::histogram!("test_flush_seconds").record(0.003);
        let text = metrics.render();
        assert!(text.contains("test_flush_seconds_bucket{le=\"0.0025\"} 0"), "{text}");
        assert!(text.contains("test_flush_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }

    #[test]
    fn a_size_falls_into_buckets_of_sizes() {
        let metrics = install_metrics();
        metrics::histogram!("test_flush_rows").record(200.0);
        let text = metrics.render();
        assert!(text.contains("test_flush_rows_bucket{le=\"64\"} 0"), "{text}");
        assert!(text.contains("test_flush_rows_bucket{le=\"256\"} 1"), "{text}");
    }

    #[test]
    fn the_build_and_the_process_are_among_the_metrics() {
        let text = install_metrics().render();
        for name in ["watchbeat_build_info{version=", "process_cpu_seconds_total ", "process_resident_memory_bytes "] {
            assert!(text.contains(name), "{name} is not in {text}");
        }
    }

    #[test]
    fn an_invalid_filter_is_refused_by_name() {
        let error = init(false, "info,processor=loud").expect_err("`loud` is no level");
        assert!(error.to_string().starts_with("log filter `info,processor=loud` is invalid"), "{error}");
    }
}
