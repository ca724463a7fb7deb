//! The session kernel alone, without Kafka: what a heartbeat costs and what a session takes among many open ones, held against
//! a hash map that adds up one number for each; and for how long a snapshot keeps records waiting.

use crate::figures::{print_line, round_2};
use crate::role::setting;
use crate::stat;
use crate::viewers::record;
use anyhow::{Result, ensure};
use playback::facts::Facts;
use playback::kernel::{Kernel, Parameters, READ_AHEAD, SAVE_AT_ONCE};
use playback::record::Record;
use rustc_hash::FxHashMap;
use serde_json::json;
use std::time::{Duration, Instant};

const START: i64 = 1_763_683_200_000;
/// Records folded before the facts are dropped, as in a full epoch.
const EPOCH_RECORDS: usize = 32_768;
/// From one viewer to the next who beats: a prime, so that neighbours on the log are none in memory.
const STRIDE: u64 = 499_979;
/// Beats of every session before the one that is measured: a minute, so that each is a view.
const BEATS_BEFORE: u64 = 12;

pub(crate) fn run() -> Result<()> {
    let sessions = setting("SESSIONS", 500_000)?.max(1);
    ensure!(!sessions.is_multiple_of(STRIDE), "SESSIONS may be any number but a multiple of {STRIDE}");
    let mut facts = Facts::default();
    // The memory of facts and records is not the sessions'; and this kernel lives to the end, so that the next one cannot reuse
    // its memory.
    let mut other = Kernel::new(Parameters::default());
    beat(EPOCH_RECORDS as u64, 0, |records| fold(&mut other, records, &mut facts));
    let before = stat::memory(std::process::id(), "VmRSS:")?;
    let mut kernel = Kernel::new(Parameters::default());
    let opening = beat(sessions, 0, |records| fold(&mut kernel, records, &mut facts));
    for number in 1..BEATS_BEFORE {
        beat(sessions, number, |records| fold(&mut kernel, records, &mut facts));
    }
    let bytes = stat::memory(std::process::id(), "VmRSS:")?.saturating_sub(before);
    let folding = beat(sessions, BEATS_BEFORE, |records| fold(&mut kernel, records, &mut facts));
    facts.clear();
    let save = save(&mut kernel);
    kernel.begin_save(Vec::new());
    let folding_saving = beat(sessions, BEATS_BEFORE + 1, |records| {
        fold(&mut kernel, records, &mut facts);
        if facts.dispositions.is_empty() {
            kernel.save_some(0); // takes what was saved, as the loop does between two polls
        }
    });
    drop(other);
    let mut sums = FxHashMap::default();
    beat(sessions, 0, |records| sum(&mut sums, records));
    let summing = beat(sessions, 1, |records| sum(&mut sums, records));
    ensure!(sums.len() as u64 == sessions && kernel.sessions() as u64 == sessions, "a session is missing");
    let us = |time: Duration| time.as_secs_f64() * 1e6 / sessions as f64;
    let ms = |time: Duration| round_2(time.as_secs_f64() * 1e3);
    print_line(&json!({
        "bench": "kernel",
        "sessions": sessions,
        "us_per_heartbeat": round_2(us(folding.time)),
        "floor_us_per_heartbeat": round_2(us(summing.time)),
        "longest_read_ahead_ms": ms(opening.longest),
        "bytes_per_session": bytes / sessions,
        "us_per_heartbeat_during_save": round_2(us(folding_saving.time)),
        "snapshot_bytes_per_session": save.bytes as u64 / sessions,
        "snapshot_us_per_session": round_2(us(save.time)),
        "snapshot_pause_ms": ms(save.pause),
    }));
    Ok(())
}

/// What it took to save all users.
struct Save {
    bytes: usize,
    time: Duration,
    /// The longest time in which no record could be folded.
    pause: Duration,
}

/// Saves all users, as many at a time as the processor's loop does, with nothing folded meanwhile.
fn save(kernel: &mut Kernel) -> Save {
    let begun = Instant::now();
    kernel.begin_save(Vec::new());
    let (mut bytes, mut time, mut pause) = (0, begun.elapsed(), begun.elapsed());
    loop {
        let begun = Instant::now();
        let saved = kernel.save_some(SAVE_AT_ONCE);
        (time, pause) = (time + begun.elapsed(), pause.max(begun.elapsed()));
        bytes += saved.parts.iter().map(Vec::len).sum::<usize>();
        if saved.is_last {
            return Save { bytes, time, pause };
        }
    }
}

/// What folding took.
struct Beat {
    time: Duration,
    /// That of the slowest few records: as long as those behind them had to wait.
    longest: Duration,
}

/// One beat of all sessions, a few records at a time, as the processor decodes them.
fn beat(sessions: u64, number: u64, mut fold: impl FnMut(&[Record])) -> Beat {
    let (mut time, mut longest) = (Duration::ZERO, Duration::ZERO);
    for first in (0..sessions).step_by(READ_AHEAD) {
        let viewers = (first..sessions.min(first + READ_AHEAD as u64)).map(|viewer| viewer * STRIDE % sessions);
        let records: Vec<_> = viewers.map(|viewer| record(viewer, number, START)).collect();
        let begun = Instant::now();
        fold(&records);
        let took = begun.elapsed();
        (time, longest) = (time + took, longest.max(took));
    }
    Beat { time, longest }
}

fn fold(kernel: &mut Kernel, records: &[Record], facts: &mut Facts) {
    kernel.prefetch(records.iter());
    for record in records {
        kernel.fold(record, record.received_at, facts);
    }
    if facts.dispositions.len() >= EPOCH_RECORDS {
        facts.clear();
    }
}

/// The floor: played time by session.
fn sum(sums: &mut FxHashMap<String, i64>, records: &[Record]) {
    for record in records {
        match sums.get_mut(&record.session_id) {
            Some(sum) => *sum += i64::from(record.played_ms),
            None => drop(sums.insert(record.session_id.clone(), i64::from(record.played_ms))),
        }
    }
}
