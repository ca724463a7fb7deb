//! Viewers without any server: what they know and what the model makes of their reports.

#![allow(clippy::unwrap_used)]

use super::{Played, Viewer};
use crate::outbox::Outbox;
use crate::verify::played_differences;
use playback::model::{self, Logged, Parameters, Random};
use playback::record::Record;

const START: i64 = 1_763_683_200_000;

/// What a viewer plays, and its reports as they reach a log.
fn watch(seed: u64, number: u32, batch: usize) -> (Vec<Played>, Vec<Logged>) {
    let mut viewer = Viewer::new(seed, "r1", number, START, true);
    let (mut random, mut outbox, mut log) = (Random::new(seed), Outbox::new(batch), Vec::new());
    while viewer.now() < START + 3 * 3_600_000 {
        let requests = outbox.push(viewer.next_report(), &mut random);
        log.extend(requests.into_iter().flat_map(|request| request.reports));
    }
    log.extend(outbox.flush(&mut random).into_iter().flat_map(|request| request.reports));
    let logged = |record: Record| {
        let record = Record { site: "default".to_owned(), received_at: record.event_time, ..record };
        Logged { logged_at: record.event_time, record }
    };
    (viewer.finish(), log.into_iter().map(logged).collect())
}

#[test]
fn what_viewers_know_they_played_is_what_the_model_credits() {
    for (number, batch) in (0..40).zip([1, 3, 12, 100].into_iter().cycle()) {
        let (played, log) = watch(5, number, batch);
        let tables = model::run(&log, Parameters::default());
        let differences = played_differences(&played, &tables, "default");
        assert!(differences.is_empty(), "viewer {number}, batch {batch}: {differences:#?}");
        assert!(played.iter().map(Played::gross_ms).sum::<i64>() > 0, "viewer {number} played nothing");
    }
}

#[test]
fn viewers_do_everything_that_the_ledger_tells_apart_but_being_late() {
    let log: Vec<Logged> = (0..20).flat_map(|number| watch(6, number, 1).1).collect();
    let totals = model::run(&log, Parameters::default()).ledger_totals();
    for disposition in ["credited", "idle", "duplicate", "overrun", "ad"] {
        assert!(totals.contains_key(&("default".to_owned(), disposition.to_owned())), "{disposition}: {totals:?}");
    }
    let shuffled = |number| !watch(6, number, 1).1.is_sorted_by_key(|logged| logged.record.event_time);
    assert!((0..20).any(shuffled), "nothing was sent out of order");
}

#[test]
fn a_seed_decides_what_viewers_do() {
    assert_eq!(watch(7, 1, 3), watch(7, 1, 3));
    assert_ne!(watch(7, 1, 3), watch(8, 1, 3));
    assert_ne!(watch(7, 1, 3), watch(7, 2, 3));
}

#[test]
fn every_report_is_one_that_the_gateway_takes() {
    for logged in watch(9, 0, 1).1 {
        let heartbeat = playback::json::heartbeat(&model::body(&logged.record), logged.record.event_time).unwrap();
        assert_eq!(Record::new("default", heartbeat), logged.record);
    }
}
