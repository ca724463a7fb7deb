//! One session: its sums, its union, and the facts that each change of them puts out.

use super::held::Held;
use super::id::Id;
use super::list::{Entry, Key};
use super::sequence::{Gap, Sequence, Waiting};
use super::user::UserFacts;
use crate::credit::{COMPLETE_PERCENT, Credit, Disposition, Playhead, Territory, VIEW_MS, judge_interval, judge_point};
use crate::facts::{Facts, IntervalFact, PlayFact, SegmentFact, SessionFact, SessionKey};
use crate::intervals::{Inserted, Intervals};
use crate::record::Record;
use crate::words::{WordCode, Words};
use serde::{Deserialize, Serialize};
use std::num::NonZero;

pub(super) const MINUTE_MS: i64 = 60_000;

/// A value with the least `seq` that reported one.
type Label<T> = Option<(u32, T)>;

/// Everything that is kept of one session key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) session_id: Id,
    pub(super) video: WordCode,
    /// Which of all the sessions of the partition it is; no two that meet in an epoch have the same.
    serial: u32,
    /// Where its key is among those of the facts it was last in.
    #[serde(skip)]
    fact_key: u32,
    /// The greatest clock or event time of its reports, including copies and points that came too late for their place: a
    /// device may be ahead of the log, and then a copy of its report is in time for longer.
    pub(super) last_at: i64,
    pub(super) heartbeats: u32,
    pub(super) sequence: Sequence,
    covered: Intervals,
    unique_ms: u32,
    /// Smallest length reported; ms.
    duration_ms: Option<NonZero<u32>>,
    is_view: bool,
    is_complete: bool,
    /// The earliest credit: where the session's start counts.
    first: Option<Credit>,
    /// Minutes since the epoch in which it had wall time.
    minutes: Intervals,
    /// Content that qualifies once the session is a view; empty from then on.
    unqualified: Held,
    device: Label<WordCode>,
    territory: Label<Territory>,
}

/// At this size a user with one session, which is stored inside the user, fits in the 320 bytes of an allocator's class.
const _: () = assert!(size_of::<Session>() <= 200, "a session takes more memory");

/// What came of accepting a report.
pub(super) struct Accepted {
    /// None: it is a point that waits for its place.
    pub(super) disposition: Option<Disposition>,
    /// The point right after it that waited for it, and what to judge it against.
    pub(super) released: Option<(Waiting, Playhead)>,
}

impl Entry for Session {
    fn feed(&self, key: &mut Key) {
        self.session_id.with_text(|text| key.text(text));
        key.word(self.video);
    }
}

impl Session {
    pub(super) fn new(session_id: Id, video: WordCode, serial: u32) -> Session {
        Session {
            session_id,
            video,
            serial,
            fact_key: 0,
            last_at: 0,
            heartbeats: 0,
            sequence: Sequence::default(),
            covered: Intervals::default(),
            unique_ms: 0,
            duration_ms: None,
            is_view: false,
            is_complete: false,
            first: None,
            minutes: Intervals::default(),
            unqualified: Held::default(),
            device: None,
            territory: None,
        }
    }

    /// Gives it a key among those of `facts`; to be called before it puts out any.
    fn enter(&mut self, UserFacts { owner, words, epoch: facts }: &mut UserFacts<'_>) {
        self.fact_key = facts.session(self.fact_key, self.serial, |facts| SessionKey {
            site: facts.word(owner.site, words),
            user_id: facts.texts.code(owner.user_id),
            session_id: self.session_id.with_text(|text| facts.texts.code(text)),
            video_id: facts.word(self.video, words),
        });
    }

    /// Where its key is among those of the facts that it last put out.
    pub(super) fn fact_key(&self) -> u32 {
        self.fact_key
    }

    /// Whether a device reported with this `seq` would be the session's.
    pub(super) fn takes_device(&self, seq: u32) -> bool {
        self.device.is_none_or(|(least, _)| seq < least)
    }

    /// Reads something of every part of it; the sum is of no meaning.
    pub(super) fn touch(&self, words: &Words) -> i64 {
        let spans = [&self.covered, &self.minutes].map(|set| set.last().map_or(0, |span| span.1));
        let first = self.first.map_or(0, |credit| credit.start);
        let title = words.get(self.video).bytes().next().map_or(0, i64::from);
        self.last_at ^ i64::from(spans[0] ^ spans[1] ^ self.unique_ms) ^ first ^ title ^ self.sequence.touch()
    }

