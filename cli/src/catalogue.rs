//! `watchbeat catalogue import`: titles, licences and ad lines from CSV or JSON into the catalogue tables. All rows or
//! none: one statement.

use crate::flags::DatabaseFlags;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use playback::validate::{AD_ID_CHARS, VIDEO_ID_CHARS, is_id, is_territory};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct CatalogueFlags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add rows, and replace those whose key is there already
    Import {
        /// The table
        table: CatalogueTable,
        /// CSV with a header line, or a JSON array of objects; `-` is standard input. Times are UTC unless they have an offset
        file: PathBuf,
        /// What it is; by default what the ending of its name says
        #[arg(long, value_name = "FORMAT")]
        format: Option<Format>,
        #[command(flatten)]
        database: DatabaseFlags,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum CatalogueTable {
    /// video_id, title, duration_ms, licensor_id
    Videos,
    /// licensor_id, video_id, territory, valid_from, valid_to, rate_micros_per_hour, min_view
    Licences,
    /// line_id, advertiser_id, name
    AdLines,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Json,
}

/// Name, columns with their types, and key of a catalogue table.
struct Shape {
    name: &'static str,
    columns: &'static [(&'static str, &'static str)],
    key: &'static [&'static str],
    /// Columns that are never null, with the value for a row that does not mention them: the table's own default applies only
    /// to columns that no row has.
    defaults: &'static [(&'static str, &'static str)],
    /// What is joined with the tables must look as it does there, or nothing is ever paid by the row.
    rules: &'static [Rule],
    /// Rows that mean nothing, as a condition on `row`, one of them in JSON; and what is wrong with them.
    senseless: Option<(&'static str, &'static str)>,
}

/// What a column must look like.
struct Rule {
    column: &'static str,
    holds: fn(&str) -> bool,
    words: &'static str,
}

const VIDEO_ID: Rule = Rule {
    column: "video_id",
    holds: |text| is_id(text, VIDEO_ID_CHARS),
    words: "no video_id that a report can have: 1 to 128 of A-Z, a-z, 0-9 and . _ : -",
};
const LINE_ID: Rule = Rule {
    column: "line_id",
    holds: |text| is_id(text, AD_ID_CHARS),
    words: "no line_id that a report can have: 1 to 64 of A-Z, a-z, 0-9 and . _ : -",
};
const TERRITORY: Rule =
    Rule { column: "territory", holds: is_territory, words: "no territory: two capital letters, as in DE" };

impl CatalogueTable {
    fn shape(self) -> Shape {
        match self {
            CatalogueTable::Videos => Shape {
                name: "videos",
                columns: &[("video_id", "text"), ("title", "text"), ("duration_ms", "bigint"), ("licensor_id", "text")],
                key: &["video_id"],
                defaults: &[],
                rules: &[VIDEO_ID],
                senseless: None,
            },
            CatalogueTable::Licences => Shape {
                name: "licences",
                columns: &[
                    ("licensor_id", "text"),
                    ("video_id", "text"),
                    ("territory", "text"),
                    ("valid_from", "timestamptz"),
                    ("valid_to", "timestamptz"),
                    ("rate_micros_per_hour", "bigint"),
                    ("min_view", "boolean"),
                ],
                key: &["video_id", "licensor_id", "territory", "valid_from"],
                defaults: &[("min_view", "false")],
                rules: &[VIDEO_ID, TERRITORY],
                senseless: Some((
                    "(row ->> 'valid_to')::timestamptz <= (row ->> 'valid_from')::timestamptz
                        or (row ->> 'rate_micros_per_hour')::bigint < 0",
                    "the licence ends before it begins, or its rate is below 0",
                )),
            },
            CatalogueTable::AdLines => Shape {
                name: "ad_lines",
                columns: &[("line_id", "text"), ("advertiser_id", "text"), ("name", "text")],
                key: &["line_id"],
                defaults: &[],
                rules: &[LINE_ID],
                senseless: None,
            },
        }
    }
}

