//! The promises of the log, checked on the embedded one and on a real Kafka.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod follower;

use bytes::Bytes;
use follower::{Follower, Kept, read_until};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use topic::{KafkaSettings, Log, LogError, Outgoing, Position, Start, TopicSpec, partition_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A log under test; the folder lives as long as it.
struct Tested {
    name: &'static str,
    log: Log,
    _dir: Option<tempfile::TempDir>,
}

fn kafka() -> Log {
    let brokers = std::env::var("WATCHBEAT_TEST_BROKERS")
        .expect("WATCHBEAT_TEST_BROKERS is not set: run the tests with `scripts/with-services cargo test --workspace`");
    Log::kafka(&KafkaSettings { brokers, client: Vec::new() }).unwrap()
}

fn logs() -> Vec<Tested> {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Log::embedded(dir.path()).unwrap();
    vec![
        Tested { name: "embedded", log: embedded, _dir: Some(dir) },
        Tested { name: "kafka", log: kafka(), _dir: None },
    ]
}

/// A topic of its own for every run, because a broker outlives the test.
fn spec(name: &str, partitions: u32) -> TopicSpec {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    TopicSpec {
        name: format!("contract-{name}-{}-{nanos}", std::process::id()),
        partitions,
        replication: 1,
        retention_ms: 86_400_000,
        max_message_bytes: 1 << 20,
    }
}

fn record(partition: u32, number: u64) -> Outgoing {
    let (key, value) = (format!("key-{partition}"), format!("value-{partition}-{number}"));
    Outgoing { partition, key: Bytes::from(key), value: Bytes::from(value) }
}

async fn append(log: &Log, topic: &str, records: Vec<Outgoing>) {
    log.producer(Duration::from_millis(5)).unwrap().append(topic, &records).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_in_order_with_their_offsets_and_times_that_never_go_back() {
    for Tested { name, log, _dir } in logs() {
        let spec = spec("order", 3);
        log.create_topic(&spec).await.unwrap();
        let before = now_ms();
        for round in 0..10 {
            let records = (0..30).map(|index| record(index % 3, round * 10 + u64::from(index / 3))).collect();
            append(&log, &spec.name, records).await;
        }
        let read = read_until(&log, &spec.name, Vec::new(), 300);
        for partition in 0..3 {
            let of: Vec<_> = read.iter().filter(|record| record.partition == partition).collect();
            assert_eq!(of.len(), 100, "{name}");
            for (index, found) in of.iter().enumerate() {
                assert_eq!(found.offset, index as u64, "{name}");
                assert_eq!(found.key, format!("key-{partition}").as_bytes(), "{name}");
                assert_eq!(found.value, format!("value-{partition}-{index}").as_bytes(), "{name}");
            }
            assert!(of.is_sorted_by_key(|record| record.timestamp_ms), "{name}");
            assert!(of[0].timestamp_ms >= before - 1_000 && of[99].timestamp_ms <= now_ms() + 1_000, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_append_of_20000_records_is_whole_and_counted_by_the_end_offsets() {
    for Tested { name, log, _dir } in logs() {
        let spec = spec("big", 4);
        log.create_topic(&spec).await.unwrap();
        assert_eq!(log.end_offsets(&spec.name).await.unwrap(), [0; 4], "{name}");
        let records: Vec<_> = (0..20_000u32).map(|index| record(index % 4, u64::from(index / 4))).collect();
        let started = Instant::now();
        append(&log, &spec.name, records).await;
        let appended = started.elapsed();
        assert_eq!(log.end_offsets(&spec.name).await.unwrap(), [5_000; 4], "{name}");
        let started = Instant::now();
        let read = read_until(&log, &spec.name, Vec::new(), 20_000);
        println!("{name}: 20,000 records appended in {appended:?}, read in {:?}", started.elapsed());
        let mut next = [0; 4];
        for record in &read {
            let expected = &mut next[record.partition as usize];
            assert_eq!(record.offset, *expected, "{name}");
            *expected += 1;
        }
        assert_eq!(next, [5_000; 4], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_at_the_offset_asked_for_and_seek_moves_it() {
    for Tested { name, log, _dir } in logs() {
        let spec = spec("resume", 2);
        log.create_topic(&spec).await.unwrap();
        append(&log, &spec.name, (0..200).map(|index| record(index % 2, u64::from(index / 2))).collect()).await;
        let starts = vec![at(0, Start::Offset(90)), at(1, Start::Offset(100))];
        let mut follower = Follower::new(&log, &spec.name, "resume", starts);
        let read = follower.read(10);
        assert!(read.iter().all(|record| record.partition == 0), "{name}");
        assert_eq!((read[0].offset, read[9].offset), (90, 99), "{name}");
        follower.consumer.seek(1, Start::Offset(95)).unwrap();
        let read = follower.read(5);
        assert!(read.iter().all(|record| record.partition == 1), "{name}");
        assert_eq!((read[0].offset, read[4].offset), (95, 99), "{name}");
        follower.consumer.store_offset(1, 100).unwrap();
        // A reader that waits is woken by an append.
        append(&log, &spec.name, vec![record(1, 100)]).await;
        assert_eq!(follower.read(1)[0].offset, 100, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_is_not_on_the_log_is_an_error_that_names_it() {
    for Tested { name, log, _dir } in logs() {
        let spec = spec("range", 1);
        log.create_topic(&spec).await.unwrap();
        append(&log, &spec.name, vec![record(0, 0)]).await;
        let mut follower = Follower::new(&log, &spec.name, "range", vec![at(0, Start::Offset(17))]);
        let error = follower.failure();
        assert!(
            matches!(&error, LogError::OutOfRange { topic, partition: 0, offset: 17 } if *topic == spec.name),
            "{name}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_made_once_described_and_never_repartitioned() {
    for Tested { name, log, _dir } in logs() {
        let spec = spec("create", 3);
        let missing = log.describe(&spec.name).await.unwrap_err();
        assert!(matches!(missing, LogError::NoTopic { .. }), "{name}: {missing}");
        log.create_topic(&spec).await.unwrap();
        log.create_topic(&spec).await.unwrap();
        let found = log.describe(&spec.name).await.unwrap();
        assert_eq!((found.partitions, found.log_append_time, &*found.cleanup_policy), (3, true, "delete"), "{name}");
        assert_eq!((found.replication, found.min_insync_replicas, found.max_message_bytes), (1, 1, 1 << 20), "{name}");
        let refused = log.create_topic(&TopicSpec { partitions: 4, ..spec }).await.unwrap_err();
        assert!(matches!(refused, LogError::PartitionCount { found: 3, wanted: 4, .. }), "{name}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_no_partition_takes_fails_its_append() {
    for Tested { name, log, _dir } in logs() {
        let spec = spec("refused", 1);
        log.create_topic(&spec).await.unwrap();
        let producer = log.producer(Duration::ZERO).unwrap();
        assert!(producer.append(&spec.name, &[record(7, 0)]).await.is_err(), "{name}");
        let large = Outgoing { partition: 0, key: Bytes::new(), value: incompressible(2 << 20) };
        assert!(producer.append(&spec.name, &[large]).await.is_err(), "{name}");
        producer.append(&spec.name, &[]).await.unwrap();
        let delivery = producer.append(&spec.name, &[record(0, 0)]);
        producer.flush(PATIENCE).await.unwrap();
        delivery.await.unwrap();
        assert_eq!(log.end_offsets(&spec.name).await.unwrap(), [1], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_failed_says_which_partitions_have_it() {
    for Tested { name, log, _dir } in logs() {
        let spec = spec("partly", 2);
        log.create_topic(&spec).await.unwrap();
        let producer = log.producer(Duration::ZERO).unwrap();
        let large = Outgoing { partition: 1, key: Bytes::new(), value: incompressible(2 << 20) };
        let mut delivery = producer.append(&spec.name, &[large, record(0, 0), record(0, 1)]);
        assert!((&mut delivery).await.is_err(), "{name}");
        producer.flush(PATIENCE).await.unwrap();
        let ends = log.end_offsets(&spec.name).await.unwrap();
        assert_eq!(ends, if name == "kafka" { [2, 0] } else { [0, 0] }, "the embedded log takes all or nothing");
        assert_eq!([0, 1].map(|partition| delivery.is_safe(partition)), [ends[0] == 2, false], "{name}");
        let mut delivery = producer.append(&spec.name, &[record(1, 0)]);
        (&mut delivery).await.unwrap();
        assert!(delivery.is_safe(1), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_kafka_group_share_partitions_and_read_on_in_those_they_keep() {
    let log = kafka();
    let spec = spec("group", 4);
    log.create_topic(&spec).await.unwrap();
    let mut first = Follower::new(&log, &spec.name, &spec.name, Vec::new());
    first.poll_until(|follower| follower.partitions().len() == 4);
    append(&log, &spec.name, (0..4).map(|partition| record(partition, 0)).collect()).await;
    first.read(4);
    let mut second = Follower::new(&log, &spec.name, &spec.name, Vec::new());
    let deadline = Instant::now() + PATIENCE;
    while first.partitions().len() != 2 || second.partitions().len() != 2 {
        assert!(Instant::now() < deadline, "{:?} {:?}", first.history(), second.history());
        first.poll();
        // However busily it tells where it is: a rebalance waits until no commit is under way.
        let partitions = first.partitions();
        partitions.iter().cycle().take(500).for_each(|&partition| first.consumer.store_offset(partition, 1).unwrap());
        second.poll();
    }
    let (kept, handed_over) = (sorted(first.partitions()), sorted(second.partitions()));
    assert_eq!(sorted([kept.clone(), handed_over.clone()].concat()), [0, 1, 2, 3]);
    append(&log, &spec.name, (0..4).map(|partition| record(partition, 1)).collect()).await;
    let places = |read: Vec<Kept>| read.iter().map(|record| (record.partition, record.offset)).collect::<Vec<_>>();
    assert_eq!(sorted(places(first.read(2))), [(kept[0], 1), (kept[1], 1)], "what it keeps it reads once");
    let from_the_start = handed_over.iter().flat_map(|&partition| [(partition, 0), (partition, 1)]);
    assert_eq!(sorted(places(second.read(4))), from_the_start.collect::<Vec<_>>());

    let leaving = second.history_handle();
    drop(second);
    assert!(leaving.lock().unwrap().last().unwrap().starts_with("revoked ["));
    first.poll_until(|follower| follower.partitions().len() == 4);
    let gained = first.history().into_iter().filter(|step| step.starts_with("assigned ["));
    assert_eq!(gained.count(), 2, "at the start, and when the other left: {:?}", first.history());
    (0..4).for_each(|partition| first.consumer.store_offset(partition, 10 + u64::from(partition)).unwrap());
    drop(first);
    assert_eq!(committed(&spec), [10, 11, 12, 13].map(Offset::Offset));
}

/// What monitors find for the group that has the name of its topic.
fn committed(spec: &TopicSpec) -> Vec<Offset> {
    let brokers = std::env::var("WATCHBEAT_TEST_BROKERS").unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", format!("{0}-{0}", spec.name));
    let monitor: BaseConsumer = config.create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range(&spec.name, 0, i32::try_from(spec.partitions).unwrap() - 1);
    let found = monitor.committed_offsets(partitions, PATIENCE).unwrap();
    found.elements().iter().map(|element| element.offset()).collect()
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_is_the_same_after_a_restart_and_refuses_a_second_owner() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec("restart", 2);
    let mut last_ms = 0;
    for round in 0..3 {
        let log = Log::embedded(dir.path()).unwrap();
        let second = Log::embedded(dir.path()).err().unwrap();
        assert!(matches!(second, LogError::InUse { .. }), "{second}");
        log.create_topic(&spec).await.unwrap();
        assert_eq!(log.end_offsets(&spec.name).await.unwrap(), [round * 50; 2]);
        let records = (0..100).map(|index| record(index % 2, round * 50 + u64::from(index / 2))).collect();
        append(&log, &spec.name, records).await;
        let read = read_until(&log, &spec.name, Vec::new(), (round as usize + 1) * 100);
        let of: Vec<_> = read.iter().filter(|record| record.partition == 1).collect();
        assert!(of.iter().zip(0..).all(|(found, offset)| found.offset == offset));
        assert!(of.is_sorted_by_key(|record| record.timestamp_ms));
        assert!(of.last().unwrap().timestamp_ms >= last_ms);
        last_ms = of.last().unwrap().timestamp_ms;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_the_earliest_is_the_first_record_that_is_left() {
    let (log, spec) = (kafka(), spec("left", 1));
    log.create_topic(&spec).await.unwrap();
    append(&log, &spec.name, (0..10).map(|number| record(0, number)).collect()).await;
    let mut follower = Follower::new(&log, &spec.name, "left", vec![at(0, Start::Earliest)]);
    assert_eq!(follower.read(10)[0].offset, 0);
    delete_before(&spec.name, 7).await;
    follower.consumer.seek(0, Start::Earliest).unwrap();
    assert_eq!(follower.read(3)[0].offset, 7);
    follower.consumer.seek(0, Start::Offset(0)).unwrap();
    assert!(matches!(follower.failure(), LogError::OutOfRange { offset: 0, .. }));
}

/// Removes records of partition 0, as retention does.
async fn delete_before(topic: &str, offset: i64) {
    let brokers = std::env::var("WATCHBEAT_TEST_BROKERS").unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    admin.delete_records(&offsets, &AdminOptions::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_removes_what_is_past_its_retention_and_keeps_its_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let spec = TopicSpec { retention_ms: 1, ..spec("retention", 1) };
    {
        let log = Log::embedded(dir.path()).unwrap();
        log.create_topic(&spec).await.unwrap();
        append(&log, &spec.name, (0..10).map(|number| record(0, number)).collect()).await;
    }
    let deadline = Instant::now() + PATIENCE;
    for end in 10.. {
        let log = Log::embedded(dir.path()).unwrap();
        assert_eq!(log.end_offsets(&spec.name).await.unwrap(), [end]);
        // The log looks for old records soon after it is opened, and takes their age from the newest append. If it has not
        // looked yet, or looks during the poll, the next opening shows the effect.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut follower = Follower::new(&log, &spec.name, "retention", vec![at(0, Start::Earliest)]);
        match follower.offsets_to(end - 1) {
            Ok(offsets) => {
                assert!(offsets.iter().copied().eq(offsets[0]..end), "the newest stay, without a gap: {offsets:?}");
                if offsets.len() == 1 {
                    follower.consumer.seek(0, Start::Earliest).unwrap();
                    assert_eq!(follower.read(2)[1].offset, end - 1);
                    let gone = Follower::new(&log, &spec.name, "gone", vec![at(0, Start::Offset(0))]).failure();
                    assert!(matches!(gone, LogError::OutOfRange { offset: 0, .. }), "{gone}");
                    return;
                }
            }
            Err(error) => assert!(matches!(error, LogError::OutOfRange { .. }), "{error}"),
        }
        assert!(Instant::now() < deadline, "offset {} never became the only one", end - 1);
        append(&log, &spec.name, vec![record(0, end)]).await;
    }
}

#[test]
fn keys_go_where_kafkas_java_partitioner_sends_them() {
    // (murmur2 & 0x7fffffff) % partitions, from the golden hashes.
    assert_eq!(partition_for(b"foobar", 64), (-790_332_482_i32 as u32 & 0x7fff_ffff) % 64);
    assert_eq!(partition_for(b"abc", 12), 479_470_107 % 12);
}

/// Kafka's limit is on the compressed batch.
fn incompressible(bytes: usize) -> Bytes {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn at(partition: u32, start: Start) -> Position {
    Position { partition, start }
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
