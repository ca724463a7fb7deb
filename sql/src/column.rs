//! Columns of tables as SQL writes them.

use crate::partial::Kind;

/// A column's name in quotes, for names such as `to` that are words of SQL.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// The type of a column.
#[must_use]
pub fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer => "bigint",
        Kind::Timestamp => "timestamptz",
        Kind::Text => "text",
        Kind::Boolean => "boolean",
    }
}
