//! Migrations on a real PostgreSQL, and the choice of statements for YugabyteDB, which only its text can show here.

use super::*;
use crate::database::connect;
use sql_testing::TestDatabase;
use std::collections::BTreeSet;

use ::sql::testing as sql_testing;

async fn database() -> (TestDatabase, Client) {
    let database = TestDatabase::create().await;
    let client = connect(database.url()).await.unwrap();
    (database, client)
}

#[tokio::test]
async fn all_tables_are_there_after_the_first_run_and_the_second_does_nothing() {
    let (_database, mut client) = database().await;
    assert_eq!(migrate(&mut client).await.unwrap().len(), MIGRATIONS.len());
    assert_eq!(migrate(&mut client).await.unwrap(), Vec::<&str>::new());
    for (name, _) in MIGRATIONS.iter().filter(|(_, text)| text.contains("create table")) {
        let table = &name[5..];
        client.execute(&format!("select from watchbeat.{table}"), &[]).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_refuses_is_not_taken_for_one_that_is_silent() {
    let (_database, mut client) = database().await;
    client.batch_execute("set default_transaction_read_only = on").await.unwrap();
    let said = migrate(&mut client).await.unwrap_err().to_string();
    let expected =
        "the database refused or cannot be reached: db error: ERROR: cannot execute CREATE SCHEMA in a read-only";
    assert!(said.starts_with(expected), "{said}");
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    let (database, mut client) = database().await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut other = connect(database.url()).await.unwrap();
        others.push(tokio::spawn(async move { migrate(&mut other).await.unwrap().len() }));
    }
    let mut applied = migrate(&mut client).await.unwrap().len();
    for other in others {
        applied += other.await.unwrap();
    }
    assert_eq!(applied, MIGRATIONS.len());
}

#[tokio::test]
async fn a_file_that_changed_after_it_was_applied_is_refused() {
    let (_database, mut client) = database().await;
    apply(&mut client, &[("0001_one", "create schema if not exists one;")]).await.unwrap();
    let changed = apply(&mut client, &[("0001_one", "create schema if not exists two;")]).await.unwrap_err();
    assert!(matches!(changed, MigrateError::Changed { name: "0001_one", .. }), "{changed}");
    let unknown = apply(&mut client, &[("0002_two", "select 1;")]).await.unwrap_err();
    assert!(matches!(unknown, MigrateError::Unknown(_)), "{unknown}");
}

#[tokio::test]
async fn a_file_that_failed_half_way_is_run_again_as_a_whole() {
    let (_database, mut client) = database().await;
    let broken = "create schema if not exists one;\ncreate nonsense;";
    let failed = apply(&mut client, &[("0001_one", broken)]).await.unwrap_err();
    assert!(failed.to_string().starts_with("migration 0001_one failed"), "{failed}");
    let mended = "create schema if not exists one;\ncreate table if not exists one.t (a bigint);";
    assert_eq!(apply(&mut client, &[("0001_one", mended)]).await.unwrap(), ["0001_one"]);
}

#[test]
fn each_database_gets_its_own_lines() {
    let text = "-- says what\ncreate table t (\n  a text,\n-- yugabyte:\n  primary key (a hash)\n) split into 2 tablets;\n\
        -- postgres:\n  primary key (a)\n);\n-- both:\nselect 1;\n";
    let postgres = ["create table t (\na text,\nprimary key (a)\n)\n", "select 1\n"];
    let yugabyte = ["create table t (\na text,\nprimary key (a hash)\n) split into 2 tablets\n", "select 1\n"];
    assert_eq!(statements(text, false), postgres);
    assert_eq!(statements(text, true), yugabyte);
}

#[tokio::test]
async fn every_table_is_a_views_or_reserved() {
    let (_database, mut client) = database().await;
    migrate(&mut client).await.unwrap();
    let rows = client.query("select tablename::text from pg_tables where schemaname = 'watchbeat'", &[]).await.unwrap();
    let found: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let known = crate::views::names().chain(crate::views::RESERVED).map(str::to_owned).collect();
    assert_eq!(found, known);
}

#[test]
fn every_file_is_listed_and_can_be_repeated() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, MIGRATIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, text) in MIGRATIONS {
        for statement in statements(text, false).iter().chain(&statements(text, true)) {
            let sets = statement.starts_with("alter table ") && statement.contains(" set (");
            let adds = statement.contains("if not exists") || statement.contains("do nothing");
            assert!(sets || adds, "{name}: {statement}");
        }
    }
}
