//! What is on disk: two `fjall` keyspaces of one database.
//!
//! `topics`: topic id -> its specification, and (topic id, partition) -> end offset and last append time, so that
//! both survive when retention has emptied a partition. `records`: (topic id, partition, offset) -> append time,
//! key and value. Numbers are big-endian, so that the order of keys is the order of offsets.

use super::state::Bounds;
use crate::record::{Record, TopicSpec};
use crate::{LogError, Outgoing, limits};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::path::Path;

/// The open database.
pub(super) struct Storage {
    database: Database,
    topics: Keyspace,
    records: Keyspace,
}

/// Changes that become durable together.
pub(super) struct Group<'a> {
    storage: &'a Storage,
    batch: OwnedWriteBatch,
}

impl Storage {
    pub(super) fn open(dir: &Path) -> Result<Storage, LogError> {
        let opened = Database::builder(dir)
            .cache_size(limits::EMBEDDED_CACHE_BYTES)
            .max_journaling_size(limits::EMBEDDED_JOURNAL_BYTES)
            .open();
        let database = opened.map_err(|error| match error {
            fjall::Error::Locked => LogError::InUse { dir: dir.display().to_string() },
            error => LogError::storage("opening it", error),
        })?;
        let keyspace = |name| {
            let opened = database.keyspace(name, KeyspaceCreateOptions::default);
            opened.map_err(|error| LogError::storage("opening it", error))
        };
        let (topics, records) = (keyspace("topics")?, keyspace("records")?);
        Ok(Storage { database, topics, records })
    }

    /// Every topic with its id.
    pub(super) fn topics(&self) -> Result<Vec<(u32, TopicSpec)>, LogError> {
        let mut found = Vec::new();
        for entry in self.topics.iter() {
            let (key, value) = entry.into_inner().map_err(|error| LogError::storage("reading topics", error))?;
            if let Ok(id) = <[u8; 4]>::try_from(&key[..]) {
                let spec = read_spec(&value).ok_or_else(|| LogError::storage("reading topics", "damaged"))?;
                found.push((u32::from_be_bytes(id), spec));
            }
        }
        Ok(found)
    }

    /// Where a partition begins and ends.
    pub(super) fn bounds(&self, topic: u32, partition: u32) -> Result<Bounds, LogError> {
        let failed = |error| LogError::storage("reading a partition's end", error);
        let damaged = || LogError::storage("reading a partition's end", "damaged");
        let prefix = partition_key(topic, partition);
        let Some(stored) = self.topics.get(prefix).map_err(failed)? else {
            return Ok(Bounds::default());
        };
        let mut stored = &stored[..];
        let end = u64::from_be_bytes(number(&mut stored).ok_or_else(damaged)?);
        let timestamp_ms = i64::from_be_bytes(number(&mut stored).ok_or_else(damaged)?);
        let start = match self.records.prefix(prefix).next() {
            Some(first) => offset_in(&first.key().map_err(failed)?),
            None => end,
        };
        Ok(Bounds { start, end, timestamp_ms })
    }

    /// Gives the records of `[from, to)` to `each` while it says to go on.
    pub(super) fn read(
        &self,
        topic: u32,
        partition: u32,
        from: u64,
        to: u64,
        each: &mut dyn FnMut(Record<'_>) -> bool,
    ) -> Result<(), LogError> {
        let range = record_key(topic, partition, from)..record_key(topic, partition, to);
        for entry in self.records.range(range) {
            let (key, stored) = entry.into_inner().map_err(|error| LogError::storage("reading records", error))?;
            let record = read_record(partition, offset_in(&key), &stored);
            let record = record.ok_or_else(|| LogError::storage("reading records", "damaged"))?;
            if !each(record) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn group(&self) -> Group<'_> {
        Group { storage: self, batch: self.database.batch().durability(Some(PersistMode::SyncData)) }
    }
}

impl Group<'_> {
    pub(super) fn put_topic(&mut self, id: u32, spec: &TopicSpec) {
        let mut value = Vec::with_capacity(18 + spec.name.len());
        value.extend_from_slice(&spec.partitions.to_be_bytes());
        value.extend_from_slice(&spec.replication.to_be_bytes());
        value.extend_from_slice(&spec.retention_ms.to_be_bytes());
        value.extend_from_slice(&spec.max_message_bytes.to_be_bytes());
        value.extend_from_slice(spec.name.as_bytes());
        self.batch.insert(&self.storage.topics, id.to_be_bytes(), value);
    }

    pub(super) fn put_record(&mut self, topic: u32, offset: u64, timestamp_ms: i64, record: &Outgoing) {
        let key_len = u32::try_from(record.key.len()).expect("checked against the topic's limit");
        let mut value = Vec::with_capacity(12 + record.key.len() + record.value.len());
        value.extend_from_slice(&timestamp_ms.to_be_bytes());
        value.extend_from_slice(&key_len.to_be_bytes());
        value.extend_from_slice(&record.key);
        value.extend_from_slice(&record.value);
        self.batch.insert(&self.storage.records, record_key(topic, record.partition, offset), value);
    }

    pub(super) fn put_end(&mut self, topic: u32, partition: u32, bounds: Bounds) {
        let mut value = bounds.end.to_be_bytes().to_vec();
        value.extend_from_slice(&bounds.timestamp_ms.to_be_bytes());
        self.batch.insert(&self.storage.topics, partition_key(topic, partition), value);
    }

    pub(super) fn remove_record(&mut self, topic: u32, partition: u32, offset: u64) {
        self.batch.remove(&self.storage.records, record_key(topic, partition, offset));
    }

    /// Makes it all durable, or none of it.
    pub(super) fn commit(self) -> Result<(), LogError> {
        self.batch.commit().map_err(|error| LogError::storage("writing", error))
    }
}

fn partition_key(topic: u32, partition: u32) -> [u8; 8] {
    (u64::from(topic) << 32 | u64::from(partition)).to_be_bytes()
}

fn record_key(topic: u32, partition: u32, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&partition_key(topic, partition));
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

fn offset_in(key: &[u8]) -> u64 {
    u64::from_be_bytes(key[8..].try_into().expect("every key of `records` is made by record_key"))
}

fn read_spec(mut stored: &[u8]) -> Option<TopicSpec> {
    let partitions = u32::from_be_bytes(number(&mut stored)?);
    let replication = u16::from_be_bytes(number(&mut stored)?);
    let retention_ms = i64::from_be_bytes(number(&mut stored)?);
    let max_message_bytes = u32::from_be_bytes(number(&mut stored)?);
    let name = std::str::from_utf8(stored).ok()?.to_owned();
    Some(TopicSpec { name, partitions, replication, retention_ms, max_message_bytes })
}

fn read_record(partition: u32, offset: u64, mut stored: &[u8]) -> Option<Record<'_>> {
    let timestamp_ms = i64::from_be_bytes(number(&mut stored)?);
    let key_len = u32::from_be_bytes(number(&mut stored)?);
    let (key, value) = stored.split_at_checked(key_len as usize)?;
    Some(Record { partition, offset, timestamp_ms, key, value })
}

/// Takes the first bytes off.
fn number<const N: usize>(stored: &mut &[u8]) -> Option<[u8; N]> {
    let (number, rest) = stored.split_first_chunk::<N>()?;
    *stored = rest;
    Some(*number)
}
