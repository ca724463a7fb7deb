//! Which consumers stand still, on a real Kafka. The reading of those that do not is in `tests/contract.rs`.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::kafka::Kafka;
use crate::kafka::reading::{self, Patience};
use crate::kafka::testing;
use crate::record::{FromTheStart, Outgoing};
use bytes::Bytes;
use std::thread::JoinHandle;

const PATIENCE: Patience = Patience {
    look: Duration::from_millis(200),
    stalled_after: Duration::from_secs(1),
    idle: Duration::from_millis(300),
};
/// Far longer than that.
const ENOUGH: Duration = Duration::from_secs(5);

/// A topic of two partitions, and a consumer that has read what was in them.
struct Scene {
    kafka: Kafka,
    topic: String,
    consumer: KafkaConsumer,
}

impl Scene {
    async fn new(name: &str) -> Scene {
        let kafka = Kafka::new(&KafkaSettings { brokers: testing::brokers(), client: Vec::new() }).unwrap();
        let spec = testing::new_topic(name, 2);
        kafka.create_topic(&spec).await.unwrap();
        let topic = spec.name;
        let consumer = kafka.consumer(&topic, &topic, Box::new(FromTheStart)).unwrap();
        let mut scene = Scene { kafka, topic, consumer };
        scene.append().await;
        let mut came = 0;
        while came < 2 {
            came += scene.consumer.poll(Duration::from_millis(100), 10, &mut |_| {}).unwrap();
        }
        scene
    }

    /// One record to each partition.
    async fn append(&self) {
        let record = |partition| Outgoing { partition, key: Bytes::new(), value: Bytes::from_static(b"record") };
        self.kafka
            .producer(Duration::ZERO, limits::DELIVERY_TIMEOUT)
            .unwrap()
            .append(&self.topic, &[record(0), record(1)])
            .await
            .unwrap();
    }

    /// What is said of the consumer while a thread does this with it again and again.
    async fn watched(mut self, mut go_on: impl FnMut(&mut KafkaConsumer) + Send + 'static) -> Option<String> {
        self.append().await;
        let reading = self.consumer.reading.clone();
        let going: JoinHandle<()> = std::thread::spawn(move || {
            let until = Instant::now() + ENOUGH;
            while Instant::now() < until {
                go_on(&mut self.consumer);
            }
        });
        let said = tokio::time::timeout(ENOUGH, reading::watch(&self.kafka, &reading, PATIENCE)).await;
        tokio::task::spawn_blocking(|| going.join().unwrap()).await.unwrap();
        said.ok().map(|error| error.to_string())
    }
}

/// What is said of a consumer that waits and gets nothing, of the record 0 of these partitions, while this happens to it.
async fn said_of(scene: &Scene, topic: &str, group: &str, partitions: &[u32], happens: fn(&Reading)) -> Option<String> {
    let reading = Arc::new(Reading::new(topic, group));
    for partition in partitions {
        reading.begins(*partition, Start::Offset(0));
    }
    let waits = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            reading.idled(Duration::from_millis(50));
            happens(&reading);
        }
    };
    let watch = reading::watch(&scene.kafka, &reading, PATIENCE);
    let watched = async {
        tokio::select! { said = watch => said, () = waits => unreachable!() }
    };
    tokio::time::timeout(ENOUGH, watched).await.ok().map(|error| error.to_string())
}

fn poll(consumer: &mut KafkaConsumer) {
    consumer.poll(Duration::from_millis(100), 10, &mut |_| {}).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_read_everything_does_not_stand_still() {
    assert_eq!(Scene::new("read").await.watched(poll).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_role_has_no_time_does_not_stand_still() {
    let busy = |_: &mut KafkaConsumer| std::thread::sleep(Duration::from_millis(100));
    assert_eq!(Scene::new("busy").await.watched(busy).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_gets_nothing_of_a_partition_stands_still() {
    let scene = Scene::new("paused").await;
    scene.consumer.consumer.pause(&scene.consumer.list_of(&[1])).unwrap();
    let said = scene.watched(poll).await.unwrap();
    assert!(said.contains("offset 1 of partition 1 is there, and has not come for 1 s"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_come_back_from_its_client_stands_still() {
    let hangs = |consumer: &mut KafkaConsumer| consumer.reading.calling(|| std::thread::sleep(ENOUGH));
    let said = Scene::new("hanging").await.watched(hangs).await.unwrap();
    assert!(said.contains("offset 1 of partition 0 is there"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_in_no_group_stands_still() {
    let scene = Scene::new("alone").await;
    scene.consumer.consumer.unsubscribe();
    let said = scene.watched(poll).await.unwrap();
    assert!(said.contains("has had no members for 1 s"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_topic_is_missing_does_not_stand_still() {
    let mut scene = Scene::new("missing").await;
    scene.consumer.consumer.unsubscribe();
    (0..20).for_each(|_| poll(&mut scene.consumer)); // so that the group is known, and empty
    assert_eq!(said_of(&scene, "no.such.topic", &scene.topic, &[], |_| ()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_group_kafka_does_not_tell_of_does_not_stand_still() {
    let scene = Scene::new("untold").await;
    assert_eq!(said_of(&scene, &scene.topic, "no.such.group", &[], |_| ()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_gets_faults_does_not_stand_still() {
    let scene = Scene::new("faults").await;
    assert_eq!(said_of(&scene, &scene.topic, &scene.topic, &[0], |reading| reading.failed(0)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stands_still_although_another_partition_does_not_answer() {
    let scene = Scene::new("leaderless").await;
    let said = said_of(&scene, &scene.topic, &scene.topic, &[1, 7], |_| ()).await.unwrap();
    assert!(said.contains("offset 0 of partition 1 is there"), "{said}");
}
