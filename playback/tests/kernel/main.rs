//! The kernel against the model: however a log was duplicated, disordered and cut, its facts add up to the model's
//! tables. Below that, what the model knows nothing of: that sessions are forgotten and, in a file of its own, that points
//! wait for a bounded time.
#![cfg(feature = "model")]
#![allow(clippy::unwrap_used)]

mod folded;
mod persisted;
mod saves;
mod waits;

use folded::Folded;
use playback::credit::Disposition;
use playback::facts::Facts;
use playback::kernel::{Kernel, Parameters};
use playback::model::{self, Logged, RandomLog, random_log};
use playback::random::Random;
use playback::record::{Record, RecordAd};
use playback::tables::differences;
use saves::save;

const START: i64 = 1_763_683_200_000;
const DAY_MS: i64 = 86_400_000;

/// Folds a log in stretches of at most `stretch` records, and then one tick, which comes after the log by as long as points
/// wait.
fn fold(log: &[Logged], stretch: usize) -> (Folded, Kernel) {
    let parameters = Parameters::default();
    let (mut kernel, mut folded, mut facts) = (Kernel::new(parameters), Folded::default(), Facts::default());
    for records in log.chunks(stretch) {
        for logged in records {
            kernel.fold(&logged.record, logged.logged_at, &mut facts);
        }
        folded.add(&facts);
        facts.clear();
        save(&mut kernel);
    }
    kernel.tick(kernel.clock() + parameters.point_wait_ms, &mut facts);
    folded.add(&facts);
    (folded, kernel)
}

/// For days after a log, copies of its last reports come every 20 hours, whose devices say that they are new.
fn with_days_of_copies(mut log: Vec<Logged>) -> Vec<Logged> {
    let is_in = |logged: &&Logged| logged.logged_at - logged.record.event_time <= DAY_MS;
    let last: Vec<_> = log.iter().filter(is_in).rev().take(5).cloned().collect();
    for hours in [20, 40, 60] {
        log.extend(last.iter().rev().map(|logged| {
            let mut copy = logged.clone();
            copy.logged_at += hours * 3_600_000;
            (copy.record.event_time, copy.record.received_at) = (copy.logged_at, copy.logged_at);
            copy
        }));
    }
    log
}

#[test]
fn facts_of_random_logs_add_up_to_the_models_tables() {
    for seed in 0..300 {
        let log = random_log(RandomLog { seed, reports: 20 + seed as usize * 3, start: START, outage: seed % 3 == 0 });
        let log = with_days_of_copies(log);
        let (folded, kernel) = fold(&log, 1 + seed as usize % 50);
        let expected = model::run(&log, model::Parameters::default());
        let found = differences(&expected, &folded.tables());
        assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
        let ledger = kernel.ledger();
        let disposed: u64 = ledger.dispositions.iter().sum();
        assert_eq!((disposed, ledger.waiting, ledger.ticks), (log.len() as u64, 0, 1), "seed {seed}");
    }
}

#[test]
fn a_kernel_restored_from_its_bytes_goes_on_as_if_nothing_had_been() {
    for seed in 0..30 {
        let log = random_log(RandomLog { seed, reports: 300, start: START, outage: false });
        let cut = Random::new(seed).below(log.len() as u64) as usize;
        let (mut kernel, mut straight, mut resumed) =
            (Kernel::new(Parameters::default()), Facts::default(), Facts::default());
        for logged in &log[..cut] {
            kernel.fold(&logged.record, logged.logged_at, &mut straight);
        }
        straight.clear();
        let mut restored = Kernel::restore(&save(&mut kernel)).unwrap();
        for logged in &log[cut..] {
            kernel.fold(&logged.record, logged.logged_at, &mut straight);
            restored.fold(&logged.record, logged.logged_at, &mut resumed);
        }
        assert_eq!(straight, resumed, "seed {seed}");
        assert_eq!(kernel.ledger(), restored.ledger(), "seed {seed}");
    }
}

/// A report of one session at `at` seconds: a point at that position, or an interval of the five seconds before it.
fn report(seq: u32, at: i64, interval: bool) -> Record {
    Record {
        site: "default".into(),
        user_id: "u".into(),
        session_id: "s".into(),
        video_id: "v".into(),
        seq,
        event_time: START + at * 1_000,
        received_at: START + at * 1_000,
        position_ms: at as u32 * 1_000,
        from_ms: interval.then(|| (at as u32 - 5) * 1_000),
        played_ms: if interval { 5_000 } else { 0 },
        ..Record::default()
    }
}

#[test]
fn a_session_that_was_silent_for_longer_than_the_lateness_bound_begins_anew() {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    kernel.fold(&report(1, 5, true), START, &mut facts);
    let silent_until = START + 5_000 + DAY_MS + 1;
    let again = Record { event_time: silent_until, ..report(1, 5, true) };
    kernel.fold(&again, silent_until, &mut facts);
    let unique: u32 = facts.sessions.iter().map(|fact| fact.unique_ms).sum();
    assert_eq!((kernel.ledger().count(Disposition::Credited), unique), (2, 10_000));
}

