//! The log on Apache Kafka through librdkafka: settings and what is asked about topics.

mod bootstrap;
mod consumer;
mod context;
mod producer;
mod queues;
mod reading;
#[cfg(test)]
mod testing;

pub(crate) use consumer::KafkaConsumer;
pub(crate) use producer::KafkaProducer;

use crate::record::{Assignment, TopicDescription, TopicSpec};
use crate::{LogError, limits};
use context::Events;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, util::Timeout};
use reading::{Patience, Reading};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How to reach Kafka.
#[derive(Clone, Default)]
pub struct KafkaSettings {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Settings of librdkafka passed through, for TLS and SASL; those that exactness rests on are not overridden.
    pub client: Vec<(String, String)>,
}

/// A Kafka cluster.
#[derive(Clone)]
pub(crate) struct Kafka {
    settings: Arc<KafkaSettings>,
    admin: Arc<AdminClient<Events>>,
    /// Of the consumer that was made last: a role has one.
    reading: Arc<Mutex<Option<Arc<Reading>>>>,
}

impl Kafka {
    pub(crate) fn new(settings: &KafkaSettings) -> Result<Kafka, LogError> {
        let admin = settings
            .config(&[], &[])
            .create_with_context(Events::default())
            .map_err(|error| not_made("connecting", error))?;
        Ok(Kafka { settings: Arc::new(settings.clone()), admin: Arc::new(admin), reading: Arc::default() })
    }

    pub(crate) async fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let settings = topic_settings(spec);
        let topic = NewTopic::new(
            &spec.name,
            i32::try_from(spec.partitions).expect("checked against limits::PARTITIONS"),
            TopicReplication::Fixed(i32::from(spec.replication)),
        );
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let results = self.admin.create_topics([&topic], &options()).await;
        let result = results.map_err(|error| LogError::kafka("creating a topic", error))?.pop();
        match result {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
            Some(Err((_, code))) => {
                return Err(LogError::BadTopic { topic: spec.name.clone(), reason: code.to_string() });
            }
            None => return Err(LogError::kafka("creating a topic", "no answer for it")),
        }
        let found = self.await_topic(&spec.name).await?;
        if found == spec.partitions {
            return Ok(());
        }
        Err(LogError::PartitionCount { topic: spec.name.clone(), found, wanted: spec.partitions })
    }

    pub(crate) async fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        let (partitions, replication) = self.shape(topic).await?;
        let resources = self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options()).await;
        let resource = resources
            .map_err(|error| LogError::kafka("describing a topic", error))?
            .pop()
            .ok_or_else(|| LogError::kafka("describing a topic", "no answer for it"))?
            .map_err(|code| LogError::kafka("describing a topic", code))?;
        Ok(TopicDescription {
            partitions,
            log_append_time: entry(&resource, "message.timestamp.type")? == "LogAppendTime",
            cleanup_policy: entry(&resource, "cleanup.policy")?.to_owned(),
            replication,
            min_insync_replicas: number(&resource, "min.insync.replicas")?,
            max_message_bytes: number(&resource, "max.message.bytes")?,
        })
    }

    pub(crate) async fn end_offsets(&self, topic: &str) -> Result<Vec<u64>, LogError> {
        let (partitions, _) = self.shape(topic).await?;
        let (admin, topic) = (Arc::clone(&self.admin), topic.to_owned());
        blocking(move || (0..partitions).map(|partition| end_offset(&admin, &topic, partition)).collect()).await
    }

    pub(crate) fn producer(&self, linger: Duration, delivery_timeout: Duration) -> Result<KafkaProducer, LogError> {
        KafkaProducer::new(&self.settings, linger, delivery_timeout)
    }

    pub(crate) fn consumer(
        &self,
        topic: &str,
        group: &str,
        assignment: Box<dyn Assignment>,
    ) -> Result<KafkaConsumer, LogError> {
        let reading = Arc::new(Reading::new(topic, group));
        let consumer = KafkaConsumer::new(&self.settings, assignment, reading.clone())?;
        *self.reading() = Some(reading);
        Ok(consumer)
    }

    /// Ends when the consumer that was made last stands still.
    pub(crate) async fn watch_reading(&self) -> LogError {
        let reading = loop {
            let made = self.reading().clone();
            match made {
                Some(reading) => break reading,
                None => tokio::time::sleep(limits::READING_LOOK).await,
            }
        };
        reading::watch(self, &reading, Patience::default()).await
    }

    fn reading(&self) -> MutexGuard<'_, Option<Arc<Reading>>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Partitions and least replication of a topic.
    async fn shape(&self, topic: &str) -> Result<(u32, u32), LogError> {
        let (admin, settings, topic) = (Arc::clone(&self.admin), Arc::clone(&self.settings), topic.to_owned());
        blocking(move || {
            // The whole cluster, because asking for one topic would make it where brokers create topics by themselves.
            let metadata = admin.inner().fetch_metadata(None, limits::ADMIN_TIMEOUT).map_err(|error| {
                bootstrap::give(admin.inner(), &settings.brokers);
                LogError::kafka("asking for topics", error)
            })?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            match found {
                Some(found) if !found.partitions().is_empty() => {
                    let copies = found.partitions().iter().map(|partition| partition.replicas().len()).min();
                    Ok((count(found.partitions().len()), count(copies.unwrap_or(0))))
                }
                _ => Err(LogError::NoTopic { topic }),
            }
        })
        .await
    }

    /// Waits until a topic just made is known to the broker that answers; gives its partitions.
    async fn await_topic(&self, topic: &str) -> Result<u32, LogError> {
        let deadline = Instant::now() + limits::ADMIN_TIMEOUT;
        loop {
            match self.shape(topic).await {
                Err(LogError::NoTopic { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(limits::ADMIN_RETRY).await;
                }
                other => return other.map(|(partitions, _)| partitions),
            }
        }
    }
}

