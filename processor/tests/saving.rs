//! When a running processor saves its partitions: at a clean stop, and again after a snapshot could not be written. On the
//! embedded log and a real folder.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use playback::kernel::{Parameters, SAVE_AT_ONCE};
use playback::record::{self, Record};
use processor::fingerprint::fingerprint;
use processor::snapshot::Snapshots;
use processor::views::Views;
use processor::{EPOCH_MS, Settings};
use prost::Message;
use service::{Readiness, Stop, TaskError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// A log with so many partitions and one heartbeat.
    async fn new(partitions: u32) -> World {
        let dir = TempDir::new().unwrap();
        let log = Log::embedded(&dir.path().join("log")).unwrap();
        for name in ["heartbeats", "partials", "late"] {
            let (name, max_message_bytes) = (name.to_owned(), sql::limits::MESSAGE_BYTES);
            let spec = TopicSpec { name, partitions, replication: 1, retention_ms: -1, max_message_bytes };
            log.create_topic(&spec).await.unwrap();
        }
        let world = World { dir, log };
        world.append([(0, "u".to_owned())]).await;
        world
    }

    /// Appends heartbeats of these users to these partitions.
    async fn append(&self, users: impl IntoIterator<Item = (u32, String)>) {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let heartbeats = users.into_iter().map(|(partition, user_id)| {
            let key = Bytes::from(record::key("default", &user_id));
            let report = Record {
                site: "default".into(),
                user_id,
                session_id: "s".into(),
                video_id: "v".into(),
                event_time: now,
                received_at: now,
                position_ms: 5_000,
                from_ms: Some(0),
                played_ms: 5_000,
                ..Record::default()
            };
            Outgoing { partition, key, value: report.encode_to_vec().into() }
        });
        let heartbeats: Vec<_> = heartbeats.collect();
        self.log.producer(Duration::ZERO).unwrap().append("heartbeats", &heartbeats).await.unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("snapshots")
    }

    fn start(&self, snapshot_every: Duration) -> (Stop, JoinHandle<Result<(), TaskError>>) {
        self.start_with(self.store(), snapshot_every)
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        processor::snapshot_store(self.folder().to_str().unwrap(), []).unwrap()
    }

    fn start_with(
        &self,
        store: Arc<dyn ObjectStore>,
        snapshot_every: Duration,
    ) -> (Stop, JoinHandle<Result<(), TaskError>>) {
        let stop = Stop::new();
        let settings = Settings {
            heartbeats_topic: "heartbeats".into(),
            partials_topic: "partials".into(),
            late_topic: "late".into(),
            group: "processor".into(),
            pipeline: "main".into(),
            snapshots_folder: "main".into(),
            parameters: Parameters::default(),
            epoch_ms: EPOCH_MS,
            snapshot_every,
            views: sql::views::shipped(),
        };
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

/// Offsets of the snapshots of a partition.
fn saved(folder: &Path, partition: u32) -> Vec<u64> {
    let Ok(files) = std::fs::read_dir(folder.join(format!("main/{partition}"))) else { return Vec::new() };
    files.filter_map(|file| file.unwrap().file_name().to_str()?.parse().ok()).collect()
}

async fn ended(stop: Stop, thread: JoinHandle<Result<(), TaskError>>) {
    stop.request();
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_saves_what_is_published() {
    let world = World::new(1).await;
    let (stop, thread) = world.start(Duration::from_secs(3_600));
    world.published().await;
    ended(stop, thread).await;
    let saved = saved(&world.folder(), 0);
    assert!(matches!(saved[..], [offset] if offset >= 1), "{saved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_saves_all_partitions_while_records_come() {
    const PARTITIONS: u32 = 8;
    let world = World::new(PARTITIONS).await;
    let (stop, thread) = world.start(Duration::from_secs(3_600));
    let appending = async {
        loop {
            world.append((0..PARTITIONS).map(|partition| (partition, "u".to_owned()))).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let stopping = async {
        wait_until("epochs end", async || {
            world.log.end_offsets("partials").await.unwrap().iter().all(|epochs| *epochs >= 2)
        })
        .await;
        ended(stop, thread).await;
    };
    tokio::select! {
        () = appending => {}
        () = stopping => {}
    }
    let unsaved: Vec<_> = (0..PARTITIONS).filter(|partition| saved(&world.folder(), *partition).is_empty()).collect();
    assert!(unsaved.is_empty(), "{unsaved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_would_lose_epochs_are_refused() {
    let dir = TempDir::new().unwrap();
    let log = Log::embedded(&dir.path().join("log")).unwrap();
    for name in ["heartbeats", "partials", "late"] {
        let (name, max_message_bytes) = (name.to_owned(), 1 << 20);
        let spec = TopicSpec { name, partitions: 1, replication: 1, retention_ms: -1, max_message_bytes };
        log.create_topic(&spec).await.unwrap();
    }
    let (_, thread) = World { dir, log }.start(Duration::from_secs(3_600));
    wait_until("the processor ends by itself", async || thread.is_finished()).await;
    let refused = thread.join().unwrap().unwrap_err().to_string();
    assert_eq!(refused, "topic partials has max.message.bytes=1048576, it must take 16777216");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_saves_all_partitions_in_an_object_storage_that_takes_its_time() {
    const PARTITIONS: u32 = 16;
    let world = World::new(PARTITIONS).await;
    world.append((1..PARTITIONS).map(|partition| (partition, "u".to_owned()))).await;
    let slow = ThrottleConfig { wait_put_per_call: Duration::from_secs(1), ..ThrottleConfig::default() };
    let store = Arc::new(ThrottledStore::new(world.store(), slow));
    let (stop, thread) = world.start_with(store, Duration::from_secs(3_600));
    wait_until("all epochs are published", async || {
        world.log.end_offsets("partials").await.unwrap() == vec![1; PARTITIONS as usize]
    })
    .await;
    ended(stop, thread).await;
    let unsaved: Vec<_> = (0..PARTITIONS).filter(|partition| saved(&world.folder(), *partition).is_empty()).collect();
    assert!(unsaved.is_empty(), "{unsaved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_could_not_be_written_is_tried_again_though_no_record_comes() {
    let world = World::new(1).await;
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
    wait_until("the snapshot is written", async || saved(&world.folder(), 0) == end).await;
    ended(stop, thread).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_saved_in_many_steps_while_records_come_are_saved_whole() {
    const PARTITIONS: u32 = 2;
    const USERS: u64 = 3 * SAVE_AT_ONCE as u64;
    let world = World::new(PARTITIONS).await;
    let (stop, thread) = world.start(Duration::from_millis(20));
    for first in (0..USERS).step_by(100) {
        let users = (first..first + 100).filter(|user| *user < USERS);
        world.append(users.flat_map(|user| (0..PARTITIONS).map(move |partition| (partition, format!("{user}"))))).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let views = Views::plan(&sql::views::shipped()).await.unwrap();
    let fingerprint = fingerprint(Parameters::default(), EPOCH_MS, PARTITIONS, &views);
    let snapshots = Snapshots::new(world.store(), "main", &fingerprint);
    for partition in 0..PARTITIONS {
        // The end lies past the tick that ended the last epoch.
        wait_until("the partition is saved to its end", async || {
            let end = world.log.end_offsets("heartbeats").await.unwrap()[partition as usize];
            saved(&world.folder(), partition).contains(&end)
        })
        .await;
        let sessions = USERS + u64::from(partition == 0);
        assert_eq!(snapshots.restore(partition).await.unwrap().unwrap().sessions() as u64, sessions);
    }
    ended(stop, thread).await;
}
