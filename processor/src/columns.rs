//! Facts column by column: what a run of the views reads. Texts and session keys are numbers here; the texts themselves
//! become a column only where a view computes with them.

mod append;

use crate::relations::{ColumnType, Content, RELATIONS, Relation, SESSION_KEY};
use append::Names;
use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMillisecondArray, UInt32Array};
use playback::facts::Facts;
use std::sync::{Arc, OnceLock};

/// Stands for a text that is not there.
pub(crate) const NO_TEXT: u32 = u32::MAX;

/// The facts of the epochs of one run, column by column. Texts, sessions and rows are numbered across the run, and each epoch
/// has numbers of its own, so rows of two epochs never have a text or a session in common.
pub struct Run {
    columns: Vec<Columns>,
    texts: String,
    text_ends: Vec<u32>,
    /// The texts of each session key, by number.
    keys: Vec<[u32; 4]>,
    /// The first text of each epoch.
    first_texts: Vec<u32>,
}

/// The columns of one relation.
struct Columns {
    relation: &'static Relation,
    /// Those of the relation, in its order; without the session key.
    values: Vec<Values>,
    /// The session of each row, in a relation that has one.
    sessions: Vec<u32>,
    /// The first row of each epoch.
    first_rows: Vec<usize>,
    rows: usize,
    /// Arrow's form of the contents, in their order, made when a view first asks for it.
    arrays: Vec<OnceLock<ArrayRef>>,
}

/// Values of one column.
enum Values {
    Codes(Vec<u32>),
    Integers(Vec<i64>),
    Booleans(Vec<bool>),
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// Number of a text of the run; [`NO_TEXT`] for none.
    Code(u32),
    /// An integer, or a time in ms.
    Integer(i64),
    /// True or false.
    Boolean(bool),
}

impl Default for Run {
    /// A run without epochs.
    fn default() -> Run {
        Run {
            columns: RELATIONS.iter().map(Columns::new).collect(),
            texts: String::new(),
            text_ends: Vec::new(),
            keys: Vec::new(),
            first_texts: Vec::new(),
        }
    }
}

impl Run {
    /// Rows, over all relations.
    pub fn rows(&self) -> usize {
        self.columns.iter().map(|columns| columns.rows).sum()
    }

    /// Rows of the relation of this number.
    pub(crate) fn rows_of(&self, relation: usize) -> usize {
        self.columns[relation].rows
    }

    /// Appends the facts of the next epoch.
    pub fn append(&mut self, facts: &Facts) {
        let [dispositions, sessions, segments, plays, intervals, resumes, impressions] = self.columns.as_mut_slice()
        else {
            unreachable!("there is one set of columns for each relation");
        };
        let first_text = number(self.text_ends.len());
        self.first_texts.push(first_text);
        let (all, ends) = facts.texts.parts();
        let before = number(self.texts.len());
        self.texts.push_str(all);
        self.text_ends.extend(ends.iter().map(|end| before + end));
        let first_key = number(self.keys.len());
        self.keys.extend(
            facts
                .keys
                .iter()
                .map(|key| [key.site, key.user_id, key.session_id, key.video_id].map(|code| first_text + code.0)),
        );
        let mut names = Names::new(&mut self.texts, &mut self.text_ends);
        append::dispositions(dispositions, &facts.dispositions, first_text, &mut names);
        append::sessions(sessions, &facts.sessions, first_key, first_text, &mut names);
        append::segments(segments, &facts.segments, first_key);
        append::plays(plays, &facts.plays, first_key, &mut names);
        append::intervals(intervals, &facts.intervals, first_key, &mut names);
        append::resumes(resumes, &facts.resumes, first_key);
        append::impressions(impressions, &facts.impressions, first_text);
    }

    /// The numbers that the texts of an epoch have.
    pub(crate) fn texts_of(&self, epoch: usize) -> std::ops::Range<u32> {
        let next = self.first_texts.get(epoch + 1).copied();
        self.first_texts[epoch]..next.unwrap_or(number(self.text_ends.len()))
    }

    /// The text of a number.
    pub(crate) fn text(&self, code: u32) -> &str {
        let code = code as usize;
        let start = if code == 0 { 0 } else { self.text_ends[code - 1] };
        &self.texts[start as usize..self.text_ends[code] as usize]
    }

    /// The text number of one part of a session key.
    pub(crate) fn key_part(&self, session: u32, part: usize) -> u32 {
        self.keys[session as usize][part]
    }

