//! What is kept of a load for readers: the latencies as HdrHistogram's percentile text, and a report as one HTML file
//! that needs nothing besides itself.

mod page;
mod plot;

pub(crate) use page::page;

use crate::settings::LoadError;
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::path::Path;

/// Lines for each halving of what is left to 100 %.
const TICKS: u32 = 5;

/// Latencies (microseconds) in the percentile text that HdrHistogram's tools read; values in milliseconds.
pub(crate) fn hgrm(latencies: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut total = 0;
    for step in latencies.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let (ms, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
        let _ = if quantile < 1.0 {
            writeln!(text, "{ms:12.3} {quantile:2.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text, "{ms:12.3} {quantile:2.12} {total:10}")
        }; // a String takes everything
    }
    let (mean, deviation) = (latencies.mean() / 1e3, latencies.stdev() / 1e3);
    let (max, count) = (latencies.max() as f64 / 1e3, latencies.len());
    let buckets = (latencies.buckets(), (2 * 10_u32.pow(latencies.sigfig().into())).next_power_of_two());
    let _ = write!(
        text,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n\
         #[Max     = {max:12.3}, Total count    = {count:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        buckets.0, buckets.1
    );
    text
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), LoadError> {
    std::fs::write(path, text).map_err(|error| failed(path, &error))
}

/// Refuses a file that cannot be written, and leaves everything as it was.
pub(crate) fn check_writable(path: &Path) -> Result<(), LoadError> {
    let is_there = path.exists();
    let opened = OpenOptions::new().append(true).create(true).open(path).map(drop);
    let left = opened.and_then(|()| if is_there { Ok(()) } else { std::fs::remove_file(path) });
    left.map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> LoadError {
    LoadError::Output { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_text_has_the_form_that_tools_read() {
        let mut latencies = Histogram::new(3).unwrap();
        (1..=1_000).for_each(|us| latencies.record(us).unwrap());
        let text = hgrm(&latencies);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        );
        let median = lines.iter().find(|line| line.contains(" 0.500000000000 ")).unwrap();
        assert_eq!(median.split_whitespace().collect::<Vec<_>>(), ["0.500", "0.500000000000", "500", "2.00"]);
        assert!(lines.iter().any(|line| line.split_whitespace().eq(["1.000", "1.000000000000", "1000"])), "{text}");
        assert!(text.contains("SubBuckets     =         2048]"), "{text}");
        assert!(text.contains("#[Max     =        1.000, Total count    =         1000]"), "{text}");
    }
}
