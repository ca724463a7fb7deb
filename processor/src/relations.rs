//! The relations that views read: names and types of the facts' columns, and those beside them that views do not see.
//! How facts become columns is in [`crate::columns`].
//!
//! `docs/facts.md` describes the relations for authors of views; a test holds it against this file.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// Name of the column that says which epoch of a run a row belongs to. Views neither name nor see it.
pub const EPOCH: &str = "epoch";

/// Name of the column that numbers rows in log order, for `last_value(… order by ordinal)`.
pub const ORDINAL: &str = "ordinal";

/// Name of the column that is the row's number in the run's batch: what a view's row is looked up by. Not for views.
pub(crate) const ROW: &str = "row of the run";

/// Name of the column that numbers the session keys of a run. Not for views.
pub(crate) const SESSION: &str = "session of the run";

/// The columns of the session key, in the order of [`playback::facts::SessionKey`].
pub(crate) const SESSION_KEY: [&str; 4] = ["site", "user_id", "session_id", "video_id"];

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
    /// Whether rows take back earlier ones: then only sums of them, and `last_value`, mean anything.
    pub signed: bool,
    /// Name and type of each column, without `epoch` and `ordinal`.
    pub columns: &'static [(&'static str, ColumnType)],
}

use ColumnType::{Boolean, Integer, NullableText, Text, Time};

/// Every relation, in the order of [`playback::facts::Facts`].
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

/// What one column of a relation's batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The column of this number among [`Relation::columns`].
    Value(usize),
    /// The numbers that the texts of this column have in the run.
    Codes(usize),
    /// The number of the session key in the run.
    Session,
    /// The number of the row, as views see it.
    Ordinal,
    /// The number of the row.
    Row,
    /// The number of its epoch in the run.
    Epoch,
}

impl Relation {
    /// Its Arrow schema: the columns, then `ordinal` and `epoch`, then what views do not see.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.contents().map(|content| self.field(content)).collect::<Vec<_>>()))
    }

    /// What each column of the schema holds.
    pub(crate) fn contents(&self) -> impl Iterator<Item = Content> + '_ {
        let texts = self.columns.iter().enumerate().filter(|(_, (_, column_type))| column_type.is_text());
        let session = self.has_session().then_some(Content::Session);
        (0..self.columns.len())
            .map(Content::Value)
            .chain([Content::Ordinal, Content::Epoch, Content::Row])
            .chain(session)
            .chain(texts.map(|(index, _)| Content::Codes(index)))
    }

    /// Whether its rows are of one session each: its first columns are the session key.
    pub(crate) fn has_session(&self) -> bool {
        SESSION_KEY.iter().enumerate().all(|(index, name)| self.columns[index].0 == *name)
    }

    /// Number of the column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(known, _)| *known == name)
    }

    /// Whether the column of this name is not for views.
    pub(crate) fn is_hidden(name: &str) -> bool {
        name == EPOCH || name.contains(' ')
    }

    fn field(&self, content: Content) -> Field {
        match content {
            Content::Value(index) => {
                let (name, column_type) = self.columns[index];
                match column_type {
                    Text => Field::new(name, DataType::Utf8, false),
                    NullableText => Field::new(name, DataType::Utf8, true),
                    Integer => Field::new(name, DataType::Int64, false),
                    Time => Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), false),
                    Boolean => Field::new(name, DataType::Boolean, false),
                }
            }
            Content::Codes(index) => {
                let (name, column_type) = self.columns[index];
                Field::new(codes_of(name), DataType::UInt32, column_type == NullableText)
            }
            Content::Session => Field::new(SESSION, DataType::UInt32, false),
            Content::Ordinal => Field::new(ORDINAL, DataType::Int64, false),
            Content::Row => Field::new(ROW, DataType::Int64, false),
            Content::Epoch => Field::new(EPOCH, DataType::Int64, false),
        }
    }
}

impl ColumnType {
    /// Whether it is text.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Text | NullableText)
    }
}

/// Name of the column with the numbers of a text column's texts.
pub(crate) fn codes_of(name: &str) -> String {
    format!("codes of {name}")
}
