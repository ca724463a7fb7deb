//! Where tables differ from what they must be.

use crate::limits::MAX_DIFFERENCES;
use playback::tables::{Cell, Column, Shape};

/// Differences: all are counted, the first are told.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl Differences {
    /// One more; it is put into words if it is one of the first.
    pub(super) fn note(&mut self, words: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < MAX_DIFFERENCES {
            self.first.push(words());
        }
    }

    /// Adds those of a table.
    pub(super) fn add_table(&mut self, shape: &Shape, found: Differences) {
        let untold = found.count - found.first.len() as u64;
        self.count += found.count;
        self.first.extend(found.first);
        if untold > 0 {
            self.first.push(format!("{}: and {untold} more", shape.name));
        }
    }
}

/// A row that must be there, beside the one that is.
pub(super) fn difference(shape: &Shape, key: &[Cell], expected: Option<&[Cell]>, actual: Option<&[Cell]>) -> String {
    let row = |row: Option<&[Cell]>| row.map_or("no row".to_owned(), |row| named(shape.columns, row));
    format!("{}: {}: expected {}, actual {}", shape.name, named(shape.key, key), row(expected), row(actual))
}

fn named(columns: &[Column], cells: &[Cell]) -> String {
    let cells: Vec<String> = columns.iter().zip(cells).map(|((name, _), cell)| format!("{name}={cell}")).collect();
    cells.join(" ")
}
