//! `progress` as the sink reads it: where each partition stands, and where to resume reading. `next_offset` is moved only in
//! `transaction`.

use std::sync::mpsc::Sender;

use service::{Component, Stop};
use sql::database::Pool;
use tokio::runtime::Handle;
use tokio::time::timeout;
use topic::{Assignment, AssignmentError, Position, Start};

use crate::database::persistently;
use crate::{DatabaseError, SinkError, limits};

/// One partition's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) partition: u32,
    pub(crate) next_offset: u64,
    pub(crate) clock: i64,
    pub(crate) fingerprint: String,
    pub(crate) partials_offset: u64,
}

impl Progress {
    /// Where reading of `partials` resumes. For a partition that has nothing in the tables the offset is unknown: retention
    /// may have taken the first records.
    pub(crate) fn start(&self) -> Start {
        match (self.next_offset, self.partials_offset) {
            (0, 0) => Start::Earliest,
            (_, offset) => Start::Offset(offset),
        }
    }
}

/// A row is made the first time a partition is seen, so that the guard has something to move.
const MAKE: &str = "insert into watchbeat.progress (pipeline, partition)
    select $1, p from unnest($2::bigint[]) as p on conflict (pipeline, partition) do nothing";

const READ: &str = "select partition, next_offset, clock, fingerprint, partials_offset from watchbeat.progress
    where pipeline = $1 and partition = any($2::bigint[]) order by partition";

/// The rows of `partitions`.
pub(crate) async fn read(pool: &Pool, pipeline: &str, partitions: &[u32]) -> Result<Vec<Progress>, DatabaseError> {
    let reading = timeout(limits::TRANSACTION_TIMEOUT, read_rows(pool, pipeline, partitions));
    reading.await.unwrap_or(Err(DatabaseError::TimedOut))
}

async fn read_rows(pool: &Pool, pipeline: &str, partitions: &[u32]) -> Result<Vec<Progress>, DatabaseError> {
    let client = pool.get().await?;
    let numbers: Vec<i64> = partitions.iter().copied().map(i64::from).collect();
    client.execute(MAKE, &[&pipeline, &numbers]).await?;
    let rows = client.query(READ, &[&pipeline, &numbers]).await?;
    let progress = |row: &tokio_postgres::Row| Progress {
        partition: u32::try_from(row.get::<_, i64>(0)).expect("only the partitions asked for come back"),
        next_offset: row.get::<_, i64>(1).cast_unsigned(),
        clock: row.get(2),
        fingerprint: row.get(3),
        partials_offset: row.get::<_, i64>(4).cast_unsigned(),
    };
    Ok(rows.iter().map(progress).collect())
}

const MOVE_BOOKMARKS: &str = "update watchbeat.progress as p set partials_offset = b.partials_offset
    from unnest($2::bigint[], $3::bigint[], $4::bigint[]) as b (partition, next_offset, partials_offset)
    where p.pipeline = $1 and p.partition = b.partition and p.next_offset = b.next_offset
    and p.partials_offset < b.partials_offset";

/// A partition whose epochs up to `next_offset` are in the tables: the messages before `partials_offset` are repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bookmark {
    pub(crate) partition: u32,
    pub(crate) next_offset: u64,
    pub(crate) partials_offset: u64,
}

/// Notes where to resume reading, for partitions that have received nothing but repeats, which retention may take. A partition
/// that has moved on meanwhile is left alone.
pub(crate) async fn move_bookmarks(pool: &Pool, pipeline: &str, bookmarks: &[Bookmark]) -> Result<u64, DatabaseError> {
    let column = |of: fn(&Bookmark) -> u64| bookmarks.iter().map(|bookmark| of(bookmark).cast_signed()).collect();
    let [partitions, next_offsets, partials_offsets]: [Vec<i64>; 3] = [
        column(|bookmark| bookmark.partition.into()),
        column(|bookmark| bookmark.next_offset),
        column(|bookmark| bookmark.partials_offset),
    ];
    let moving = timeout(limits::TRANSACTION_TIMEOUT, async {
        let client = pool.get().await?;
        Ok(client.execute(MOVE_BOOKMARKS, &[&pipeline, &partitions, &next_offsets, &partials_offsets]).await?)
    });
    moving.await.unwrap_or(Err(DatabaseError::TimedOut))
}

/// A partition that came or left; the loop learns of it in order.
#[derive(Debug)]
pub(crate) enum Change {
    Assigned(Progress),
    Revoked(u32),
}

/// Answers where to start, going by what `progress` says.
pub(crate) struct FromProgress {
    pub(crate) pool: Pool,
    pub(crate) pipeline: String,
    pub(crate) runtime: Handle,
    pub(crate) database: Component,
    pub(crate) stop: Stop,
    pub(crate) changes: Sender<Change>,
}

impl Assignment for FromProgress {
    fn assigned(&mut self, partitions: &[u32]) -> Result<Vec<Position>, AssignmentError> {
        let reading = persistently("reading progress", &self.pool, &self.database, &self.stop, async || {
            read(&self.pool, &self.pipeline, partitions).await
        });
        let rows = self.runtime.block_on(reading)?.ok_or(SinkError::Stopped)?;
        let mut positions = Vec::with_capacity(rows.len());
        for row in rows {
            positions.push(Position { partition: row.partition, start: row.start() });
            self.changes.send(Change::Assigned(row)).map_err(|_| "the sink has ended")?;
        }
        Ok(positions)
    }

    fn revoked(&mut self, partitions: &[u32]) {
        for &partition in partitions {
            let _ = self.changes.send(Change::Revoked(partition)); // at the end nobody reads it
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_there_is_read_on_where_it_was_and_a_new_partition_where_it_begins() {
        let cases =
            [(0, 0, Start::Earliest), (0, 3, Start::Offset(3)), (3, 0, Start::Offset(0)), (3, 5, Start::Offset(5))];
        for (next_offset, partials_offset, expected) in cases {
            let progress =
                Progress { partition: 0, next_offset, clock: 1, fingerprint: String::new(), partials_offset };
            assert_eq!(progress.start(), expected);
        }
    }
}
