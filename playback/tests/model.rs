//! The model held against the golden vectors of the crediting rules, and against the reference in Python where it
//! is present (`WATCHBEAT_REFERENCE` or the place beside a checkout).

#![allow(clippy::unwrap_used)]

use playback::credit::Disposition;
use playback::heartbeat::State;
use playback::model::{self, Logged, Parameters, RandomLog};
use playback::random::Random;
use playback::record::{self, Record, RecordAd};
use playback::tables::{Cell, Kind, SHAPES, Tables, differences};
use prost::Message;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const START: i64 = 1_763_683_200_000;

fn report(seq: u32, at: i64, position_ms: u32) -> Record {
    Record {
        site: "default".into(),
        user_id: "u".into(),
        session_id: "s".into(),
        video_id: "v".into(),
        seq,
        event_time: START + at,
        received_at: START + at,
        position_ms,
        ..Record::default()
    }
}

/// An interval report: `[from, to)` played in five seconds.
fn i(seq: u32, at: i64, from: u32, to: u32) -> Record {
    Record { from_ms: Some(from), played_ms: 5_000, ..report(seq, at, to) }
}

/// A point report.
fn p(seq: u32, at: i64, position_ms: u32) -> Record {
    report(seq, at, position_ms)
}

fn in_state(state: State, record: Record) -> Record {
    Record { state: state as i32, ..record }
}

fn ad(seq: u32, at: i64) -> Record {
    let ad = RecordAd { impression_id: "i1".into(), line_id: "L".into(), quartile: 1, ..RecordAd::default() };
    Record { ad: Some(ad), ..report(seq, at, 20_000) }
}

/// Intervals of five seconds without a pause, `count` from `seq`, `at` and `from` on.
fn line(seq: u32, at: i64, from: u32, count: u32) -> Vec<Record> {
    let step = |n: u32| i(seq + n, at + 5_000 * i64::from(n + 1), from + 5_000 * n, from + 5_000 * (n + 1));
    (0..count).map(step).collect()
}

fn tables(records: Vec<Record>) -> Tables {
    let log: Vec<Logged> = records.into_iter().map(|record| Logged { logged_at: record.received_at, record }).collect();
    model::run(&log, Parameters::default())
}

/// Holds the segments and gross, unique and wall time, in seconds, of the one session against what is expected.
#[track_caller]
fn check(records: Vec<Record>, segments: &[(i64, i64)], seconds: [i64; 3]) {
    let tables = tables(records);
    let found: Vec<(Cell, Cell)> = tables
        .rows("watch_segments")
        .into_iter()
        .flatten()
        .map(|(key, row)| (key[4].clone(), row[0].clone()))
        .collect();
    let segments: Vec<(Cell, Cell)> = segments.iter().map(|(from, to)| (Cell::Int(*from), Cell::Int(*to))).collect();
    assert_eq!(found, segments);
    let sessions = tables.rows("watch_sessions").unwrap();
    let row = sessions.values().next().unwrap();
    assert_eq!(row[..3].to_vec(), seconds.map(|second| Cell::Int(second * 1_000)));
}

#[test]
fn a_minute_without_a_pause() {
    check(line(0, 0, 0, 12), &[(0, 60_000)], [60, 60, 60]);
}

#[test]
fn a_seek_forward_leaves_a_hole() {
    let log = [line(0, 0, 0, 4), line(4, 20_000, 600_000, 4)].concat();
    check(log, &[(0, 20_000), (600_000, 620_000)], [40, 40, 40]);
}

#[test]
fn what_is_watched_again_counts_as_gross_only() {
    let log = [line(0, 0, 0, 6), line(6, 30_000, 10_000, 4)].concat();
    check(log, &[(0, 30_000)], [50, 30, 50]);
}

#[test]
fn points_with_a_pause() {
    let log = vec![
        p(0, 0, 0),
        p(1, 5_000, 5_000),
        in_state(State::Paused, p(2, 8_000, 8_000)),
        in_state(State::Paused, p(3, 38_000, 8_000)),
        p(4, 68_000, 8_000),
        p(5, 73_000, 13_000),
    ];
    check(log, &[(0, 13_000)], [13, 13, 13]);
}

