//! Merging, against a model that applies each epoch alone.

use proptest::prelude::*;
use sql::spelt::{self, Column, Table};

use super::{BTreeMap, Kind, MergeError, Merged, OrderedRows, Role, TextCode, Work};

/// One row of a made-up table: key, sum, min, max, or, replacement.
type Row = (u8, i64, i64, i64, bool, Option<u8>);

fn integers(name: &str, role: Role, integers: Vec<i64>) -> Column {
    Column::integers(name, role, Kind::Integer, integers)
}

fn every_role(rows: &[Row]) -> Table {
    let text = |value: Option<u8>| value.map_or(String::new(), |value| value.to_string());
    let columns = vec![
        integers("key", Role::Key, rows.iter().map(|row| i64::from(row.0)).collect()),
        integers("sum", Role::Sum, rows.iter().map(|row| row.1).collect()),
        integers("min", Role::Min, rows.iter().map(|row| row.2).collect()),
        integers("max", Role::Max, rows.iter().map(|row| row.3).collect()),
        Column::booleans("or", Role::Or, rows.iter().map(|row| row.4).collect()),
        Column {
            nulls: rows.iter().map(|row| row.5.is_none()).collect(),
            ..Column::texts("last", Role::Replace, rows.iter().map(|row| text(row.5)).collect())
        },
    ];
    Table { name: "every_role".into(), rows: u32::try_from(rows.len()).unwrap(), columns }
}

/// Adds an epoch's tables, by way of a message.
fn add(merged: &mut Merged, tables: &[Table]) -> Result<(), MergeError> {
    merged.add(&spelt::Partial { tables: tables.to_vec(), ..spelt::Partial::default() }.pack())
}

/// What is in the table after a batch: the model of the database's `on conflict`.
fn apply(stored: &mut BTreeMap<u8, Row>, row: Row) {
    stored
        .entry(row.0)
        .and_modify(|old| *old = (row.0, old.1 + row.1, old.2.min(row.2), old.3.max(row.3), old.4 || row.4, row.5))
        .or_insert(row);
}

/// The rows of a merged table, as they would be written.
fn rows(merged: Merged) -> Vec<Row> {
    let OrderedRows { texts, tables, .. } = merged.ordered();
    let Some((table, work)) = tables.first() else { return Vec::new() };
    let integer = |column: usize, row: u32| table.columns[column].values[row as usize];
    let last = |code: i64| texts.get(TextCode(code as u32)).parse().unwrap();
    let row = |&row: &u32| {
        let key = u8::try_from(integer(0, row)).unwrap();
        let last = table.columns[5].value(row).map(last);
        (key, integer(1, row), integer(2, row), integer(3, row), integer(4, row) == 1, last)
    };
    work.upserts.iter().map(row).collect()
}

proptest! {
    #[test]
    fn any_cut_into_batches_gives_the_same_table(
        epochs in proptest::collection::vec(
            proptest::collection::btree_map(0_u8..6, (-9_i64..9, -9_i64..9, -9_i64..9, any::<bool>(), any::<Option<u8>>()), 0..5),
            1..12,
        ),
        cuts in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let (mut alone, mut batched, mut merged) = (BTreeMap::new(), BTreeMap::new(), Merged::default());
        for (epoch, is_cut) in epochs.iter().zip(cuts) {
            let epoch: Vec<Row> = epoch.iter().map(|(&k, &(a, b, c, d, e))| (k, a, b, c, d, e)).collect();
            epoch.iter().for_each(|&row| apply(&mut alone, row));
            add(&mut merged, &[every_role(&epoch)]).unwrap();
            if is_cut {
                rows(std::mem::take(&mut merged)).into_iter().for_each(|row| apply(&mut batched, row));
            }
        }
        rows(merged).into_iter().for_each(|row| apply(&mut batched, row));
        prop_assert_eq!(alone, batched);
    }
}

fn sums(rows: &[(&str, i64)]) -> Table {
    let keys = rows.iter().map(|row| row.0).collect();
    let columns =
        vec![Column::texts("key", Role::Key, keys), integers("sum", Role::Sum, rows.iter().map(|row| row.1).collect())];
    Table { name: "sums".into(), rows: u32::try_from(rows.len()).unwrap(), columns }
}

fn work(tables: &[Table]) -> Work {
    let mut merged = Merged::default();
    add(&mut merged, &[]).unwrap();
    tables.iter().for_each(|table| add(&mut merged, std::slice::from_ref(table)).unwrap());
    merged.ordered().tables.remove(0).1
}

#[test]
fn rows_are_in_key_order_and_those_that_add_nothing_are_left_out() {
    let found = work(&[sums(&[("b", 3), ("ab", -2), ("a", 1)]), sums(&[("b", -3), ("c", 0)])]);
    assert_eq!(found, Work { upserts: vec![2, 1], deletes: vec![], shrunk: vec![1] });
}

#[test]
fn the_last_op_decides_whether_a_row_stays() {
    let table = |op: bool| Table {
        name: "kept".into(),
        rows: 1,
        columns: vec![
            integers("key", Role::Key, vec![1]),
            integers("to_ms", Role::Replace, vec![7]),
            Column::booleans("op", Role::Op, vec![op]),
        ],
    };
    assert_eq!(work(&[table(false), table(true)]), Work { upserts: vec![0], ..Work::default() });
    assert_eq!(work(&[table(true), table(false)]), Work { deletes: vec![0], ..Work::default() });
}

#[test]
fn other_columns_and_overflows_are_refused() {
    let mut merged = Merged::default();
    add(&mut merged, &[sums(&[("a", i64::MAX)])]).unwrap();
    let overflow = MergeError::Overflow { table: "sums".into(), column: "sum".into() };
    assert_eq!(add(&mut merged, &[sums(&[("a", 1)])]), Err(overflow));
    let mut other = sums(&[("a", 1)]);
    other.columns[1].role = Role::Max as i32;
    assert_eq!(add(&mut merged, &[other]), Err(MergeError::Columns { table: "sums".into() }));
}
