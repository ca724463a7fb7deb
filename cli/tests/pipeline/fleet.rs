//! The roles as separate processes on a real Kafka and PostgreSQL.

use crate::database::unique;
use crate::process::{Process, wait_until};
use sql::testing::TestDatabase;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use topic::{KafkaSettings, Log};

/// Partitions of a test's topics.
const PARTITIONS: &str = "3";

/// Topics, database and folder of one test; starts roles on them.
pub(crate) struct Fleet {
    pub(crate) dir: TempDir,
    database: TestDatabase,
    pub(crate) prefix: String,
    brokers: String,
    pipeline: &'static str,
    started: u32,
}

impl Fleet {
    /// Makes topics and schema, by `watchbeat migrate`.
    pub(crate) async fn new(name: &str) -> Fleet {
        let brokers = std::env::var("WATCHBEAT_TEST_BROKERS").expect(
            "WATCHBEAT_TEST_BROKERS is not set: run the tests with `scripts/with-services cargo test --workspace`",
        );
        Fleet::on(name, brokers).await
    }

    /// The same on other brokers.
    pub(crate) async fn on(name: &str, brokers: String) -> Fleet {
        Fleet::migrated(format!("{name}.{}.", unique()), brokers, "main").await
    }

    /// Another pipeline on the same heartbeats, with a database of its own.
    pub(crate) async fn beside(&self, pipeline: &'static str) -> Fleet {
        Fleet::migrated(self.prefix.clone(), self.brokers.clone(), pipeline).await
    }

    async fn migrated(prefix: String, brokers: String, pipeline: &'static str) -> Fleet {
        let (dir, database) = (TempDir::new().unwrap(), TestDatabase::create().await);
        let fleet = Fleet { dir, database, prefix, brokers, pipeline, started: 0 };
        let mut arguments =
            vec!["migrate", "--database-url", fleet.database.url(), "--partitions", PARTITIONS, "--replication", "1"];
        arguments.extend(["--pipeline", pipeline]);
        arguments.extend(fleet.log_flags());
        let migrated = std::process::Command::new(env!("CARGO_BIN_EXE_watchbeat")).args(&arguments).output().unwrap();
        assert!(migrated.status.success(), "migrate: {}", String::from_utf8_lossy(&migrated.stderr));
        fleet
    }

    fn log_flags(&self) -> [&str; 4] {
        ["--brokers", &self.brokers, "--topic-prefix", &self.prefix]
    }

    /// A connection to the database.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        sql::database::connect(self.database.url()).await.unwrap()
    }

    pub(crate) fn database_url(&self) -> String {
        self.database.url().to_owned()
    }

    /// The log, for reading it back.
    pub(crate) fn log(&self) -> Log {
        Log::kafka(&KafkaSettings { brokers: self.brokers.clone(), client: Vec::new() }).unwrap()
    }

    /// Name of the topic of heartbeats.
    pub(crate) fn heartbeats(&self) -> String {
        format!("{}heartbeats", self.prefix)
    }

    /// A gateway, and its address.
    pub(crate) fn ingest(&mut self, keys: &Path) -> (Process, String) {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let process = self.role("ingest", &["--listen", &listen, "--keys", keys.to_str().unwrap()]);
        (process, format!("http://{listen}"))
    }

    /// A gateway on an address of its own choice, with a spool.
    pub(crate) fn ingest_with_spool(&mut self, keys: &Path, listen: &str) -> Process {
        let spool = self.dir.path().join("spool");
        self.role("ingest", &["--listen", listen, "--keys", keys.to_str().unwrap(), "--spool", spool.to_str().unwrap()])
    }

    /// A processor; points wait for `point_wait_ms`.
    pub(crate) fn processor(&mut self, point_wait_ms: u32) -> Process {
        self.processor_with(point_wait_ms, &[])
    }

    /// The same with more flags.
    pub(crate) fn processor_with(&mut self, point_wait_ms: u32, flags: &[&str]) -> Process {
        let (snapshots, wait) = (self.snapshots(), point_wait_ms.to_string());
        let saving = ["--snapshots", snapshots.to_str().unwrap(), "--snapshot-ms", "400"];
        let arguments = [&saving[..], &["--point-wait-ms", &wait, "--pipeline", self.pipeline], flags].concat();
        self.role("process", &arguments)
    }

    /// A sink.
    pub(crate) fn sink(&mut self) -> Process {
        self.sink_with(&[])
    }

    /// The same with more flags.
    pub(crate) fn sink_with(&mut self, flags: &[&str]) -> Process {
        let url = self.database_url();
        let arguments = ["--database-url", &url, "--flush-ms", "200", "--pipeline", self.pipeline];
        self.role("sink", &[&arguments[..], flags].concat())
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.dir.path().join("snapshots")
    }

    /// A role with these flags beside those for the log and its admin port.
    pub(crate) fn role(&mut self, role: &str, arguments: &[&str]) -> Process {
        self.started += 1;
        let admin = format!("127.0.0.1:{}", free_port());
        let mut all = vec![role, "--admin-listen", &admin];
        all.extend(self.log_flags());
        all.extend(arguments);
        let mut process = Process::start(self.dir.path(), &format!("{role}-{}", self.started), &all);
        process.admin.clone_from(&admin);
        wait_until(&format!("the role {role} answers on {admin}"), Duration::from_secs(30), || {
            process.assert_running();
            std::net::TcpStream::connect(&admin).is_ok()
        });
        process
    }
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
