//! The records of viewers who watch as most do: an interval report every five seconds, each viewer one title after
//! another, 2,000 titles, 30 territories.

use bytes::Bytes;
use playback::record::{Record, key};
use prost::Message;
use topic::{Outgoing, Producer, partition_for};

/// Reports of a session: an hour.
const SESSION_REPORTS: u64 = 720;
const TITLES: u64 = 2_000;
/// Records of one append.
const APPEND: usize = 20_000;

/// The report that `viewer` sends in beat `beat`; the first beat is at `start`.
pub(crate) fn record(viewer: u64, beat: u64, start: i64) -> Record {
    let seq = beat % SESSION_REPORTS;
    let session = beat / SESSION_REPORTS;
    let at = start + beat as i64 * 5_000 + (viewer % 5_000) as i64;
    Record {
        site: "default".into(),
        user_id: format!("user-{viewer:08}"),
        session_id: format!("0190a2b4-77c3-7d11-9e2f-{viewer:08}{session:04}"),
        video_id: format!("title-{:05}", (viewer * 7 + session * 13) % TITLES),
        seq: seq as u32,
        event_time: at,
        received_at: at + 40,
        position_ms: (seq as u32 + 1) * 5_000,
        from_ms: Some(seq as u32 * 5_000),
        played_ms: 5_000,
        duration_ms: 5_400_000,
        territory: format!("{}{}", char::from(b'A' + (viewer % 5) as u8), char::from(b'A' + (viewer % 6) as u8)),
        device: "tv".into(),
        ..Record::default()
    }
}

/// Appends `count` records of `viewers` to the topic, beat by beat.
pub(crate) async fn append(
    producer: &Producer,
    topic: &str,
    partitions: u32,
    viewers: u64,
    count: u64,
    start: i64,
) -> anyhow::Result<()> {
    let mut records = Vec::with_capacity(APPEND);
    let mut deliveries = Vec::new();
    for number in 0..count {
        let record = record(number % viewers, number / viewers, start);
        let key = Bytes::from(key(&record.site, &record.user_id));
        records.push(Outgoing {
            partition: partition_for(&key, partitions),
            key,
            value: record.encode_to_vec().into(),
        });
        if records.len() == APPEND || number + 1 == count {
            deliveries.push(producer.append(topic, &std::mem::take(&mut records)));
        }
        if deliveries.len() > 8 {
            deliveries.remove(0).await?;
        }
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}