#[test]
fn a_session_that_begins_anew_within_an_epoch_has_the_key_that_it_had() {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    let silent_until = START + 5_000 + DAY_MS + 1;
    let [first, second] = ["first", "second"].map(|id| Record { session_id: id.into(), ..report(1, 5, true) });
    let again = Record { event_time: silent_until, ..second.clone() };
    for (record, logged_at) in [(first, START), (second, START), (again, silent_until)] {
        kernel.fold(&record, logged_at, &mut facts);
    }
    assert_eq!((kernel.ledger().count(Disposition::Credited), facts.keys.len()), (3, 2));
}

/// The dispositions of reports that come at these hours, each by a device that says that it is new.
fn dispositions(reports: &[(i64, Record)]) -> Vec<&'static str> {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    for (hour, record) in reports {
        let now = START + hour * 3_600_000;
        kernel.fold(&Record { event_time: now, ..record.clone() }, now, &mut facts);
    }
    facts.dispositions.iter().map(|fact| fact.disposition.as_str()).collect()
}

#[test]
fn a_session_that_sends_nothing_but_copies_is_not_silent() {
    let [interval, other] = [report(0, 5, true), report(1, 10, true)];
    let copies = [(0, interval.clone()), (20, interval.clone()), (40, interval.clone()), (60, interval.clone())];
    assert_eq!(dispositions(&copies), ["credited", "duplicate", "duplicate", "duplicate"]);
    let copies = [(0, interval.clone()), (20, interval.clone()), (40, other), (60, interval)];
    assert_eq!(dispositions(&copies), ["credited", "duplicate", "credited", "duplicate"]);
}

#[test]
fn a_session_that_sends_nothing_but_points_whose_place_was_passed_is_not_silent() {
    let [first, passed, after] = [0, 1, 3].map(|seq| report(seq, 5 * i64::from(seq), false));
    let reports = [(0, first.clone()), (0, after), (20, passed.clone()), (40, passed), (60, first)];
    assert_eq!(dispositions(&reports), ["idle", "idle", "late", "late", "duplicate"]);
}

#[test]
fn a_session_that_sends_nothing_but_reports_late_by_the_bound_is_silent() {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    let first = report(0, 5, true);
    for hours in [0, 20, 40] {
        // The copy at 20 h is of a device that sends what it kept for a day and longer.
        let event_time = if hours == 20 { START - DAY_MS } else { START + hours * 3_600_000 };
        kernel.fold(&Record { event_time, ..first.clone() }, START + hours * 3_600_000, &mut facts);
    }
    let told: Vec<_> = facts.dispositions.iter().map(|fact| fact.disposition.as_str()).collect();
    assert_eq!(told, ["credited", "late", "credited"]);
}

/// A device's clock may be five minutes ahead, so a report may still be in time when the log has been silent for longer than
/// the lateness bound.
#[test]
fn copies_of_reports_that_are_ahead_of_the_log_are_duplicates_until_they_are_late() {
    let ad = RecordAd { impression_id: "i".into(), line_id: "l".into(), quartile: 1, ..RecordAd::default() };
    // Two minutes before a day begins: what is ahead may lie in it.
    let start = START - 120_000;
    for ahead_ms in [0, 1, 119_999, 120_000, 240_000, 300_000] {
        for behind_ms in [-1, 0, 1, 60_000, ahead_ms - 1, ahead_ms, ahead_ms + 1] {
            let again = start + DAY_MS + behind_ms;
            let at =
                |record: Record, seq: u32, event_time: i64| Record { seq, event_time, received_at: start, ..record };
            let interval = at(report(1, 5, true), 1, start + ahead_ms);
            let impression = at(Record { ad: Some(ad.clone()), ..report(0, 0, false) }, 2, start + ahead_ms);
            let more = Record { seq: 4, ..impression.clone() }; // the same impression, told once more
            let first = Record { seq: 0, event_time: start, ..impression.clone() }; // on the day before
            let records = [
                (first, start),
                (interval.clone(), start),
                (impression.clone(), start),
                (at(report(3, 3, false), 3, start), start + 1), // in the same session, not ahead
                (interval, again),
                (impression, again),
                (more, again),
            ];
            let log: Vec<_> = records.into_iter().map(|(record, logged_at)| Logged { record, logged_at }).collect();
            for stretch in [1, 7] {
                let (folded, _) = fold(&log, stretch);
                let found = differences(&model::run(&log, model::Parameters::default()), &folded.tables());
                assert!(found.is_empty(), "{ahead_ms} ahead, {behind_ms} behind a day: {}", found.join("\n"));
            }
        }
    }
}

/// All viewers of a log as one, as when a player says "guest" for everybody.
fn as_one_user(log: &mut [Logged]) {
    for logged in log {
        logged.record.site = "default".into();
        logged.record.session_id = format!("{}-{}", logged.record.user_id, logged.record.session_id);
        logged.record.user_id = "guest".into();
    }
}

