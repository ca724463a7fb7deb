//! The flags that several roles share, and what they make: a log, a database URL, an admin port.

use crate::kafka_certificates;
use crate::kafka_setting::{Settings, SettingsParser};
use anyhow::{Context, Result, bail};
use clap::Args;
use playback::kernel::Parameters;
use sql::database::Database;
use std::net::SocketAddr;
use std::path::PathBuf;
use topic::{KafkaSettings, Log, LogError, TopicSpec};

/// Bytes of the largest message on the topics other than that of partials, 1 MiB.
const MESSAGE_BYTES: u32 = 1 << 20;
const DAY_MS: i64 = 86_400_000;

/// How to reach Kafka, and which topics are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogFlags {
    /// Kafka brokers to begin with, HOST:PORT separated by commas
    #[arg(long, env = "WATCHBEAT_BROKERS")]
    pub(crate) brokers: String,
    /// Setting of the Kafka client (librdkafka's name), such as security.protocol=SASL_SSL; may be repeated
    ///
    /// In the environment a list: security.protocol=SASL_SSL,sasl.username=watchbeat. A value may have commas, but there none with a name of
    /// small letters, digits, dots and underscores and an equals sign behind it: with those the next setting begins.
    #[arg(long = "kafka-setting", env = "WATCHBEAT_KAFKA_SETTINGS", value_name = "KEY=VALUE", value_parser = SettingsParser, hide_env_values = true)]
    kafka_settings: Vec<Settings>,
    /// Begins the name of every topic (heartbeats, partials, late, dead_letters) and consumer group
    #[arg(long, env = "WATCHBEAT_TOPIC_PREFIX", default_value = "")]
    pub(crate) topic_prefix: String,
}

impl LogFlags {
    /// The log they name.
    pub(crate) fn log(&self) -> Result<Log> {
        Ok(Log::kafka(&KafkaSettings { brokers: self.brokers.clone(), client: self.client() })?)
    }

    /// Sets the metrics that tell of the flags.
    pub(crate) fn tell(&self) {
        kafka_certificates::tell_expiry(&self.client());
    }

    fn client(&self) -> Vec<(String, String)> {
        self.kafka_settings.iter().flat_map(|Settings(settings)| settings.clone()).collect()
    }

    /// The topics they name, of the pipeline of this name.
    pub(crate) fn topics(&self, pipeline: &str) -> Topics {
        Topics::new(&self.topic_prefix, pipeline)
    }
}

/// The names of the topics, and of what is kept of them.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    pub(crate) heartbeats: String,
    pub(crate) partials: String,
    pub(crate) late: String,
    pub(crate) dead_letters: String,
    pub(crate) process_group: String,
    pub(crate) sink_group: String,
    /// Folder of the pipeline's snapshots in their storage.
    pub(crate) snapshots: String,
}

/// The pipeline unless told.
pub(crate) const MAIN_PIPELINE: &str = "main";

impl Topics {
    /// The topics whose names begin with `prefix`. All pipelines read the same heartbeats; what one writes is its own.
    pub(crate) fn new(prefix: &str, pipeline: &str) -> Topics {
        let name = |name: &str| format!("{prefix}{name}");
        let own = |name: &str| match pipeline {
            MAIN_PIPELINE => format!("{prefix}{name}"),
            _ => format!("{prefix}{name}_{pipeline}"),
        };
        // Two prefixes may share a storage, and each has offsets of its own.
        let snapshots =
            if prefix.is_empty() { pipeline.to_owned() } else { format!("{}/{pipeline}", name("heartbeats")) };
        Topics {
            snapshots,
            heartbeats: name("heartbeats"),
            partials: own("partials"),
            late: own("late"),
            dead_letters: name("dead_letters"),
            // Of the prefix too: members of one group that read different topics rebalance each other for nothing.
            process_group: name(&format!("watchbeat-{pipeline}-process")),
            sink_group: name(&format!("watchbeat-{pipeline}-sink")),
        }
    }

    /// Makes them where they are missing.
    pub(crate) async fn create(&self, log: &Log, partitions: u32, replication: u16) -> Result<()> {
        let topics = [
            (&self.heartbeats, 7 * DAY_MS, MESSAGE_BYTES),
            (&self.partials, 7 * DAY_MS, sql::limits::MESSAGE_BYTES),
            (&self.late, 30 * DAY_MS, MESSAGE_BYTES),
            (&self.dead_letters, 30 * DAY_MS, MESSAGE_BYTES),
        ];
        for (name, retention_ms, max_message_bytes) in topics {
            let spec = TopicSpec { name: name.clone(), partitions, replication, retention_ms, max_message_bytes };
            match log.create_topic(&spec).await {
                // No records that belong together meet there, so any number of partitions will do; it used to be one.
                Err(LogError::PartitionCount { .. }) if *name == self.dead_letters => {}
                made => made?,
            }
        }
        Ok(())
    }
}

