//! A place in the order of a session, for formats that do not count their reports. It is made of the event's own time, so
//! that a second try gets the same `seq`, a later event a greater one, and no gateway has to remember anything.
//!
//! Such `seq`s have gaps: a point waits for the missing ones as long as points may wait, and is credited then.

/// What an event does to the playback. Within one slot of time events are put in this order: what went on ends before
/// something else begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on as it was.
    On = 0,
    /// It stops: a pause, a seek, an empty buffer, the end.
    Stop = 1,
    /// It starts, perhaps from another position.
    Start = 2,
}

/// A session, or the part of it that has room in `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) session_id: String,
    pub(super) seq: i64,
}

const TURNS: i64 = 3;
/// Time in which two events of one kind are taken for one, when the start of the session is known.
const SLOT_MS: i64 = 100;
/// Slots that `seq` has room for, up to 1,000,000: 9 h 15 min.
const SLOTS: i64 = 333_333;
/// The same when the start is not known.
const WEEK_SLOT_MS: i64 = 2_000;
const WEEK_MS: i64 = 7 * 24 * 3_600_000;
/// A week begins on a Tuesday at 09:00 UTC, when few people watch anywhere; 1970-01-01 was a Thursday.
const WEEK_BEGINS_MS: i64 = (5 * 24 + 9) * 3_600_000;

/// The place of an event in a session that began at `started_at`. What is longer than `seq` has room for goes on as a
/// session of its own.
pub(super) fn since_start(session_id: &str, started_at: i64, at: i64, turn: Turn) -> Place {
    let slot = at.saturating_sub(started_at).div_euclid(SLOT_MS);
    let part = slot / SLOTS;
    let session_id = if part > 0 { format!("{session_id}:p{part}") } else { session_id.to_owned() };
    Place { session_id, seq: (slot % SLOTS) * TURNS + turn as i64 }
}

/// The place of an event in a session whose start nobody tells: by the time within the week. A session that goes on over
/// the turn of the week becomes two.
pub(super) fn in_week(session_id: &str, at: i64, turn: Turn) -> Place {
    let since = at.saturating_sub(WEEK_BEGINS_MS);
    let (week, slot) = (since.div_euclid(WEEK_MS), since.rem_euclid(WEEK_MS) / WEEK_SLOT_MS);
    Place { session_id: format!("{session_id}:w{week}"), seq: slot * TURNS + turn as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seqs_follow_time_and_stay_within_their_bounds() {
        let place = |elapsed_ms, turn| since_start("s", 1_000, 1_000 + elapsed_ms, turn);
        assert_eq!(place(0, Turn::On), Place { session_id: "s".to_owned(), seq: 0 });
        assert_eq!(place(99, Turn::Start).seq, 2);
        assert_eq!(place(100, Turn::On).seq, 3);
        let last = place(SLOTS * SLOT_MS - 1, Turn::Start);
        assert_eq!(last, Place { session_id: "s".to_owned(), seq: 999_998 });
        let next = place(SLOTS * SLOT_MS, Turn::On);
        assert_eq!(next, Place { session_id: "s:p1".to_owned(), seq: 0 });
        assert!(place(-1, Turn::Stop).seq < 0, "before its start is nowhere: refused as seq_invalid");
    }

    #[test]
    fn a_week_has_room_and_turns_on_a_tuesday_morning() {
        // 2026-11-24 is a Tuesday.
        let turn_of_week = 1_795_510_800_000;
        let before = in_week("s", turn_of_week - 1, Turn::Start);
        let after = in_week("s", turn_of_week, Turn::On);
        assert_eq!(before, Place { session_id: "s:w2967".to_owned(), seq: 907_199 });
        assert_eq!(after, Place { session_id: "s:w2968".to_owned(), seq: 0 });
    }
}
