//! Merged rows as statements: `insert … select from unnest(…) on conflict do update`, one statement per table however many
//! rows, prepared once. Builds text and parameters; runs nothing. Names need no check here: the codec takes identifiers only.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use playback::texts::{TextCode, Texts};
use sql::column::{quoted, sql_type};
use sql::partial::{Kind, Role};
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::merge::{MergedColumn, MergedTable};

/// Tables whose rows many partitions write; those that the most partitions write are at the end. Hot tables are written last,
/// so that their locks are held briefly.
const HOT_TABLES: [&str; 6] =
    ["video_minutes", "title_hours", "video_retention", "ad_hours", "ad_reach", "ledger_minutes"];

/// Milliseconds from 1970 to 2000, where PostgreSQL's time begins.
const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;

/// One parameter of a statement: a column's values.
pub type Array<'a> = Box<dyn ToSql + Sync + 'a>;

/// What makes the parameters of a statement for some rows of a table; the texts are those of the batch.
pub(crate) type Arrays<'a> = fn(&MergedTable, &'a Texts, &[u32]) -> Vec<Array<'a>>;

/// A table's place in the order in which every sink writes tables: first those with a user in their key, whose rows only one
/// partition writes, then others that are not known here, then the hot ones.
#[must_use]
pub fn write_order(table: &MergedTable) -> (usize, &str) {
    let is_of_users = keys(table).any(|column| column.name == "user_id");
    let known = HOT_TABLES.iter().position(|hot| *hot == table.name);
    (known.map_or(usize::from(!is_of_users), |place| place + 2), &table.name)
}

/// Inserts rows, or merges them into those that are there.
#[must_use]
pub fn upsert(table: &MergedTable) -> String {
    let stored: Vec<&MergedColumn> = stored(table).collect();
    let names = join(stored.iter().map(|column| quoted(&column.name)), ", ");
    let keys = join(keys(table).map(|column| quoted(&column.name)), ", ");
    let sets = join(stored.iter().filter(|column| column.role != Role::Key).map(|column| set(column)), ", ");
    let action = if sets.is_empty() { "nothing".to_owned() } else { format!("update set {sets}") };
    let arrays = arrays(stored.iter().copied());
    let name = &table.name;
    format!(
        "insert into watchbeat.{name} as t ({names}) select * from unnest({arrays}) on conflict ({keys}) do {action}"
    )
}

/// Deletes rows by key; with `only_zeros` those of them whose sums are all zero.
pub(crate) fn delete(table: &MergedTable, only_zeros: bool) -> String {
    let names = join(keys(table).map(|column| quoted(&column.name)), ", ");
    let same = join(keys(table).map(|column| format!("t.{0} = k.{0}", quoted(&column.name))), " and ");
    let sums = table.columns.iter().filter(|column| only_zeros && column.role == Role::Sum);
    let zeros = join(sums.map(|column| format!(" and coalesce(t.{}, 0) = 0", quoted(&column.name))), "");
    let (name, arrays) = (&table.name, arrays(keys(table)));
    format!("delete from watchbeat.{name} as t using unnest({arrays}) as k ({names}) where {same}{zeros}")
}

/// Parameters of [`upsert`] for `rows`; `texts` are those of the batch.
#[must_use]
pub fn stored_arrays<'a>(table: &MergedTable, texts: &'a Texts, rows: &[u32]) -> Vec<Array<'a>> {
    stored(table).map(|column| array(column, texts, rows)).collect()
}

/// Parameters of [`delete`] for `rows`.
pub(crate) fn key_arrays<'a>(table: &MergedTable, texts: &'a Texts, rows: &[u32]) -> Vec<Array<'a>> {
    keys(table).map(|column| array(column, texts, rows)).collect()
}

fn stored(table: &MergedTable) -> impl Iterator<Item = &MergedColumn> {
    table.columns.iter().filter(|column| column.role != Role::Op)
}

fn keys(table: &MergedTable) -> impl Iterator<Item = &MergedColumn> {
    table.columns.iter().filter(|column| column.role == Role::Key)
}

/// How the stored value is combined with the new one; a null on either side is ignored, except in a replacement.
fn set(column: &MergedColumn) -> String {
    let name = quoted(&column.name);
    match column.role {
        Role::Sum => format!("{name} = coalesce(t.{name} + excluded.{name}, t.{name}, excluded.{name})"),
        Role::Or => format!("{name} = coalesce(t.{name} or excluded.{name}, t.{name}, excluded.{name})"),
        Role::Min => format!("{name} = least(t.{name}, excluded.{name})"),
        Role::Max => format!("{name} = greatest(t.{name}, excluded.{name})"),
        Role::Replace | Role::Key | Role::Op => format!("{name} = excluded.{name}"),
    }
}

fn arrays<'a>(columns: impl Iterator<Item = &'a MergedColumn>) -> String {
    let array = |(index, column): (usize, &MergedColumn)| format!("${}::{}[]", index + 1, sql_type(column.kind));
    join(columns.enumerate().map(array), ", ")
}

fn array<'a>(column: &MergedColumn, texts: &'a Texts, rows: &[u32]) -> Array<'a> {
    let values = rows.iter().map(|row| column.value(*row));
    match column.kind {
        Kind::Integer => Box::new(values.collect::<Vec<_>>()),
        Kind::Timestamp => Box::new(values.map(|value| value.map(Millis)).collect::<Vec<_>>()),
        Kind::Text => {
            let text = |code: i64| texts.get(TextCode(code as u32));
            Box::new(values.map(|value| value.map(text)).collect::<Vec<_>>())
        }
        Kind::Boolean => Box::new(values.map(|value| value.map(|value| value == 1)).collect::<Vec<_>>()),
    }
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// Milliseconds since 1970 as `timestamptz`, exactly: in integers all the way.
#[derive(Debug)]
struct Millis(i64);

impl ToSql for Millis {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let micros = self.0.checked_sub(POSTGRES_EPOCH_MS).and_then(|ms| ms.checked_mul(1_000));
        out.put_i64(micros.ok_or("a time is outside what the database can hold")?);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}
