//! The spool: what it acknowledged is there in order, whatever happens to the process or the end of its files.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use bytes::Bytes;
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use topic::{Depth, LogError, Spool, SpoolBatch, SpoolPlace, Spooled};

mod damage;

const CAPACITY: u64 = 64 << 20;

fn record(number: u64) -> Spooled {
    let value = format!("{number} {}", "x".repeat((number % 200) as usize));
    Spooled { topic: "heartbeats".into(), key: Bytes::from(format!("key-{}", number % 7)), value: Bytes::from(value) }
}

/// Opens a spool that was just closed. While a test starts a process, that process holds the lock for a moment, like every file
/// open here.
fn reopen(dir: &Path) -> Spool {
    for _ in 0..1_000 {
        match Spool::open(dir, CAPACITY) {
            Err(LogError::InUse { .. }) => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.unwrap(),
        }
    }
    panic!("the spool stays in use");
}

fn append(spool: &Spool, numbers: std::ops::Range<u64>) -> Result<(), LogError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(spool.append(numbers.map(record).collect()))
}

/// The oldest appends, of so many records together or a little more.
fn oldest(spool: &Spool, records: usize) -> SpoolBatch {
    spool.read(SpoolPlace::START..SpoolPlace::END, records, usize::MAX).unwrap()
}

/// Removes what was read.
fn remove(spool: &Spool, batch: &SpoolBatch) {
    spool.remove(batch.end, batch.records.len()).unwrap();
}

/// Takes everything out.
fn drain(spool: &Spool) -> Vec<Spooled> {
    let mut all = Vec::new();
    loop {
        let batch = oldest(spool, 100);
        if batch.records.is_empty() {
            return all;
        }
        remove(spool, &batch);
        all.extend(batch.records);
    }
}

fn records(numbers: std::ops::Range<u64>) -> Vec<Spooled> {
    numbers.map(record).collect()
}

#[test]
fn what_was_appended_is_read_in_order() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    append(&spool, 0..3).unwrap();
    append(&spool, 3..10).unwrap();
    let first = oldest(&spool, 2);
    assert_eq!(first.records, records(0..3), "an append stays together");
    assert_eq!(oldest(&spool, 4).records, records(0..10));
    assert!(!first.is_last && oldest(&spool, 4).is_last);
    remove(&spool, &first);
    append(&spool, 10..12).unwrap();
    assert_eq!(drain(&spool), records(3..12));
    assert_eq!(spool.depth(), Depth { records: 0, bytes: 0 });
}

#[test]
fn what_was_not_removed_is_there_after_reopening() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    append(&spool, 0..3).unwrap();
    append(&spool, 3..10).unwrap();
    remove(&spool, &oldest(&spool, 1));
    drop(spool);
    let spool = reopen(dir.path());
    append(&spool, 10..12).unwrap();
    assert_eq!(spool.depth().records, 12, "a removal inside a segment is not kept, and is not promised");
    assert_eq!(drain(&spool), records(0..12));
    drop(spool);
    let spool = reopen(dir.path());
    assert_eq!(drain(&spool), [], "what is empty stays empty");
    assert_eq!(segments(dir.path()).len(), 0);
}

#[test]
fn a_folder_in_use_is_refused() {
    let dir = TempDir::new().unwrap();
    let _spool = Spool::open(dir.path(), CAPACITY).unwrap();
    assert!(matches!(Spool::open(dir.path(), CAPACITY), Err(LogError::InUse { .. })));
}

#[test]
fn a_full_spool_refuses_and_takes_again_after_a_removal() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), 10_000).unwrap();
    let mut taken = 0;
    while append(&spool, taken..taken + 1).is_ok() {
        taken += 1;
    }
    assert!(matches!(append(&spool, taken..taken + 1), Err(LogError::SpoolFull { .. })), "and it stays full");
    remove(&spool, &oldest(&spool, 10));
    append(&spool, taken..taken + 1).unwrap();
    assert_eq!(drain(&spool), records(10..taken + 1), "a refused append leaves nothing");
}

#[test]
fn disk_is_given_back_segment_by_segment() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    let large = |number: u64| Spooled { value: Bytes::from(vec![number as u8; 1 << 20]), ..record(number) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for number in 0..40 {
        runtime.block_on(spool.append(vec![large(number)])).unwrap();
    }
    assert_eq!(segments(dir.path()).len(), 3);
    for number in 0..16 {
        let batch = oldest(&spool, 1);
        assert_eq!(batch.records, [large(number)]);
        remove(&spool, &batch);
    }
    assert_eq!(segments(dir.path()).len(), 2);
}

#[test]
fn an_empty_append_costs_nothing_that_comes_after_it() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    append(&spool, 0..1).unwrap();
    append(&spool, 1..1).unwrap();
    append(&spool, 1..3).unwrap();
    drop(spool);
    assert_eq!(drain(&reopen(dir.path())), records(0..3));
}

#[test]
fn an_append_that_could_not_be_read_back_is_refused() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), 1 << 30).unwrap();
    let value = Bytes::from(vec![0; 1 << 20]);
    let large = (0..300).map(|number| Spooled { value: value.clone(), ..record(number) }).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(spool.append(large)), Err(LogError::TooLarge { .. })));
    assert_eq!(spool.depth(), Depth { records: 0, bytes: 0 });
}