#[test]
fn double_speed_takes_half_the_time() {
    let double =
        |n: u32| Record { rate_thousandths: 2_000, ..i(n, 5_000 * i64::from(n + 1), 10_000 * n, 10_000 * (n + 1)) };
    check((0..6).map(double).collect(), &[(0, 60_000)], [60, 60, 30]);
}

#[test]
fn sent_three_times_is_played_once() {
    check([line(0, 0, 0, 12), line(0, 0, 0, 12), line(0, 0, 0, 12)].concat(), &[(0, 60_000)], [60, 60, 60]);
}

#[test]
fn the_order_on_the_way_does_not_matter() {
    let mut log = line(0, 0, 0, 12);
    Random::new(7).shuffle(&mut log);
    check(log, &[(0, 60_000)], [60, 60, 60]);
}

#[test]
fn a_lost_interval_leaves_a_hole() {
    let mut log = line(0, 0, 0, 12);
    log.remove(5);
    check(log, &[(0, 25_000), (30_000, 60_000)], [55, 55, 55]);
}

#[test]
fn a_lost_point_leaves_none() {
    let log = (0..13).filter(|n| *n != 5).map(|n| p(n, 5_000 * i64::from(n), 5_000 * n)).collect();
    check(log, &[(0, 60_000)], [60, 60, 60]);
}

#[test]
fn a_minute_in_five_seconds_is_forged() {
    check(vec![i(0, 5_000, 0, 60_000)], &[], [0, 0, 0]);
}

#[test]
fn an_ad_break_is_not_content() {
    let ads = (0..6).map(|n| ad(4 + n, 20_000 + 5_000 * i64::from(n))).collect();
    check([line(0, 0, 0, 4), ads, line(10, 50_000, 20_000, 2)].concat(), &[(0, 30_000)], [30, 30, 30]);
}

#[test]
fn a_stall_is_not_play() {
    let log =
        vec![p(0, 0, 0), in_state(State::Buffering, p(1, 5_000, 2_000)), p(2, 10_000, 2_000), p(3, 15_000, 7_000)];
    check(log, &[(0, 7_000)], [7, 7, 7]);
}

#[test]
fn a_background_tab_reports_once_a_minute() {
    let log = (0..4).map(|n| p(n, 60_000 * i64::from(n), 60_000 * n)).collect();
    check(log, &[(0, 180_000)], [180, 180, 180]);
}

#[test]
fn ten_silent_minutes_prove_nothing() {
    check(vec![p(0, 0, 0), p(1, 5_000, 5_000), p(2, 605_000, 605_000)], &[(0, 5_000)], [5, 5, 5]);
}

#[test]
fn a_credit_over_midnight_is_split_in_proportion() {
    let midnight = (START / 86_400_000 + 1) * 86_400_000;
    let tables = tables(vec![i(0, midnight + 2_000 - START, 0, 5_000)]);
    let minutes: Vec<(Cell, Cell)> =
        tables.rows("video_minutes").unwrap().iter().map(|(key, row)| (key[2].clone(), row[0].clone())).collect();
    let expected = [(midnight - 60_000, 3_000), (midnight, 2_000)];
    assert_eq!(minutes, expected.map(|(minute, ms)| (Cell::Int(minute), Cell::Int(ms))));
}

#[test]
fn a_difference_names_table_key_expected_and_actual() {
    let (one, two) = (tables(line(0, 0, 0, 1)), tables(line(0, 0, 0, 2)));
    let found = differences(&one, &two);
    let of_the_segment = "watch_segments: site=default user_id=u session_id=s video_id=v from_ms=0: \
                          expected to_ms=5000, actual to_ms=10000";
    assert!(found.iter().any(|line| line == of_the_segment), "{found:#?}");
    assert!(differences(&one, &one).is_empty());
}

#[test]
fn random_logs_are_made_of_every_disposition_and_are_the_same_for_a_seed() {
    let settings = RandomLog { seed: 1, reports: 5_000, start: START, outage: true };
    let log = model::random_log(settings);
    assert_eq!(log, model::random_log(settings));
    assert!(log.is_sorted_by_key(|logged| logged.logged_at));
    let totals = model::run(&log, Parameters::default()).ledger_totals();
    for disposition in Disposition::ALL.map(Disposition::as_str) {
        let count = totals.get(&("north".to_owned(), disposition.to_owned())).copied().unwrap_or(0);
        assert!(count >= 10, "{disposition}: {count} in {totals:?}");
    }
    assert_eq!(totals.values().sum::<i64>(), log.len() as i64);
}

