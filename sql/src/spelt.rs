//! Partials with their values spelt out, for tests that make and compare them.

use crate::codec::Encoder;
use crate::numbers::Numbers;
use crate::partial::{self, Kind, Ledger, Role};

/// A [`partial::Partial`] that is spelt out.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
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

/// A [`partial::Table`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Table {
    pub name: String,
    pub rows: u32,
    pub columns: Vec<Column>,
}

/// A [`partial::Column`], with its values in the field that [`Kind`] names. The value of a null is 0, "" or false.
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

impl Partial {
    /// As a message, whatever rules it breaks.
    #[must_use]
    pub fn pack(&self) -> partial::Partial {
        let mut texts = Vec::new();
        let tables = self.tables.iter().map(|table| table.pack(&mut texts)).collect();
        let lengths: Vec<_> = texts.iter().map(|text: &String| text.len() as i64).collect();
        partial::Partial {
            pipeline: self.pipeline.clone(),
            partition: self.partition,
            from: self.from,
            to: self.to,
            clock: self.clock,
            fingerprint: self.fingerprint.clone(),
            ledger: self.ledger,
            tables,
            texts: partial::Texts { all: texts.concat(), lengths: Numbers::pack(&lengths) },
        }
    }

    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Encoder::new().bytes(&self.pack())
    }
}

impl Table {
    fn pack(&self, texts: &mut Vec<String>) -> partial::Table {
        let columns = self.columns.iter().map(|column| column.pack(texts)).collect();
        partial::Table { name: self.name.clone(), rows: self.rows, columns }
    }
}

impl Column {
    /// One of integers, or of times.
    #[must_use]
    pub fn integers(name: &str, role: Role, kind: Kind, integers: Vec<i64>) -> Column {
        Column { integers, ..Column::empty(name, role, kind) }
    }

    /// One of texts.
    #[must_use]
    pub fn texts<T: Into<String>>(name: &str, role: Role, texts: Vec<T>) -> Column {
        Column { texts: texts.into_iter().map(Into::into).collect(), ..Column::empty(name, role, Kind::Text) }
    }

    /// One of truth values.
    #[must_use]
    pub fn booleans(name: &str, role: Role, booleans: Vec<bool>) -> Column {
        Column { booleans, ..Column::empty(name, role, Kind::Boolean) }
    }

    fn empty(name: &str, role: Role, kind: Kind) -> Column {
        Column { name: name.to_owned(), role: role as i32, kind: kind as i32, ..Column::default() }
    }

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

    fn pack(&self, texts: &mut Vec<String>) -> partial::Column {
        let truths = |truths: &[bool]| Numbers::pack(&truths.iter().map(|truth| i64::from(*truth)).collect::<Vec<_>>());
        let mut number = |text: &String| {
            texts.push(text.clone());
            texts.len() as i64 - 1
        };
        partial::Column {
            name: self.name.clone(),
            role: self.role,
            kind: self.kind,
            values: match self.kind() {
                Kind::Integer | Kind::Timestamp => Numbers::pack(&self.integers),
                Kind::Text => Numbers::pack(&self.texts.iter().map(&mut number).collect::<Vec<_>>()),
                Kind::Boolean => truths(&self.booleans),
            },
            nulls: (!self.nulls.is_empty()).then(|| truths(&self.nulls)),
        }
    }
}

/// A message that was checked, spelt out.
impl From<&partial::Partial> for Partial {
    fn from(packed: &partial::Partial) -> Partial {
        let texts: Vec<&str> = packed.texts.iter().collect();
        let table = |table: &partial::Table| Table {
            name: table.name.clone(),
            rows: table.rows,
            columns: table.columns.iter().map(|column| spell(column, &texts)).collect(),
        };
        Partial {
            pipeline: packed.pipeline.clone(),
            partition: packed.partition,
            from: packed.from,
            to: packed.to,
            clock: packed.clock,
            fingerprint: packed.fingerprint.clone(),
            ledger: packed.ledger,
            tables: packed.tables.iter().map(table).collect(),
        }
    }
}

fn spell(packed: &partial::Column, texts: &[&str]) -> Column {
    let truths = |numbers: &Numbers| numbers.unpack().map(|number| number == 1).collect();
    let nulls: Vec<bool> = packed.nulls.as_ref().map(truths).unwrap_or_default();
    let mut column = Column { name: packed.name.clone(), role: packed.role, kind: packed.kind, ..Column::default() };
    let text = |(row, number): (usize, i64)| match nulls.get(row) {
        Some(true) => String::new(),
        _ => texts[number as usize].to_owned(),
    };
    match packed.kind() {
        Kind::Integer | Kind::Timestamp => column.integers = packed.values.unpack().collect(),
        Kind::Text => column.texts = packed.values.unpack().enumerate().map(text).collect(),
        Kind::Boolean => column.booleans = truths(&packed.values),
    }
    Column { nulls, ..column }
}