    /// The texts it names.
    pub(super) fn words(&self) -> impl Iterator<Item = WordCode> {
        self.device.map(|(_, device)| device).into_iter().chain([self.video])
    }

    /// Notes that a report of this session came, whatever becomes of the report. A session that was silent since before
    /// `oldest` begins anew, as if nothing were known of it.
    pub(super) fn hear(&mut self, clock: i64, event_time: i64, oldest: i64) {
        if self.last_at < oldest {
            let fact_key = self.fact_key; // it may have put out facts of this epoch
            *self = Session { fact_key, ..Session::new(self.session_id.clone(), self.video, self.serial) };
        }
        self.last_at = self.last_at.max(clock).max(event_time);
    }

    /// Whether it was silent since before `oldest`, and no point of it is still to be judged.
    pub(super) fn is_over(&self, oldest: i64) -> bool {
        self.last_at < oldest && !self.sequence.waits()
    }

    /// Takes in a report that is neither late nor a duplicate, in its gap, and credits what it proves. A point waits until `until`
    /// at the latest.
    pub(super) fn accept(
        &mut self,
        record: &Record,
        gap: Gap,
        until: i64,
        device: Option<WordCode>,
        facts: &mut UserFacts<'_>,
    ) -> Accepted {
        self.heartbeats += 1;
        let said_territory = Territory::parse(&record.territory);
        keep_least(&mut self.device, record.seq, device);
        keep_least(&mut self.territory, record.seq, said_territory);
        if let Some(duration_ms) = NonZero::new(record.duration_ms) {
            self.duration_ms = Some(self.duration_ms.map_or(duration_ms, |known| known.min(duration_ms)));
        }
        let territory = said_territory.unwrap_or(Territory::UNKNOWN);
        let playhead = Playhead {
            event_time: record.event_time,
            position_ms: record.position_ms,
            rate: u16::try_from(record.rate()).unwrap_or(u16::MAX),
            playing: record.ad.is_none() && record.is_playing(),
        };
        let point = (record.ad.is_none() && record.from_ms.is_none()).then_some(Waiting {
            event_time: record.event_time,
            received_at: record.received_at,
            position_ms: record.position_ms,
            territory,
            until,
            heartbeats: self.heartbeats,
        });
        let placed = self.sequence.insert(gap, record.seq, playhead, point);
        let judged = match (&record.ad, record.played(), placed.before) {
            (Some(_), ..) => Some(Err(Disposition::Ad)),
            (None, Some(played), _) => {
                Some(judge_interval(played, record.position_ms, record.rate(), record.event_time, territory))
            }
            (None, None, Some(before)) => Some(judge_point(before, record.position_ms, record.event_time, territory)),
            (None, None, None) => None,
        };
        self.put_out(1, record.event_time, judged.and_then(Result::ok), facts);
        Accepted {
            disposition: judged.map(disposition_of),
            released: placed.released.map(|waiting| (waiting, playhead)),
        }
    }

    /// Judges a point that waited against the report before it, and credits what it proves.
    pub(super) fn judge(
        &mut self,
        waiting: Waiting,
        before: Option<Playhead>,
        facts: &mut UserFacts<'_>,
    ) -> Disposition {
        let judged = judge_point(before, waiting.position_ms, waiting.event_time, waiting.territory);
        self.put_out(0, waiting.event_time, judged.ok(), facts);
        disposition_of(judged)
    }

    /// Puts out the row of one report: `heartbeats` is 0 for a point that was counted before and is judged now.
    fn put_out(&mut self, heartbeats: u8, event_time: i64, credit: Option<Credit>, facts: &mut UserFacts<'_>) {
        self.enter(facts);
        let unique_before = self.unique_ms;
        if let Some(credit) = credit {
            self.credit(credit, facts.epoch);
        }
        self.settle(facts.epoch);
        let device = self.device.map(|(_, device)| facts.word(device));
        facts.epoch.sessions.push(SessionFact {
            session: self.fact_key,
            heartbeats,
            gross_ms: credit.map_or(0, |credit| credit.gross_ms()),
            unique_ms: self.unique_ms - unique_before,
            wall_ms: credit.map_or(0, |credit| credit.wall_ms),
            event_time,
            is_view: self.is_view,
            is_complete: self.is_complete,
            device,
            territory: self.territory.map_or(Territory::UNKNOWN, |(_, territory)| territory),
        });
    }

