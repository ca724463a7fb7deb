//! Appends the facts of one epoch to the columns of a run, relation by relation, each value in the order of
//! [`crate::relations::RELATIONS`].

use super::{Columns, NO_TEXT, Values, number};
use playback::credit::{Disposition, Territory};
use playback::facts::{DispositionFact, ImpressionFact, IntervalFact, PlayFact, ResumeFact, SegmentFact, SessionFact};
use std::fmt::{Display, Write};

/// Territories there can be, and dispositions, each with its text's number in the epoch at hand.
const TERRITORIES: usize = 26 * 26;
const DISPOSITIONS: usize = Disposition::ALL.len();

pub(super) fn dispositions(columns: &mut Columns, rows: &[DispositionFact], first_text: u32, names: &mut Names<'_>) {
    let mut to = columns.epoch(rows.len());
    to.codes(rows.iter().map(|fact| first_text + fact.site.0));
    to.integers(rows.iter().map(|fact| fact.received_at));
    to.codes(rows.iter().map(|fact| names.disposition(fact.disposition)));
}

pub(super) fn sessions(
    columns: &mut Columns,
    rows: &[SessionFact],
    first_key: u32,
    first_text: u32,
    names: &mut Names<'_>,
) {
    let mut to = columns.epoch_of_sessions(rows.iter().map(|fact| first_key + fact.session));
    to.integers(rows.iter().map(|fact| fact.heartbeats.into()));
    to.integers(rows.iter().map(|fact| fact.gross_ms.into()));
    to.integers(rows.iter().map(|fact| fact.unique_ms.into()));
    to.integers(rows.iter().map(|fact| fact.wall_ms.into()));
    to.integers(rows.iter().map(|fact| fact.event_time));
    to.booleans(rows.iter().map(|fact| fact.is_view));
    to.booleans(rows.iter().map(|fact| fact.is_complete));
    to.codes(rows.iter().map(|fact| fact.device.map_or(NO_TEXT, |device| first_text + device.0)));
    to.codes(rows.iter().map(|fact| names.territory(fact.territory)));
}

pub(super) fn segments(columns: &mut Columns, rows: &[SegmentFact], first_key: u32) {
    let mut to = columns.epoch_of_sessions(rows.iter().map(|fact| first_key + fact.session));
    to.integers(rows.iter().map(|fact| fact.from_ms.into()));
    to.integers(rows.iter().map(|fact| fact.to_ms.into()));
    to.integers(rows.iter().map(|fact| fact.keep.into()));
}

pub(super) fn plays(columns: &mut Columns, rows: &[PlayFact], first_key: u32, names: &mut Names<'_>) {
    let mut to = columns.epoch_of_sessions(rows.iter().map(|fact| first_key + fact.session));
    to.codes(rows.iter().map(|fact| names.territory(fact.territory)));
    to.integers(rows.iter().map(|fact| fact.minute));
    to.integers(rows.iter().map(|fact| fact.gross_ms.into()));
    to.integers(rows.iter().map(|fact| fact.qualified_ms));
    to.integers(rows.iter().map(|fact| fact.wall_ms.into()));
    to.integers(rows.iter().map(|fact| fact.viewers.into()));
    to.integers(rows.iter().map(|fact| fact.starts.into()));
    to.integers(rows.iter().map(|fact| fact.views.into()));
    to.integers(rows.iter().map(|fact| fact.completes.into()));
}

pub(super) fn intervals(columns: &mut Columns, rows: &[IntervalFact], first_key: u32, names: &mut Names<'_>) {
    let mut to = columns.epoch_of_sessions(rows.iter().map(|fact| first_key + fact.session));
    to.codes(rows.iter().map(|fact| names.territory(fact.territory)));
    to.integers(rows.iter().map(|fact| fact.event_time));
    to.integers(rows.iter().map(|fact| fact.from_ms.into()));
    to.integers(rows.iter().map(|fact| fact.to_ms.into()));
}

