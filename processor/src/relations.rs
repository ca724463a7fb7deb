//! The relations that views read: facts as Arrow record batches, each row marked with the epoch it belongs to.
//!
//! `docs/facts.md` describes the relations for authors of views; a test holds it against this file.

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringBuilder, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use playback::facts::{Facts, PlayFact, SessionKey};
use std::sync::Arc;

/// Name of the column that says which epoch of a run a row belongs to. Views neither name nor see it.
pub const EPOCH: &str = "epoch";

/// Name of the column that numbers rows in log order, for `last_value(… order by ordinal)`.
pub const ORDINAL: &str = "ordinal";

/// Type of a relation's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text that is never null.
    Text,
    /// Text that may be null.
    NullableText,
    /// A 64-bit integer: a count, ms, or ms since the epoch.
    Integer,
    /// A minute or hour, as a timestamp.
    Time,
    /// True or false.
    Boolean,
}

/// What views know of a relation.
#[derive(Debug)]
pub struct Relation {
    /// Its name in SQL.
    pub name: &'static str,
    /// Whether rows take back earlier ones: then only sums of them mean anything.
    pub signed: bool,
    /// Name and type of each column, without `epoch` and `ordinal`.
    pub columns: &'static [(&'static str, ColumnType)],
}

use ColumnType::{Boolean, Integer, NullableText, Text, Time};

/// Every relation, in the order of [`Facts`].
pub const RELATIONS: [Relation; 7] = [
    Relation {
        name: "dispositions",
        signed: false,
        columns: &[("site", Text), ("received_at", Integer), ("disposition", Text)],
    },
    Relation {
        name: "sessions",
        signed: false,
        columns: &[
            ("site", Text),
            ("user_id", Text),
            ("session_id", Text),
            ("video_id", Text),
            ("heartbeats", Integer),
            ("gross_ms", Integer),
            ("unique_ms", Integer),
            ("wall_ms", Integer),
            ("event_time", Integer),
            ("is_view", Boolean),
            ("is_complete", Boolean),
            ("device", NullableText),
            ("territory", Text),
        ],
    },
    Relation {
        name: "segments",
        signed: true,
        columns: &[
            ("site", Text),
            ("user_id", Text),
            ("session_id", Text),
            ("video_id", Text),
            ("from_ms", Integer),
            ("to_ms", Integer),
            ("keep", Integer),
        ],
    },
    Relation {
        name: "plays",
        signed: true,
        columns: &[
            ("site", Text),
            ("user_id", Text),
            ("session_id", Text),
            ("video_id", Text),
            ("territory", Text),
            ("minute", Time),
            ("gross_ms", Integer),
            ("qualified_ms", Integer),
            ("wall_ms", Integer),
            ("viewers", Integer),
            ("starts", Integer),
            ("views", Integer),
            ("completes", Integer),
        ],
    },
    Relation {
        name: "intervals",
        signed: false,
        columns: &[
            ("site", Text),
            ("user_id", Text),
            ("session_id", Text),
            ("video_id", Text),
            ("territory", Text),
            ("event_time", Integer),
            ("from_ms", Integer),
            ("to_ms", Integer),
        ],
    },
    Relation {
        name: "resumes",
        signed: false,
        columns: &[
            ("site", Text),
            ("user_id", Text),
            ("session_id", Text),
            ("video_id", Text),
            ("position_ms", Integer),
            ("furthest_ms", Integer),
            ("event_time", Integer),
        ],
    },
    Relation {
        name: "impressions",
        signed: true,
        columns: &[
            ("site", Text),
            ("user_id", Text),
            ("line_id", Text),
            ("hour", Time),
            ("impressions", Integer),
            ("measurable", Integer),
            ("viewable", Integer),
            ("q1", Integer),
            ("q2", Integer),
            ("q3", Integer),
            ("q4", Integer),
            ("users", Integer),
        ],
    },
];

impl Relation {
    /// Its Arrow schema: the columns, then `ordinal` and `epoch`.
    pub fn schema(&self) -> SchemaRef {
        let field = |&(name, column_type): &(&str, ColumnType)| match column_type {
            Text => Field::new(name, DataType::Utf8, false),
            NullableText => Field::new(name, DataType::Utf8, true),
            Integer => Field::new(name, DataType::Int64, false),
            Time => Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), false),
            Boolean => Field::new(name, DataType::Boolean, false),
        };
        let order = [(ORDINAL, Integer), (EPOCH, Integer)];
        Arc::new(Schema::new(self.columns.iter().chain(&order).map(field).collect::<Vec<_>>()))
    }
}

/// The facts of the epochs of one run, column by column.
pub struct FactColumns {
    relations: Vec<Columns>,
}

impl Default for FactColumns {
    /// Empty columns of every relation.
    fn default() -> FactColumns {
        FactColumns { relations: RELATIONS.iter().map(Columns::new).collect() }
    }
}

impl FactColumns {
    /// Rows held, over all relations.
    pub fn rows(&self) -> usize {
        self.relations.iter().map(|columns| columns.epochs.len()).sum()
    }

