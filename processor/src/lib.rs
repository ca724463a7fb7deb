//! The processor: from the log of heartbeats to one message per epoch of what it adds to the tables.
//!
//! [`shard`] folds each partition through the session kernel and cuts its log into epochs; [`relations`] are the
//! facts as tables, [`columns`] their values, [`views`] the SQL over them, planned by the rules of [`plan`]; [`partials`]
//! makes the messages; [`snapshot`] saves state so that a restart is fast. It does not know the database: that is the sink's.

mod assignment;
mod coded;
pub mod columns;
pub mod fingerprint;
mod limits;
mod lineage;
mod meters;
pub mod partials;
pub mod plan;
pub mod relations;
mod scan;
pub mod shard;
pub mod snapshot;
mod snapshot_store;
mod ticks;
pub mod views;
mod worker;

use assignment::Restoring;
use fingerprint::fingerprint;
use object_store::ObjectStore;
use playback::kernel::Parameters;
use service::{Readiness, Stop, TaskError};
use snapshot::Snapshots;
pub use snapshot_store::{SnapshotStoreError, snapshot_store};
use sql::codec::Encoder;
use sql::views::ViewSource;
use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use ticks::Ticks;
use tokio::runtime::Handle;
use topic::Log;
use topic::limits::WATCH_INTERVAL;
use views::Views;
use worker::{Folding, Topics, Worker};

/// Log time of an epoch; ms. Part of the definition of an epoch, and so of the fingerprint.
pub const EPOCH_MS: i64 = 1_000;

/// How long the producer waits for a batch to fill.
const LINGER: Duration = Duration::from_millis(5);

/// What a processor is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Topic of heartbeats.
    pub heartbeats_topic: String,
    /// Topic of partials; as many partitions as the topic of heartbeats.
    pub partials_topic: String,
    /// Topic of late records; as many partitions as the topic of heartbeats.
    pub late_topic: String,
    /// Consumer group: processors of one group share the partitions.
    pub group: String,
    /// Name of the pipeline, under which its progress is kept.
    pub pipeline: String,
    /// Folder of its snapshots in their storage: no other pipeline may use it, nor any pipeline on another topic.
    pub snapshots_folder: String,
    /// What the crediting rules leave open.
    pub parameters: Parameters,
    /// Log time of an epoch; ms.
    pub epoch_ms: i64,
    /// Time between two snapshots of a partition.
    pub snapshot_every: Duration,
    /// The continuous views.
    pub views: Vec<ViewSource>,
}

/// Runs a processor until a stop is requested or it cannot go on. Blocks: it wants a thread of its own.
pub fn run(
    log: &Log,
    store: Arc<dyn ObjectStore>,
    settings: Settings,
    runtime: Handle,
    readiness: &Readiness,
    stop: &Stop,
) -> Result<(), TaskError> {
    meters::describe();
    let component = readiness.component("processor_log");
    let views = runtime.block_on(Views::plan(&settings.views))?;
    let partitions = runtime.block_on(check_topics(log, &settings))?;
    let fingerprint = fingerprint(settings.parameters, settings.epoch_ms, partitions, &views);
    tracing::info!(
        pipeline = settings.pipeline,
        fingerprint,
        partitions,
        views = views.views().len(),
        "processor starts"
    );
    let snapshots = Snapshots::new(store, &settings.snapshots_folder, &fingerprint);
    let (sender, changes) = mpsc::channel();
    let restoring = Restoring {
        topic: settings.heartbeats_topic.clone(),
        partitions,
        snapshots: snapshots.clone(),
        parameters: settings.parameters,
        epoch_ms: settings.epoch_ms,
        snapshot_every: settings.snapshot_every,
        runtime: runtime.clone(),
        changes: sender,
    };
    let consumer = log.consumer(&settings.heartbeats_topic, &settings.group, Box::new(restoring))?;
    let worker = Worker {
        topics: Topics { partials: settings.partials_topic, late: settings.late_topic },
        pipeline: settings.pipeline,
        fingerprint,
        views,
        encoder: Encoder::new(),
        snapshots,
        snapshot_every: settings.snapshot_every,
        producer: log.patient_producer(LINGER, limits::DELIVERY_TIMEOUT)?,
        runtime,
        changes,
        folding: Folding::new(),
        in_flight: VecDeque::new(),
        ticks: Ticks::new(settings.heartbeats_topic.clone()),
    };
    let (watched, topic, until) = (log.clone(), settings.heartbeats_topic, stop.clone());
    let watching = worker.runtime.spawn(async move {
        component.watch(WATCH_INTERVAL, &until, || watched.describe(&topic)).await;
    });
    let ended = worker.run(consumer, stop);
    watching.abort();
    ended
}

/// Checks that the topics are what exactness needs, and gives the partition count.
async fn check_topics(log: &Log, settings: &Settings) -> Result<u32, TaskError> {
    let heartbeats = log.describe(&settings.heartbeats_topic).await?;
    heartbeats.check_exact(&settings.heartbeats_topic)?;
    for (topic, least_bytes) in [(&settings.partials_topic, sql::limits::MESSAGE_BYTES), (&settings.late_topic, 0)] {
        let found = log.describe(topic).await?;
        found.check_kept(topic)?;
        let (partitions, bytes) = (found.partitions, found.max_message_bytes);
        if partitions != heartbeats.partitions {
            let wanted = heartbeats.partitions;
            return Err(format!(
                "topic {topic} has {partitions} partitions, topic {} has {wanted}: they must be the same",
                settings.heartbeats_topic
            )
            .into());
        }
        if bytes < least_bytes {
            return Err(format!("topic {topic} has max.message.bytes={bytes}, it must take {least_bytes}").into());
        }
    }
    Ok(heartbeats.partitions)
}
