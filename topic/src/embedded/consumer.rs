//! Reads from the embedded log: all partitions of a topic, from where their owner says.

use super::Open;
use crate::record::{Assignment, AssignmentError, Start};
use crate::{LogError, Record};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reader of one topic.
pub(crate) struct EmbeddedConsumer {
    log: Arc<Open>,
    topic: String,
    id: u32,
    assignment: Box<dyn Assignment>,
    /// Next offset by partition; empty before the first poll.
    positions: Vec<u64>,
    /// Partition to begin the next poll with, so that a busy one does not starve the others.
    turn: usize,
}

impl EmbeddedConsumer {
    pub(super) fn new(
        log: Arc<Open>,
        topic: &str,
        assignment: Box<dyn Assignment>,
    ) -> Result<EmbeddedConsumer, LogError> {
        let id = log.shared.with_topic(topic, |topic| topic.id)?;
        Ok(EmbeddedConsumer { log, topic: topic.to_owned(), id, assignment, positions: Vec::new(), turn: 0 })
    }

    pub(crate) fn poll(
        &mut self,
        max_wait: Duration,
        max_records: usize,
        take: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<usize, LogError> {
        let deadline = Instant::now() + max_wait;
        if self.positions.is_empty() {
            self.gain()?;
        }
        self.log.shared.wait_for(&self.topic, deadline, |topic| {
            topic.partitions.iter().zip(&self.positions).any(|(bounds, position)| bounds.end != *position)
        });
        let bounds = self.log.shared.with_topic(&self.topic, |topic| topic.partitions.clone())?;
        let mut given = 0;
        for step in 0..bounds.len() {
            let index = (self.turn + step) % bounds.len();
            let (from, at) = (self.positions[index], bounds[index]);
            if from == at.end {
                continue;
            }
            if !(at.start..=at.end).contains(&from) {
                return Err(self.out_of_range(index));
            }
            given += self.read(index, at.end, max_records - given, take)?;
            if given == max_records {
                self.turn = index + 1;
                break;
            }
        }
        Ok(given)
    }

    pub(crate) fn seek(&mut self, partition: u32, to: Start) -> Result<(), LogError> {
        let starts = self.starts()?;
        let (index, topic) = (partition as usize, || self.topic.clone());
        let place = self.positions.get_mut(index).zip(starts.get(index));
        let (position, earliest) = place.ok_or_else(|| LogError::NoPartition { topic: topic(), partition })?;
        *position = place_of(to, *earliest);
        Ok(())
    }

    /// Takes all partitions, each where its owner wants it.
    fn gain(&mut self) -> Result<(), LogError> {
        let partitions: Vec<u32> =
            self.log.shared.with_topic(&self.topic, |topic| (0..topic.spec.partitions).collect())?;
        let refused =
            |source: AssignmentError| LogError::Assignment { topic: self.topic.clone(), source: source.into() };
        let wanted = self.assignment.assigned(&partitions).map_err(refused)?;
        let position = |(partition, earliest): (u32, u64)| {
            let position = wanted.iter().find(|position| position.partition == partition);
            place_of(position.map_or(Start::Earliest, |position| position.start), earliest)
        };
        self.positions = (0..).zip(self.starts()?).map(position).collect();
        Ok(())
    }

    /// The first offset that is still there, by partition.
    fn starts(&self) -> Result<Vec<u64>, LogError> {
        let shared = &self.log.shared;
        shared.with_topic(&self.topic, |topic| topic.partitions.iter().map(|bounds| bounds.start).collect())
    }

    /// Reads one partition, from where it stands.
    fn read(
        &mut self,
        index: usize,
        end: u64,
        most: usize,
        take: &mut dyn FnMut(&[Record<'_>]),
    ) -> Result<usize, LogError> {
        let from = self.positions[index];
        let end = end.min(from.saturating_add(most as u64));
        let mut next = from;
        let partition = u32::try_from(index).expect("a topic counts its partitions in a u32");
        self.log.shared.storage.read(self.id, partition, from, end, &mut |record| {
            let follows = record.offset == next;
            if follows {
                next += 1;
                take(&[record]);
            }
            follows
        })?;
        self.positions[index] = next;
        if next < end {
            return Err(self.out_of_range(index)); // retention was faster
        }
        Ok((next - from) as usize)
    }

    fn out_of_range(&self, index: usize) -> LogError {
        let partition = u32::try_from(index).expect("a topic counts its partitions in a u32");
        LogError::OutOfRange { topic: self.topic.clone(), partition, offset: self.positions[index] }
    }
}

fn place_of(start: Start, earliest: u64) -> u64 {
    match start {
        Start::Offset(offset) => offset,
        Start::Earliest => earliest,
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        if !self.positions.is_empty() {
            let partitions: Vec<u32> = (0..).take(self.positions.len()).collect();
            self.assignment.revoked(&partitions);
        }
    }
}
