//! A [`Partial`] as the bytes of a record on `partials`, and back. What comes back keeps the promises of
//! `partial.proto`, so nothing behind it checks again; whether the tables exist is the database's to say.

use std::io::Read;

use prost::Message;

use crate::caps;
use crate::partial::{Column, Kind, Partial, Role, Table};

/// Compresses fast rather than small: partials live for days, and the processor pays.
const ZSTD_LEVEL: i32 = 1;

/// Why bytes are not a [`Partial`].
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not zstd, or cut short.
    #[error("the partial is not readable zstd: {0}")]
    Compression(#[source] std::io::Error),
    /// A bomb, or an epoch nobody should publish.
    #[error("the partial has more than {} bytes decompressed", caps::DECOMPRESSED_BYTES)]
    TooLarge,
    /// Not the message of `partial.proto`.
    #[error("the partial is not the expected message: {0}")]
    Message(#[from] prost::DecodeError),
    /// An empty or backward range.
    #[error("the partial has the range {from}..{to}, which holds nothing")]
    EmptyRange {
        /// First offset.
        from: u64,
        /// Offset after the last.
        to: u64,
    },
    /// The ledger is missing.
    #[error("the partial has no ledger")]
    NoLedger,
    /// A table that breaks a rule.
    #[error("table {table:?} of the partial {fault}")]
    Table {
        /// Its name.
        table: String,
        /// Which rule.
        fault: TableFault,
    },
}

/// What can be wrong with a table of a partial.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum TableFault {
    #[error("has a name that is no plain identifier")]
    TableName,
    #[error("comes twice")]
    Twice,
    #[error("has no key column")]
    NoKey,
    #[error("has a column {0:?} that is no plain identifier, or comes twice")]
    ColumnName(String),
    #[error("has a column {0:?} of an unknown role")]
    Role(String),
    #[error("has a column {0:?} of an unknown kind")]
    Kind(String),
    #[error("has a column {0:?} whose values or nulls are not as many as the rows, or of another kind")]
    Length(String),
    #[error("has nulls in its column {0:?}, which a key or an op may not have")]
    Null(String),
    #[error("has a column {0:?} whose kind does not suit its role")]
    RoleKind(String),
    #[error("has an op column beside a column {0:?} that adds up: a deleted row would be counted on")]
    OpWithSum(String),
    #[error("has two op columns")]
    TwoOps,
    #[error("has a NUL character in its column {0:?}, which PostgreSQL cannot store")]
    Nul(String),
}

/// The bytes of `partial`.
#[must_use]
pub fn encode(partial: &Partial) -> Vec<u8> {
    let bytes = partial.encode_to_vec();
    zstd::bulk::compress(&bytes, ZSTD_LEVEL).expect("compressing from memory into memory cannot fail")
}

/// The partial in `bytes`, checked: ranges, names, roles, kinds, one value a row in each column, keys not null.
pub fn decode(bytes: &[u8]) -> Result<Partial, CodecError> {
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(CodecError::Compression)?;
    let mut plain = Vec::new();
    decoder.take(caps::DECOMPRESSED_BYTES + 1).read_to_end(&mut plain).map_err(CodecError::Compression)?;
    if plain.len() as u64 > caps::DECOMPRESSED_BYTES {
        return Err(CodecError::TooLarge);
    }
    let partial = Partial::decode(plain.as_slice())?;
    check(&partial)?;
    Ok(partial)
}

/// Whether [`decode`] takes `partial`: for whoever publishes it, since what is published stops a sink for good.
pub fn check(partial: &Partial) -> Result<(), CodecError> {
    if partial.encoded_len() as u64 > caps::DECOMPRESSED_BYTES {
        return Err(CodecError::TooLarge);
    }
    if partial.from >= partial.to {
        return Err(CodecError::EmptyRange { from: partial.from, to: partial.to });
    }
    if partial.ledger.is_none() {
        return Err(CodecError::NoLedger);
    }
    for (index, table) in partial.tables.iter().enumerate() {
        let twice = partial.tables[..index].iter().any(|other| other.name == table.name);
        let checked = if twice { Err(TableFault::Twice) } else { check_table(table) };
        checked.map_err(|fault| CodecError::Table { table: table.name.clone(), fault })?;
    }
    Ok(())
}

/// Whether `table` keeps the rules of `partial.proto`.
pub fn check_table(table: &Table) -> Result<(), TableFault> {
    if !is_identifier(&table.name) {
        return Err(TableFault::TableName);
    }
    let mut ops = 0;
    let mut keys = 0;
    for (index, column) in table.columns.iter().enumerate() {
        let twice = table.columns[..index].iter().any(|other| other.name == column.name);
        if twice || !is_identifier(&column.name) {
            return Err(TableFault::ColumnName(column.name.clone()));
        }
        match check_column(column, table.rows as usize)? {
            Role::Key => keys += 1,
            Role::Op => ops += 1,
            _ => {}
        }
    }
    if keys == 0 {
        return Err(TableFault::NoKey);
    }
    if ops > 1 {
        return Err(TableFault::TwoOps);
    }
    let adds = |column: &&Column| !matches!(column.role(), Role::Key | Role::Op | Role::Replace);
    match table.columns.iter().find(adds) {
        Some(column) if ops > 0 => Err(TableFault::OpWithSum(column.name.clone())),
        _ => Ok(()),
    }
}

fn check_column(column: &Column, rows: usize) -> Result<Role, TableFault> {
    let name = || column.name.clone();
    let role = Role::try_from(column.role).map_err(|_| TableFault::Role(name()))?;
    let kind = Kind::try_from(column.kind).map_err(|_| TableFault::Kind(name()))?;
    let lengths = match kind {
        Kind::Integer | Kind::Timestamp => [rows, 0, 0],
        Kind::Text => [0, rows, 0],
        Kind::Boolean => [0, 0, rows],
    };
    let nulls = column.nulls.len();
    if [column.integers.len(), column.texts.len(), column.booleans.len()] != lengths || (nulls != 0 && nulls != rows) {
        return Err(TableFault::Length(name()));
    }
    if matches!(role, Role::Key | Role::Op) && column.nulls.contains(&true) {
        return Err(TableFault::Null(name()));
    }
    let suits = match role {
        Role::Sum => kind == Kind::Integer,
        Role::Min | Role::Max => matches!(kind, Kind::Integer | Kind::Timestamp),
        Role::Or | Role::Op => kind == Kind::Boolean,
        Role::Key | Role::Replace => true,
    };
    if !suits {
        return Err(TableFault::RoleKind(name()));
    }
    if column.texts.iter().any(|text| text.as_bytes().contains(&0)) {
        return Err(TableFault::Nul(name()));
    }
    Ok(role)
}

/// Lower-case letters, digits and underscores: needs no quotes, and cannot be anything but a name.
fn is_identifier(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= caps::IDENTIFIER_BYTES
        && name.bytes().all(plain)
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
