//! Reads the tables of the specification from the database, as the crediting model gives them.

use futures::TryStreamExt;
use playback::tables::{Cell, Column, Kind, SHAPES, Shape, Tables};
use std::pin::pin;
use tokio_postgres::{Client, Error, Row};

/// Which rows to read.
#[derive(Debug, Clone, Copy)]
pub enum Filter<'a> {
    /// All of the database.
    All,
    /// The rows of a site that belong to one run: its prefix begins the user id or, in tables without users, the id of the
    /// title or line. The ledger has none of these, so all of the site's ledger rows are read.
    Run {
        /// The site.
        site: &'a str,
        /// Prefix of the ids.
        prefix: &'a str,
    },
}

/// The rows of every table but `progress`, times as ms since the epoch.
pub async fn read(client: &Client, filter: Filter<'_>) -> Result<Tables, Error> {
    let mut tables = Tables::default();
    for shape in SHAPES {
        each(client, shape, filter, |key, row| tables.insert(shape.name, key, row)).await?;
    }
    Ok(tables)
}

/// Gives the rows of one table to `row`, key and values, without holding them all.
pub(crate) async fn each(
    client: &Client,
    shape: &Shape,
    filter: Filter<'_>,
    mut row: impl FnMut(Vec<Cell>, Vec<Cell>),
) -> Result<(), Error> {
    let (condition, parameters) = condition(shape, filter);
    let query = format!("select {} from watchbeat.{} where {condition}", columns(shape), shape.name);
    let found = client.query_raw(&query, parameters).await?;
    let mut found = pin!(found);
    while let Some(one) = found.try_next().await? {
        let mut key = cells(shape, &one)?;
        let values = key.split_off(shape.key.len());
        row(key, values);
    }
    Ok(())
}

fn condition<'a>(shape: &Shape, filter: Filter<'a>) -> (String, Vec<&'a str>) {
    let Filter::Run { site, prefix } = filter else { return ("true".to_owned(), Vec::new()) };
    let owner = ["user_id", "video_id", "line_id"].into_iter().find(|id| shape.key.iter().any(|(name, _)| name == id));
    match owner {
        Some(owner) => (format!("site = $1 and starts_with({owner}, $2)"), vec![site, prefix]),
        None => ("site = $1".to_owned(), vec![site]),
    }
}

fn columns(shape: &Shape) -> String {
    let column = |(name, kind): &Column| match kind {
        Kind::Integer => format!("{name}::bigint"),
        Kind::Time => format!("round(extract(epoch from {name}) * 1000)::bigint"),
        Kind::Text => format!("{name}::text"),
        Kind::Boolean => format!("{name}::boolean"),
    };
    shape.key.iter().chain(shape.columns).map(column).collect::<Vec<_>>().join(", ")
}

fn cells(shape: &Shape, row: &Row) -> Result<Vec<Cell>, Error> {
    let cell = |(index, (_, kind)): (usize, &Column)| match kind {
        Kind::Integer | Kind::Time => Ok(row.try_get::<_, Option<i64>>(index)?.map_or(Cell::Null, Cell::Int)),
        Kind::Text => Ok(row.try_get::<_, Option<String>>(index)?.map_or(Cell::Null, Cell::Text)),
        Kind::Boolean => Ok(row.try_get::<_, Option<bool>>(index)?.map_or(Cell::Null, Cell::Bool)),
    };
    shape.key.iter().chain(shape.columns).enumerate().map(cell).collect()
}
