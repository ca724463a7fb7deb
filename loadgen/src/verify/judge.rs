//! The rows of one table beside those that it must have.

use super::differences::{Differences, difference};
use crate::account::Rows;
use crate::limits::REQUEST_TIMEOUT;
use playback::credit::Disposition;
use playback::tables::{Cell, Kind, Shape};
use std::collections::BTreeMap;

/// Compares the rows of one table as they come.
pub(super) struct TableJudge<'a> {
    rows: &'a Rows<'a>,
    shape: &'a Shape,
    /// Rows that must be there and are.
    pub(super) known: usize,
    /// Sums over all times, of titles whose times are not known.
    sums: BTreeMap<Vec<Cell>, Vec<i64>>,
    pub(super) found: Differences,
    /// The minutes of the run.
    minutes: std::ops::RangeInclusive<i64>,
}

impl<'a> TableJudge<'a> {
    pub(super) fn new(rows: &'a Rows<'a>, shape: &'a Shape) -> TableJudge<'a> {
        let minute =
            |key: Option<(&(u32, Disposition), &u64)>| key.map_or(0, |((minute, _), _)| i64::from(*minute) * 60_000);
        let ledger = &rows.account.ledger;
        let minutes = minute(ledger.first_key_value())..=minute(ledger.last_key_value());
        TableJudge { rows, shape, known: 0, sums: BTreeMap::new(), found: Differences::default(), minutes }
    }

    pub(super) fn row(&mut self, key: Vec<Cell>, row: Vec<Cell>) {
        let is_blurred = is_blurred(self.rows, self.shape, &key);
        if is_blurred && self.shape.key.iter().any(|(_, kind)| *kind == Kind::Time) {
            let sums = self.sums.entry(blurred(self.rows, self.shape, key)).or_insert_with(|| vec![0; row.len()]);
            for (sum, cell) in sums.iter_mut().zip(&row) {
                *sum += if let Cell::Int(amount) = cell { *amount } else { 0 };
            }
            return;
        }
        if let ("ledger_minutes", [_, Cell::Int(minute), _]) = (self.shape.name, &key[..])
            && !self.minutes.contains(minute)
        {
            return; // others were there before
        }
        let expected = self.rows.row(self.shape.name, &key);
        self.compare(&key, expected, row, is_blurred);
    }

    pub(super) fn end_blurred(&mut self) {
        for (key, mut sums) in std::mem::take(&mut self.sums) {
            if self.shape.name == "video_minutes" {
                sums[1] = 0; // in how many minutes a viewer was there depends on the times
            }
            let expected = self.rows.row(self.shape.name, &key);
            self.compare(&key, expected, sums.into_iter().map(Cell::Int).collect(), true);
        }
    }

    fn compare(&mut self, key: &[Cell], expected: Option<Vec<Cell>>, actual: Vec<Cell>, is_blurred: bool) {
        self.known += usize::from(expected.is_some());
        let is_right = match &expected {
            Some(expected) if is_blurred => is_near(self.shape, expected, &actual),
            expected => expected.as_ref() == Some(&actual),
        };
        if !is_right {
            self.found.note(|| difference(self.shape, key, expected.as_deref(), Some(&actual)));
        }
    }
}

/// Whether a row says what is expected, as far as that is known without the times: a corrected time is the true one plus
/// the time that the report was on its way, and so the order of two reports may differ.
fn is_near(shape: &Shape, expected: &[Cell], actual: &[Cell]) -> bool {
    let slack_ms = REQUEST_TIMEOUT.as_millis() as i64;
    shape.columns.iter().zip(expected.iter().zip(actual)).all(|((name, _), (expected, actual))| {
        match (expected, actual) {
            (Cell::Int(expected), Cell::Int(actual)) if matches!(*name, "started_at" | "last_at" | "event_time") => {
                (-1..=slack_ms).contains(&(actual - expected))
            }
            _ if *name == "position_ms" => true,
            _ => expected == actual,
        }
    })
}

/// Whether a row is of a title whose times are not known.
fn is_blurred(rows: &Rows<'_>, shape: &Shape, key: &[Cell]) -> bool {
    let video = shape.key.iter().zip(key).find(|((name, _), _)| *name == "video_id");
    let title =
        video.and_then(|(_, cell)| if let Cell::Text(id) = cell { rows.labels.names.title_of(id) } else { None });
    title.is_some_and(|title| rows.account.is_blurred(title))
}

/// The key; of a title whose times are not known, one key for all times.
pub(super) fn blurred(rows: &Rows<'_>, shape: &Shape, mut key: Vec<Cell>) -> Vec<Cell> {
    if is_blurred(rows, shape, &key) {
        let times = shape.key.iter().zip(&mut key).filter(|((_, kind), _)| *kind == Kind::Time);
        times.for_each(|(_, cell)| *cell = Cell::Int(0));
    }
    key
}
