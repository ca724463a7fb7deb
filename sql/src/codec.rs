//! A [`Partial`] as the bytes of a record on `partials`, and back. What comes back keeps the promises of
//! `partial.proto`, so nothing behind it checks again; whether the tables exist is the database's to say.

use std::io::Read;

use prost::Message;
use zstd::bulk::Compressor;

use crate::caps;
use crate::partial::{Column, Kind, Partial, Role, Table};
use crate::wire;

/// Compresses fast rather than small: partials live for days, and the processor pays.
const ZSTD_LEVEL: i32 = -1;

/// Why bytes are not a [`Partial`].
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not zstd, or cut short.
    #[error("the partial is not readable zstd: {0}")]
    Compression(#[source] std::io::Error),
    /// A bomb, or an epoch nobody should publish.
    #[error("the partial has more than {} bytes or {} values decompressed", caps::DECOMPRESSED_BYTES, caps::VALUES)]
    TooLarge,
    /// Its texts are not what their lengths say, or hold what PostgreSQL cannot store.
    #[error("the texts of the partial do not lie where their lengths say, or hold a NUL character")]
    Texts,
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
    #[error("has a column {0:?} whose values or nulls are not as many as the rows")]
    Length(String),
    #[error("has nulls in its column {0:?}, which a key or an op may not have")]
    Null(String),
    #[error("has a column {0:?} whose kind does not suit its role")]
    RoleKind(String),
    #[error("has an op column beside a column {0:?} that adds up: a deleted row would be counted on")]
    OpWithSum(String),
    #[error("has two op columns")]
    TwoOps,
    #[error("has a column {0:?} with a number that is none of a text, or no truth value")]
    Number(String),
}

/// Makes the bytes of partials, one after another: keeps the memory that takes.
pub struct Encoder {
    compressor: Compressor<'static>,
    plain: Vec<u8>,
}

impl Encoder {
    /// One that has made none yet.
    #[must_use]
    pub fn new() -> Encoder {
        let compressor = Compressor::new(ZSTD_LEVEL).expect("the level is one of zstd's");
        Encoder { compressor, plain: Vec::new() }
    }

    /// The bytes of `partial`. It is refused if [`decode`] would refuse it: what is published stops a sink for good.
    pub fn encode(&mut self, partial: &wire::Partial) -> Result<Vec<u8>, CodecError> {
        check(partial)?;
        Ok(self.bytes(partial))
    }

    fn bytes(&mut self, partial: &wire::Partial) -> Vec<u8> {
        self.plain.clear();
        partial.encode(&mut self.plain).expect("a vector grows as it must");
        self.compressor.compress(&self.plain).expect("compressing from memory into memory cannot fail")
    }
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

/// The partial in `bytes`, checked: ranges, names, roles, kinds, one value a row in each column, keys not null.
pub fn decode(bytes: &[u8]) -> Result<Partial, CodecError> {
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(CodecError::Compression)?;
    let mut plain = Vec::new();
    decoder.take(caps::DECOMPRESSED_BYTES + 1).read_to_end(&mut plain).map_err(CodecError::Compression)?;
    if plain.len() as u64 > caps::DECOMPRESSED_BYTES {
        return Err(CodecError::TooLarge);
    }
    let partial = wire::Partial::decode(plain.as_slice())?;
    check(&partial)?;
    unpack(partial)
}

/// A checked message with its values spelt out.
fn unpack(partial: wire::Partial) -> Result<Partial, CodecError> {
    let mut start = 0;
    let mut texts = Vec::with_capacity(partial.texts.lengths.count as usize);
    for length in partial.texts.lengths.unpack() {
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(start)).ok_or(CodecError::Texts)?;
        texts.push(partial.texts.all.get(start..end).ok_or(CodecError::Texts)?);
        start = end;
    }
    let mut bytes_left = caps::DECOMPRESSED_BYTES;
    let mut tables = Vec::with_capacity(partial.tables.len());
    for table in &partial.tables {
        let columns = table.columns.iter().map(|column| {
            unpack_column(column, &texts, &mut bytes_left).map_err(|fault| match fault {
                None => CodecError::TooLarge,
                Some(fault) => CodecError::Table { table: table.name.clone(), fault },
            })
        });
        tables.push(Table { name: table.name.clone(), rows: table.rows, columns: columns.collect::<Result<_, _>>()? });
    }
    let wire::Partial { pipeline, partition, from, to, clock, fingerprint, ledger, .. } = partial;
    Ok(Partial { pipeline, partition, from, to, clock, fingerprint, ledger, tables })
}

