//! Epochs merged in memory: one row per key and table, each value by its column's role, so that a transaction writes a
//! hot row once. The result does not depend on how the epochs are cut into batches. Does no I/O.
//!
//! Texts stay numbers, as in the messages. Each message numbers its own texts, so they are renumbered for the batch, which
//! holds each text once and not in each row. All values are therefore integers.

use std::collections::BTreeMap;
use std::hash::Hasher;

use hashbrown::HashTable;
use playback::texts::{TextCode, Texts};
use rustc_hash::FxHasher;
use sql::partial::{Column, Kind, Partial, Role, Table};

/// What several epochs add to the tables.
#[derive(Debug, Default)]
pub struct Merged {
    texts: Texts,
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
    /// Its rows, by the hash of their key.
    rows: HashTable<u32>,
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
    /// The values: an integer, ms since the epoch, the number of a text, 0 or 1. A null's value is arbitrary.
    pub values: Vec<i64>,
    /// Which are null; empty as long as none is.
    nulls: Vec<bool>,
}

/// Merged rows, and what is to be done with them.
#[derive(Debug, Default)]
pub struct OrderedRows {
    /// The texts that columns name by number.
    pub texts: Texts,
    /// The tables, by name.
    pub tables: Vec<(MergedTable, Work)>,
    /// Rows in all tables.
    pub rows: usize,
}

/// Rows of a table by what is to be done with them, each list in key order: the same in every sink, so that one sink waits
/// for the other rather than both deadlock.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// To be inserted, or merged into the row that is there.
    pub upserts: Vec<u32>,
    /// To be deleted.
    pub deletes: Vec<u32>,
    /// Those of the upserts that may leave a row of nothing but zeros.
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
    pub fn add(&mut self, epoch: &Partial) -> Result<(), MergeError> {
        let codes: Vec<i64> = epoch.texts.iter().map(|text| i64::from(self.texts.code(text).0)).collect();
        for table in &epoch.tables {
            let merged = match self.tables.get_mut(&table.name) {
                Some(merged) => merged,
                None => self.tables.entry(table.name.clone()).or_insert_with(|| MergedTable::like(table)),
            };
            let before = merged.len();
            merged.add(table, &codes)?;
            self.rows += merged.len() - before;
        }
        Ok(())
    }

    /// Rows in all tables.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Ends the adding: the rows, and what is to be done.
    #[must_use]
    pub fn ordered(self) -> OrderedRows {
        let Merged { texts, tables, rows } = self;
        let places = places(&texts);
        let ordered = |table: MergedTable| {
            let work = table.work(&places);
            (table, work)
        };
        OrderedRows { texts, tables: tables.into_values().map(ordered).collect(), rows }
    }
}

/// The place of each text in sorted order.
fn places(texts: &Texts) -> Vec<u32> {
    let mut ordered: Vec<(&str, u32)> = (0..texts.len() as u32).map(|code| (texts.get(TextCode(code)), code)).collect();
    ordered.sort_unstable();
    let mut places = vec![0; ordered.len()];
    for (place, (_, code)) in (0..).zip(ordered) {
        places[code as usize] = place;
    }
    places
}

impl MergedTable {
    fn like(table: &Table) -> MergedTable {
        let columns = table.columns.iter().map(MergedColumn::like).collect();
        MergedTable { name: table.name.clone(), columns, rows: HashTable::new() }
    }

    /// Rows so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Merges rows; `codes` are the numbers of their texts here.
    fn add(&mut self, table: &Table, codes: &[i64]) -> Result<(), MergeError> {
        let same = |(merged, column): (&MergedColumn, &Column)| {
            merged.name == column.name && merged.role == column.role() && merged.kind == column.kind()
        };
        if self.columns.len() != table.columns.len() || !self.columns.iter().zip(&table.columns).all(same) {
            return Err(MergeError::Columns { table: table.name.clone() });
        }
        let targets = self.targets(table, codes);
        for (merged, column) in self.columns.iter_mut().zip(&table.columns) {
            if merged.role != Role::Key && merged.add(&values(column, codes), column, &targets).is_none() {
                return Err(MergeError::Overflow { table: table.name.clone(), column: merged.name.clone() });
            }
        }
        Ok(())
    }

    /// For each row of `table` the row it is merged into; new keys get the next ones.
    fn targets(&mut self, table: &Table, codes: &[i64]) -> Vec<u32> {
        let news: Vec<Vec<i64>> = table.columns.iter().filter(is_key).map(|column| values(column, codes)).collect();
        let mut keys: Vec<&mut Vec<i64>> = self.columns.iter_mut().filter_map(MergedColumn::key).collect();
        let mut target = |row: usize| {
            let is_it = |known: &u32| keys.iter().zip(&news).all(|(key, new)| key[*known as usize] == new[row]);
            let hash = hash(news.iter().map(|new| new[row]));
            if let Some(&known) = self.rows.find(hash, is_it) {
                return known;
            }
            let next = u32::try_from(self.rows.len()).expect("a batch is flushed long before 2^32 rows");
            keys.iter_mut().zip(&news).for_each(|(key, new)| key.push(new[row]));
            let hash_of = |known: &u32| self::hash(keys.iter().map(|key| key[*known as usize]));
            self.rows.insert_unique(hash, next, hash_of);
            next
        };
        (0..table.rows as usize).map(&mut target).collect()
    }

