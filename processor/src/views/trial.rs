//! The trial of a view: its query is run once over rows made to be hostile, before a row of the log can turn out so. What
//! fails on one of them would stop its pipeline for good, since the log keeps the row. A trial is no proof: it does not show
//! what a view does only with values that are not among these.

use crate::coded::{Source, coded};
use crate::plan::{TableColumn, ViewError, unmergeable};
use crate::relations::{ColumnType, Content, Relation};
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use playback::validate;
use sql::partial::Role;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Enough rows for any two columns to have nearly all combinations of their values.
const ROWS: u32 = 512;

/// They are read a few at a time: a view may make long lists of its numbers.
const BATCH_ROWS: usize = 32;

/// Some are numbers, one only looks like a number, and one is no valid pattern. The view's own texts are added, or its
/// filters might let none pass.
const TEXTS: [&str; 7] = ["", "a", "-", "0", "-7", "(", "ü"];

/// The bounds of what `playback/src/validate.rs` lets through: the times of a report, its position in a title, the length of
/// an interval, and the time that such an interval takes at the slowest speed.
const EARLIEST_MS: i64 = *validate::RECEIVED_AT.start() - validate::OLDEST_MS;
const LATEST_MS: i64 = *validate::RECEIVED_AT.end() + validate::AHEAD_MS;
const POSITION_MS: i64 = *validate::POSITION_MS.end();
const INTERVAL_MS: i64 = *validate::PLAYED_MS.end();
const PLAYED_MS: i64 = INTERVAL_MS * 1_000 / *validate::RATE_THOUSANDTHS.start();

/// The most that one row may add to a sum: ten thousand million such rows, a month of the design load for one key, still fit
/// a bigint. A sum that does not fit ends every sink that meets it.
const MOST_PER_ROW: i64 = i64::MAX / 10_000_000_000;

/// Fails as the view with this plan, of this query over `relation`, would fail on a row, or if its sums would not fit its
/// table before long.
pub(super) async fn try_out(
    query: Statement,
    plan: &LogicalPlan,
    relation: &Relation,
    columns: &[TableColumn],
) -> Result<(), ViewError> {
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(BATCH_ROWS);
    let context = SessionContext::new_with_config(config);
    let table = MemTable::try_new(relation.schema(), vec![vec![rows(relation, &texts(plan))]])?;
    context.register_table(relation.name, Arc::new(table))?;
    let state = context.state();
    let coded = coded(&state.statement_to_plan(query).await?, relation)?;
    let plan = state.create_physical_plan(&coded.plan).await?;
    let output = collect(plan, context.task_ctx()).await.map_err(ViewError::Failing)?;
    for (column, source) in columns.iter().zip(&coded.sources) {
        match source {
            Source::Output(number) if column.role == Role::Sum => check_sum(&column.name, *number, &output)?,
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a sum that is greater than so many rows may make it.
fn check_sum(name: &str, output_column: usize, output: &[RecordBatch]) -> Result<(), ViewError> {
    for batch in output {
        let sums = cast(batch.column(output_column), &DataType::Int64).map_err(DataFusionError::from)?;
        let is_too_great = |sum: i64| sum.unsigned_abs() > MOST_PER_ROW.unsigned_abs() * u64::from(ROWS);
        if sums.as_primitive::<Int64Type>().iter().flatten().any(is_too_great) {
            return unmergeable(format!(
                "column {name} grows by more than {MOST_PER_ROW} a row, and would not fit its table before long: sum something smaller"
            ));
        }
    }
    Ok(())
}

/// The hostile texts, and those that the view compares with.
fn texts(plan: &LogicalPlan) -> Vec<String> {
    let mut texts = BTreeSet::from(TEXTS.map(str::to_owned));
    plan.apply(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = part {
                    texts.insert(text.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .expect("nothing here fails");
    texts.into_iter().collect()
}

fn rows(relation: &Relation, texts: &[String]) -> RecordBatch {
    let arrays = relation.contents().map(|content| array(relation, content, texts)).collect();
    RecordBatch::try_new(relation.schema(), arrays).expect("the arrays have the types of the relation")
}

fn array(relation: &Relation, content: Content, texts: &[String]) -> ArrayRef {
    let numbers = || Arc::new(Int64Array::from_iter_values(0..i64::from(ROWS)));
    let text = |row, column: usize| {
        let may_be_null = relation.columns[column].1 == ColumnType::NullableText;
        texts.get(pick(row, column, texts.len() + usize::from(may_be_null)))
    };
    match content {
        Content::Value(column) => {
            let (name, column_type) = relation.columns[column];
            let integers = (0..ROWS).map(|row| integer(name, column_type, row, column));
            match column_type {
                ColumnType::Text | ColumnType::NullableText => {
                    Arc::new(StringArray::from_iter((0..ROWS).map(|row| text(row, column))))
                }
                ColumnType::Integer => Arc::new(Int64Array::from_iter_values(integers)),
                ColumnType::Time => Arc::new(TimestampMillisecondArray::from_iter_values(integers)),
                ColumnType::Boolean => {
                    Arc::new((0..ROWS).map(|row| Some(pick(row, column, 2) == 1)).collect::<BooleanArray>())
                }
            }
        }
        // Nothing is looked up by them here.
        Content::Codes(column) => Arc::new(UInt32Array::from_iter((0..ROWS).map(|row| text(row, column).map(|_| row)))),
        Content::Session => Arc::new(UInt32Array::from_iter_values(0..ROWS)),
        Content::Ordinal | Content::Row => numbers(),
        Content::Epoch => Arc::new(Int64Array::from_value(0, ROWS as usize)),
    }
}

fn integer(name: &str, column_type: ColumnType, row: u32, column: usize) -> i64 {
    let one_of = |greatest: &[i64], column| {
        let index = pick(row, column, 3 + greatest.len());
        [0, 1, -1].iter().chain(greatest).copied().nth(index).expect("it is one of so many")
    };
    match name {
        // The two ends go together: a view may unfold what lies between them, and that is never long.
        "from_ms" => one_of(&[POSITION_MS], 0),
        "to_ms" => one_of(&[POSITION_MS], 0) + INTERVAL_MS,
        "position_ms" | "furthest_ms" => one_of(&[POSITION_MS], column),
        "event_time" | "received_at" => one_of(&[EARLIEST_MS, LATEST_MS], column),
        _ if column_type == ColumnType::Time => one_of(&[EARLIEST_MS, LATEST_MS], column),
        _ if name.ends_with("_ms") => one_of(&[PLAYED_MS], column),
        _ => one_of(&[], column),
    }
}

/// A number below `of` for a column in a row: the same every time, yet as if random (the last steps of splitmix64), so that
/// the values of two columns meet in all combinations.
fn pick(row: u32, column: usize, of: usize) -> usize {
    let seed = (u64::from(row) << 8 | column as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % of as u64) as usize
}
