//! Where epochs end: a function of the log alone.
#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};
use playback::credit::Disposition;
use playback::kernel::Parameters;
use playback::record::{Record, RecordAd, TICK};
use processor::shard::{Folded, Reading, Shard};
use prost::Message;

const START: i64 = 1_763_683_200_000;

fn report(seq: u32) -> Vec<u8> {
    let record = Record {
        site: "default".into(),
        user_id: "u".into(),
        session_id: "s".into(),
        video_id: "v".into(),
        seq,
        event_time: START,
        received_at: START,
        from_ms: Some(0),
        position_ms: 5_000,
        played_ms: 5_000,
        ..Record::default()
    };
    record.encode_to_vec()
}

/// Feeds records with these log times (ms after the start; `t` marks a tick) and tells the epochs that end, and until when
/// something waits at the end.
fn check(script: &str, expected: Expect) {
    let mut shard = Shard::new(0, 1_000, Parameters::default());
    let mut told = String::new();
    for (offset, step) in script.split_whitespace().enumerate() {
        let is_tick = step.ends_with('t');
        let logged_at = START + step.trim_end_matches('t').parse::<i64>().unwrap();
        shard.cut(logged_at, |epoch, facts| {
            let rows = facts.dispositions.len();
            told += &format!("[{}, {}) clock {} rows {rows}\n", epoch.from, epoch.to, epoch.clock - START);
        });
        let value = if is_tick { TICK.to_vec() } else { report(offset as u32) };
        assert_eq!(shard.fold(offset as u64, logged_at, &Reading::of(&value)).unwrap(), Folded::Taken);
    }
    told += &format!("due {:?}\n", shard.due().map(|due| due - START));
    expected.assert_eq(&told);
}

#[test]
fn an_epoch_ends_before_the_first_record_a_second_after_its_first() {
    check(
        "0 999 1000 1500 2600",
        expect![[r#"
            [0, 2) clock 999 rows 2
            [2, 4) clock 1500 rows 2
            due Some(3600)
        "#]],
    );
}

#[test]
fn log_time_that_goes_back_counts_as_standing_still() {
    check(
        "900 100 1800 1900",
        expect![[r#"
            [0, 3) clock 1800 rows 3
            due Some(2900)
        "#]],
    );
}

#[test]
fn a_tick_ends_an_epoch_and_one_of_ticks_alone_asks_for_no_other() {
    check(
        "0 1000t",
        expect![[r#"
            [0, 1) clock 0 rows 1
            due None
        "#]],
    );
}

#[test]
fn an_epoch_ends_at_the_latest_after_32768_records() {
    let script = vec!["5"; 32_769].join(" ");
    check(
        &script,
        expect![[r#"
            [0, 32768) clock 5 rows 32768
            due Some(1005)
        "#]],
    );
}

#[test]
fn a_record_that_is_no_heartbeat_is_a_tick_and_a_missing_one_stops_the_shard_and_a_repeated_one_is_passed_over() {
    let mut shard = Shard::new(0, 1_000, Parameters::default());
    assert_eq!(shard.fold(0, START, &Reading::of(b"\xff\xffnonsense")).unwrap(), Folded::Unreadable);
    let error = shard.fold(2, START, &Reading::of(&report(0))).unwrap_err().to_string();
    assert!(error.contains("offset 2 instead of 1"), "{error}");
    assert_eq!(shard.fold(0, START + 1, &Reading::of(&report(0))).unwrap(), Folded::Repeated);
    assert_eq!((shard.next_offset(), shard.clock()), (1, START));
}

#[test]
fn a_record_that_no_gateway_can_have_written_is_counted_as_a_tick_and_the_partition_goes_on() {
    type Breakage = fn(&mut Record);
    let breakages: &[(&str, Breakage)] = &[
        ("event time far ahead", |record| record.event_time = 1 << 60),
        ("both times far ahead", |record| (record.event_time, record.received_at) = (1 << 60, 1 << 60)),
        ("event time before 1970", |record| (record.event_time, record.received_at) = (-1, 0)),
        ("event time too old", |record| record.event_time -= 7 * 86_400_000 + 1),
        ("NUL in the device", |record| record.device = "a\0b".into()),
        ("NUL in the user", |record| record.user_id = "a\0b".into()),
        ("no site", |record| record.site.clear()),
        ("no video", |record| record.video_id.clear()),
        ("seq", |record| record.seq = u32::MAX),
        ("position", |record| record.position_ms = u32::MAX),
        ("from", |record| record.from_ms = Some(u32::MAX)),
        ("played", |record| record.played_ms = u32::MAX),
        ("played without from", |record| record.from_ms = None),
        ("rate", |record| record.rate_thousandths = u32::MAX),
        ("duration", |record| record.duration_ms = 1),
        ("state", |record| record.state = 6),
        ("territory", |record| record.territory = "de".into()),
        ("ad without ids", |record| record.ad = Some(RecordAd::default())),
    ];
    let mut shard = Shard::new(0, 1_000, Parameters::default());
    let mut offset = 0;
    let mut fold = |value: &[u8]| {
        offset += 1;
        shard.fold(offset - 1, START, &Reading::of(value)).unwrap()
    };
    for (name, breakage) in breakages {
        let mut record = Record::decode(report(1).as_slice()).unwrap();
        breakage(&mut record);
        assert_eq!(fold(&record.encode_to_vec()), Folded::Unreadable, "{name}");
    }
    assert_eq!(fold(&report(1)), Folded::Taken);
    let mut ticks = None;
    shard.cut(START + 1_000, |epoch, _| ticks = Some((epoch.ledger.ticks, epoch.ledger.count(Disposition::Credited))));
    assert_eq!(ticks, Some((breakages.len() as u64, 1)));
}

#[test]
fn the_tables_name_the_dispositions_in_the_order_of_the_kernel() {
    assert_eq!(Disposition::ALL.map(Disposition::as_str), sql::ledger::DISPOSITIONS);
}