/// How to reach the database.
#[derive(Debug, Clone, Args)]
pub(crate) struct DatabaseFlags {
    /// Database, postgres://USER:PASSWORD@HOST:PORT/NAME: YugabyteDB or PostgreSQL 15 and later
    #[arg(long, env = "WATCHBEAT_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    #[command(flatten)]
    authority: AuthorityFlags,
}

impl DatabaseFlags {
    /// The database they name.
    pub(crate) fn database(&self) -> Result<Database> {
        self.authority.database(&self.database_url)
    }
}

/// Whose word is taken for the database being the one that is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuthorityFlags {
    /// Authorities that may have signed the database's certificate, PEM; with it there is no connection without TLS
    ///
    /// Without it sslmode in the URL says: disable (no TLS); prefer, the default (TLS where the server has it, with whatever
    /// certificate, else clear text); or require (nothing but TLS, with a certificate of the host name and of an authority that the
    /// system trusts).
    #[arg(long, env = "WATCHBEAT_DATABASE_CA", value_name = "FILE")]
    database_ca: Option<PathBuf>,
}

impl AuthorityFlags {
    /// The database of this URL.
    pub(crate) fn database(&self, url: &str) -> Result<Database> {
        Ok(Database::new(url, self.database_ca.as_deref())?)
    }
}

/// What every long-running role has.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminFlags {
    /// Address of /livez, /readyz and /metrics; port 0 takes a free one
    #[arg(long, env = "WATCHBEAT_ADMIN_LISTEN", default_value = "127.0.0.1:8082", value_name = "ADDR")]
    pub(crate) admin_listen: SocketAddr,
    /// Time that open work gets to end after SIGTERM; ms
    #[arg(long, env = "WATCHBEAT_DRAIN_MS", default_value_t = 25_000, value_name = "MS")]
    pub(crate) drain_ms: u64,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct TelemetryFlags {
    /// Which events are logged to standard error: LEVEL, or LEVEL,CRATE=LEVEL,…
    #[arg(
        long,
        env = "WATCHBEAT_LOG",
        default_value = "info",
        global = true,
        value_name = "FILTER",
        help_heading = "Logging"
    )]
    pub(crate) log: String,
    /// Log one JSON object a line
    #[arg(long, env = "WATCHBEAT_LOG_JSON", global = true, help_heading = "Logging")]
    pub(crate) log_json: bool,
}

/// What decides the output of a pipeline, besides its log.
#[derive(Debug, Clone, Args)]
pub(crate) struct PipelineFlags {
    /// Name of the pipeline: its consumer group, its topics of partials and late records, its progress, its snapshots
    #[arg(long, env = "WATCHBEAT_PIPELINE", default_value = MAIN_PIPELINE)]
    pub(crate) pipeline: String,
    /// A point report waits at most this long for the reports before it; ms of log time
    #[arg(long, env = "WATCHBEAT_POINT_WAIT_MS", default_value_t = Parameters::default().point_wait_ms, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..=3_600_000))]
    pub(crate) point_wait_ms: i64,
    /// A report that comes this long after its event time is late; ms
    #[arg(long, env = "WATCHBEAT_LATENESS_MS", default_value_t = Parameters::default().lateness_ms, value_name = "MS", value_parser = clap::value_parser!(i64).range(60_000..=30 * DAY_MS))]
    pub(crate) lateness_ms: i64,
    /// Time between two snapshots of a partition; ms
    #[arg(long, env = "WATCHBEAT_SNAPSHOT_MS", default_value_t = 60_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..))]
    pub(crate) snapshot_ms: u64,
    /// Folder of more continuous views, *.sql, beside those that are built in
    #[arg(long, env = "WATCHBEAT_VIEWS", value_name = "DIR")]
    pub(crate) views: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) left_out: LeftOutFlags,
}

/// Which of the built-in views there are: the same for all processors of a pipeline, and for who answers from its tables.
#[derive(Debug, Clone, Args)]
pub(crate) struct LeftOutFlags {
    /// Built-in view that is not wanted, such as resume_positions: its table gets no rows and costs nothing; may be repeated
    #[arg(long = "without-view", env = "WATCHBEAT_WITHOUT_VIEWS", value_name = "NAME", value_delimiter = ',', value_parser = dispensable)]
    pub(crate) without_views: Vec<String>,
}

/// The name of a view that a pipeline can do without.
fn dispensable(name: &str) -> Result<String, String> {
    if name == sql::views::LEDGER {
        return Err("it cannot be left out: `watchbeat verify` balances the log by it".to_owned());
    }
    let known: Vec<_> = sql::views::names().filter(|known| *known != sql::views::LEDGER).collect();
    if known.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("there is no such built-in view to leave out: there are {}", known.join(", ")))
}

