//! `watchbeat capacity`: how many cores, partitions and bytes a day of viewers takes, from what each heartbeat was measured
//! to cost.

use crate::migrate::PARTITIONS;
use crate::output;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// What a heartbeat costs, measured on one machine; `docs/capacity.md` says how each was.
mod cost {
    /// CPU that a request of one report takes, and each further report of it; µs.
    pub(super) struct Request {
        first_us: f64,
        further_us: f64,
    }

    impl Request {
        /// Of a request of so many reports.
        pub(super) fn us(&self, reports: f64) -> f64 {
            self.first_us + (reports - 1.0) * self.further_us
        }
    }

    /// CPU of a gateway.
    pub(super) const GATEWAY: Request = Request { first_us: 24.0, further_us: 2.0 };
    /// CPU of Kafka for a heartbeat and what becomes of it, written once and read once.
    pub(super) const KAFKA: Request = Request { first_us: 12.0, further_us: 3.4 };
    /// CPU of a processor with the shipped views.
    pub(super) const PROCESSOR: Request = Request { first_us: 6.0, further_us: 1.8 };
    /// CPU of a sink for each row it writes, µs.
    pub(super) const SINK_ROW_US: f64 = 2.3;
    /// CPU of the database for each row, µs.
    pub(super) const DATABASE_ROW_US: f64 = 6.3;
    /// Memory of a processor besides its sessions, bytes.
    pub(super) const PROCESSOR_BYTES: f64 = 1_040e6;
    /// Memory of a processor for each session of the last 24 h, bytes.
    pub(super) const SESSION_BYTES: f64 = 333.0;
    /// A heartbeat on the log, compressed, bytes.
    pub(super) const RECORD_BYTES: f64 = 54.5;
    /// What it adds to the log of partials, bytes.
    pub(super) const PARTIAL_BYTES: f64 = 6.5;
    /// All tables by the number of sessions in them, indexes included, bytes.
    pub(super) const TABLE_BYTES_PER_SESSION: f64 = 1_650.0;
}

/// Rows of its own that a session with new heartbeats has in a flush: itself, a segment, a resume position.
const ROWS_PER_REQUEST: f64 = 3.0;
/// Rows of `video_retention`: a bucket of ten seconds is two beats, and a request rarely begins with one.
const BUCKETS_PER_REPORT: f64 = 0.5;
/// Cores are planned to be at most so busy at the peak: the rest is for restarts, which have a backlog to work off.
const UTILISATION: f64 = 0.6;
/// The day's peak by its mean, in the shipped profile `day`.
const PEAK_BY_MEAN: f64 = 5.8;
/// Days that the topics keep, as `watchbeat migrate` sets them.
const KEPT_DAYS: f64 = 7.0;

#[derive(Debug, Args)]
pub(crate) struct CapacityFlags {
    /// Viewers a day
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    viewers: u64,
    /// How long each watches a day; h
    #[arg(long, default_value_t = 2.08, value_parser = positive)]
    hours: f64,
    /// How often a player reports; s
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    interval: f64,
    /// Reports that a player gathers for one request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=ingest::MAX_REPORTS as i64))]
    batch: u32,
    /// Heartbeats a second at the peak; else 5.8 times the mean
    #[arg(long, value_parser = positive)]
    peak: Option<f64>,
    /// Sessions that a viewer begins a day; as many as in the profile `day`
    #[arg(long, default_value_t = 7.9, value_parser = positive)]
    sessions: f64,
    /// Copies that Kafka keeps of each record
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    replication: u32,
    /// One object of JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// What a deployment needs.
#[derive(Debug, PartialEq)]
struct Plan {
    heartbeats_per_day: f64,
    peak_per_second: f64,
    gateway_cores: f64,
    kafka_cores: f64,
    processor_cores: f64,
    processor_bytes: f64,
    sink_cores: f64,
    database_cores: f64,
    rows_per_second: f64,
    partitions: u64,
    kafka_bytes_per_day: f64,
    kafka_bytes: f64,
    kafka_bytes_per_second: f64,
    database_bytes_per_day: f64,
}

impl CapacityFlags {
    fn plan(&self) -> Plan {
        let heartbeats_per_day = self.viewers as f64 * self.hours * 3_600.0 / self.interval;
        let mean = heartbeats_per_day / 86_400.0;
        let peak = self.peak.unwrap_or(mean * PEAK_BY_MEAN);
        let batch = f64::from(self.batch);
        let rows_per_request = ROWS_PER_REQUEST + BUCKETS_PER_REPORT * (batch + 1.0);
        let rows_per_second = peak / batch * rows_per_request;
        let sessions_per_day = self.viewers as f64 * self.sessions;
        let cores = |per_second: f64, us: f64| per_second * us / 1e6 / UTILISATION;
        let processor_cores = cores(peak / batch, cost::PROCESSOR.us(batch));
        let sink_cores = cores(rows_per_second, cost::SINK_ROW_US);
        let on_log = (cost::RECORD_BYTES + cost::PARTIAL_BYTES) * f64::from(self.replication);
        Plan {
            heartbeats_per_day,
            peak_per_second: peak,
            gateway_cores: cores(peak / batch, cost::GATEWAY.us(batch)),
            kafka_cores: cores(peak / batch, cost::KAFKA.us(batch)) * f64::from(self.replication),
            processor_cores,
            processor_bytes: cost::PROCESSOR_BYTES * processor_cores.ceil() + sessions_per_day * cost::SESSION_BYTES,
            sink_cores,
            database_cores: cores(rows_per_second, cost::DATABASE_ROW_US),
            rows_per_second,
            // So that several times as many processors or sinks as are needed can share them evenly.
            partitions: (processor_cores.max(sink_cores).ceil() as u64 * 4).next_power_of_two().max(PARTITIONS.into()),
            kafka_bytes_per_day: heartbeats_per_day * on_log,
            kafka_bytes: heartbeats_per_day * on_log * KEPT_DAYS,
            kafka_bytes_per_second: peak * on_log,
            database_bytes_per_day: sessions_per_day * cost::TABLE_BYTES_PER_SESSION,
        }
    }
}

impl Plan {
    fn json(&self) -> Value {
        json!({
            "heartbeats_per_day": self.heartbeats_per_day.round(),
            "peak_heartbeats_per_second": self.peak_per_second.round(),
            "gateway_cores": tenths(self.gateway_cores),
            "kafka_cores": tenths(self.kafka_cores),
            "processor_cores": tenths(self.processor_cores),
            "processor_bytes": self.processor_bytes.round(),
            "sink_cores": tenths(self.sink_cores),
            "database_cores": tenths(self.database_cores),
            "database_rows_per_second": self.rows_per_second.round(),
            "partitions": self.partitions,
            "kafka_bytes_per_day": self.kafka_bytes_per_day.round(),
            "kafka_bytes": self.kafka_bytes.round(),
            "kafka_bytes_per_second": self.kafka_bytes_per_second.round(),
            "database_bytes_per_day": self.database_bytes_per_day.round(),
        })
    }

