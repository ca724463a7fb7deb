//! From the views' output to one message per epoch.

use crate::plan::TableColumn;
use crate::views::{View, Views};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMillisecondType};
use sql::partial::{Column, Kind, Ledger, Partial, Table};
use std::ops::Range;

/// An epoch that has ended: the offset range `[from, to)` of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedEpoch {
    /// Partition of the topic `heartbeats`.
    pub partition: u32,
    /// Its first offset.
    pub from: u64,
    /// The offset after its last.
    pub to: u64,
    /// Greatest log time up to `to`; ms since the epoch.
    pub clock: i64,
    /// Account of the partition up to `to`.
    pub ledger: playback::kernel::Ledger,
}

/// One message per epoch, in their order; `outputs` are the views' rows as [`Views::run`] gave them.
pub fn partials(
    epochs: &[ClosedEpoch],
    views: &Views,
    outputs: &[Vec<RecordBatch>],
    pipeline: &str,
    fingerprint: &str,
) -> Vec<Partial> {
    let mut partials: Vec<_> = epochs.iter().map(|epoch| empty(epoch, pipeline, fingerprint)).collect();
    for (view, batches) in views.views().iter().zip(outputs) {
        for batch in batches {
            append(&mut partials, view, batch);
        }
    }
    partials
}

fn empty(epoch: &ClosedEpoch, pipeline: &str, fingerprint: &str) -> Partial {
    let ledger = epoch.ledger;
    Partial {
        pipeline: pipeline.to_owned(),
        partition: epoch.partition,
        from: epoch.from,
        to: epoch.to,
        clock: epoch.clock,
        fingerprint: fingerprint.to_owned(),
        ledger: Some(Ledger {
            ticks: ledger.ticks,
            waiting: ledger.waiting,
            credited: ledger.credited,
            idle: ledger.idle,
            duplicate: ledger.duplicate,
            overrun: ledger.overrun,
            gap: ledger.gap,
            late: ledger.late,
            ad: ledger.ad,
        }),
        tables: Vec::new(),
    }
}

/// Appends a view's rows to the messages of their epochs. Rows of one epoch mostly follow each other.
fn append(partials: &mut [Partial], view: &View, batch: &RecordBatch) {
    let epochs = batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>().values();
    let arrays: Vec<_> =
        view.columns.iter().zip(batch.columns()).map(|(column, array)| plain(array, column.kind)).collect();
    let mut start = 0;
    while start < epochs.len() {
        let epoch = epochs[start];
        let length = epochs[start..].iter().take_while(|other| **other == epoch).count();
        let table = table_of(&mut partials[epoch as usize], view);
        table.rows += length as u32;
        for (column, array) in table.columns.iter_mut().zip(&arrays) {
            extend(column, array, start..start + length);
        }
        start += length;
    }
}

fn table_of<'a>(partial: &'a mut Partial, view: &View) -> &'a mut Table {
    if partial.tables.last().is_none_or(|table| table.name != view.name) {
        partial.tables.push(empty_table(&view.name, &view.columns));
    }
    partial.tables.last_mut().expect("a table was just pushed")
}

/// A view's table without rows.
pub(crate) fn empty_table(name: &str, columns: &[TableColumn]) -> Table {
    let column = |column: &TableColumn| Column {
        name: column.name.clone(),
        role: column.role as i32,
        kind: column.kind as i32,
        ..Column::default()
    };
    Table { name: name.to_owned(), rows: 0, columns: columns.iter().map(column).collect() }
}

/// The array in the one Arrow type that stands for its kind.
fn plain(array: &ArrayRef, kind: Kind) -> ArrayRef {
    let data_type = match kind {
        Kind::Integer => DataType::Int64,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
        Kind::Text => DataType::Utf8,
        Kind::Boolean => DataType::Boolean,
    };
    if *array.data_type() == data_type {
        return array.clone();
    }
    cast(array, &data_type).expect("the view's columns were checked to be of this kind")
}

fn extend(column: &mut Column, array: &ArrayRef, rows: Range<usize>) {
    let length_before = column.integers.len() + column.texts.len() + column.booleans.len();
    match array.data_type() {
        DataType::Int64 => column.integers.extend_from_slice(&array.as_primitive::<Int64Type>().values()[rows.clone()]),
        DataType::Timestamp(..) => {
            column.integers.extend_from_slice(&array.as_primitive::<TimestampMillisecondType>().values()[rows.clone()]);
        }
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            column.texts.extend(
                rows.clone().map(|row| if texts.is_null(row) { String::new() } else { texts.value(row).to_owned() }),
            );
        }
        _ => {
            let booleans = array.as_boolean();
            column.booleans.extend(rows.clone().map(|row| booleans.value(row)));
        }
    }
    // Only if this epoch has a null, so that a message does not depend on what else was in the run.
    if !column.nulls.is_empty() || rows.clone().any(|row| array.is_null(row)) {
        column.nulls.resize(length_before, false);
        column.nulls.extend(rows.map(|row| array.is_null(row)));
    }
}