/// A file system may fail after it has made the file of a new segment.
#[test]
fn a_file_that_is_there_already_fails_one_append_and_no_more() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    fs::write(dir.path().join(format!("{:020}.segment", 0)), []).unwrap();
    assert!(matches!(append(&spool, 0..1), Err(LogError::Spool { .. })));
    append(&spool, 0..1).unwrap();
    drop(spool);
    assert_eq!(drain(&reopen(dir.path())), records(0..1));
    assert_eq!(segments(dir.path()).len(), 0);
}

#[test]
fn a_burst_of_large_appends_makes_no_large_segment() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    let value = Bytes::from(vec![0; 1 << 20]);
    let bursts: Vec<_> = (0..60).map(|number| vec![Spooled { value: value.clone(), ..record(number) }]).collect();
    let deliveries: Vec<_> = bursts.into_iter().map(|burst| spool.append(burst)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    deliveries.into_iter().for_each(|delivery| runtime.block_on(delivery).unwrap());
    let largest = segments(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).max().unwrap();
    assert!(largest < 18 << 20, "{largest} bytes");
}

/// Appends while somebody else removes: the count of records never goes below nothing.
#[test]
fn the_depth_is_right_while_records_come_and_go() {
    let dir = TempDir::new().unwrap();
    let spool = Spool::open(dir.path(), CAPACITY).unwrap();
    std::thread::scope(|scope| {
        let appender = scope.spawn(|| (0..2_000).for_each(|number| append(&spool, number..number + 1).unwrap()));
        let drainer = scope.spawn(|| {
            let mut drained = 0;
            while drained < 2_000 {
                drained += drain(&spool).len();
            }
        });
        while !appender.is_finished() || !drainer.is_finished() {
            let Depth { records, .. } = spool.depth();
            assert!(records <= 2_000, "{records}");
        }
    });
    assert_eq!(spool.depth(), Depth { records: 0, bytes: 0 });
}

/// Appends, reads at the oldest end and ahead of it, removals and reopenings in a random order, against a queue in memory.
#[test]
fn it_is_a_queue() {
    let seed = std::env::var("WATCHBEAT_TEST_SEED").map_or(20_261, |seed| seed.parse().unwrap());
    println!("WATCHBEAT_TEST_SEED={seed}");
    let mut state: u64 = seed;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let dir = TempDir::new().unwrap();
    let mut spool = Spool::open(dir.path(), CAPACITY).unwrap();
    let (mut model, mut next) = (VecDeque::new(), 0);
    let mut ahead = (SpoolPlace::START, 0); // and how many records of the model lie before it
    for _ in 0..400 {
        match random(12) {
            // Only what was emptied comes back as it was: a removal may be undone by a crash.
            0 => {
                assert!(drain(&spool).iter().eq(&model));
                model.clear();
                drop(spool);
                spool = reopen(dir.path());
                ahead = (SpoolPlace::START, 0);
            }
            1..=3 => {
                let to = if ahead.1 > 0 { ahead.0 } else { SpoolPlace::END };
                let batch = spool.read(SpoolPlace::START..to, 1 + random(50) as usize, usize::MAX).unwrap();
                let read = batch.records.len();
                assert!(batch.records.iter().eq(model.iter().take(read)) && (read <= ahead.1 || ahead.1 == 0));
                remove(&spool, &batch);
                model.drain(..read);
                ahead.1 = ahead.1.saturating_sub(read);
            }
            4..=5 => {
                let batch = spool.read(ahead.0..SpoolPlace::END, 1 + random(50) as usize, usize::MAX).unwrap();
                assert!(batch.records.iter().eq(model.iter().skip(ahead.1).take(batch.records.len())));
                ahead = (batch.end, ahead.1 + batch.records.len());
            }
            _ => {
                let count = 1 + random(20);
                append(&spool, next..next + count).unwrap();
                model.extend(records(next..next + count));
                next += count;
            }
        }
        assert_eq!(spool.depth().records, model.len() as u64);
    }
    assert!(drain(&spool).iter().eq(&model));
}

/// Not a test by itself: what the next one starts and kills.
#[test]
fn child_that_appends() {
    let Ok(dir) = std::env::var("WATCHBEAT_SPOOL_CHILD") else { return };
    let spool = Spool::open(Path::new(&dir), CAPACITY).unwrap();
    for number in 0.. {
        append(&spool, number * 3..number * 3 + 3).unwrap();
        println!("acknowledged {}", number * 3 + 3);
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = TempDir::new().unwrap();
    for round in 0..5 {
        fs::remove_dir_all(dir.path()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_appends", "--exact", "--nocapture"])
            .env("WATCHBEAT_SPOOL_CHILD", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let acknowledged = lines.filter_map(|line| line.split_once("acknowledged ")?.1.parse::<u64>().ok());
        let acknowledged = acknowledged.take(30 + round * 40).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let found = drain(&reopen(dir.path()));
        let count = found.len() as u64;
        assert!(count >= acknowledged, "{count} of {acknowledged}");
        assert_eq!(count % 3, 0, "an append is there as a whole or not at all");
        assert_eq!(found, records(0..count));
    }
}

fn newest(dir: &Path) -> PathBuf {
    segments(dir).into_iter().max().unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "segment")).collect()
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
