//! What librdkafka says besides records: logs, and broker trouble once per outage instead of once per poll.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers whether the cluster is in trouble, so that it is said once.
#[derive(Default)]
pub(crate) struct Events {
    troubled: AtomicBool,
}

impl Events {
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
}
