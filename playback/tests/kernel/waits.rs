//! The bounded wait of points: when they are judged, against what, and which come too late for their place.

use crate::folded::Folded;
use crate::saves::save;
use crate::{DAY_MS, START, report};
use expect_test::{Expect, expect};
use playback::facts::Facts;
use playback::kernel::{Kernel, Parameters};
use playback::model::Logged;
use playback::random::Random;
use playback::record::Record;
use playback::tables::differences;

/// Each step is a log time in seconds and what comes then: `p3` a point, `i3` an interval of that seq, whose event time is
/// five seconds a seq, or `tick`.
fn check(script: &str, expected: Expect) {
    let mut kernel = Kernel::new(Parameters::default());
    let mut told = String::new();
    for step in script.split_whitespace() {
        let (at, what) = step.split_once(':').unwrap();
        let logged_at = START + at.parse::<i64>().unwrap() * 1_000;
        let mut facts = Facts::default();
        if what == "tick" {
            kernel.tick(logged_at, &mut facts);
        } else {
            let seq: u32 = what[1..].parse().unwrap();
            kernel.fold(&report(seq, i64::from(seq) * 5, what.starts_with('i')), logged_at, &mut facts);
        }
        let dispositions: Vec<_> = facts.dispositions.iter().map(|fact| fact.disposition.as_str()).collect();
        let credits: Vec<_> =
            facts.intervals.iter().map(|fact| format!("{}..{}", fact.from_ms / 1_000, fact.to_ms / 1_000)).collect();
        told += &format!(
            "{step} -> {} {} waiting {}\n",
            dispositions.join(" "),
            credits.join(" "),
            kernel.ledger().waiting
        );
    }
    expected.assert_eq(&told);
}