/// None as fault: the texts come to more than `bytes_left`.
fn unpack_column(column: &wire::Column, texts: &[&str], bytes_left: &mut u64) -> Result<Column, Option<TableFault>> {
    let refused = || Some(TableFault::Number(column.name.clone()));
    let truth = |numbers: &wire::Numbers| {
        let truths = numbers.unpack().map(|number| match number {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(refused()),
        });
        truths.collect::<Result<Vec<_>, _>>()
    };
    let mut unpacked = Column { name: column.name.clone(), role: column.role, kind: column.kind, ..Column::default() };
    if let Some(nulls) = &column.nulls {
        unpacked.nulls = truth(nulls)?;
    }
    match column.kind() {
        Kind::Integer | Kind::Timestamp => unpacked.integers = column.values.unpack().collect(),
        Kind::Boolean => unpacked.booleans = truth(&column.values)?,
        Kind::Text => {
            unpacked.texts.reserve(column.values.count as usize);
            for (row, code) in column.values.unpack().enumerate() {
                if unpacked.nulls.get(row) == Some(&true) {
                    unpacked.texts.push(String::new());
                    continue;
                }
                let text = usize::try_from(code).ok().and_then(|code| texts.get(code)).ok_or_else(refused)?;
                *bytes_left = bytes_left.checked_sub(text.len() as u64).ok_or(None)?;
                unpacked.texts.push((*text).to_owned());
            }
        }
    }
    Ok(unpacked)
}

/// Whether `partial` keeps the rules, but for what [`unpack`] sees.
fn check(partial: &wire::Partial) -> Result<(), CodecError> {
    let values =
        partial.tables.iter().map(|table| u64::from(table.rows) * (2 * table.columns.len() as u64)).sum::<u64>();
    let texts = u64::from(partial.texts.lengths.count);
    if partial.encoded_len() as u64 > caps::DECOMPRESSED_BYTES || values.max(texts) > caps::VALUES {
        return Err(CodecError::TooLarge);
    }
    if partial.from >= partial.to {
        return Err(CodecError::EmptyRange { from: partial.from, to: partial.to });
    }
    if partial.ledger.is_none() {
        return Err(CodecError::NoLedger);
    }
    if !partial.texts.lengths.is_whole() || partial.texts.all.as_bytes().contains(&0) {
        return Err(CodecError::Texts);
    }
    for (index, table) in partial.tables.iter().enumerate() {
        let twice = partial.tables[..index].iter().any(|other| other.name == table.name);
        let checked = if twice { Err(TableFault::Twice) } else { check_table(table) };
        checked.map_err(|fault| CodecError::Table { table: table.name.clone(), fault })?;
    }
    Ok(())
}

/// Whether `table` keeps the rules of `partial.proto`.
pub fn check_table(table: &wire::Table) -> Result<(), TableFault> {
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
        match check_column(column, table.rows)? {
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
    let adds = |column: &&wire::Column| !matches!(column.role(), Role::Key | Role::Op | Role::Replace);
    match table.columns.iter().find(adds) {
        Some(column) if ops > 0 => Err(TableFault::OpWithSum(column.name.clone())),
        _ => Ok(()),
    }
}

fn check_column(column: &wire::Column, rows: u32) -> Result<Role, TableFault> {
    let name = || column.name.clone();
    let role = Role::try_from(column.role).map_err(|_| TableFault::Role(name()))?;
    let kind = Kind::try_from(column.kind).map_err(|_| TableFault::Kind(name()))?;
    let fits = |numbers: &wire::Numbers| numbers.is_whole() && numbers.count == rows;
    if !fits(&column.values) || !column.nulls.as_ref().is_none_or(fits) {
        return Err(TableFault::Length(name()));
    }
    if matches!(role, Role::Key | Role::Op) && column.nulls.is_some() {
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
    Ok(role)
}

/// The bytes of a partial that is spelt out, unchecked: for tests, which also want what is refused.
#[cfg(any(test, feature = "testing"))]
#[must_use]
pub fn encode(partial: &Partial) -> Vec<u8> {
    let mut texts: Vec<String> = Vec::new();
    let mut text = |text: &String| {
        texts.push(text.clone());
        texts.len() as i64 - 1
    };
    let truths =
        |truths: &[bool]| wire::Numbers::pack(&truths.iter().map(|truth| i64::from(*truth)).collect::<Vec<_>>());
    let mut column = |column: &Column| wire::Column {
        name: column.name.clone(),
        role: column.role,
        kind: column.kind,
        values: match column.kind() {
            Kind::Integer | Kind::Timestamp => wire::Numbers::pack(&column.integers),
            Kind::Text => wire::Numbers::pack(&column.texts.iter().map(&mut text).collect::<Vec<_>>()),
            Kind::Boolean => truths(&column.booleans),
        },
        nulls: (!column.nulls.is_empty()).then(|| truths(&column.nulls)),
    };
    let table = |table: &Table| wire::Table {
        name: table.name.clone(),
        rows: table.rows,
        columns: table.columns.iter().map(&mut column).collect(),
    };
    let tables = partial.tables.iter().map(table).collect();
    let lengths: Vec<_> = texts.iter().map(|text| text.len() as i64).collect();
    let Partial { partition, from, to, clock, ledger, .. } = *partial;
    Encoder::new().bytes(&wire::Partial {
        pipeline: partial.pipeline.clone(),
        fingerprint: partial.fingerprint.clone(),
        partition,
        from,
        to,
        clock,
        ledger,
        tables,
        texts: wire::Texts { all: texts.concat(), lengths: wire::Numbers::pack(&lengths) },
    })
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