impl PipelineFlags {
    /// The settings of a processor of this pipeline.
    pub(crate) fn processor(&self, topics: &Topics) -> Result<processor::Settings> {
        if self.point_wait_ms > self.lateness_ms {
            bail!("--point-wait-ms must not be above --lateness-ms");
        }
        let parameters = Parameters { lateness_ms: self.lateness_ms, point_wait_ms: self.point_wait_ms };
        Ok(processor::Settings {
            heartbeats_topic: topics.heartbeats.clone(),
            partials_topic: topics.partials.clone(),
            late_topic: topics.late.clone(),
            group: topics.process_group.clone(),
            pipeline: self.pipeline.clone(),
            snapshots_folder: topics.snapshots.clone(),
            parameters,
            epoch_ms: processor::EPOCH_MS,
            snapshot_every: std::time::Duration::from_millis(self.snapshot_ms),
            views: self.view_sources()?,
        })
    }

    /// The built-in views that are wanted, and those of the folder by file name.
    fn view_sources(&self) -> Result<Vec<sql::views::ViewSource>> {
        let mut sources = sql::views::shipped_without(&self.left_out.without_views);
        let Some(folder) = &self.views else { return Ok(sources) };
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read --views {}", folder.display()))?;
        let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
        paths.sort();
        for path in paths {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read view {}", path.display()))?;
            sources.push(sql::views::ViewSource { file: path.display().to_string(), text });
        }
        Ok(sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        left_out: LeftOutFlags,
    }

    fn left_out(arguments: &[&str]) -> Result<Vec<String>, String> {
        let parsed = Command::try_parse_from(["watchbeat"].iter().chain(arguments));
        parsed.map(|command| command.left_out.without_views).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn all_topics_are_made_alike_and_only_dead_letters_may_differ() {
        let dir = tempfile::TempDir::new().unwrap();
        let log = Log::embedded(dir.path()).unwrap();
        let fresh = Topics::new("fresh-", MAIN_PIPELINE);
        fresh.create(&log, 4, 1).await.unwrap();
        for name in [&fresh.heartbeats, &fresh.partials, &fresh.late, &fresh.dead_letters] {
            assert_eq!(log.describe(name).await.unwrap().partitions, 4, "{name}");
        }
        let old = Topics::new("old-", MAIN_PIPELINE);
        for name in [&old.dead_letters, &old.late] {
            let name = name.clone();
            let spec = TopicSpec { name, partitions: 1, replication: 1, retention_ms: -1, max_message_bytes: 1 << 20 };
            log.create_topic(&spec).await.unwrap();
        }
        let error = old.create(&log, 4, 1).await.unwrap_err().to_string();
        assert!(error.contains("topic old-late has 1 partitions, not 4"), "{error}");
        Topics { late: fresh.late, ..old }.create(&log, 4, 1).await.unwrap();
    }

    #[test]
    fn a_prefix_and_a_pipeline_tell_topics_groups_and_snapshots_apart() {
        let names = |prefix, pipeline| {
            let Topics { heartbeats, partials, process_group, sink_group, snapshots, .. } =
                Topics::new(prefix, pipeline);
            ([heartbeats, partials, process_group, sink_group], snapshots)
        };
        let with_prefix = |names: [&str; 4]| names.map(|name| format!("test-{name}"));
        let main = ["heartbeats", "partials", "watchbeat-main-process", "watchbeat-main-sink"];
        assert_eq!(names("", MAIN_PIPELINE), (main.map(str::to_owned), "main".to_owned()));
        assert_eq!(names("test-", MAIN_PIPELINE), (with_prefix(main), "test-heartbeats/main".to_owned()));
        let other = ["heartbeats", "partials_new", "watchbeat-new-process", "watchbeat-new-sink"];
        assert_eq!(names("test-", "new"), (with_prefix(other), "test-heartbeats/new".to_owned()));
    }

    #[test]
    fn a_view_that_cannot_be_left_out_is_refused_with_the_reason() {
        let named = ["--without-view", "ad_hours,ad_reach", "--without-view", "watch_segments"];
        assert_eq!(left_out(&named).unwrap(), ["ad_hours", "ad_reach", "watch_segments"]);
        let error = left_out(&["--without-view", "ad_hour"]).unwrap_err();
        assert!(error.contains("'ad_hour'") && error.contains("ad_hours, ad_reach"), "{error}");
        let error = left_out(&["--without-view", "ad_reach,ledger_minutes"]).unwrap_err();
        assert!(error.contains("'ledger_minutes'") && error.contains("`watchbeat verify`"), "{error}");
    }
}
