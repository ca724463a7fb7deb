//! Epochs merged in memory: one row per key and table, each value by its column's role, so that a transaction writes a
//! hot row once. The result does not depend on how the epochs are cut into batches. Does no I/O.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use sql::partial::{Column, Kind, Role, Table};

/// What several epochs add to the tables.
#[derive(Debug, Default)]
pub struct Merged {
    tables: BTreeMap<String, MergedTable>,
    rows: usize,
}

/// What they add to one table.
#[derive(Debug)]
pub struct MergedTable {
    /// Its name.
    pub name: String,
    /// Its columns, in the order of the messages.
    pub columns: Vec<MergedColumn>,
    rows_by_key: FxHashMap<Box<[u8]>, u32>,
}

/// One column: a value per row.
#[derive(Debug)]
pub struct MergedColumn {
    /// Its name.
    pub name: String,
    /// How values meet.
    pub role: Role,
    /// Their type.
    pub kind: Kind,
    /// The values; that of a null is anything.
    pub values: Values,
    /// Which are null.
    pub nulls: Vec<bool>,
}

/// Values of one type.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Values {
    Integers(Vec<i64>),
    Texts(Vec<String>),
    Booleans(Vec<bool>),
}

/// Rows of a table by what is to be done with them, each in the order of their keys' bytes: the same in every sink, so that
/// two of them wait for each other rather than deadlock.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// To be inserted, or merged into the row that is there.
    pub upserts: Vec<u32>,
    /// To be deleted.
    pub deletes: Vec<u32>,
    /// Of the upserts, those that may have come to nothing but zeros.
    pub shrunk: Vec<u32>,
}

/// Why rows cannot be merged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Two epochs disagree.
    #[error("table {table} has other columns than in the epochs before, under the same fingerprint")]
    Columns {
        /// The table.
        table: String,
    },
    /// Beyond 64 bits.
    #[error("table {table} column {column} overflows")]
    Overflow {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

impl Merged {
    /// Adds the tables of the next epoch.
    pub fn add(&mut self, tables: Vec<Table>) -> Result<(), MergeError> {
        for table in tables {
            let merged = match self.tables.get_mut(&table.name) {
                Some(merged) => merged,
                None => self.tables.entry(table.name.clone()).or_insert_with(|| MergedTable::like(&table)),
            };
            let before = merged.len();
            merged.add(table)?;
            self.rows += merged.len() - before;
        }
        Ok(())
    }

    /// Rows in all tables.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &MergedTable> {
        self.tables.values()
    }
}

impl MergedTable {
    fn like(table: &Table) -> MergedTable {
        let columns = table.columns.iter().map(MergedColumn::like).collect();
        MergedTable { name: table.name.clone(), columns, rows_by_key: FxHashMap::default() }
    }

    /// Rows so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows_by_key.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows_by_key.is_empty()
    }

    fn add(&mut self, table: Table) -> Result<(), MergeError> {
        let same = |(merged, column): (&MergedColumn, &Column)| {
            merged.name == column.name && merged.role == column.role() && merged.kind == column.kind()
        };
        if self.columns.len() != table.columns.len() || !self.columns.iter().zip(&table.columns).all(same) {
            return Err(MergeError::Columns { table: table.name });
        }
        let targets = self.targets(&table);
        for (merged, column) in self.columns.iter_mut().zip(table.columns) {
            if merged.add(column, &targets).is_none() {
                return Err(MergeError::Overflow { table: table.name, column: merged.name.clone() });
            }
        }
        Ok(())
    }

    /// For each row of `table` the row it is merged into; new keys get the next ones.
    fn targets(&mut self, table: &Table) -> Vec<u32> {
        let keys: Vec<&Column> = table.columns.iter().filter(|column| column.role() == Role::Key).collect();
        let mut key = Vec::new();
        let mut targets = Vec::with_capacity(table.rows as usize);
        for row in 0..table.rows as usize {
            key.clear();
            for column in &keys {
                push_key(&mut key, column, row);
            }
            let target = match self.rows_by_key.get(key.as_slice()) {
                Some(&target) => target,
                None => {
                    let target =
                        u32::try_from(self.rows_by_key.len()).expect("a batch is flushed long before 2^32 rows");
                    self.rows_by_key.insert(key.as_slice().into(), target);
                    target
                }
            };
            targets.push(target);
        }
        targets
    }

    /// Whether all columns but the keys are sums: then a row of zeros is no row.
    #[must_use]
    pub fn is_all_sums(&self) -> bool {
        let mut others = self.columns.iter().filter(|column| column.role != Role::Key).peekable();
        others.peek().is_some() && others.all(|column| column.role == Role::Sum)
    }

    /// What is to be done, in key order.
    #[must_use]
    pub fn work(&self) -> Work {
        let mut ordered: Vec<(&[u8], u32)> = self.rows_by_key.iter().map(|(key, &row)| (&**key, row)).collect();
        ordered.sort_unstable();
        let sums: Vec<&[i64]> = self.columns.iter().filter_map(MergedColumn::sums).collect();
        let op = self.columns.iter().find(|column| column.role == Role::Op);
        let all_sums = self.is_all_sums();
        let mut work = Work::default();
        for (_, row) in ordered {
            let index = row as usize;
            if op.is_some_and(|op| !op.boolean(index)) {
                work.deletes.push(row);
            } else if !all_sums || sums.iter().any(|sum| sum[index] != 0) {
                work.upserts.push(row);
                if all_sums && sums.iter().any(|sum| sum[index] < 0) {
                    work.shrunk.push(row);
                }
            }
        }
        work
    }
}