impl Shape {
    /// One statement that takes all rows as one JSON array.
    fn upsert(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        let values: Vec<_> = names.iter().map(|name| self.value(name)).collect();
        let typed: Vec<_> = self.columns.iter().map(|(name, sql_type)| format!("{name} {sql_type}")).collect();
        let updates: Vec<_> = names
            .iter()
            .filter(|name| !self.key.contains(name))
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        format!(
            "insert into watchbeat.{} ({}) select {} from jsonb_to_recordset($1) as rows ({}) on conflict ({}) do update set {}",
            self.name,
            names.join(", "),
            values.join(", "),
            typed.join(", "),
            self.key.join(", "),
            updates.join(", "),
        )
    }

    /// A column as a row of the file has it.
    fn value(&self, column: &str) -> String {
        match self.defaults.iter().find(|(name, _)| *name == column) {
            Some((_, default)) => format!("coalesce({column}, {default})"),
            None => column.to_owned(),
        }
    }
}

/// The name of what is piped in.
const STANDARD_INPUT: &str = "-";

pub(crate) async fn run(flags: CatalogueFlags) -> Result<ExitCode> {
    let Action::Import { table, file, format, database } = flags.action;
    let shape = table.shape();
    let name =
        if file.as_os_str() == STANDARD_INPUT { "standard input".to_owned() } else { file.display().to_string() };
    let rows = read(&file, format).with_context(|| format!("cannot read {name}"))?;
    let checked = |(index, row)| checked(row, &shape).with_context(|| format!("row {} of {name}", index + 1));
    let rows: Vec<Value> = rows.into_iter().enumerate().map(checked).collect::<Result<_>>()?;
    let client = database.database()?.connect().await.context("cannot reach the database")?;
    // A time without an offset means the same whatever zone the server is set to, and 03/04/2026 nothing at all.
    client.batch_execute("set time zone 'UTC'; set datestyle to 'ISO, YMD'").await?;
    let nothing = || format!("nothing of {name} was imported");
    let rows = Value::Array(rows);
    if let Some((condition, words)) = shape.senseless {
        let query = format!(
            "select at from jsonb_array_elements($1) with ordinality as rows (row, at) where {condition} order by at limit 1"
        );
        if let Some(found) = client.query_opt(&query, &[&rows]).await.with_context(nothing)? {
            bail!("row {} of {name}: {words}", found.get::<_, i64>(0));
        }
    }
    let count = client.execute(&shape.upsert(), &[&rows]).await.with_context(nothing)?;
    tracing::info!(table = shape.name, rows = count, "imported");
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path, format: Option<Format>) -> Result<Vec<Map<String, Value>>> {
    let ending = file.extension().and_then(|ending| ending.to_str());
    let by_ending = || ending.and_then(|ending| Format::from_str(ending, false).ok());
    let Some(format) = format.or_else(by_ending) else {
        bail!("its name does not end in .csv or .json: say what it is by --format");
    };
    let mut source: Box<dyn Read> =
        if file.as_os_str() == STANDARD_INPUT { Box::new(std::io::stdin()) } else { Box::new(File::open(file)?) };
    match format {
        Format::Csv => {
            Ok(csv::Reader::from_reader(source).deserialize().map(|row| row.map(texts)).collect::<Result<_, _>>()?)
        }
        Format::Json => {
            let mut text = String::new();
            source.read_to_string(&mut text)?;
            serde_json::from_str(&text).context("it is no JSON array of objects")
        }
    }
}

/// A row of CSV, its fields as they are written: the database knows their types, whereas a guess would turn the id 0129370
/// into 129370.
fn texts(row: BTreeMap<String, String>) -> Map<String, Value> {
    row.into_iter().map(|(name, text)| (name, Value::String(text))).collect()
}

/// The row with empty fields as null; refused when it has a column that the table has not, or a value that can match nothing.
fn checked(row: Map<String, Value>, shape: &Shape) -> Result<Value> {
    let unknown = row.keys().find(|name| shape.columns.iter().all(|(column, _)| column != name));
    if let Some(name) = unknown {
        let columns: Vec<_> = shape.columns.iter().map(|(column, _)| *column).collect();
        bail!("there is no column {name}; {} has {}", shape.name, columns.join(", "));
    }
    for Rule { column, holds, words } in shape.rules {
        if let Some(Value::String(text)) = row.get(*column)
            && !holds(text)
        {
            bail!("{text:?} is {words}");
        }
    }
    let empty_is_null = |value| if value == Value::String(String::new()) { Value::Null } else { value };
    Ok(Value::Object(row.into_iter().map(|(name, value)| (name, empty_is_null(value))).collect()))
}
