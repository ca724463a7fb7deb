//! When no record comes any more, a running processor ticks until no point waits. On the embedded log.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use playback::kernel::Parameters;
use playback::record::{self, Record};
use processor::Settings;
use prost::Message;
use service::{Readiness, Stop};
use sql::partial::Ledger;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use topic::{Consumer, FromTheStart, Log, Outgoing, TopicSpec};

const PATIENCE: Duration = Duration::from_secs(30);
/// More than are judged at one record or tick, yet few enough to be judged within the epoch, which a tick can end too.
const SESSIONS: u64 = 2_500;

async fn log_with_topics(dir: &TempDir) -> Log {
    let log = Log::embedded(&dir.path().join("log")).unwrap();
    for name in ["heartbeats", "partials", "late"] {
        let (name, max_message_bytes) = (name.to_owned(), 16 << 20);
        let spec = TopicSpec { name, partitions: 1, replication: 1, retention_ms: -1, max_message_bytes };
        log.create_topic(&spec).await.unwrap();
    }
    log
}

/// A point, and one that waits for a report between them.
fn reports(session: u64, now: i64) -> [Outgoing; 2] {
    [0, 2].map(|seq| {
        let record = Record {
            site: "default".into(),
            user_id: format!("u{session}"),
            session_id: "s".into(),
            video_id: "v".into(),
            seq,
            event_time: now + 5_000 * i64::from(seq),
            received_at: now,
            position_ms: 5_000 * seq,
            ..Record::default()
        };
        let key = Bytes::from(record::key("default", &record.user_id));
        Outgoing { partition: 0, key, value: record.encode_to_vec().into() }
    })
}

/// The account after the first epoch.
fn first(consumer: &mut Consumer) -> Option<Ledger> {
    let mut first = None;
    let mut take = |records: &[topic::Record<'_>]| {
        first = first.or_else(|| sql::codec::decode(records.first()?.value).unwrap().ledger);
    };
    consumer.poll(Duration::from_millis(50), 100, &mut take).unwrap();
    first
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_points_whose_waits_end_together_are_judged_though_no_record_comes() {
    let dir = TempDir::new().unwrap();
    let log = log_with_topics(&dir).await;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let sent: Vec<_> = (0..SESSIONS).flat_map(|session| reports(session, now)).collect();
    log.producer(Duration::ZERO).unwrap().append("heartbeats", &sent).await.unwrap();
    let settings = Settings {
        heartbeats_topic: "heartbeats".into(),
        partials_topic: "partials".into(),
        late_topic: "late".into(),
        group: "processor".into(),
        pipeline: "main".into(),
        snapshots_folder: "main".into(),
        parameters: Parameters { point_wait_ms: 500, ..Parameters::default() },
        epoch_ms: 3_000,
        snapshot_every: Duration::from_secs(3_600),
        views: sql::views::shipped(),
    };
    let store = processor::snapshot_store(dir.path().join("snapshots").to_str().unwrap(), []).unwrap();
    let (stop, runtime) = (Stop::new(), tokio::runtime::Handle::current());
    let (read, stopped) = (log.clone(), stop.clone());
    let thread =
        std::thread::spawn(move || processor::run(&read, store, settings, runtime, &Readiness::new(), &stopped));
    let ledger = tokio::task::spawn_blocking(move || {
        let mut consumer = log.consumer("partials", "reader", Box::new(FromTheStart)).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "no epoch ended within {PATIENCE:?}");
            if let Some(ledger) = first(&mut consumer) {
                return ledger;
            }
        }
    });
    let ledger = ledger.await.unwrap();
    stop.request();
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap().unwrap();
    assert_eq!((ledger.credited, ledger.idle, ledger.waiting), (SESSIONS, SESSIONS, 0), "after {} ticks", ledger.ticks);
    assert!(ledger.ticks > 1, "there are too few points");
}
