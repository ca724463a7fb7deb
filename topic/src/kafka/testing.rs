//! What the tests of this folder begin with.

use crate::record::TopicSpec;
use std::time::SystemTime;

/// The Kafka that `scripts/with-services` started.
pub(super) fn brokers() -> String {
    std::env::var("WATCHBEAT_TEST_BROKERS")
        .expect("WATCHBEAT_TEST_BROKERS is not set: run the tests with `scripts/with-services cargo test --workspace`")
}

/// A topic that there is not yet.
pub(super) fn new_topic(name: &str, partitions: u32) -> TopicSpec {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_nanos();
    let name = format!("{name}.{}.{now}", std::process::id());
    TopicSpec { name, partitions, replication: 1, retention_ms: -1, max_message_bytes: 1 << 20 }
}
