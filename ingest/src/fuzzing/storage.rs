//! What is read back from where others may have written: records of the log, and segments of the spool.

use super::scratch;
use bytes::{Buf, BufMut, Bytes};
use playback::credit::Disposition;
use playback::facts::Facts;
use playback::kernel::{Kernel, Parameters};
use playback::record::{Record, RecordAd};
use playback::validate::is_ours;
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use topic::limits::SPOOL_APPEND_BYTES;
use topic::{Depth, Spool, SpoolPlace, Spooled};

/// The value of a record on the log, as the processor takes it.
pub(super) fn record(value: &[u8]) {
    let found = Record::decode(value);
    // The processor uses one record for all: nothing of the one before may stay.
    let mut reused = before();
    reused.clear();
    match (reused.merge(value), &found) {
        (Ok(()), Ok(record)) => assert_eq!(reused, *record),
        (Err(_), Err(_)) => {}
        (merged, found) => panic!("{merged:?} in place, {found:?} by itself"),
    }
    let Ok(record) = found else { return };
    let bytes = record.encode_to_vec();
    assert_eq!(Record::decode(&*bytes).unwrap(), record);
    if !is_ours(&record) {
        return;
    }
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    let lateness_ms = Parameters::default().lateness_ms;
    let at = record.received_at;
    kernel.fold(&record, at, &mut facts);
    kernel.fold(&record, at + 1, &mut facts);
    kernel.fold(&Record { seq: record.seq + 1, ..record.clone() }, at + 2, &mut facts);
    kernel.tick(at + lateness_ms, &mut facts);
    let disposition = kernel.fold(&record, at + 2 * lateness_ms, &mut facts);
    assert!(disposition == Some(Disposition::Late) || record.event_time > at - lateness_ms);
    kernel.begin_save(Vec::new());
    let restored = Kernel::restore(&kernel.save_some(usize::MAX).parts.concat()).unwrap();
    assert_eq!((restored.sessions(), restored.ledger()), (kernel.sessions(), kernel.ledger()));
}

/// One with everything in it.
fn before() -> Record {
    let id = || "before".to_owned();
    let ad = RecordAd { impression_id: id(), line_id: id(), creative_id: id(), quartile: 3, viewable_ms: Some(5) };
    Record {
        site: id(),
        user_id: id(),
        session_id: id(),
        video_id: id(),
        seq: 1,
        event_time: 2,
        received_at: 3,
        position_ms: 4,
        from_ms: Some(5),
        played_ms: 6,
        state: 5,
        rate_thousandths: 7,
        duration_ms: 8,
        territory: id(),
        device: id(),
        ad: Some(ad),
    }
}

/// More than any input here.
const CAPACITY_BYTES: u64 = 64 << 20;
const SEGMENT: &str = "00000000000000000007.segment";

/// A segment that is found on disk: its bytes, or, as the first byte chooses, the payloads of frames.
pub(super) fn spool_segment(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let file = if choice % 2 == 0 { rest.to_vec() } else { framed(rest) };
    let expected = whole(&file);
    let dir = scratch();
    std::fs::write(dir.path().join(SEGMENT), &file).unwrap();
    let spool = opened(dir.path());
    assert_eq!(spool.depth().records, expected.len() as u64);
    let added = Spooled { topic: "heartbeats".into(), key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(spool.append(vec![added.clone()])).unwrap();
    drop(spool);
    // What was there stays, before what came after it, however it is read.
    let spool = opened(dir.path());
    let most = usize::from(choice / 2 % 8) + 1;
    let mut found = Vec::new();
    loop {
        let batch = spool.read(SpoolPlace::START..SpoolPlace::END, most, most * 64).unwrap();
        if batch.records.is_empty() {
            break;
        }
        spool.remove(batch.end, batch.records.len()).unwrap();
        found.extend(batch.records);
    }
    assert_eq!(found, expected.into_iter().chain([added]).collect::<Vec<_>>());
    assert_eq!(spool.depth(), Depth { records: 0, bytes: 0 });
    drop(spool);
    assert_eq!(opened(dir.path()).depth(), Depth { records: 0, bytes: 0 });
}

fn opened(dir: &Path) -> Spool {
    Spool::open(dir, CAPACITY_BYTES).expect("whatever a segment holds, the spool opens")
}

/// Frames of payloads that come as length, a byte that says whether the checksum is to be right, and payload.
fn framed(mut rest: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    while let [len, is_wrong, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        let len = u32::try_from(payload.len()).unwrap().to_le_bytes();
        file.extend_from_slice(&len);
        file.put_u32_le(checksum(len, payload) ^ u32::from(*is_wrong == 1));
        file.extend_from_slice(payload);
        rest = behind;
    }
    file
}

/// The records of all frames that are as they were written, read independently from the description of the format. What is
/// between them is damaged; after damage a frame only counts if its first topic's name is not too long for Kafka.
fn whole(file: &[u8]) -> Vec<Spooled> {
    let (mut records, mut at, mut is_damaged) = (Vec::new(), 0, false);
    while at < file.len() {
        match frame(&file[at..]) {
            Some((of_frame, bytes)) if !is_damaged || of_frame[0].topic.len() <= 249 => {
                records.extend(of_frame);
                (at, is_damaged) = (at + bytes, false);
            }
            _ => (at, is_damaged) = (at + 1, true),
        }
    }
    records
}

/// The records of the frame that begins here, if there is one, and its bytes.
fn frame(file: &[u8]) -> Option<(Vec<Spooled>, usize)> {
    let (header, behind) = file.split_first_chunk::<8>()?;
    let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    let expected = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let payload = behind.get(..len as usize)?;
    let is_right = len > 0 && len <= SPOOL_APPEND_BYTES && checksum(len.to_le_bytes(), payload) == expected;
    Some((spooled(payload).filter(|_| is_right)?, header.len() + payload.len()))
}

fn spooled(mut payload: &[u8]) -> Option<Vec<Spooled>> {
    let mut records = Vec::new();
    while !payload.is_empty() {
        let mut part = || {
            let len = payload.try_get_u32_le().ok()? as usize;
            let (part, behind) = payload.split_at_checked(len)?;
            payload = behind;
            Some(part)
        };
        let (topic, key, value) = (part()?, part()?, part()?);
        let topic: Arc<str> = std::str::from_utf8(topic).ok()?.into();
        records.push(Spooled { topic, key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) });
    }
    Some(records)
}

fn checksum(len: [u8; 4], payload: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(&len);
    crc.update(payload);
    crc.sum()
}
