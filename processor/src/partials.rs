//! From the views' output to one message per epoch.

use crate::coded::Source;
use crate::columns::{NO_TEXT, Run, Value};
use crate::plan::TableColumn;
use crate::shard::ClosedEpoch;
use crate::views::{View, Views};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, UInt32Type};
use sql::numbers::Numbers;
use sql::partial::{Column, Kind, Ledger, Partial, Table, Texts};
use std::ops::Range;

/// One message per epoch, in their order; `outputs` are the views' over `run`, as [`Views::run`] gave them.
pub fn partials(
    epochs: &[ClosedEpoch],
    run: &Run,
    views: &Views,
    outputs: &[Option<RecordBatch>],
    pipeline: &str,
    fingerprint: &str,
) -> Vec<Partial> {
    let outputs = views.views().iter().zip(outputs).filter_map(|(view, batch)| Output::new(view, batch.as_ref()?));
    let outputs: Vec<_> = outputs.collect();
    let mut made = Vec::with_capacity(epochs.len());
    for (number, epoch) in epochs.iter().enumerate() {
        let mut texts = MessageTexts::new(run, number);
        let tables = outputs.iter().filter_map(|output| output.table(run, number, &mut texts)).collect();
        made.push(Partial { tables, texts: texts.pack(), ..empty(epoch, pipeline, fingerprint) });
    }
    made
}

fn empty(epoch: &ClosedEpoch, pipeline: &str, fingerprint: &str) -> Partial {
    let playback::kernel::Ledger { ticks, waiting, dispositions } = epoch.ledger;
    Partial {
        pipeline: pipeline.to_owned(),
        partition: epoch.partition,
        from: epoch.from,
        to: epoch.to,
        clock: epoch.clock,
        fingerprint: fingerprint.to_owned(),
        ledger: Some(Ledger::new(ticks, waiting, dispositions)),
        tables: Vec::new(),
        texts: Texts::default(),
    }
}

/// A view's table without rows.
pub(crate) fn empty_table(name: &str, columns: &[TableColumn]) -> Table {
    Table {
        name: name.to_owned(),
        rows: 0,
        columns: columns.iter().map(|column| column_of(column, &[], &[])).collect(),
    }
}

/// What a view's plan put out: one row per group, the groups of each epoch after those of the epoch before.
struct Output<'a> {
    view: &'a View,
    /// The plan's columns, each in the type that [`plain`] gives it.
    columns: Vec<ArrayRef>,
    /// The last row of each group.
    last_rows: &'a [i64],
}

impl<'a> Output<'a> {
    /// None if there is no row.
    fn new(view: &'a View, batch: &'a RecordBatch) -> Option<Output<'a>> {
        let columns = batch.columns().iter().map(plain).collect();
        let last_rows = batch.column(view.last_row).as_primitive::<Int64Type>().values();
        (batch.num_rows() > 0).then_some(Output { view, columns, last_rows })
    }

    /// The rows of one epoch; none if it has none.
    fn table(&self, run: &Run, epoch: usize, texts: &mut MessageTexts<'_>) -> Option<Table> {
        let read = run.rows_of_epoch(self.view.relation, epoch);
        let place = |row: usize| self.last_rows.partition_point(|last| *last < row as i64);
        let rows = place(read.start)..place(read.end);
        if rows.is_empty() {
            return None;
        }
        let mut values = Vec::with_capacity(rows.len());
        let mut nulls = Vec::new();
        let columns = self.view.columns.iter().zip(&self.view.sources).map(|(column, source)| {
            values.clear();
            nulls.clear();
            self.values(run, *source, rows.clone(), texts, &mut values, &mut nulls);
            if column.kind == Kind::Boolean {
                values.iter_mut().for_each(|value| *value = i64::from(*value != 0));
            }
            column_of(column, &values, &nulls)
        });
        let columns = columns.collect();
        Some(Table { name: self.view.name.clone(), rows: number(rows.len()), columns })
    }

    /// The numbers that stand for a column's values in some rows; `nulls` stays empty if there is none.
    fn values(
        &self,
        run: &Run,
        source: Source,
        rows: Range<usize>,
        texts: &mut MessageTexts<'_>,
        values: &mut Vec<i64>,
        nulls: &mut Vec<i64>,
    ) {
        match source {
            Source::Output(output) => plain_values(&self.columns[output], rows, texts, values, nulls),
            Source::Text(output) => {
                let codes = &self.columns[output].as_primitive::<UInt32Type>().values()[rows];
                values.extend(codes.iter().map(|code| texts.of_run(*code)));
            }
            Source::KeyPart { output, part } => {
                let sessions = &self.columns[output].as_primitive::<UInt32Type>().values()[rows];
                values.extend(sessions.iter().map(|session| texts.of_run(run.key_part(*session, part))));
            }
            Source::LastRow(column) => {
                for (index, row) in self.last_rows[rows.clone()].iter().enumerate() {
                    values.push(match run.value(self.view.relation, column, *row as usize) {
                        Value::Code(NO_TEXT) => {
                            nulls.resize(rows.len(), 0);
                            nulls[index] = 1;
                            0
                        }
                        Value::Code(code) => texts.of_run(code),
                        Value::Integer(integer) => integer,
                        Value::Boolean(boolean) => i64::from(boolean),
                    });
                }
            }
        }
    }
}