    /// The epoch's first row in a relation, and that of the one after it.
    pub(crate) fn rows_of_epoch(&self, relation: usize, epoch: usize) -> std::ops::Range<usize> {
        let columns = &self.columns[relation];
        let next = columns.first_rows.get(epoch + 1).copied();
        columns.first_rows[epoch]..next.unwrap_or(columns.rows)
    }

    /// The value of a relation's column in a row.
    pub(crate) fn value(&self, relation: usize, column: usize, row: usize) -> Value {
        let columns = &self.columns[relation];
        let Some(column) = column.checked_sub(columns.key_parts()) else {
            return Value::Code(self.key_part(columns.sessions[row], column));
        };
        match &columns.values[column] {
            Values::Codes(codes) => Value::Code(codes[row]),
            Values::Integers(integers) => Value::Integer(integers[row]),
            Values::Booleans(booleans) => Value::Boolean(booleans[row]),
        }
    }

    /// A column of a relation's schema, by its number there.
    pub(crate) fn array(&self, relation: usize, index: usize) -> ArrayRef {
        let columns = &self.columns[relation];
        let content = columns.relation.contents().nth(index).expect("the schema is made of these contents");
        columns.arrays[index].get_or_init(|| self.make_array(columns, content)).clone()
    }

    fn make_array(&self, columns: &Columns, content: Content) -> ArrayRef {
        let part = |index: usize| columns.sessions.iter().map(move |session| self.key_part(*session, index));
        match content {
            Content::Ordinal | Content::Row => Arc::new(Int64Array::from_iter_values(0..columns.rows as i64)),
            Content::Epoch => {
                let ends = columns.first_rows.iter().skip(1).copied().chain([columns.rows]);
                let lengths = columns.first_rows.iter().zip(ends).map(|(start, end)| end - start);
                let epochs = lengths.enumerate().flat_map(|(epoch, length)| std::iter::repeat_n(epoch as i64, length));
                Arc::new(Int64Array::from_iter_values(epochs))
            }
            Content::Session => Arc::new(UInt32Array::from(columns.sessions.clone())),
            Content::Codes(index) => match index.checked_sub(columns.key_parts()) {
                None => Arc::new(UInt32Array::from_iter_values(part(index))),
                Some(index) => match &columns.values[index] {
                    Values::Codes(codes) if codes.contains(&NO_TEXT) => {
                        Arc::new(codes.iter().map(|code| (*code != NO_TEXT).then_some(*code)).collect::<UInt32Array>())
                    }
                    Values::Codes(codes) => Arc::new(UInt32Array::from(codes.clone())),
                    _ => unreachable!("only texts have codes"),
                },
            },
            Content::Value(index) => match index.checked_sub(columns.key_parts()) {
                None => Arc::new(StringArray::from_iter_values(part(index).map(|code| self.text(code)))),
                Some(value) => match (&columns.values[value], columns.relation.columns[index].1) {
                    (Values::Codes(codes), _) => {
                        let texts = codes.iter().map(|code| (*code != NO_TEXT).then(|| self.text(*code)));
                        Arc::new(StringArray::from_iter(texts))
                    }
                    (Values::Integers(times), ColumnType::Time) => {
                        Arc::new(TimestampMillisecondArray::from(times.clone()))
                    }
                    (Values::Integers(integers), _) => Arc::new(Int64Array::from(integers.clone())),
                    (Values::Booleans(booleans), _) => Arc::new(BooleanArray::from(booleans.clone())),
                },
            },
        }
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a run has far fewer than 2^32 of anything")
}

impl Columns {
    fn new(relation: &'static Relation) -> Columns {
        let values = |&(_, column_type): &(&str, ColumnType)| match column_type {
            ColumnType::Text | ColumnType::NullableText => Values::Codes(Vec::new()),
            ColumnType::Integer | ColumnType::Time => Values::Integers(Vec::new()),
            ColumnType::Boolean => Values::Booleans(Vec::new()),
        };
        let key_parts = if relation.has_session() { SESSION_KEY.len() } else { 0 };
        Columns {
            relation,
            values: relation.columns[key_parts..].iter().map(values).collect(),
            sessions: Vec::new(),
            first_rows: Vec::new(),
            rows: 0,
            arrays: relation.contents().map(|_| OnceLock::new()).collect(),
        }
    }

    /// How many of the relation's columns are the session key.
    fn key_parts(&self) -> usize {
        self.relation.columns.len() - self.values.len()
    }
}
