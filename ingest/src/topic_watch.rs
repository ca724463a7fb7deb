//! Looks at the topics at the start and from time to time: whether they are what the pipeline relies on, and the readiness that follows
//! from it.

use crate::limits::SEARCH_INTERVAL;
use crate::meters;
use crate::outlet::Outlet;
use crate::topics::PartitionCounts;
use service::{Component, Stop};
use topic::{Log, LogError, TopicDescription};

/// Why records cannot be written to the topics.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicsError {
    #[error(transparent)]
    Log(#[from] LogError),
    /// The topic has not as many partitions as it must have, or had at the start.
    #[error(
        "topic {topic} has {found} partitions, not {wanted}: users would leave their sessions, make a new topic for another count"
    )]
    PartitionCount { topic: String, found: u32, wanted: u32 },
    /// The log's client refuses every record from now on.
    #[error("nothing reaches the log any more: {reason}; a restart makes a new connection")]
    Fatal { reason: String },
}

impl TopicsError {
    /// Whether the log may be there later, as it is: nothing is wrong with what was asked of it.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, TopicsError::Log(LogError::Kafka { .. }))
    }

    /// Whether the topics have become others than those that the pipeline was started with.
    fn is_final(&self) -> bool {
        match self {
            TopicsError::Log(error) => {
                matches!(error, LogError::NotLogAppendTime { .. } | LogError::NotDelete { .. })
            }
            TopicsError::PartitionCount { .. } | TopicsError::Fatal { .. } => true,
        }
    }
}

/// Looks at the topics from time to time.
pub(crate) struct TopicWatch<'a> {
    pub(crate) log: &'a Log,
    pub(crate) outlet: &'a Outlet,
    /// That the heartbeats topic must have.
    pub(crate) partitions: Option<u32>,
}

impl TopicWatch<'_> {
    /// Keeps the readiness truthful until asked to stop: ready means that a report would be answered with 202. Ends earlier only
    /// when the gateway cannot become ready again.
    pub(crate) async fn watch(&self, component: &Component, stop: &Stop) -> Result<(), TopicsError> {
        let watched = tokio::select! {
            watched = self.follow(component) => watched,
            () = stop.requested() => Ok(()),
        };
        component.not_ready("stopping");
        watched
    }

    /// Never ends but with an error.
    async fn follow(&self, component: &Component) -> Result<(), TopicsError> {
        let mut told = None;
        loop {
            let is_known = self.outlet.topics.partitions.get().is_some();
            tokio::time::sleep(if is_known { topic::limits::WATCH_INTERVAL } else { SEARCH_INTERVAL }).await;
            if let Some(reason) = self.outlet.fatal_error() {
                return Err(TopicsError::Fatal { reason });
            }
            let found = self.find().await;
            meters::outlet(self.outlet);
            let trouble = match found {
                Err(error) if error.is_final() => return Err(error),
                found => found.err().map(|error| error.to_string()),
            };
            match trouble.clone().filter(|_| self.outlet.spool.is_none()).or_else(|| self.outlet.trouble()) {
                Some(reason) => component.not_ready(reason),
                None => component.ready(),
            }
            // With a spool the gateway is ready all the same, so this is where it is seen what is wrong.
            if let Some(reason) = trouble.as_ref().filter(|_| told != trouble) {
                tracing::warn!(reason, "the log does not say how its topics are");
            }
            told = trouble;
        }
    }

    /// Looks the topics up, the first time or again, and holds them against what the pipeline relies on.
    pub(crate) async fn find(&self) -> Result<(), TopicsError> {
        let topics = &self.outlet.topics;
        let heartbeats = self.describe(&topics.names.heartbeats).await?;
        let dead_letters = self.describe(&topics.names.dead_letters).await?;
        let found = PartitionCounts { heartbeats: heartbeats.partitions, dead_letters: dead_letters.partitions };
        let known = self.partitions.or(topics.partitions.get().map(|known| known.heartbeats));
        if let Some(wanted) = known.filter(|known| *known != found.heartbeats) {
            let topic = topics.names.heartbeats.to_string();
            return Err(TopicsError::PartitionCount { topic, found: found.heartbeats, wanted });
        }
        topics.partitions.get_or_init(|| {
            heartbeats.warn_of_few_copies(&topics.names.heartbeats);
            found
        });
        Ok(())
    }

    async fn describe(&self, topic: &str) -> Result<TopicDescription, TopicsError> {
        let found = self.log.describe(topic).await?;
        found.check_exact(topic)?;
        Ok(found)
    }
}