/// The numbers that stand for an array's values, which views have computed.
fn plain_values(
    array: &ArrayRef,
    rows: Range<usize>,
    texts: &mut MessageTexts<'_>,
    values: &mut Vec<i64>,
    nulls: &mut Vec<i64>,
) {
    match array.data_type() {
        DataType::Utf8 => {
            let strings = array.as_string::<i32>();
            let text = |row| if strings.is_null(row) { 0 } else { texts.computed(strings.value(row)) };
            values.extend(rows.clone().map(text));
        }
        _ if array.null_count() > 0 => {
            let integers = array.as_primitive::<Int64Type>();
            values.extend(rows.clone().map(|row| if integers.is_null(row) { 0 } else { integers.value(row) }));
        }
        _ => values.extend_from_slice(&array.as_primitive::<Int64Type>().values()[rows.clone()]),
    }
    // Only if this epoch has a null, so that a message does not depend on what else was in the run.
    if rows.clone().any(|row| array.is_null(row)) {
        nulls.extend(rows.map(|row| i64::from(array.is_null(row))));
    }
}

/// The array in one of the types that [`Output::values`] reads: numbers of texts stay, text is `Utf8`, all else an integer.
fn plain(array: &ArrayRef) -> ArrayRef {
    let data_type = match array.data_type() {
        DataType::UInt32 | DataType::Utf8 | DataType::Int64 => return array.clone(),
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::Timestamp(..) => {
            let milliseconds = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None));
            return plain_cast(&milliseconds.expect("every timestamp has milliseconds"), &DataType::Int64);
        }
        _ => DataType::Int64,
    };
    plain_cast(array, &data_type)
}

fn plain_cast(array: &ArrayRef, data_type: &DataType) -> ArrayRef {
    cast(array, data_type).expect("the view's columns were checked to be of such kinds")
}

fn column_of(column: &TableColumn, values: &[i64], nulls: &[i64]) -> Column {
    Column {
        name: column.name.clone(),
        role: column.role as i32,
        kind: column.kind as i32,
        values: Numbers::pack(values),
        nulls: (!nulls.is_empty()).then(|| Numbers::pack(nulls)),
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("an epoch has far fewer than 2^32 of anything")
}

/// The texts of one message, numbered in the order in which its columns name them: only those are in it.
struct MessageTexts<'a> {
    run: &'a Run,
    /// The epoch's first text in the run.
    first: u32,
    /// What number each of the epoch's texts has in the message; [`NO_TEXT`] while it has none.
    codes: Vec<u32>,
    all: String,
    lengths: Vec<i64>,
}

impl<'a> MessageTexts<'a> {
    fn new(run: &'a Run, epoch: usize) -> MessageTexts<'a> {
        let of_epoch = run.texts_of(epoch);
        let codes = vec![NO_TEXT; of_epoch.len()];
        MessageTexts { run, first: of_epoch.start, codes, all: String::new(), lengths: Vec::new() }
    }

    /// Number of a text of the run.
    fn of_run(&mut self, code: u32) -> i64 {
        let known = self.codes[(code - self.first) as usize];
        if known != NO_TEXT {
            return i64::from(known);
        }
        let new = self.computed(self.run.text(code));
        self.codes[(code - self.first) as usize] = number(new as usize);
        new
    }

    /// Number of a text that a view made.
    fn computed(&mut self, text: &str) -> i64 {
        self.all.push_str(text);
        self.lengths.push(text.len() as i64);
        self.lengths.len() as i64 - 1
    }

    fn pack(self) -> Texts {
        Texts { all: self.all, lengths: Numbers::pack(&self.lengths) }
    }
}
