//! Snapshots are used when whole and ours, passed over when damaged, refused when another pipeline made them.
#![allow(clippy::unwrap_used)]

use playback::kernel::Parameters;
use playback::record::Record;
use processor::shard::{Reading, Shard};
use processor::snapshot::{Packing, Snapshots};
use prost::Message;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::runtime::Handle;

const START: i64 = 1_763_683_200_000;

fn snapshots(dir: &Path, fingerprint: &str) -> Snapshots {
    Snapshots::new(processor::snapshot_store(dir.to_str().unwrap(), []).unwrap(), "main", fingerprint)
}

/// A shard that has seen one heartbeat of each of so many users.
fn shard(users: u64) -> Shard {
    let mut shard = Shard::new(3, 1_000, Parameters::default());
    for user in 0..users {
        let record = Record {
            site: "default".into(),
            user_id: user.to_string(),
            session_id: "s".into(),
            video_id: "v".into(),
            event_time: START,
            received_at: START,
            position_ms: 5_000,
            from_ms: Some(0),
            played_ms: 5_000,
            ..Record::default()
        };
        shard.fold(user, START, &Reading::of(&record.encode_to_vec())).unwrap();
    }
    shard.cut(START + 1_000, |_, _| {});
    shard
}

/// All of the state of [`shard`], in many parts.
fn saved(users: u64) -> Packing {
    let (mut shard, mut state) = (shard(users), Packing::default());
    shard.begin_save();
    loop {
        let saved = shard.save_some(10);
        state.add(saved.parts, &Handle::current());
        if saved.is_last {
            return state;
        }
    }
}

/// A folder with snapshots at these offsets.
async fn written(offsets: &[u64]) -> (TempDir, Snapshots) {
    let dir = TempDir::new().unwrap();
    let snapshots = snapshots(dir.path(), "ours");
    for &offset in offsets {
        snapshots.write(3, offset, saved(offset)).await.unwrap();
    }
    (dir, snapshots)
}

fn file(dir: &Path, offset: u64) -> PathBuf {
    dir.join(format!("main/3/{offset:020}"))
}

async fn restored(snapshots: &Snapshots) -> Option<u64> {
    let shard = snapshots.restore(3).await.unwrap()?;
    assert_eq!(shard.sessions() as u64, shard.next_offset());
    Some(shard.next_offset())
}

#[tokio::test]
async fn the_newest_snapshot_is_restored_with_its_state() {
    let (_dir, snapshots) = written(&[9, 40, 1_000]).await;
    assert_eq!(restored(&snapshots).await, Some(1_000));
    assert!(snapshots.restore(2).await.unwrap().is_none(), "another partition has none");
}

#[tokio::test]
async fn a_snapshot_damaged_at_any_byte_is_passed_over_for_the_one_before() {
    let (dir, snapshots) = written(&[40, 41]).await;
    let whole = std::fs::read(file(dir.path(), 41)).unwrap();
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x10;
        std::fs::write(file(dir.path(), 41), damaged).unwrap();
        assert_eq!(restored(&snapshots).await, Some(40), "byte {byte} changed");
        std::fs::write(file(dir.path(), 41), &whole[..byte]).unwrap();
        assert_eq!(restored(&snapshots).await, Some(40), "cut at byte {byte}");
    }
}

#[tokio::test]
async fn only_the_newest_three_are_kept_and_one_that_is_there_is_not_changed() {
    let (dir, snapshots) = written(&[1, 2, 3, 4, 5]).await;
    let kept: Vec<_> = (1..=5).filter(|offset| file(dir.path(), *offset).exists()).collect();
    assert_eq!(kept, [3, 4, 5]);
    let before = std::fs::read(file(dir.path(), 5)).unwrap();
    snapshots.write(3, 5, saved(6)).await.unwrap();
    assert_eq!(std::fs::read(file(dir.path(), 5)).unwrap(), before);
}

/// Otherwise the one before would have to serve until the next, and the log to reach back to it.
#[tokio::test]
async fn a_damaged_snapshot_is_written_anew() {
    let (dir, snapshots) = written(&[40, 41]).await;
    std::fs::write(file(dir.path(), 41), "").unwrap();
    assert_eq!(restored(&snapshots).await, Some(40));
    snapshots.write(3, 41, saved(41)).await.unwrap();
    assert_eq!(restored(&snapshots).await, Some(41));
}

#[tokio::test]
async fn a_snapshot_of_another_pipeline_version_is_refused_with_the_way_out() {
    let (dir, _) = written(&[7]).await;
    let error = snapshots(dir.path(), "theirs").restore(3).await.err().unwrap().to_string();
    assert!(error.contains("fingerprint ours, this is theirs") && error.contains("--pipeline"), "{error}");
}
