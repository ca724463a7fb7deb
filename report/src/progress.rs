//! How far the tables are complete: part of every answer, read in the same snapshot.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::Transaction;

use crate::ReportError;

/// One pipeline.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CompleteTo {
    /// Log time up to which all partitions with records are in, in ms; none while there is no record.
    clock: Option<i64>,
    /// Records of each partition that are in.
    next_offsets: BTreeMap<i64, i64>,
    /// How many partitions have none: the clock says nothing about what is on them.
    empty_partitions: u32,
}

/// Per pipeline, the least clock and all offsets. A partition without records does not hold the clock back, which would
/// otherwise stand still for a partition that nobody writes to; such partitions are counted instead.
pub(crate) async fn complete_to(snapshot: &Transaction<'_>) -> Result<BTreeMap<String, CompleteTo>, ReportError> {
    let mut pipelines = BTreeMap::new();
    for row in snapshot.query(sql::queries::PROGRESS, &[]).await? {
        let (next_offset, clock): (i64, i64) = (row.get(2), row.get(3));
        let pipeline: &mut CompleteTo = pipelines.entry(row.get(0)).or_default();
        if next_offset > 0 {
            pipeline.clock = Some(pipeline.clock.map_or(clock, |least| least.min(clock)));
        } else {
            pipeline.empty_partitions += 1;
        }
        pipeline.next_offsets.insert(row.get(1), next_offset);
    }
    Ok(pipelines)
}
