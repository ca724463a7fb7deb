//! The messages of `partial.proto`, written out so that building needs no `protoc`: what one epoch of one partition adds to
//! the tables. How they become bytes, and what is checked then, is in [`crate::codec`].

use prost::{Enumeration, Message};

use crate::ledger::DISPOSITIONS;
use crate::numbers::Numbers;

/// One epoch of one partition.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)] // the .proto documents them
pub struct Partial {
    #[prost(string, tag = "1")]
    pub pipeline: String,
    #[prost(uint32, tag = "2")]
    pub partition: u32,
    #[prost(uint64, tag = "3")]
    pub from: u64,
    #[prost(uint64, tag = "4")]
    pub to: u64,
    #[prost(int64, tag = "5")]
    pub clock: i64,
    #[prost(string, tag = "6")]
    pub fingerprint: String,
    #[prost(message, optional, tag = "7")]
    pub ledger: Option<Ledger>,
    #[prost(message, repeated, tag = "8")]
    pub tables: Vec<Table>,
    #[prost(message, required, tag = "9")]
    pub texts: Texts,
}

impl Partial {
    /// Bytes it has before they are compressed, which is also what it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.encoded_len()
    }
}

/// The texts that columns name by number.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub struct Texts {
    #[prost(string, tag = "1")]
    pub all: String,
    #[prost(message, required, tag = "2")]
    pub lengths: Numbers,
}

impl Texts {
    /// The texts in the order of their numbers; they must lie where their lengths say.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.all.as_str();
        self.lengths.unpack().map(move |length| {
            let (text, after) = rest.split_at(length as usize);
            rest = after;
            text
        })
    }
}

/// The rows one view adds, column by column; at most one row per key.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub struct Table {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub rows: u32,
    #[prost(message, repeated, tag = "3")]
    pub columns: Vec<Column>,
}

/// One column of a [`Table`]: as many values as the table has rows.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub struct Column {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(enumeration = "Role", tag = "2")]
    pub role: i32,
    #[prost(enumeration = "Kind", tag = "3")]
    pub kind: i32,
    #[prost(message, required, tag = "4")]
    pub values: Numbers,
    #[prost(message, optional, tag = "5")]
    pub nulls: Option<Numbers>,
}

/// How many records of a partition ended in each way, from the start of the log.
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

impl Ledger {
    /// The account with these counts, the last ones in the order of [`DISPOSITIONS`].
    pub fn new(ticks: u64, waiting: u64, dispositions: [u64; DISPOSITIONS.len()]) -> Ledger {
        let [credited, idle, duplicate, overrun, gap, late, ad] = dispositions;
        Ledger { ticks, waiting, credited, idle, duplicate, overrun, gap, late, ad }
    }

    /// All counts, in the order of the fields, which is that of the columns of `progress`.
    pub fn counts(&self) -> [u64; 9] {
        let Ledger { ticks, waiting, credited, idle, duplicate, overrun, gap, late, ad } = *self;
        [ticks, waiting, credited, idle, duplicate, overrun, gap, late, ad]
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
