//! When a running processor saves its partitions: at a clean stop, and again after a snapshot could not be written. On the
//! embedded log and a real folder.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use playback::kernel::Parameters;
use playback::record::{self, Record};
use processor::{EPOCH_MS, Settings};
use prost::Message;
use service::{Readiness, Stop, TaskError};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use topic::{Log, Outgoing, TopicSpec};

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    dir: TempDir,
    log: Log,
}

impl World {
    /// A log with one heartbeat.
    async fn new() -> World {
        let dir = TempDir::new().unwrap();
        let log = Log::embedded(&dir.path().join("log")).unwrap();
        for name in ["heartbeats", "partials", "late"] {
            let (name, max_message_bytes) = (name.to_owned(), 1 << 20);
            let spec = TopicSpec { name, partitions: 1, replication: 1, retention_ms: -1, max_message_bytes };
            log.create_topic(&spec).await.unwrap();
        }
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let report = Record {
            site: "default".into(),
            user_id: "u".into(),
            session_id: "s".into(),
            video_id: "v".into(),
            event_time: now,
            received_at: now,
            position_ms: 5_000,
            from_ms: Some(0),
            played_ms: 5_000,
            ..Record::default()
        };
        let key = Bytes::from(record::key("default", "u"));
        let outgoing = Outgoing { partition: 0, key, value: report.encode_to_vec().into() };
        log.producer(Duration::ZERO).unwrap().append("heartbeats", &[outgoing]).await.unwrap();
        World { dir, log }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("snapshots")
    }

    fn start(&self, snapshot_every: Duration) -> (Stop, JoinHandle<Result<(), TaskError>>) {
        let stop = Stop::new();
        let settings = Settings {
            heartbeats_topic: "heartbeats".into(),
            partials_topic: "partials".into(),
            late_topic: "late".into(),
            group: "processor".into(),
            pipeline: "main".into(),
            parameters: Parameters::default(),
            epoch_ms: EPOCH_MS,
            snapshot_every,
            views: sql::views::shipped(),
        };
        let store = processor::snapshot_store(self.folder().to_str().unwrap(), []).unwrap();
        let (log, runtime, stopped) = (self.log.clone(), tokio::runtime::Handle::current(), stop.clone());
        let body = move || processor::run(&log, store, settings, runtime, &Readiness::new(), &stopped);
        (stop, std::thread::spawn(body))
    }

    /// Waits until the heartbeat's epoch is published.
    async fn published(&self) {
        wait_until("the epoch is published", async || self.log.end_offsets("partials").await.unwrap() == [1]).await;
    }
}

async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Offsets of the snapshots of partition 0.
fn saved(folder: &Path) -> Vec<u64> {
    let Ok(files) = std::fs::read_dir(folder.join("main/0")) else { return Vec::new() };
    files.filter_map(|file| file.unwrap().file_name().to_str()?.parse().ok()).collect()
}

async fn ended(stop: Stop, thread: JoinHandle<Result<(), TaskError>>) {
    stop.request();
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_saves_what_is_published() {
    let world = World::new().await;
    let (stop, thread) = world.start(Duration::from_secs(3_600));
    world.published().await;
    ended(stop, thread).await;
    let saved = saved(&world.folder());
    assert!(matches!(saved[..], [offset] if offset >= 1), "{saved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_could_not_be_written_is_tried_again_though_no_record_comes() {
    let world = World::new().await;
    // A file where the folder of the partition must be.
    std::fs::create_dir_all(world.folder().join("main")).unwrap();
    let obstacle = world.folder().join("main/0");
    std::fs::write(&obstacle, b"").unwrap();
    let (stop, thread) = world.start(Duration::from_millis(20));
    world.published().await;
    // The tick that ended the epoch is the last record; give every snapshot of it time to fail.
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::remove_file(&obstacle).unwrap();
    let end = world.log.end_offsets("heartbeats").await.unwrap();
    wait_until("the snapshot is written", async || saved(&world.folder()) == end).await;
    ended(stop, thread).await;
}