    /// Whether all columns but the keys are sums: then a row of zeros is no row.
    #[must_use]
    pub fn is_all_sums(&self) -> bool {
        let mut others = self.columns.iter().filter(|column| column.role != Role::Key).peekable();
        others.peek().is_some() && others.all(|column| column.role == Role::Sum)
    }

    /// What is to be done, in key order; `places` are those of the texts.
    fn work(&self, places: &[u32]) -> Work {
        let of_role = |role: Role| self.columns.iter().filter(move |column| column.role == role);
        let sums: Vec<&[i64]> = of_role(Role::Sum).map(|column| column.values.as_slice()).collect();
        let op = of_role(Role::Op).next();
        let all_sums = self.is_all_sums();
        let mut work = Work::default();
        for row in self.ordered(places) {
            let index = row as usize;
            if op.is_some_and(|op| op.values[index] == 0) {
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

    /// The rows in the order of their keys, column by column.
    fn ordered(&self, places: &[u32]) -> Vec<u32> {
        let keys: Vec<&MergedColumn> = self.columns.iter().filter(|column| column.role == Role::Key).collect();
        let mut by_row = Vec::with_capacity(self.len() * keys.len());
        for row in 0..self.len() {
            by_row.extend(keys.iter().map(|key| match key.kind {
                Kind::Text => i64::from(places[key.values[row] as usize]),
                _ => key.values[row],
            }));
        }
        let key = |row: u32| &by_row[row as usize * keys.len()..][..keys.len()];
        let mut rows: Vec<u32> = (0..self.len() as u32).collect();
        rows.sort_unstable_by(|one, other| key(*one).cmp(key(*other)));
        rows
    }
}

impl MergedColumn {
    fn like(column: &Column) -> MergedColumn {
        let (role, kind) = (column.role(), column.kind());
        MergedColumn { name: column.name.clone(), role, kind, values: Vec::new(), nulls: Vec::new() }
    }

    fn key(&mut self) -> Option<&mut Vec<i64>> {
        (self.role == Role::Key).then_some(&mut self.values)
    }

    /// The value of a row, if there is one.
    #[must_use]
    pub fn value(&self, row: u32) -> Option<i64> {
        let is_null = self.nulls.get(row as usize).copied().unwrap_or(false);
        (!is_null).then(|| self.values[row as usize])
    }

    /// Merges a value per target, one past the end being a new row; `None` when a sum overflows.
    fn add(&mut self, news: &[i64], column: &Column, targets: &[u32]) -> Option<()> {
        if !self.nulls.is_empty() || column.nulls.is_some() {
            return self.add_with_nulls(news, column, targets);
        }
        for (&new, &target) in news.iter().zip(targets) {
            match self.values.get_mut(target as usize) {
                Some(old) => *old = merge(self.role, *old, new)?,
                None => self.values.push(new),
            }
        }
        Some(())
    }

    /// A null adds nothing; only a replacement may be one.
    fn add_with_nulls(&mut self, news: &[i64], column: &Column, targets: &[u32]) -> Option<()> {
        self.nulls.resize(self.values.len(), false);
        let are_null = match &column.nulls {
            Some(nulls) => nulls.unpack().map(|null| null == 1).collect(),
            None => vec![false; news.len()],
        };
        for ((&new, &target), is_null) in news.iter().zip(targets).zip(are_null) {
            let target = target as usize;
            if target == self.values.len() {
                self.values.push(new);
                self.nulls.push(is_null);
            } else if self.role == Role::Replace || self.nulls[target] {
                (self.values[target], self.nulls[target]) = (new, is_null);
            } else if !is_null {
                self.values[target] = merge(self.role, self.values[target], new)?;
            }
        }
        Some(())
    }
}

/// What two values of a column come to; `None` when their sum overflows.
fn merge(role: Role, old: i64, new: i64) -> Option<i64> {
    match role {
        Role::Sum => old.checked_add(new),
        Role::Min => Some(old.min(new)),
        Role::Max => Some(old.max(new)),
        Role::Or => Some(old | new),
        Role::Replace | Role::Op | Role::Key => Some(new),
    }
}

fn is_key(column: &&Column) -> bool {
    column.role() == Role::Key
}

/// A column's values, with the numbers `codes` for texts. A null's number need not be that of a text.
fn values(column: &Column, codes: &[i64]) -> Vec<i64> {
    let values = column.values.unpack();
    match column.kind() {
        Kind::Text => values.map(|code| codes.get(code as usize).copied().unwrap_or(0)).collect(),
        _ => values.collect(),
    }
}

fn hash(key: impl Iterator<Item = i64>) -> u64 {
    let mut hasher = FxHasher::default();
    key.for_each(|value| hasher.write_i64(value));
    hasher.finish()
}

#[cfg(test)]
mod tests;
