//! What is saved little by little while records are folded is the state as it was when the save began, and a save changes no fact.

use super::{DAY_MS, START, report};
use playback::facts::Facts;
use playback::kernel::{Kernel, Parameters};
use playback::model::{Logged, RandomLog, random_log};
use playback::random::Random;

/// Records from one moment without facts to the next, where a save may begin.
const STRETCH: usize = 11;

/// Saves all of a kernel at once, and gives the bytes.
pub(super) fn save(kernel: &mut Kernel) -> Vec<u8> {
    kernel.begin_save(Vec::new());
    kernel.save_some(usize::MAX).parts.concat()
}

/// A random log. After a day or more some of its sessions come back, other users take the place of others, and the rest is silent.
fn log_of_days(seed: u64) -> Vec<Logged> {
    let random = &mut Random::new(seed);
    let mut log = random_log(RandomLog { seed, reports: 600, start: START, outage: false });
    let mut later = log.clone();
    for day in 1..=3 {
        later.retain(|_| random.chance(80));
        for logged in &mut later {
            logged.record.event_time += DAY_MS + day * 977_000;
            logged.logged_at += DAY_MS + day * 977_000;
            logged.record.seq += 10_000;
            if random.chance(30) {
                logged.record.user_id = format!("of day {day}, {}", random.below(100));
                logged.record.video_id = format!("of day {day}, {}", random.below(100));
            }
        }
        log.extend_from_slice(&later);
    }
    log
}

/// Folds some records; gives the facts of each stretch of `STRETCH` of them.
fn fold(kernel: &mut Kernel, log: &[Logged]) -> Vec<Facts> {
    let stretches = log.chunks(STRETCH).map(|records| {
        let mut facts = Facts::default();
        for logged in records {
            kernel.fold(&logged.record, logged.logged_at, &mut facts);
        }
        facts
    });
    stretches.collect()
}

#[test]
fn what_is_saved_while_records_are_folded_is_the_state_at_the_beginning() {
    let mut saves = 0;
    for seed in 0..20 {
        let (log, random) = (log_of_days(seed), &mut Random::new(seed));
        let straight = fold(&mut Kernel::new(Parameters::default()), &log);
        let (mut kernel, mut begun) = (Kernel::new(Parameters::default()), None);
        for (number, records) in log.chunks(STRETCH).enumerate() {
            if begun.is_none() || random.chance(2) {
                kernel.begin_save(Vec::new()); // a save that is under way is given up
                begun = Some((number, Vec::new()));
            }
            let users_at_once = random.below(4) as usize;
            let mut facts = Facts::default();
            for logged in records {
                kernel.fold(&logged.record, logged.logged_at, &mut facts);
                let Some((first, mut state)) = begun.take() else { continue };
                let saved = kernel.save_some(users_at_once);
                state.extend(saved.parts.concat());
                if !saved.is_last {
                    begun = Some((first, state));
                    continue;
                }
                let mut restored = Kernel::restore(&state).unwrap();
                let end = straight.len().min(first + 100);
                let again = fold(&mut restored, &log[first * STRETCH..log.len().min(end * STRETCH)]);
                assert!(again == straight[first..end], "seed {seed}: restored at {first}, saved in {number}");
                saves += 1;
            }
            assert!(facts == straight[number], "seed {seed}: stretch {number}");
        }
    }
    assert!(saves > 200, "{saves} saves came to their end");
}

#[test]
fn what_nobody_names_any_more_is_forgotten_and_words_that_come_take_its_place() {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    let mut lengths = Vec::new();
    for day in 0..10 {
        for number in 0..100 {
            let mut record = report(1, 5, true);
            record.event_time += day * 2 * DAY_MS;
            (record.user_id, record.video_id) = (format!("{number}"), format!("{day} {number}"));
            kernel.fold(&record, record.event_time, &mut facts);
        }
        facts.clear();
        save(&mut kernel); // forgets the users of the day before, and asks who names their titles
        assert_eq!(kernel.sessions(), 100);
        lengths.push(save(&mut kernel).len());
    }
    assert!(lengths[1..].iter().all(|length| length.abs_diff(lengths[1]) < 500), "{lengths:?}");
}