impl KafkaSettings {
    /// `tuned` may be overridden by the operator, `needed` may not.
    fn config(&self, tuned: &[(&str, String)], needed: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "watchbeat");
        // An outage is answered in a second or two, not in librdkafka's ten.
        config.set("reconnect.backoff.max.ms", "2000");
        for (key, value) in tuned {
            config.set(*key, value);
        }
        for (key, value) in &self.client {
            config.set(key, value);
        }
        for (key, value) in needed {
            config.set(*key, value);
        }
        config
    }
}

/// Why a client could not be made. Never with the value of a setting, which may be a password: the client's error has it whole
/// beside the name, and sometimes a piece of it in the text.
fn not_made(action: &'static str, error: KafkaError) -> LogError {
    let KafkaError::ClientConfig(_, said, name, value) = error else { return LogError::kafka(action, error) };
    let mut pieces = value.split(',').map(str::trim).filter(|piece| !piece.is_empty());
    if pieces.any(|piece| said.contains(piece)) {
        return LogError::kafka(action, format!("the setting {name} cannot have this value"));
    }
    LogError::kafka(action, format!("the setting {name}: {}", said.trim_end()))
}

/// Asks for the end of a partition, again while it is choosing its leader (as right after it was made).
fn end_offset(admin: &AdminClient<Events>, topic: &str, partition: u32) -> Result<u64, LogError> {
    let deadline = Instant::now() + limits::ADMIN_TIMEOUT;
    loop {
        let error = match admin.inner().fetch_watermarks(topic, number_of(partition), limits::ADMIN_TIMEOUT) {
            Ok((_, end)) => return u64::try_from(end).map_err(|_| LogError::kafka("asking for end offsets", end)),
            Err(error) => error,
        };
        let leaderless = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable)
        );
        if !leaderless || Instant::now() >= deadline {
            return Err(LogError::kafka("asking for end offsets", error));
        }
        std::thread::sleep(limits::ADMIN_RETRY);
    }
}

/// What a topic is made with, whatever the brokers' own defaults are.
fn topic_settings(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", spec.retention_ms.to_string()),
        ("max.message.bytes", spec.max_message_bytes.to_string()),
        // A copy that lags never leads, or what the others acknowledged would be gone.
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    // Kafka's default is that a single copy acknowledges, whose disk may be lost. Of two copies both would have to be up.
    if spec.replication >= 3 {
        settings.push(("min.insync.replicas", "2".to_owned()));
    }
    settings
}

fn options() -> AdminOptions {
    let timeout = Some(Timeout::After(limits::ADMIN_TIMEOUT));
    AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
}

fn entry<'a>(resource: &'a ConfigResource, name: &'static str) -> Result<&'a str, LogError> {
    let value = resource.get(name).and_then(|entry| entry.value.as_deref());
    value.ok_or_else(|| LogError::kafka("describing a topic", format!("it has no {name}")))
}

fn number(resource: &ConfigResource, name: &'static str) -> Result<u32, LogError> {
    entry(resource, name)?.parse().map_err(|error| LogError::kafka("describing a topic", format!("{name}: {error}")))
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("librdkafka counts partitions in an i32")
}

/// A partition as librdkafka writes it.
fn number_of(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX) // no topic has it, and Kafka says so
}

async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(ask).await.map_err(|_| LogError::Closed)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_is_refused_for_is_told_without_the_value() {
        let cases = [
            ("sasl.pasword", "hunter2", r#"setting sasl.pasword: No such configuration property: "sasl.pasword""#),
            ("sasl.jaas.config", "hunter2", "setting sasl.jaas.config: Java JAAS configuration is not supported"),
            ("security.protocol", "ssl,sasl.password=hunter2", "setting security.protocol cannot have this value"),
            ("debug", "broker, hunter2", "setting debug cannot have this value"),
            ("socket.timeout.ms", "hunter2", r#"Invalid value for configuration property "socket.timeout.ms""#),
        ];
        for (name, value, expected) in cases {
            let client = vec![(name.to_owned(), value.to_owned())];
            let settings = KafkaSettings { brokers: "127.0.0.1:1".to_owned(), client };
            let assignment = Box::new(crate::FromTheStart);
            let errors = [
                Kafka::new(&settings).err(),
                KafkaProducer::new(&settings, Duration::ZERO, limits::DELIVERY_TIMEOUT).err(),
                KafkaConsumer::new(&settings, assignment, Arc::new(Reading::new("t", "g"))).err(),
            ];
            for error in errors {
                let error = error.expect("no client has such settings").to_string();
                assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn of_three_copies_two_must_have_a_record_before_it_is_acknowledged() {
        let settings = |replication| {
            let spec =
                TopicSpec { name: "t".into(), partitions: 1, replication, retention_ms: 1, max_message_bytes: 1 };
            topic_settings(&spec)
        };
        let of = |replication, name| settings(replication).into_iter().find(|(found, _)| *found == name);
        for (replication, copies) in [(1, None), (2, None), (3, Some("2")), (5, Some("2"))] {
            let found = of(replication, "min.insync.replicas").map(|(_, value)| value);
            assert_eq!(found.as_deref(), copies, "{replication} copies");
            let unclean = of(replication, "unclean.leader.election.enable").map(|(_, value)| value);
            assert_eq!(unclean.as_deref(), Some("false"), "{replication} copies");
        }
    }
}