    fn credit(&mut self, credit: Credit, facts: &mut Facts) {
        self.extend_union(credit, facts);
        for part in credit.parts(MINUTE_MS) {
            let minute =
                u32::try_from(part.step / MINUTE_MS).expect("event times are within the reach of a gateway's clock");
            let viewers = i8::from(part.wall_ms > 0 && self.minutes.insert(minute, minute + 1, |_| {}).added > 0);
            if !self.is_view {
                self.unqualified.add(part.step, credit.territory, part.gross_ms.into());
            }
            facts.plays.push(PlayFact {
                gross_ms: part.gross_ms,
                qualified_ms: if self.is_view { part.gross_ms.into() } else { 0 },
                wall_ms: part.wall_ms,
                viewers,
                ..self.play(part.step, credit.territory)
            });
        }
        self.move_start(credit, facts);
        facts.intervals.push(IntervalFact {
            session: self.fact_key,
            territory: credit.territory,
            event_time: credit.end(),
            from_ms: credit.from_ms,
            to_ms: credit.to_ms,
        });
    }

    fn extend_union(&mut self, credit: Credit, facts: &mut Facts) {
        let session = self.fact_key;
        let Inserted { added, span: (from_ms, to_ms) } = self.covered.insert(credit.from_ms, credit.to_ms, |from_ms| {
            facts.segments.push(SegmentFact { session, from_ms, to_ms: from_ms, keep: false });
        });
        self.unique_ms += added;
        if added > 0 {
            facts.segments.push(SegmentFact { session, from_ms, to_ms, keep: true });
        }
    }

    /// The session's start, view and completion count where its earliest credit is; if that moves, they move.
    fn move_start(&mut self, credit: Credit, facts: &mut Facts) {
        let before = self.first;
        if before.is_some_and(|first| first <= credit) {
            return;
        }
        self.first = Some(credit);
        let place = |credit: Credit| (credit.start - credit.start.rem_euclid(MINUTE_MS), credit.territory);
        if before.map(place) == Some(place(credit)) {
            return;
        }
        for (at, sign) in before.map(|first| (first, -1)).into_iter().chain([(credit, 1)]) {
            let (minute, territory) = place(at);
            facts.plays.push(PlayFact {
                starts: sign,
                views: sign * i8::from(self.is_view),
                completes: sign * i8::from(self.is_complete),
                ..self.play(minute, territory)
            });
        }
    }

    /// Makes the session a view or complete once it is: the union only grows and the length only shrinks, so it stays.
    fn settle(&mut self, facts: &mut Facts) {
        let Some(first) = self.first else { return };
        let view_ms = self.duration_ms.map_or(VIEW_MS, |duration| VIEW_MS.min(u64::from(duration.get()) / 2));
        let unique_ms = u64::from(self.unique_ms);
        let new_view = !self.is_view && unique_ms >= view_ms;
        let new_complete = !self.is_complete
            && self.duration_ms.is_some_and(|duration| unique_ms * 100 >= u64::from(duration.get()) * COMPLETE_PERCENT);
        if new_view {
            self.is_view = true;
            for (minute, territory, gross_ms) in self.unqualified.take() {
                facts.plays.push(PlayFact { qualified_ms: gross_ms, ..self.play(minute, territory) });
            }
        }
        self.is_complete |= new_complete;
        if new_view || new_complete {
            let minute = first.start - first.start.rem_euclid(MINUTE_MS);
            facts.plays.push(PlayFact {
                views: new_view.into(),
                completes: new_complete.into(),
                ..self.play(minute, first.territory)
            });
        }
    }

    fn play(&self, minute: i64, territory: Territory) -> PlayFact {
        PlayFact {
            session: self.fact_key,
            territory,
            minute,
            gross_ms: 0,
            qualified_ms: 0,
            wall_ms: 0,
            viewers: 0,
            starts: 0,
            views: 0,
            completes: 0,
        }
    }
}

fn disposition_of(judged: Result<Credit, Disposition>) -> Disposition {
    judged.map_or_else(|disposition| disposition, |_| Disposition::Credited)
}

fn keep_least<T>(label: &mut Label<T>, seq: u32, value: Option<T>) {
    if let Some(value) = value
        && label.as_ref().is_none_or(|(least, _)| seq < *least)
    {
        *label = Some((seq, value));
    }
}