#[test]
fn every_random_report_is_one_that_the_gateway_takes() {
    for logged in model::random_log(RandomLog { seed: 2, reports: 2_000, start: START, outage: false }) {
        let received_at = logged.record.received_at;
        let body = model::body(&logged.record);
        let heartbeat = playback::json::heartbeat(&body, received_at).unwrap();
        let (bytes, key_bytes) = record::written(&logged.record.site, &heartbeat);
        let mut record = logged.record.clone();
        record.received_at = received_at;
        assert_eq!(Record::decode(&bytes[key_bytes..]).unwrap(), record);
    }
}

#[test]
fn the_model_agrees_with_the_reference_on_random_logs() {
    let Some(reference) = reference() else {
        eprintln!("skipped: no reference.py (name it in WATCHBEAT_REFERENCE)");
        return;
    };
    for seed in 0..12 {
        eprintln!("seed {seed}");
        let start = START + 86_400_000 - 2 * 3_600_000; // over midnight
        let settings = RandomLog { seed, reports: 300 + 200 * seed as usize, start, outage: seed % 3 == 0 };
        let log = model::random_log(settings);
        let expected = run_reference(&reference, &log, seed);
        let actual = as_reference(&model::run(&log, Parameters::default()));
        for (table, rows) in expected.as_object().unwrap() {
            let actual = &actual[table];
            for (key, row) in rows.as_object().unwrap() {
                assert_eq!(row, &actual[key], "seed {seed}: {table} {key}");
            }
            assert_eq!(rows, actual, "seed {seed}: {table}");
        }
    }
}

#[allow(clippy::disallowed_methods)] // the domain reads no environment; where a checkout keeps the reference it must
fn reference() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/reference.py");
    let path = std::env::var_os("WATCHBEAT_REFERENCE").map_or(beside, PathBuf::from);
    path.is_file().then_some(path)
}

fn run_reference(reference: &Path, log: &[Logged], seed: u64) -> Value {
    let path = std::env::temp_dir().join(format!("watchbeat-model-{}-{seed}.ndjson", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    for logged in log {
        writeln!(file, "{}", model::line(logged)).unwrap();
    }
    drop(file);
    let output = Command::new("python3").arg(reference).arg(&path).arg("--json").output().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The model's tables in the form in which the reference prints its own.
fn as_reference(tables: &Tables) -> Value {
    let mut all = Map::new();
    for shape in SHAPES {
        let rows: Map<String, Value> = tables
            .rows(shape.name)
            .into_iter()
            .flatten()
            .map(|(key, row)| {
                let columns = shape.columns.iter().zip(row).map(|((name, _), cell)| ((*name).to_owned(), value(cell)));
                (flat(key), Value::Object(columns.collect()))
            })
            .collect();
        all.insert(shape.name.to_owned(), Value::Object(rows));
    }
    for session in all["watch_sessions"].as_object_mut().unwrap().values_mut() {
        session["segments"] = json!([]);
    }
    for (key, row) in tables.rows("watch_segments").into_iter().flatten() {
        let segments = &mut all["watch_sessions"][&flat(&key[..4])]["segments"];
        segments.as_array_mut().unwrap().push(json!([value(&key[4]), value(&row[0])]));
    }
    all.remove("watch_segments");
    all.remove("ledger_minutes");
    let mut ledger: Map<String, Value> = Map::new();
    for ((_, disposition), heartbeats) in tables.ledger_totals() {
        let before = ledger.get(&disposition).and_then(Value::as_i64).unwrap_or(0);
        ledger.insert(disposition, json!(before + heartbeats));
    }
    all.insert("ledger".to_owned(), Value::Object(ledger));
    Value::Object(all)
}

fn flat(key: &[Cell]) -> String {
    key.iter().map(Cell::to_string).collect::<Vec<_>>().join("|")
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Int(value) => json!(value),
        Cell::Text(value) => json!(value),
        Cell::Bool(value) => json!(value),
        Cell::Null => Value::Null,
    }
}

#[test]
fn every_shape_starts_its_key_with_the_site() {
    assert!(SHAPES.iter().all(|shape| shape.key[0] == ("site", Kind::Text)));
}