    fn table(&self) -> String {
        let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
        let cores = |cores: f64| format!("{cores:.1} cores");
        let rows = [
            ("heartbeats a day", format!("{:.0} million", self.heartbeats_per_day / 1e6)),
            ("at the peak", format!("{:.0} a second", self.peak_per_second)),
            ("gateways", cores(self.gateway_cores)),
            ("processors", format!("{}, {}", cores(self.processor_cores), gigabytes(self.processor_bytes))),
            ("sinks", cores(self.sink_cores)),
            ("database", format!("{}, {:.0} rows a second", cores(self.database_cores), self.rows_per_second)),
            ("database growth", format!("{} a day", gigabytes(self.database_bytes_per_day))),
            ("partitions", self.partitions.to_string()),
            ("Kafka", cores(self.kafka_cores)),
            (
                "Kafka's disks",
                format!("{} a day, {} kept", gigabytes(self.kafka_bytes_per_day), gigabytes(self.kafka_bytes)),
            ),
            ("Kafka at the peak", format!("{:.1} MB/s", self.kafka_bytes_per_second / 1e6)),
        ];
        rows.map(|(name, value)| format!("{name:<20}{value}")).join("\n")
    }
}

fn tenths(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

/// Prints the plan.
pub(crate) fn run(flags: &CapacityFlags) -> anyhow::Result<ExitCode> {
    let plan = flags.plan();
    if flags.json {
        output::line(plan.json())?;
    } else {
        output::line(plan.table())?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::{CapacityFlags, Plan};
    use clap::{Args, Command, FromArgMatches};

    fn plan(line: &str) -> Plan {
        let command = CapacityFlags::augment_args(Command::new("capacity").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
        CapacityFlags::from_arg_matches(&matches).unwrap().plan()
    }

    #[test]
    fn the_default_is_the_day_of_300_million_with_20_000_a_second_in_the_evening() {
        let day = plan("");
        assert!((day.heartbeats_per_day - 300e6).abs() < 3e6, "{day:?}");
        assert!((day.peak_per_second - 20_000.0).abs() < 500.0, "{day:?}");
    }

    #[test]
    fn the_default_takes_what_the_whole_day_was_measured_to_take() {
        let day = plan("");
        let gigabytes = |bytes: f64| bytes / 1e9;
        assert!((gigabytes(day.database_bytes_per_day) - 2.6).abs() < 0.1, "{day:?}");
        // The log of heartbeats and that of partials, in three copies.
        assert!((gigabytes(day.kafka_bytes_per_day) / 3.0 - 18.7).abs() < 1.0, "{day:?}");
    }

    #[test]
    fn cores_grow_with_the_peak_and_bytes_with_the_day() {
        let (day, more, higher) = (plan(""), plan("--viewers 400000 --peak 20000"), plan("--peak 40000"));
        assert!((more.kafka_bytes / day.kafka_bytes - 2.0).abs() < 1e-9);
        assert_eq!(more.heartbeats_per_day / 2.0, higher.heartbeats_per_day);
        assert!((higher.processor_cores / more.processor_cores - 2.0).abs() < 1e-9);
        assert!(plan("--batch 12").gateway_cores < day.gateway_cores / 4.0);
    }
}
