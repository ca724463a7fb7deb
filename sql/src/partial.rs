//! What one epoch of one partition adds to the tables. How it travels on the topic `partials` is in [`crate::codec`].

use prost::{Enumeration, Message};

/// One epoch of one partition.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // the .proto documents them
pub struct Partial {
    pub pipeline: String,
    pub partition: u32,
    pub from: u64,
    pub to: u64,
    pub clock: i64,
    pub fingerprint: String,
    pub ledger: Option<Ledger>,
    pub tables: Vec<Table>,
}

/// How many records of a partition ended in which way, from the start of the log.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
#[allow(missing_docs)]
pub struct Ledger {
    #[prost(uint64, tag = "1")]
    pub ticks: u64,
    #[prost(uint64, tag = "2")]
    pub waiting: u64,
    #[prost(uint64, tag = "3")]
    pub credited: u64,
    #[prost(uint64, tag = "4")]
    pub idle: u64,
    #[prost(uint64, tag = "5")]
    pub duplicate: u64,
    #[prost(uint64, tag = "6")]
    pub overrun: u64,
    #[prost(uint64, tag = "7")]
    pub gap: u64,
    #[prost(uint64, tag = "8")]
    pub late: u64,
    #[prost(uint64, tag = "9")]
    pub ad: u64,
}

/// The rows one view adds, column by column; at most one row per key.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Table {
    pub name: String,
    pub rows: u32,
    pub columns: Vec<Column>,
}

/// One column of a [`Table`]: as many values as the table has rows, in the field that [`Kind`] names. The value of a
/// null is 0, "" or false.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Column {
    pub name: String,
    pub role: i32,
    pub kind: i32,
    pub integers: Vec<i64>,
    pub texts: Vec<String>,
    pub booleans: Vec<bool>,
    pub nulls: Vec<bool>,
}

impl Column {
    /// How its values merge; a key, if the number is none of a role.
    #[must_use]
    pub fn role(&self) -> Role {
        Role::try_from(self.role).unwrap_or_default()
    }

    /// Their type; an integer, if the number is none of a kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::try_from(self.kind).unwrap_or_default()
    }
}

/// How a value meets the one that is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Role {
    /// Part of the row's key.
    Key = 0,
    /// Added.
    Sum = 1,
    /// The smaller stays.
    Min = 2,
    /// The greater stays.
    Max = 3,
    /// True once, true for good.
    Or = 4,
    /// The last in epoch order.
    Replace = 5,
    /// Not stored: true keeps the row, false deletes it; the last in epoch order.
    Op = 6,
}

/// Type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// `bigint`.
    Integer = 0,
    /// `timestamptz`, as ms since the epoch.
    Timestamp = 1,
    /// `text`.
    Text = 2,
    /// `boolean`.
    Boolean = 3,
}
