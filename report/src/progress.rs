//! How far the tables are complete: part of every answer, read in the same snapshot.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

use crate::{ReportError, limits};

/// One pipeline.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CompleteTo {
    /// Log time up to which all partitions with records are in, in ms; none while there is no record.
    clock: Option<i64>,
    /// Records of each partition that are in.
    next_offsets: BTreeMap<i64, i64>,
    /// Partitions of which none is: the clock says nothing of what is on them.
    empty_partitions: u32,
}

/// The rows of a query whose last parameter is how many it may give. More than an answer takes are refused with the way out:
/// a part of them would look like all.
pub(crate) async fn rows(
    snapshot: &Transaction<'_>,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
    way_out: &str,
) -> Result<Vec<Row>, ReportError> {
    let most = limits::ROWS + 1;
    let rows = snapshot.query(query, &[parameters, &[&most]].concat()).await?;
    if rows.len() as i64 > limits::ROWS {
        return Err(ReportError::BadRequest(format!("more than {} rows: {way_out}", limits::ROWS)));
    }
    Ok(rows)
}

/// Per pipeline, the least clock and all offsets. A partition without records holds nothing back, or the clock would stand still for one
/// to which nobody writes; it is counted instead.
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

/// Refuses what can be no id, before the database sees it.
pub(crate) fn check_id(what: &str, id: &str) -> Result<(), ReportError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if id.is_empty() || id.len() > limits::ID_BYTES || !id.bytes().all(is_plain) {
        let limit = limits::ID_BYTES;
        return Err(ReportError::BadRequest(format!("{what} is no id: 1 to {limit} of letters, digits and . _ : -")));
    }
    Ok(())
}