#[test]
fn a_user_with_many_sessions_titles_and_impressions_is_counted_like_any_other() {
    for seed in 0..12 {
        let mut log = random_log(RandomLog { seed, reports: 4_000, start: START, outage: seed % 2 == 0 });
        as_one_user(&mut log);
        for (number, logged) in log.iter_mut().enumerate() {
            if let Some(ad) = &mut logged.record.ad {
                ad.impression_id = format!("{}-{}", ad.impression_id, number % 50);
            }
        }
        let expected = model::run(&log, model::Parameters::default());
        for stretch in [7, 4_000] {
            let (folded, _) = fold(&log, stretch);
            let found = differences(&expected, &folded.tables());
            assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
        }
    }
}

#[test]
fn reach_follows_impressions_that_move_to_the_day_before_among_many_others() {
    let others = (0..20).map(|number| (format!("o{number}"), "other", 1));
    let moving = [("i", 10), ("j", 20), ("i", -10), ("k", -15), ("j", -20)];
    let told = others.chain(moving.map(|(id, at)| (id.to_owned(), "l", at)));
    let log: Vec<_> = (0..)
        .zip(told)
        .map(|(seq, (impression_id, line, at))| {
            let ad = RecordAd { impression_id, line_id: line.into(), ..RecordAd::default() };
            let event_time = START + at * 1_000;
            Logged { record: Record { ad: Some(ad), event_time, ..report(seq, 0, false) }, logged_at: START + 60_000 }
        })
        .collect();
    for end in 20..=log.len() {
        let (folded, _) = fold(&log[..end], 1);
        let found = differences(&model::run(&log[..end], model::Parameters::default()), &folded.tables());
        assert!(found.is_empty(), "the first {end}: {}", found.join("\n"));
    }
}

/// However often memory is freed and state restored between, the facts are the same, one by one.
#[test]
fn facts_do_not_depend_on_when_the_kernel_forgets_or_is_restored() {
    for seed in 0..6 {
        let mut log = random_log(RandomLog { seed, reports: 600, start: START, outage: false });
        as_one_user(&mut log);
        let mut later = log.clone();
        for day in 1..=3 {
            // The same sessions, titles and impressions come back after a day, just within and just beyond every bound.
            log.extend(later.iter_mut().map(|logged| {
                logged.record.event_time += DAY_MS + day * 977_000;
                logged.logged_at += DAY_MS + day * 977_000;
                logged.record.seq += 10_000;
                logged.clone()
            }));
        }
        let (mut kernel, mut straight) = (Kernel::new(Parameters::default()), Facts::default());
        let (mut other, mut resumed) = (Kernel::new(Parameters::default()), Facts::default());
        for (number, logged) in log.iter().enumerate() {
            kernel.fold(&logged.record, logged.logged_at, &mut straight);
            other.fold(&logged.record, logged.logged_at, &mut resumed);
            if number % 11 != 0 {
                continue;
            }
            // Both happen only where no facts are held: the numbers of sessions are valid within one stretch.
            assert!(straight == resumed, "seed {seed}");
            straight.clear();
            resumed.clear();
            let saved = save(&mut other); // and forgets
            if number % 101 == 0 {
                other = Kernel::restore(&saved).unwrap();
            }
        }
        assert!(straight == resumed, "seed {seed}");
    }
}

/// The report of [`report`] by another session of the same user and title.
fn report_of(session_id: &str, seq: u32, at: i64) -> Record {
    Record { session_id: session_id.into(), ..report(seq, at, true) }
}

/// Where its user would resume the title, after these reports.
fn resumed_at(kernel: &mut Kernel, reports: &[Record]) -> u32 {
    let mut facts = Facts::default();
    for record in reports {
        kernel.fold(record, record.received_at, &mut facts);
    }
    facts.resumes.last().unwrap().position_ms
}

#[test]
fn of_two_sessions_at_the_same_moment_the_one_with_the_greater_name_says_where_to_resume() {
    let [mut smaller, mut greater] = [report_of("a", 9, 60), report_of("m", 2, 60)];
    (smaller.position_ms, greater.position_ms) = (7_000, 8_000);
    for reports in [[smaller.clone(), greater.clone()], [greater.clone(), smaller.clone()]] {
        assert_eq!(resumed_at(&mut Kernel::new(Parameters::default()), &reports), 8_000);
    }
    // Nor does it matter that older sessions were forgotten meanwhile.
    let mut kernel = Kernel::new(Parameters::default());
    let old = Record { video_id: "other".into(), ..report_of("z", 1, 10) };
    let later = |record: &Record| Record {
        event_time: record.event_time + DAY_MS,
        received_at: record.received_at + DAY_MS,
        ..record.clone()
    };
    let earlier = Record { video_id: "other".into(), ..later(&report_of("0", 1, 30)) };
    assert_eq!(resumed_at(&mut kernel, &[old, later(&greater), earlier]), 30_000);
    save(&mut kernel);
    let furthest = Record { position_ms: 9_000, ..later(&smaller) };
    assert_eq!((kernel.sessions(), resumed_at(&mut kernel, &[furthest])), (2, 8_000));
}
