//! Partitions that come and go, and what waits for its turn.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::run::tests::epoch;

use sql::partial::{Kind, Ledger, Role};
use sql::spelt::{Column, Partial, Table};
use std::sync::mpsc;

#[test]
fn a_partition_that_comes_back_goes_on_behind_what_is_on_its_way_or_where_the_tables_are_if_they_are_further() {
    for (next_offset, expected) in [(3, 5), (5, 5), (8, 8)] {
        let mut intake = intake();
        let fingerprint = "f".to_owned();
        let range = Range {
            from: 0,
            to: 5,
            clock: 1,
            fingerprint: fingerprint.clone(),
            partials_offset: 5,
            ledger: Ledger::default(),
        };
        intake.gathered.ranges.insert(0, range);
        intake.assign(row(next_offset, 1));
        let partial = sql::partial::Partial { from: expected, to: expected + 1, fingerprint, ..Default::default() };
        let next = Arrival { offset: expected, bytes: 1, partial };
        let taken = intake.chains.get_mut(&0).unwrap().take(next).unwrap();
        assert_eq!(taken.len(), 1, "the tables are at {next_offset}");
    }
}

#[test]
fn epochs_that_wait_are_measured_by_what_they_take_in_memory() {
    const LONGEST: usize = sql::limits::TEXT_BYTES as usize;
    const TEXTS: usize = limits::WAITING_BYTES / 4 / LONGEST;
    let text = |number: usize| format!("{number:08}{}", "a".repeat(LONGEST - 8));
    let mut intake = intake();
    intake.assign(row(0, 0));
    for from in 1..=6 {
        let columns = vec![
            Column::texts("site", Role::Key, (0..TEXTS).map(text).collect()),
            Column::integers("heartbeats", Role::Sum, Kind::Integer, vec![1; TEXTS]),
        ];
        let tables = vec![Table { name: "ledger_minutes".into(), rows: TEXTS as u32, columns }];
        let epoch = Partial { tables, ..epoch(from) };
        let value = epoch.encode();
        assert!(value.len() < TEXTS * LONGEST / 100);
        intake.take(&Record { partition: 0, offset: from, timestamp_ms: 0, key: &[], value: &value }).unwrap();
    }
    assert_eq!(intake.chains[&0].waiting(), 3);
}

/// What a partition without an epoch has passed over was another's, and its own first epoch may have been among that.
#[test]
fn a_partition_without_an_epoch_in_the_tables_is_read_from_the_beginning() {
    let mut intake = intake();
    intake.assign(row(0, 0));
    intake.assign(Progress { partition: 1, ..row(3, 1) });
    assert_eq!(intake.bookmarks(), [Bookmark { partition: 1, next_offset: 3, partials_offset: 3 }]);
}

/// A row of partition 0.
fn row(next_offset: u64, clock: i64) -> Progress {
    Progress { partition: 0, next_offset, clock, fingerprint: "f".into(), partials_offset: next_offset }
}

fn intake() -> Intake {
    let (partials_topic, group, pipeline) = ("partials".into(), "sink".into(), "default".into());
    let settings = Settings { partials_topic, group, pipeline, flush_ms: 50, flush_rows: 1 };
    Intake::new(settings, mpsc::channel().1, Duration::MAX)
}
