//! `watchbeat sql`: asks the database, or checks a view and prints the table it fills.

use crate::flags::AuthorityFlags;
use crate::output;
use anyhow::{Context, Result};
use clap::Args;
use futures::TryStreamExt;
use sql::column::{quoted, sql_type};
use sql::partial::Role;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use tokio_postgres::{Client, SimpleQueryMessage};

#[derive(Debug, Args)]
pub(crate) struct SqlFlags {
    /// A query, one statement; it runs in a transaction that can only read
    #[arg(required_unless_present = "table_of")]
    query: Option<String>,
    /// Check the continuous view in this file, and print the table that it wants
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    table_of: Option<PathBuf>,
    /// Database, postgres://USER:PASSWORD@HOST:PORT/NAME: YugabyteDB or PostgreSQL 15 and later
    #[arg(long, env = "WATCHBEAT_DATABASE_URL", hide_env_values = true, required_unless_present = "table_of")]
    database_url: Option<String>,
    #[command(flatten)]
    authority: AuthorityFlags,
}

pub(crate) async fn run(flags: SqlFlags) -> Result<ExitCode> {
    if let Some(file) = flags.table_of {
        output::line(table_of(&file).await?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let url = flags.database_url.context("--database-url is missing")?;
    let query = flags.query.context("there is no query")?;
    let mut client = flags.authority.database(&url)?.connect().await.context("cannot reach the database")?;
    client.batch_execute("set search_path = watchbeat, public").await?;
    print(&mut client, &query).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs one statement in a transaction that can only read: several could end it and begin another. Rows are printed as they come, so
/// that a whole table needs no memory.
async fn print(client: &mut Client, query: &str) -> Result<()> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    // Only one statement can be prepared. The prepared one is not executed, as values would then not come as text for every type.
    transaction.prepare(query).await?;
    let mut answer = pin!(transaction.client().simple_query_raw(query).await?);
    while let Some(message) = answer.try_next().await? {
        let fields: Vec<_> = match &message {
            SimpleQueryMessage::RowDescription(columns) => columns.iter().map(|column| column.name()).collect(),
            SimpleQueryMessage::Row(row) => (0..row.len()).map(|index| row.get(index).unwrap_or("")).collect(),
            _ => continue,
        };
        if !output::line(fields.join("\t"))? {
            break;
        }
    }
    Ok(())
}

/// The statement that makes the table of a view.
async fn table_of(file: &PathBuf) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let source = sql::views::ViewSource { file: file.display().to_string(), text };
    let views = processor::views::Views::plan(std::slice::from_ref(&source)).await?;
    let view = &views.views()[0];
    let stored = view.columns.iter().filter(|column| column.role != Role::Op);
    let mut lines: Vec<_> = stored
        .map(|column| {
            let not_null = if column.role == Role::Key { " not null" } else { "" };
            format!("    {} {}{not_null}", quoted(&column.name), sql_type(column.kind))
        })
        .collect();
    let keys: Vec<_> =
        view.columns.iter().filter(|column| column.role == Role::Key).map(|column| quoted(&column.name)).collect();
    lines.push(format!("    primary key ({})", keys.join(", ")));
    Ok(format!("create table watchbeat.{} (\n{}\n);\n", view.name, lines.join(",\n")))
}
