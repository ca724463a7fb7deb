//! A day that is written straight to the log: the same every time, and what a gateway would have put there.

#![allow(clippy::unwrap_used)]

use loadgen::{AccountFile, FillSettings, LoadError, Part, Profile};
use playback::record::Record;
use playback::validate::is_ours;
use prost::Message;
use service::Stop;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use topic::{FromTheStart, Log, TopicSpec, partition_for};

const TOPIC: &str = "heartbeats";
const PARTITIONS: u32 = 3;

/// Key and value of the records of each partition, in order.
type Written = BTreeMap<u32, Vec<(Vec<u8>, Vec<u8>)>>;

async fn log(dir: &Path) -> Log {
    let log = Log::embedded(dir).unwrap();
    let (name, retention_ms) = (TOPIC.to_owned(), -1);
    let spec = TopicSpec { name, partitions: PARTITIONS, replication: 1, retention_ms, max_message_bytes: 1 << 20 };
    log.create_topic(&spec).await.unwrap();
    log
}

/// Fills a fresh log and reads it back.
async fn written(settings: FillSettings) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path()).await;
    let filled = loadgen::fill(settings, log.clone(), Stop::new()).await.unwrap();
    assert!(filled.complete, "{filled}");
    let read = tokio::task::spawn_blocking(move || {
        let mut consumer = log.consumer(TOPIC, "reader", Box::new(FromTheStart)).unwrap();
        let mut found = Written::new();
        let mut left = filled.heartbeats;
        while left > 0 {
            let mut take = |records: &[topic::Record<'_>]| {
                left -= records.len() as u64;
                for record in records {
                    found.entry(record.partition).or_default().push((record.key.to_vec(), record.value.to_vec()));
                }
            };
            consumer.poll(Duration::from_millis(100), 10_000, &mut take).unwrap();
        }
        found
    });
    let read = read.await.unwrap();
    let counts: Vec<u64> =
        (0..PARTITIONS).map(|partition| read.get(&partition).map_or(0, |of| of.len() as u64)).collect();
    assert_eq!(counts, filled.partitions);
    read
}

fn settings() -> FillSettings {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    FillSettings {
        viewers: 60,
        heartbeats: Some(30_000),
        first_ms: Some(now - 23 * 3_600_000),
        ..FillSettings::new(TOPIC.to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_writes_the_same_records_in_the_same_order_on_every_partition() {
    let settings = settings();
    let first = written(settings.clone()).await;
    assert!(first == written(settings.clone()).await, "the second time it was something else");
    assert!(first != written(FillSettings { seed: 2, ..settings }).await, "another seed made no difference");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_one_that_a_gateway_would_have_written() {
    for (partition, records) in written(settings()).await {
        for (key, value) in records {
            let record = Record::decode(value.as_slice()).unwrap();
            assert!(is_ours(&record), "{record:?}");
            assert_eq!(record.encode_to_vec(), value);
            assert_eq!(key, playback::record::key(&record.site, &record.user_id));
            assert_eq!(partition_for(&key, PARTITIONS), partition);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_parts_go_to_files_and_add_up_and_the_same_one_twice_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let settings = FillSettings { heartbeats: None, viewers: 20, ..settings() };
    let mut files = Vec::new();
    for number in 1..=2 {
        let account = dir.path().join(format!("{number}.account"));
        let part = Part { number, of: 2 };
        written(FillSettings { part, account: Some(account.clone()), ..settings.clone() }).await;
        files.push(AccountFile::read(&account).unwrap());
    }
    let twice = AccountFile::union(vec![files[0].clone(), files[0].clone()]);
    assert!(matches!(twice, Err(LoadError::SamePart { .. })));
    let whole = dir.path().join("whole.account");
    written(FillSettings { account: Some(whole.clone()), ..settings }).await;
    assert!(AccountFile::union(files).unwrap() == AccountFile::read(&whole).unwrap(), "the parts are not the whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_well_is_refused_before_or_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path()).await;
    let refused = async |settings| loadgen::fill(settings, log.clone(), Stop::new()).await.unwrap_err();
    let disk = Some(dir.path().to_owned());
    let too_much = refused(FillSettings { heartbeats: Some(1 << 45), disk, ..settings() }).await;
    assert!(matches!(too_much, LoadError::Disk { .. }), "{too_much}");
    let too_old = settings().first_ms.map(|first_ms| first_ms - 3 * 3_600_000);
    let late = refused(FillSettings { first_ms: too_old, ..settings() }).await;
    assert!(matches!(late, LoadError::TooSlow { .. }), "{late}");
    let no_topic = refused(FillSettings { topic: "other".to_owned(), ..settings() }).await;
    assert!(matches!(&no_topic, LoadError::Log(error) if error.to_string().contains("other")), "{no_topic}");
    let no_id = refused(FillSettings { run: Some("a b".to_owned()), ..settings() }).await;
    assert!(matches!(no_id, LoadError::Id { name: "run", .. }), "{no_id}");
    let profile = Profile::parse("none", "viewers = 0").unwrap_err();
    assert!(profile.to_string().contains("viewers"), "{profile}");
}