#[test]
fn a_point_waits_for_the_report_before_it_and_is_judged_when_it_comes() {
    check(
        "0:p0 10:p2 11:p1",
        expect![[r#"
            0:p0 -> idle  waiting 0
            10:p2 ->   waiting 1
            11:p1 -> credited credited 0..5 5..10 waiting 0
        "#]],
    );
}

#[test]
fn a_point_waits_a_minute_of_log_time_and_its_place_is_passed_then() {
    check(
        "0:p0 15:p3 74:tick 75:tick 76:p2 77:p1 78:i2 79:p3 80:p4",
        expect![[r#"
            0:p0 -> idle  waiting 0
            15:p3 ->   waiting 1
            74:tick ->   waiting 1
            75:tick -> credited 0..15 waiting 0
            76:p2 -> late  waiting 0
            77:p1 -> late  waiting 0
            78:i2 -> credited 5..10 waiting 0
            79:p3 -> duplicate  waiting 0
            80:p4 -> credited 15..20 waiting 0
        "#]],
    );
}

#[test]
fn a_place_beside_a_closed_gap_stays_closed_after_an_interval_splits_it() {
    check(
        "0:p0 20:p4 80:tick 81:i2 82:p1 83:p3",
        expect![[r#"
            0:p0 -> idle  waiting 0
            20:p4 ->   waiting 1
            80:tick -> credited 0..20 waiting 0
            81:i2 -> credited 5..10 waiting 0
            82:p1 -> late  waiting 0
            83:p3 -> late  waiting 0
        "#]],
    );
}

#[test]
fn a_place_before_a_point_that_still_waits_is_not_passed_when_an_earlier_wait_ends() {
    check(
        "0:p0 40:p8 50:p5 100:tick 101:p6 105:p4 110:tick",
        expect![[r#"
            0:p0 -> idle  waiting 0
            40:p8 ->   waiting 1
            50:p5 ->   waiting 2
            100:tick -> credited 25..40 waiting 1
            101:p6 -> late  waiting 1
            105:p4 -> credited 20..25 waiting 1
            110:tick ->   waiting 1
        "#]],
    );
}

#[test]
fn a_point_waits_for_fifteen_later_reports_and_is_judged_at_the_sixteenth() {
    let later: String = (3..=18).map(|seq| format!(" 1:p{seq}")).collect();
    let script = format!("0:p0 1:p2{later}");
    let mut kernel = Kernel::new(Parameters::default());
    let mut judged_at = None;
    for (index, step) in script.split_whitespace().enumerate() {
        let seq: u32 = step.split_once(":p").unwrap().1.parse().unwrap();
        kernel.fold(&report(seq, i64::from(seq) * 5, false), START, &mut Facts::default());
        if kernel.ledger().waiting == 0 && index > 0 {
            judged_at.get_or_insert(seq);
        }
    }
    assert_eq!(judged_at, Some(18));
}

/// So many sessions have waiting points that not all are judged when the clock jumps by `pause_ms`; then reports of the same
/// sessions come. Also gives where in the log the clock jumps.
fn backlog(random: &mut Random, pause_ms: i64) -> (Vec<Logged>, usize) {
    const SESSIONS: u64 = 4_000;
    let report_of = |random: &mut Random, session: u64, seq: u32, is_interval: bool| {
        let (user_id, session_id) = (format!("u{}", session % 1_000), format!("s{session}"));
        let at = if is_interval { 5 + random.below(100) as i64 } else { 5 * i64::from(seq) };
        Record { user_id, session_id, duration_ms: 60_000, ..report(seq, at, is_interval) }
    };
    let mut log = Vec::new();
    for session in 0..SESSIONS {
        let mut seqs: Vec<u32> = (0..9).filter(|_| random.chance(40)).collect();
        random.shuffle(&mut seqs);
        for seq in seqs {
            log.push(Logged { record: report_of(random, session, seq, false), logged_at: START });
        }
    }
    let (jump, logged_at) = (log.len(), START + pause_ms);
    for _ in 0..200 {
        let (session, seq, is_interval) = (random.below(SESSIONS), random.below(9) as u32, random.chance(30));
        let mut record = report_of(random, session, seq, is_interval);
        record.event_time = record.event_time.max(logged_at - DAY_MS); // in time
        log.push(Logged { record, logged_at });
    }
    (log, jump)
}

#[test]
fn points_that_are_left_to_later_records_are_judged_as_if_they_had_not_been() {
    for (seed, pause_ms) in (0..).zip([60_000, 60_000, DAY_MS, DAY_MS + 1, 2 * DAY_MS]) {
        let (log, jump) = backlog(&mut Random::new(seed), pause_ms);
        let is_left = |kernel: &Kernel| kernel.next_deadline().is_some_and(|deadline| deadline <= kernel.clock());
        let tables = |ticks_first: bool| {
            let (mut kernel, mut folded, mut facts) =
                (Kernel::new(Parameters::default()), Folded::default(), Facts::default());
            let mut seen_left = 0;
            for (number, logged) in log.iter().enumerate() {
                if number == jump && ticks_first {
                    kernel.tick(logged.logged_at, &mut facts);
                    while is_left(&kernel) {
                        kernel.tick(logged.logged_at, &mut facts);
                    }
                }
                kernel.fold(&logged.record, logged.logged_at, &mut facts);
                seen_left += u32::from(is_left(&kernel));
                if number >= jump {
                    folded.add(&facts);
                    facts.clear();
                }
                if number >= jump && number % 16 == 0 {
                    save(&mut kernel); // and forgets
                }
            }
            kernel.tick(kernel.clock() + 60_000, &mut facts);
            folded.add(&facts);
            assert_eq!((kernel.ledger().waiting, seen_left > 0), (0, !ticks_first), "seed {seed}");
            folded.tables()
        };
        let found = differences(&tables(true), &tables(false));
        assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
    }
}

#[test]
fn a_point_that_waits_is_judged_although_the_texts_around_it_were_forgotten() {
    let mut kernel = Kernel::new(Parameters::default());
    let mut facts = Facts::default();
    for number in 0..10 {
        let of_another = Record { site: format!("site {number}"), video_id: format!("{number}"), ..report(1, 5, true) };
        kernel.fold(&of_another, START, &mut facts);
    }
    let mut point = report(2, 10, false);
    point.event_time += 2 * DAY_MS;
    kernel.fold(&point, START + 2 * DAY_MS, &mut facts);
    facts.clear();
    save(&mut kernel);
    assert_eq!((kernel.sessions(), kernel.ledger().waiting), (1, 1));
    kernel.tick(START + 3 * DAY_MS, &mut facts);
    assert_eq!((facts.dispositions.len(), kernel.ledger().waiting), (1, 0));
}
