//! A [`Partial`] as the bytes of a record on `partials`, and back. What comes back keeps the promises of
//! `partial.proto`, so nothing behind it checks again; whether the tables exist is the database's to say.

use bytes::Bytes;
use prost::Message;
use zstd::bulk::Compressor;
use zstd::zstd_safe::get_frame_content_size;

use crate::limits;
use crate::numbers::Numbers;
use crate::partial::{Column, Kind, Partial, Role, Table, Texts};

/// Compresses fast rather than small: partials live for days, and the processor pays.
const ZSTD_LEVEL: i32 = -1;

/// Why bytes are not a [`Partial`].
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not zstd, or cut short.
    #[error("the partial is not readable zstd: {0}")]
    Compression(#[source] std::io::Error),
    /// Not a frame that states its size, as every frame published here does: reading it would take memory for the largest.
    #[error("the zstd frame of the partial does not state the size of its content")]
    NoSize,
    /// A bomb, or an epoch nobody should publish.
    #[error("the partial has more than {} bytes or {} values decompressed", limits::DECOMPRESSED_BYTES, limits::VALUES)]
    TooLarge,
    /// One the topic would not take.
    #[error("the partial has {bytes} bytes compressed, its topic takes {}", limits::MESSAGE_BYTES)]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// A text nobody should publish: a row names it, and many rows go to the database in one statement.
    #[error("the partial has a text of more than {} bytes", limits::TEXT_BYTES)]
    LongText,
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
    #[error("has a column {0:?} with the number of no text, or a boolean that is neither 0 nor 1")]
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

    /// The bytes of `partial`. It is refused if its topic or [`decode`] would refuse it: once published, it would stop a sink
    /// for good.
    pub fn encode(&mut self, partial: &Partial) -> Result<Vec<u8>, CodecError> {
        check(partial)?;
        let bytes = self.bytes(partial);
        if bytes.len() > limits::MESSAGE_BYTES as usize - limits::RECORD_BYTES {
            return Err(CodecError::TooLong { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    pub(crate) fn bytes(&mut self, partial: &Partial) -> Vec<u8> {
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

/// The partial in `bytes`, checked: ranges, names, roles, kinds, one value a row in each column, keys not null, numbers of
/// texts that are there.
pub fn decode(bytes: &[u8]) -> Result<Partial, CodecError> {
    let said = get_frame_content_size(bytes).ok().flatten().ok_or(CodecError::NoSize)?;
    if said > limits::DECOMPRESSED_BYTES {
        return Err(CodecError::TooLarge);
    }
    let plain = zstd::bulk::decompress(bytes, said as usize).map_err(CodecError::Compression)?;
    let partial = Partial::decode(Bytes::from(plain))?;
    check(&partial)?;
    check_values(&partial)?;
    Ok(partial)
}

/// Whether `partial` keeps the rules, but for those of [`check_values`], which a processor cannot break.
fn check(partial: &Partial) -> Result<(), CodecError> {
    let values =
        partial.tables.iter().map(|table| u64::from(table.rows) * (2 * table.columns.len() as u64)).sum::<u64>();
    let texts = u64::from(partial.texts.lengths.count);
    if partial.encoded_len() as u64 > limits::DECOMPRESSED_BYTES || values.max(texts) > limits::VALUES {
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
    if partial.texts.lengths.unpack().any(|length| length > limits::TEXT_BYTES) {
        return Err(CodecError::LongText);
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
    let adds = |column: &&Column| !matches!(column.role(), Role::Key | Role::Op | Role::Replace);
    match table.columns.iter().find(adds) {
        Some(column) if ops > 0 => Err(TableFault::OpWithSum(column.name.clone())),
        _ => Ok(()),
    }
}

fn check_column(column: &Column, rows: u32) -> Result<Role, TableFault> {
    let name = || column.name.clone();
    let role = Role::try_from(column.role).map_err(|_| TableFault::Role(name()))?;
    let kind = Kind::try_from(column.kind).map_err(|_| TableFault::Kind(name()))?;
    let fits = |numbers: &Numbers| numbers.is_whole() && numbers.count == rows;
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

/// Whether texts lie where their lengths say, and every number is what its column's kind lets it be.
fn check_values(partial: &Partial) -> Result<(), CodecError> {
    let texts = count_texts(&partial.texts).ok_or(CodecError::Texts)?;
    for table in &partial.tables {
        if let Some(column) = table.columns.iter().find(|column| !are_of_their_kind(column, texts)) {
            let fault = TableFault::Number(column.name.clone());
            return Err(CodecError::Table { table: table.name.clone(), fault });
        }
    }
    Ok(())
}

/// How many texts there are; `None` if there is one that does not lie within them all.
fn count_texts(texts: &Texts) -> Option<i64> {
    let mut end = 0_usize;
    let lies_within = |length: i64| {
        let next = usize::try_from(length).ok().and_then(|length| end.checked_add(length));
        next.is_some_and(|next| {
            end = next;
            texts.all.is_char_boundary(end)
        })
    };
    texts.lengths.unpack().all(lies_within).then_some(texts.lengths.count.into())
}

/// Whether each number of a column names one of `texts` texts, or is a truth value, where its kind asks for that.
fn are_of_their_kind(column: &Column, texts: i64) -> bool {
    let are_truths = |numbers: &Numbers| numbers.unpack().all(|number| matches!(number, 0 | 1));
    let is_text = |number: i64| (0..texts).contains(&number);
    column.nulls.as_ref().is_none_or(are_truths)
        && match (column.kind(), &column.nulls) {
            (Kind::Integer | Kind::Timestamp, _) => true,
            (Kind::Boolean, _) => are_truths(&column.values),
            (Kind::Text, None) => column.values.unpack().all(is_text),
            (Kind::Text, Some(nulls)) => {
                column.values.unpack().zip(nulls.unpack()).all(|(number, null)| null == 1 || is_text(number))
            }
        }
}

/// Lower-case letters, digits and underscores, the first no digit: within quotes it cannot be anything but a name.
fn is_identifier(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= limits::IDENTIFIER_BYTES
        && name.bytes().all(plain)
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests;
