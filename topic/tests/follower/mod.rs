//! A consumer under test: remembers what it was assigned and what it read. Every wait has a deadline.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use topic::{Assignment, AssignmentError, Consumer, Log, LogError, Position};

/// A record kept after the poll.
pub(crate) struct Kept {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// A consumer with its memory.
pub(crate) struct Follower {
    pub(crate) consumer: Consumer,
    now: Arc<Mutex<Vec<u32>>>,
    history: Arc<Mutex<Vec<String>>>,
    kept: Vec<Kept>,
}

struct Memory {
    starts: Vec<Position>,
    now: Arc<Mutex<Vec<u32>>>,
    history: Arc<Mutex<Vec<String>>>,
}

impl Follower {
    pub(crate) fn new(log: &Log, topic: &str, group: &str, starts: Vec<Position>) -> Follower {
        let (now, history) = (Arc::default(), Arc::default());
        let memory = Memory { starts, now: Arc::clone(&now), history: Arc::clone(&history) };
        // A group of its own for every topic, and those are unique.
        let group = format!("{topic}-{group}");
        let consumer = log.consumer(topic, &group, Box::new(memory)).unwrap();
        Follower { consumer, now, history, kept: Vec::new() }
    }

    pub(crate) fn try_poll(&mut self) -> Result<usize, LogError> {
        let kept = &mut self.kept;
        self.consumer.poll(Duration::from_millis(20), 1_000, &mut |records| {
            kept.extend(records.iter().map(|record| Kept {
                partition: record.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key.to_vec(),
                value: record.value.to_vec(),
            }));
        })
    }

    pub(crate) fn poll(&mut self) {
        self.try_poll().unwrap();
    }

    pub(crate) fn poll_until(&mut self, done: impl Fn(&Follower) -> bool) {
        let deadline = Instant::now() + super::PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "after {:?} only {} records", self.history(), self.kept.len());
            self.poll();
        }
    }

    /// The next `count` records, which must be all there is at that moment.
    pub(crate) fn read(&mut self, count: usize) -> Vec<Kept> {
        self.poll_until(|follower| follower.kept.len() >= count);
        assert_eq!(self.kept.len(), count);
        std::mem::take(&mut self.kept)
    }

    /// The offsets of what it reads until the record `last` is there, or the error that ends reading.
    pub(crate) fn offsets_to(&mut self, last: u64) -> Result<Vec<u64>, LogError> {
        let deadline = Instant::now() + super::PATIENCE;
        while self.kept.last().is_none_or(|record| record.offset != last) {
            assert!(Instant::now() < deadline, "offset {last} was never read");
            self.try_poll()?;
        }
        Ok(self.kept.iter().map(|record| record.offset).collect())
    }

    /// The error that ends reading.
    pub(crate) fn failure(&mut self) -> LogError {
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            if let Err(error) = self.try_poll() {
                return error;
            }
            assert!(Instant::now() < deadline, "reading never failed");
        }
    }

    pub(crate) fn partitions(&self) -> Vec<u32> {
        self.now.lock().unwrap().clone()
    }

    pub(crate) fn history(&self) -> Vec<String> {
        self.history.lock().unwrap().clone()
    }

    pub(crate) fn history_handle(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.history)
    }
}

impl Assignment for Memory {
    fn assigned(&mut self, partitions: &[u32]) -> Result<Vec<Position>, AssignmentError> {
        self.now.lock().unwrap().extend(partitions);
        self.history.lock().unwrap().push(format!("assigned {partitions:?}"));
        Ok(self.starts.clone())
    }

    fn revoked(&mut self, partitions: &[u32]) {
        self.now.lock().unwrap().retain(|partition| !partitions.contains(partition));
        self.history.lock().unwrap().push(format!("revoked {partitions:?}"));
    }
}

/// Reads a topic from where it says until `count` records are in.
pub(crate) fn read_until(log: &Log, topic: &str, starts: Vec<Position>, count: usize) -> Vec<Kept> {
    Follower::new(log, topic, "reader", starts).read(count)
}
