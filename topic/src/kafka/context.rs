//! What librdkafka says besides records: logs, and broker trouble once per outage instead of once per poll.

use super::bootstrap::Bootstrap;
use rdkafka::bindings::rd_kafka_t;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Statistics};
use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers whether the cluster is in trouble, so that it is said once.
pub(crate) struct Events {
    troubled: AtomicBool,
    bootstrap: Bootstrap,
}

impl Events {
    /// Of a client that begins with these brokers.
    pub(crate) fn new(brokers: &str) -> Events {
        Events { troubled: AtomicBool::new(false), bootstrap: Bootstrap::new(brokers) }
    }

    /// Says which client it is, so that it stays connected.
    ///
    /// # Safety
    /// `client` must live as long as events of it come, and questions to it are answered.
    pub(crate) unsafe fn are_of(&self, client: *mut rd_kafka_t) {
        // SAFETY: the caller vouches for it.
        unsafe { self.bootstrap.is_of(client) };
    }

    /// A question to the client was not answered.
    pub(crate) fn unanswered(&self) {
        self.bootstrap.give();
    }

    /// Says once that something works again.
    pub(crate) fn works(&self) {
        if self.troubled.load(Ordering::Relaxed) && self.troubled.swap(false, Ordering::Relaxed) {
            tracing::info!("kafka answers again");
        }
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, message, "librdkafka reports a failure");
            }
            // Repeated at every reconnection; `error` below says it once.
            _ => tracing::debug!(facility, message, "librdkafka reports"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.troubled.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, reason, "kafka is still in trouble");
        } else {
            tracing::warn!(%error, reason, "kafka is in trouble; trying on");
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.bootstrap.look(&statistics);
    }
}
