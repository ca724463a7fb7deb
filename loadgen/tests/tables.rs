//! What is read from a real database is what was written to it, in every column of every table.

#![allow(clippy::unwrap_used)]

use loadgen::tables::{self, Filter};
use playback::model::{self, Cell, Column, Kind, Parameters, RandomLog, SHAPES, Shape, Tables};
use sql::testing::TestDatabase;
use tokio_postgres::Client;

const START: i64 = 1_763_683_200_000;

#[tokio::test]
async fn tables_are_read_as_they_were_written() {
    let database = TestDatabase::create().await;
    let mut client = sql::migrate::connect(database.url()).await.unwrap();
    sql::migrate::migrate(&mut client).await.unwrap();
    let log = model::random_log(RandomLog { seed: 3, reports: 400, start: START, outage: false });
    let written = model::run(&log, Parameters::default());
    write(&client, &written).await;

    let all = tables::read(&client, Filter::All).await.unwrap();
    assert_eq!(model::differences(&written, &all), Vec::<String>::new());

    let some = tables::read(&client, Filter::Run { site: "north", prefix: "u1" }).await.unwrap();
    let of_the_user = |key: &&Vec<Cell>| key[..2] == ["north".into(), "u1".into()];
    let sessions = |tables: &Tables| tables.rows("watch_sessions").unwrap().keys().filter(of_the_user).count();
    assert_eq!(some.rows("watch_sessions").unwrap().len(), sessions(&written));
    assert!(some.rows("video_minutes").is_none(), "no title begins like the user");
}

async fn write(client: &Client, tables: &Tables) {
    for shape in SHAPES {
        for (key, row) in tables.rows(shape.name).into_iter().flatten() {
            client.batch_execute(&insert(shape, key, row)).await.unwrap();
        }
    }
}

fn insert(shape: &Shape, key: &[Cell], row: &[Cell]) -> String {
    let columns: Vec<&Column> = shape.key.iter().chain(shape.columns).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<String> =
        columns.iter().zip(key.iter().chain(row)).map(|(column, cell)| value(column, cell)).collect();
    format!("insert into watchbeat.{} ({}) values ({})", shape.name, names.join(", "), values.join(", "))
}

fn value((_, kind): &Column, cell: &Cell) -> String {
    match (kind, cell) {
        (Kind::Time, Cell::Int(ms)) => format!("to_timestamp({ms} / 1000.0)"),
        (_, Cell::Text(text)) => format!("'{text}'"),
        (_, cell) => cell.to_string(),
    }
}