pub(super) fn resumes(columns: &mut Columns, rows: &[ResumeFact], first_key: u32) {
    let mut to = columns.epoch_of_sessions(rows.iter().map(|fact| first_key + fact.session));
    to.integers(rows.iter().map(|fact| fact.position_ms.into()));
    to.integers(rows.iter().map(|fact| fact.furthest_ms.into()));
    to.integers(rows.iter().map(|fact| fact.event_time));
}

pub(super) fn impressions(columns: &mut Columns, rows: &[ImpressionFact], first_text: u32) {
    let mut to = columns.epoch(rows.len());
    to.codes(rows.iter().map(|fact| first_text + fact.site.0));
    to.codes(rows.iter().map(|fact| first_text + fact.user_id.0));
    to.codes(rows.iter().map(|fact| first_text + fact.line_id.0));
    to.integers(rows.iter().map(|fact| fact.hour));
    to.integers(rows.iter().map(|fact| fact.impressions));
    to.integers(rows.iter().map(|fact| fact.measurable));
    to.integers(rows.iter().map(|fact| fact.viewable));
    for quartile in 0..4 {
        to.integers(rows.iter().map(|fact| fact.quartiles[quartile]));
    }
    to.integers(rows.iter().map(|fact| fact.users));
}

impl Columns {
    /// Begins the next epoch, which has `rows` rows.
    fn epoch(&mut self, rows: usize) -> Appending<'_> {
        self.first_rows.push(self.rows);
        self.rows += rows;
        Appending { values: self.values.iter_mut() }
    }

    /// The same in a relation that has a session key.
    fn epoch_of_sessions(&mut self, sessions: impl ExactSizeIterator<Item = u32>) -> Appending<'_> {
        let rows = sessions.len();
        self.sessions.extend(sessions);
        self.epoch(rows)
    }
}

/// Appends one epoch's rows, column by column, in the order of the relation's columns after the session key.
struct Appending<'a> {
    values: std::slice::IterMut<'a, Values>,
}

impl Appending<'_> {
    fn codes(&mut self, more: impl Iterator<Item = u32>) {
        match self.values.next() {
            Some(Values::Codes(codes)) => codes.extend(more),
            _ => unreachable!("the relation has a text column here"),
        }
    }

    fn integers(&mut self, more: impl Iterator<Item = i64>) {
        match self.values.next() {
            Some(Values::Integers(integers)) => integers.extend(more),
            _ => unreachable!("the relation has an integer column here"),
        }
    }

    fn booleans(&mut self, more: impl Iterator<Item = bool>) {
        match self.values.next() {
            Some(Values::Booleans(booleans)) => booleans.extend(more),
            _ => unreachable!("the relation has a boolean column here"),
        }
    }
}

/// Texts that facts do not hold as texts: the names of territories and dispositions, each added once per epoch.
pub(super) struct Names<'a> {
    texts: &'a mut String,
    text_ends: &'a mut Vec<u32>,
    codes: [u32; TERRITORIES + DISPOSITIONS],
}

impl<'a> Names<'a> {
    pub(super) fn new(texts: &'a mut String, text_ends: &'a mut Vec<u32>) -> Names<'a> {
        Names { texts, text_ends, codes: [NO_TEXT; TERRITORIES + DISPOSITIONS] }
    }

    fn territory(&mut self, territory: Territory) -> u32 {
        let [first, second] = territory.letters().map(|letter| usize::from(letter - b'A'));
        self.code(first * 26 + second, &territory)
    }

    fn disposition(&mut self, disposition: Disposition) -> u32 {
        self.code(TERRITORIES + disposition as usize, &disposition.as_str())
    }

    fn code(&mut self, index: usize, text: &dyn Display) -> u32 {
        if self.codes[index] == NO_TEXT {
            self.codes[index] = number(self.text_ends.len());
            write!(self.texts, "{text}").expect("writing into a String cannot fail");
            self.text_ends.push(number(self.texts.len()));
        }
        self.codes[index]
    }
}