impl MergedColumn {
    fn like(column: &Column) -> MergedColumn {
        let values = match column.kind() {
            Kind::Integer | Kind::Timestamp => Values::Integers(Vec::new()),
            Kind::Text => Values::Texts(Vec::new()),
            Kind::Boolean => Values::Booleans(Vec::new()),
        };
        let (role, kind) = (column.role(), column.kind());
        MergedColumn { name: column.name.clone(), role, kind, values, nulls: Vec::new() }
    }

    /// Merges a value per target; `None` when a sum overflows. A null adds nothing; only a replacement may be one.
    fn add(&mut self, column: Column, targets: &[u32]) -> Option<()> {
        let is_null = |row: usize| column.nulls.get(row).copied().unwrap_or(false);
        let role = self.role;
        match &mut self.values {
            Values::Integers(values) => {
                let fold = |old: i64, new: i64| match role {
                    Role::Sum => old.checked_add(new),
                    Role::Min => Some(old.min(new)),
                    Role::Max => Some(old.max(new)),
                    _ => Some(new),
                };
                merge(values, &mut self.nulls, column.integers, targets, is_null, role, |old, new| {
                    *old = fold(*old, new)?;
                    Some(())
                })
            }
            Values::Texts(values) => {
                merge(values, &mut self.nulls, column.texts, targets, is_null, role, |old, new| {
                    *old = new;
                    Some(())
                })
            }
            Values::Booleans(values) => {
                merge(values, &mut self.nulls, column.booleans, targets, is_null, role, |old, new| {
                    *old = if role == Role::Or { *old || new } else { new };
                    Some(())
                })
            }
        }
    }

    fn sums(&self) -> Option<&[i64]> {
        match &self.values {
            Values::Integers(values) if self.role == Role::Sum => Some(values),
            _ => None,
        }
    }

    fn boolean(&self, row: usize) -> bool {
        matches!(&self.values, Values::Booleans(values) if values[row])
    }
}

/// Merges `news` into `values` at `targets`; one past the end is a new row.
fn merge<T>(
    values: &mut Vec<T>,
    nulls: &mut Vec<bool>,
    news: Vec<T>,
    targets: &[u32],
    is_null: impl Fn(usize) -> bool,
    role: Role,
    fold: impl Fn(&mut T, T) -> Option<()>,
) -> Option<()> {
    for (row, (new, &target)) in news.into_iter().zip(targets).enumerate() {
        let target = target as usize;
        if target == values.len() {
            values.push(new);
            nulls.push(is_null(row));
        } else if role == Role::Key {
        } else if matches!(role, Role::Replace | Role::Op) || nulls[target] {
            values[target] = new;
            nulls[target] = is_null(row);
        } else if !is_null(row) {
            fold(&mut values[target], new)?;
        }
    }
    Some(())
}

/// Appends a key value so that bytes compare as the values do; a text holds no NUL (the codec saw to it), which ends it.
fn push_key(key: &mut Vec<u8>, column: &Column, row: usize) {
    match column.kind() {
        Kind::Integer | Kind::Timestamp => {
            let ordered = column.integers[row].cast_unsigned() ^ (1 << 63);
            key.extend_from_slice(&ordered.to_be_bytes());
        }
        Kind::Text => {
            key.extend_from_slice(column.texts[row].as_bytes());
            key.push(0);
        }
        Kind::Boolean => key.push(u8::from(column.booleans[row])),
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
