//! A client of librdkafka that knows no broker any more is given those that it began with.
//!
//! librdkafka forgets a broker that Kafka's answer about the cluster does not name. A broker that is starting or stopping may name none
//! at all, beside topics. Whether the client then begins anew with its `bootstrap.servers` depends on which of two of its threads is
//! faster ([librdkafka#5301](https://github.com/confluentinc/librdkafka/issues/5301)). If it does not, it never connects again, and
//! tells of no error.

use rdkafka::bindings::{rd_kafka_brokers_add, rd_kafka_t};
use rdkafka::client::Client;
use rdkafka::{ClientContext, Statistics};
use std::ffi::CString;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Gives a client the brokers that it began with: `host:port`, several with commas. To one that knows brokers, and waits for them, this
/// makes no difference.
pub(super) fn give<C: ClientContext>(client: &Client<C>, brokers: &str) {
    // SAFETY: the client lives as long as the borrow.
    unsafe { add(client.native_ptr(), brokers) };
}

/// # Safety
/// `client` must live.
unsafe fn add(client: *mut rd_kafka_t, brokers: &str) {
    // A client with a zero among its brokers could not be made.
    if let Ok(brokers) = CString::new(brokers) {
        // SAFETY: the caller vouches for the client, and librdkafka copies the text.
        unsafe { rd_kafka_brokers_add(client, brokers.as_ptr()) };
    }
}

/// Looks after a client whose statistics come without it.
pub(super) struct Bootstrap {
    brokers: String,
    client: AtomicPtr<rd_kafka_t>,
}

impl Bootstrap {
    /// Of a client that begins with these brokers.
    pub(super) fn new(brokers: &str) -> Bootstrap {
        Bootstrap { brokers: brokers.to_owned(), client: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Says which client it is.
    ///
    /// # Safety
    /// `client` must live whenever [`Bootstrap::look`] is called from now on.
    pub(super) unsafe fn is_of(&self, client: *mut rd_kafka_t) {
        self.client.store(client, Ordering::Release);
    }

    /// Looks whether the client knows a broker.
    pub(super) fn look(&self, statistics: &Statistics) {
        let client = self.client.load(Ordering::Acquire);
        let mut sources = statistics.brokers.values().map(|broker| broker.source.as_str());
        if client.is_null() || sources.any(|source| matches!(source, "configured" | "learned")) {
            return;
        }
        tracing::warn!("the Kafka client has lost all brokers; giving it again those that it began with");
        // SAFETY: the client lives (see `is_of`).
        unsafe { add(client, &self.brokers) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kafka, testing};
    use crate::record::{FromTheStart, Outgoing};
    use crate::{KafkaSettings, limits};
    use bytes::Bytes;
    use std::time::{Duration, Instant};

    /// Clients that know no brokers, as those that have lost them.
    fn cut_off(brokers: &str) -> Kafka {
        let client = vec![("bootstrap.servers".to_owned(), String::new())];
        Kafka::new(&KafkaSettings { brokers: brokers.to_owned(), client }).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn clients_that_have_lost_all_brokers_are_given_them_again() {
        let kafka = cut_off(&testing::brokers());
        let first = kafka.describe("t").await.unwrap_err().to_string();
        assert!(first.contains("asking for topics"), "it is not cut off: {first}");
        let spec = testing::new_topic("bootstrap", 1);
        kafka.create_topic(&spec).await.unwrap();
        let record = Outgoing { partition: 0, key: Bytes::new(), value: Bytes::from_static(b"record") };
        let producer = kafka.producer(Duration::ZERO, limits::DELIVERY_TIMEOUT).unwrap();
        producer.append(&spec.name, &[record]).await.unwrap();
        let mut consumer = kafka.consumer(&spec.name, &spec.name, Box::new(FromTheStart)).unwrap();
        let until = Instant::now() + limits::DELIVERY_TIMEOUT;
        while consumer.poll(Duration::from_millis(100), 1, &mut |_| {}).unwrap() == 0 {
            assert!(Instant::now() < until, "the consumer is cut off");
        }
    }
}
