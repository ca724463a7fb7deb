//! The embedded log: partitions in a directory, for one process. The same promises as a Kafka partition, no more:
//! no replication, no groups. Consumers get all partitions of their topic.
//!
//! One writer thread appends in groups, one fsync each ([`writer`]); readers read ranges by offset ([`consumer`]);
//! what both share is in [`state`], what is on disk in [`storage`].

mod consumer;
mod state;
mod storage;
mod writer;

pub(crate) use consumer::EmbeddedConsumer;

use crate::record::{Assignment, TopicDescription, TopicSpec};
use crate::{Delivery, LogError, Outgoing, limits};
use state::Shared;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use storage::Storage;
use writer::Command;

/// An open embedded log. The directory is free again once every clone, producer and consumer is gone.
#[derive(Clone)]
pub(crate) struct Embedded(Arc<Open>);

/// Appends to an embedded log.
#[derive(Clone)]
pub(crate) struct EmbeddedProducer(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    commands: Option<SyncSender<Command>>, // none while closing
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    pub(crate) fn open(dir: &Path) -> Result<Embedded, LogError> {
        let storage = Storage::open(dir)?;
        let shared = Arc::new(Shared::recover(storage)?);
        let (commands, waiting) = sync_channel(limits::EMBEDDED_APPENDS);
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || writer::run(&shared, &waiting)
            })
            .map_err(|error| LogError::storage("starting its writer", error))?;
        Ok(Embedded(Arc::new(Open { shared, commands: Some(commands), writer: Some(writer) })))
    }

    pub(crate) async fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let (delivery, acknowledgement) = Delivery::of(1);
        self.0.send(Command::Create { spec: spec.clone(), acknowledgement });
        delivery.await
    }

    pub(crate) fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        self.0.shared.with_topic(topic, |topic| TopicDescription {
            partitions: topic.spec.partitions,
            log_append_time: true,
            cleanup_policy: "delete".to_owned(),
            replication: 1,
            min_insync_replicas: 1,
            max_message_bytes: topic.spec.max_message_bytes,
        })
    }

    pub(crate) fn end_offsets(&self, topic: &str) -> Result<Vec<u64>, LogError> {
        self.0.shared.with_topic(topic, |topic| topic.partitions.iter().map(|partition| partition.end).collect())
    }

    pub(crate) fn producer(&self) -> EmbeddedProducer {
        EmbeddedProducer(Arc::clone(&self.0))
    }

    pub(crate) fn consumer(&self, topic: &str, assignment: Box<dyn Assignment>) -> Result<EmbeddedConsumer, LogError> {
        EmbeddedConsumer::new(Arc::clone(&self.0), topic, assignment)
    }
}

impl EmbeddedProducer {
    pub(crate) fn append(&self, topic: &str, records: &[Outgoing]) -> Delivery {
        let checked = self.0.shared.with_topic(topic, |found| found.check(records).map(|()| found.id));
        let topic = match checked.and_then(|checked| checked) {
            Ok(id) => id,
            Err(error) => return Delivery::failed(error),
        };
        if records.is_empty() {
            return Delivery::of(0).0;
        }
        let (delivery, acknowledgement) = Delivery::of(1);
        self.0.send(Command::Append { topic, records: records.to_vec(), acknowledgement });
        delivery
    }

    pub(crate) async fn flush(&self, timeout: Duration) -> Result<(), LogError> {
        let (delivery, acknowledgement) = Delivery::of(1);
        self.0.send(Command::Flush { acknowledgement });
        let late = LogError::Flush { waited_ms: timeout.as_millis() };
        tokio::time::timeout(timeout, delivery).await.unwrap_or(Err(late))
    }
}

impl Open {
    /// Hands a command to the writer, waiting while its queue is full.
    /// Should the writer be gone, the command fails as closed.
    fn send(&self, command: Command) {
        if let Some(commands) = &self.commands
            && let Err(refused) = commands.send(command)
        {
            refused.0.settle(&|| LogError::Closed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.commands = None; // the writer ends after what it still has
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the embedded log's writer had panicked");
        }
    }
}
