//! The tables of the specification: their shapes, their rows as plain cells, and how two sets of them differ. For the load
//! generator's verdict and for tests; the pipeline itself has its tables in SQL.

use std::collections::BTreeMap;
use std::fmt;

/// Differences that are listed; the rest are counted.
const MAX_DIFFERENCES: usize = 20;

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// An amount, a position, or a time in ms since the epoch.
    Int(i64),
    /// An identifier or a code.
    Text(String),
    /// A property of a row.
    Bool(bool),
    /// Nothing known.
    Null,
}

/// Rows by key; both in the columns of the table's [`Shape`].
pub type Rows = BTreeMap<Vec<Cell>, Vec<Cell>>;

/// Rows of several tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// By name; a table without rows may be absent.
    pub tables: BTreeMap<&'static str, Rows>,
}

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bigint`.
    Integer,
    /// `timestamptz`; in a [`Cell`] it is ms since the epoch.
    Time,
    /// `text`.
    Text,
    /// `boolean`.
    Boolean,
}

/// Name and type of a column.
pub type Column = (&'static str, Kind);

/// What a table looks like.
#[derive(Debug)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// The columns of its key.
    pub key: &'static [Column],
    /// The others that analysts rely on.
    pub columns: &'static [Column],
}

const SITE: Column = ("site", Kind::Text);
const USER: Column = ("user_id", Kind::Text);
const SESSION: Column = ("session_id", Kind::Text);
const VIDEO: Column = ("video_id", Kind::Text);
const LINE: Column = ("line_id", Kind::Text);
const TERRITORY: Column = ("territory", Kind::Text);
const HOUR: Column = ("hour", Kind::Time);
const DAY: Column = ("day", Kind::Time);

const fn integer(name: &'static str) -> Column {
    (name, Kind::Integer)
}

/// Every table of `docs/specification.md`, section 4, but for `progress`.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "watch_sessions",
        key: &[SITE, USER, SESSION, VIDEO],
        columns: &[
            integer("gross_ms"),
            integer("unique_ms"),
            integer("wall_ms"),
            integer("heartbeats"),
            integer("started_at"),
            integer("last_at"),
            ("is_view", Kind::Boolean),
            ("is_complete", Kind::Boolean),
            ("device", Kind::Text),
            TERRITORY,
        ],
    },
    Shape {
        name: "watch_segments",
        key: &[SITE, USER, SESSION, VIDEO, integer("from_ms")],
        columns: &[integer("to_ms")],
    },
    Shape {
        name: "resume_positions",
        key: &[SITE, USER, VIDEO],
        columns: &[integer("position_ms"), integer("furthest_ms"), integer("event_time")],
    },
    Shape {
        name: "video_minutes",
        key: &[SITE, VIDEO, ("minute", Kind::Time)],
        columns: &[integer("watch_ms"), integer("viewers")],
    },
    Shape {
        name: "title_hours",
        key: &[SITE, VIDEO, TERRITORY, HOUR],
        columns: &[
            integer("gross_ms"),
            integer("qualified_ms"),
            integer("wall_ms"),
            integer("starts"),
            integer("views"),
            integer("completes"),
        ],
    },
    Shape { name: "video_retention", key: &[SITE, VIDEO, DAY, integer("bucket")], columns: &[integer("gross_ms")] },
    Shape {
        name: "ad_hours",
        key: &[SITE, LINE, HOUR],
        columns: &[
            integer("impressions"),
            integer("measurable"),
            integer("viewable"),
            integer("q1"),
            integer("q2"),
            integer("q3"),
            integer("q4"),
        ],
    },
    Shape { name: "ad_reach", key: &[SITE, LINE, DAY], columns: &[integer("users")] },
    Shape {
        name: "ledger_minutes",
        key: &[SITE, ("minute", Kind::Time), ("disposition", Kind::Text)],
        columns: &[integer("heartbeats")],
    },
];

impl Tables {
    /// The rows of a table, if it has any.
    pub fn rows(&self, table: &str) -> Option<&Rows> {
        self.tables.get(table)
    }

    /// Sets a row.
    pub fn insert(&mut self, table: &'static str, key: Vec<Cell>, row: Vec<Cell>) {
        self.tables.entry(table).or_default().insert(key, row);
    }

    /// The ledger without its minutes: heartbeats by site and disposition. For who cannot know when the gateway
    /// received what it accepted.
    pub fn ledger_totals(&self) -> BTreeMap<(String, String), i64> {
        let mut totals = BTreeMap::new();
        for (key, row) in self.rows("ledger_minutes").into_iter().flatten() {
            if let ([site, _, disposition], [Cell::Int(heartbeats)]) = (key.as_slice(), row.as_slice()) {
                *totals.entry((site.to_string(), disposition.to_string())).or_default() += heartbeats;
            }
        }
        totals
    }
}

/// Where two sets of tables differ, for a reader: the first twenty, then how many more.
pub fn differences(expected: &Tables, actual: &Tables) -> Vec<String> {
    let (mut found, mut more, none) = (Vec::new(), 0, Rows::new());
    for shape in SHAPES {
        let expected = expected.rows(shape.name).unwrap_or(&none);
        let actual = actual.rows(shape.name).unwrap_or(&none);
        let missing =
            actual.iter().filter(|(key, _)| !expected.contains_key(*key)).map(|(key, row)| (key, None, Some(row)));
        let known = expected.iter().map(|(key, row)| (key, Some(row), actual.get(key)));
        for (key, expected, actual) in known.chain(missing).filter(|(_, expected, actual)| expected != actual) {
            if found.len() < MAX_DIFFERENCES {
                found.push(difference(shape, key, expected, actual));
            } else {
                more += 1;
            }
        }
    }
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

fn difference(shape: &Shape, key: &[Cell], expected: Option<&Vec<Cell>>, actual: Option<&Vec<Cell>>) -> String {
    let key = named(shape.key, key);
    match (expected, actual) {
        (Some(expected), Some(actual)) => {
            let changed = |row: &[Cell], other: &[Cell]| {
                let cells = shape.columns.iter().zip(row.iter().zip(other));
                let cells: Vec<String> = cells
                    .filter(|(_, (cell, other))| cell != other)
                    .map(|((name, _), (cell, _))| format!("{name}={cell}"))
                    .collect();
                cells.join(" ")
            };
            let name = shape.name;
            format!("{name}: {key}: expected {}, actual {}", changed(expected, actual), changed(actual, expected))
        }
        (Some(expected), None) => {
            format!("{}: {key}: expected {}, actual no row", shape.name, named(shape.columns, expected))
        }
        (None, Some(actual)) => {
            format!("{}: {key}: expected no row, actual {}", shape.name, named(shape.columns, actual))
        }
        (None, None) => format!("{}: {key}: no row", shape.name),
    }
}

fn named(columns: &[Column], cells: &[Cell]) -> String {
    let cells: Vec<String> = columns.iter().zip(cells).map(|((name, _), cell)| format!("{name}={cell}")).collect();
    cells.join(" ")
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Int(value) => value.fmt(out),
            Cell::Text(value) => value.fmt(out),
            Cell::Bool(value) => value.fmt(out),
            Cell::Null => out.write_str("null"),
        }
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Cell {
        Cell::Int(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Cell {
        Cell::Int(value.into())
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Cell {
        Cell::Text(value)
    }
}