    /// Appends the facts of the epoch with this number in the run.
    pub fn append(&mut self, epoch: i64, facts: &Facts) {
        let [dispositions, sessions, segments, plays, intervals, resumes, impressions] = self.relations.as_mut_slice()
        else {
            unreachable!("there is one set of columns for each relation");
        };
        for fact in &facts.dispositions {
            dispositions.row(epoch).text(&fact.site).integer(fact.received_at).text(fact.disposition.as_str());
        }
        for fact in &facts.sessions {
            let row = sessions.row(epoch).key(&fact.key).integer(fact.heartbeats).integer(fact.gross_ms);
            let row = row.integer(fact.unique_ms).integer(fact.wall_ms).integer(fact.event_time);
            let row = row.boolean(fact.is_view).boolean(fact.is_complete);
            row.nullable_text(fact.device.as_deref()).text(fact.territory.as_str());
        }
        for fact in &facts.segments {
            let row = segments.row(epoch).key(&fact.key);
            row.integer(i64::from(fact.from_ms)).integer(i64::from(fact.to_ms)).integer(i64::from(fact.keep));
        }
        for fact in &facts.plays {
            append_play(plays.row(epoch), fact);
        }
        for fact in &facts.intervals {
            let row = intervals.row(epoch).key(&fact.key).text(fact.territory.as_str()).integer(fact.event_time);
            row.integer(i64::from(fact.from_ms)).integer(i64::from(fact.to_ms));
        }
        for fact in &facts.resumes {
            let row = resumes.row(epoch).key(&fact.key).integer(i64::from(fact.position_ms));
            row.integer(i64::from(fact.furthest_ms)).integer(fact.event_time);
        }
        for fact in &facts.impressions {
            let row = impressions.row(epoch).text(&fact.site).text(&fact.user_id).text(&fact.line_id);
            let row = row.integer(fact.hour).integer(fact.impressions).integer(fact.measurable).integer(fact.viewable);
            fact.quartiles.iter().fold(row, |row, reached| row.integer(*reached)).integer(fact.users);
        }
    }

    /// One record batch per relation, in their order; the columns are empty afterwards.
    pub fn take(&mut self) -> Vec<RecordBatch> {
        self.relations.iter_mut().map(Columns::take).collect()
    }
}

fn append_play(row: Row<'_>, fact: &PlayFact) {
    let row = row.key(&fact.key).text(fact.territory.as_str()).integer(fact.minute).integer(fact.gross_ms);
    let row = row.integer(fact.qualified_ms).integer(fact.wall_ms).integer(fact.viewers);
    row.integer(fact.starts).integer(fact.views).integer(fact.completes);
}

/// The columns of one relation.
struct Columns {
    schema: SchemaRef,
    values: Vec<Values>,
    epochs: Vec<i64>,
}

enum Values {
    Text(StringBuilder),
    Integer(Vec<i64>),
    Time(Vec<i64>),
    Boolean(Vec<bool>),
}

impl Columns {
    fn new(relation: &Relation) -> Columns {
        let values = |&(_, column_type): &(&str, ColumnType)| match column_type {
            Text | NullableText => Values::Text(StringBuilder::new()),
            Integer => Values::Integer(Vec::new()),
            Time => Values::Time(Vec::new()),
            Boolean => Values::Boolean(Vec::new()),
        };
        Columns { schema: relation.schema(), values: relation.columns.iter().map(values).collect(), epochs: Vec::new() }
    }

    fn row(&mut self, epoch: i64) -> Row<'_> {
        self.epochs.push(epoch);
        Row { values: self.values.iter_mut() }
    }

    fn take(&mut self) -> RecordBatch {
        let epochs = std::mem::take(&mut self.epochs);
        let ordinals = Int64Array::from_iter_values(0..epochs.len() as i64);
        let mut arrays: Vec<ArrayRef> = self.values.iter_mut().map(Values::take).collect();
        arrays.push(Arc::new(ordinals));
        arrays.push(Arc::new(Int64Array::from(epochs)));
        RecordBatch::try_new(self.schema.clone(), arrays).expect("a row has a value for each column of its relation")
    }
}

impl Values {
    fn take(&mut self) -> ArrayRef {
        match self {
            Values::Text(texts) => Arc::new(texts.finish()),
            Values::Integer(integers) => Arc::new(Int64Array::from(std::mem::take(integers))),
            Values::Time(times) => Arc::new(TimestampMillisecondArray::from(std::mem::take(times))),
            Values::Boolean(booleans) => Arc::new(BooleanArray::from(std::mem::take(booleans))),
        }
    }
}

/// Writes one row, value by value, in the order of the relation's columns.
struct Row<'a> {
    values: std::slice::IterMut<'a, Values>,
}

impl Row<'_> {
    fn text(mut self, text: &str) -> Self {
        match self.values.next() {
            Some(Values::Text(texts)) => texts.append_value(text),
            _ => unreachable!("the relation has a text column here"),
        }
        self
    }

    fn nullable_text(mut self, text: Option<&str>) -> Self {
        match self.values.next() {
            Some(Values::Text(texts)) => texts.append_option(text),
            _ => unreachable!("the relation has a text column here"),
        }
        self
    }

    fn integer(mut self, integer: i64) -> Self {
        match self.values.next() {
            Some(Values::Integer(values) | Values::Time(values)) => values.push(integer),
            _ => unreachable!("the relation has an integer column here"),
        }
        self
    }

    fn boolean(mut self, boolean: bool) -> Self {
        match self.values.next() {
            Some(Values::Boolean(values)) => values.push(boolean),
            _ => unreachable!("the relation has a boolean column here"),
        }
        self
    }

    fn key(self, key: &SessionKey) -> Self {
        self.text(&key.site).text(&key.user_id).text(&key.session_id).text(&key.video_id)
    }
}
