//! `watchbeat sql`: it answers, and changes nothing whatever it is asked.

use crate::watchbeat::{database, watchbeat};

#[tokio::test]
async fn a_query_is_answered_with_names_and_rows() {
    let (database, client) = database().await;
    client
        .batch_execute("insert into watchbeat.videos values ('a', 'A', 1000, null), ('b', 'B', null, 'l')")
        .await
        .unwrap();
    let query = "select *, now() > '2026-01-01' as is_late from videos order by video_id; -- all";
    let ended = watchbeat(&database, &["sql", query]).succeeded();
    let expected = "video_id\ttitle\tduration_ms\tlicensor_id\tis_late\na\tA\t1000\t\tt\nb\tB\t\tl\tt\n";
    assert_eq!(ended.answer(), expected);
    assert_eq!(watchbeat(&database, &["sql", "show transaction_read_only"]).answer(), "transaction_read_only\non\n");
}

#[tokio::test]
async fn nothing_that_is_asked_changes_the_database() {
    let (database, client) = database().await;
    client.batch_execute("insert into watchbeat.videos values ('a', 'A', 1000, null)").await.unwrap();
    let one = "cannot insert multiple commands";
    let cases = [
        ("delete from videos", "in a read-only transaction"),
        ("with gone as (delete from videos returning 1) select * from gone", "in a read-only transaction"),
        ("explain analyze delete from videos", "in a read-only transaction"),
        ("begin read write; delete from videos; commit", one),
        ("commit; delete from videos", one),
        ("set transaction_read_only = off; delete from videos; commit", one),
        ("do $$ begin set transaction read write; delete from videos; end $$", "must be set before any query"),
        ("do $$ begin commit; delete from videos; commit; end $$", "invalid transaction termination"),
        ("create table more (id bigint)", "in a read-only transaction"),
    ];
    for (query, expected) in cases {
        let ended = watchbeat(&database, &["sql", query]);
        assert!(ended.status() == 1 && ended.errors().contains(expected), "{query}: {}", ended.errors());
        let left: i64 = client.query_one("select count(*) from watchbeat.videos", &[]).await.unwrap().get(0);
        assert_eq!(left, 1, "{query}");
    }
}

#[tokio::test]
async fn the_table_of_a_view_can_be_made_whatever_its_columns_are_called() {
    let (database, client) = database().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ways.sql");
    let view = "create materialized view ways as
        select site, coalesce(device, '') as \"user\", sum(wall_ms) as \"to\" from sessions group by site, \"user\"";
    std::fs::write(&file, view).unwrap();
    let ended = watchbeat(&database, &["sql", "--table-of", file.to_str().unwrap()]).succeeded();
    client.batch_execute(&ended.answer()).await.unwrap();
    client
        .batch_execute("insert into watchbeat.ways (site, \"user\", \"to\") values ('default', '', 1)")
        .await
        .unwrap();
}
