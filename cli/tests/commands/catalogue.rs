//! `watchbeat catalogue import`: what stands in the file stands in the table, or nothing does.

use crate::watchbeat::{Ended, database, watchbeat, watchbeat_reading};
use sql::testing::TestDatabase;
use tempfile::TempDir;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Imports a file of this name and text.
fn import(database: &TestDatabase, table: &str, name: &str, text: &str) -> Ended {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    watchbeat(database, &["catalogue", "import", table, file.to_str().unwrap()])
}

/// What cannot have a file beside it, as in a container, is piped in.
#[tokio::test]
async fn standard_input_is_a_file_whose_format_is_said() {
    let (database, client) = database().await;
    let import = ["catalogue", "import", "videos", "-"];
    let ended = watchbeat_reading(&database, &import, "video_id,title\na,A\n");
    assert!(ended.status() == 1 && ended.errors().contains("say what it is by --format"), "{}", ended.errors());
    let with = |format| [&import[..], &["--format", format]].concat();
    watchbeat_reading(&database, &with("csv"), "video_id,title\na,A\n").succeeded();
    watchbeat_reading(&database, &with("json"), r#"[{"video_id": "b", "title": "B"}]"#).succeeded();
    let ended = watchbeat_reading(&database, &with("json"), r#"[{"video_id": "b c", "title": "B"}]"#);
    assert!(ended.errors().contains("row 1 of standard input"), "{}", ended.errors());
    assert_eq!(rows(&client, VIDEOS).await, ["a | A | - | -", "b | B | - | -"]);
}

/// The rows of a query as the server writes them, `-` for null.
async fn rows(client: &Client, query: &str) -> Vec<String> {
    let messages = client.simple_query(query).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|at| row.get(at).unwrap_or("-")).collect::<Vec<_>>().join(" | ")).collect()
}

const VIDEOS: &str = "select video_id, title, duration_ms, licensor_id from watchbeat.videos order by video_id";
const LICENCES: &str = "select licensor_id, video_id, territory, valid_from at time zone 'UTC', valid_to at time zone 'UTC', rate_micros_per_hour, min_view from watchbeat.licences order by licensor_id";

#[tokio::test]
async fn fields_of_csv_are_taken_as_they_are_written() {
    let (database, client) = database().await;
    let text = "video_id,title,duration_ms,licensor_id\n\
                0129370,Infinity,5400000,1.10\n\
                1e3,\"true, and so on\",,\n";
    import(&database, "videos", "videos.csv", text).succeeded();
    let expected = ["0129370 | Infinity | 5400000 | 1.10", "1e3 | true, and so on | - | -"];
    assert_eq!(rows(&client, VIDEOS).await, expected);
}

#[tokio::test]
async fn a_row_whose_key_is_there_is_replaced() {
    let (database, client) = database().await;
    import(&database, "videos", "one.csv", "video_id,title,duration_ms\na,Old,1000\nb,Kept,2000\n").succeeded();
    let text = r#"[{"video_id": "a", "title": "New", "duration_ms": 3000, "licensor_id": ""}, {"video_id": "c", "title": "1"}]"#;
    import(&database, "videos", "two.json", text).succeeded();
    assert_eq!(rows(&client, VIDEOS).await, ["a | New | 3000 | -", "b | Kept | 2000 | -", "c | 1 | - | -"]);
}

#[tokio::test]
async fn nothing_is_imported_when_a_row_is_refused() {
    let (database, client) = database().await;
    let ended = import(&database, "videos", "rows.csv", "video_id,title,length\na,A,1\n");
    let errors = ended.errors();
    assert_eq!(ended.status(), 1, "{errors}");
    assert!(errors.contains("there is no column length; videos has video_id, title, duration_ms"), "{errors}");
    let ended = import(&database, "videos", "rows.csv", "video_id,title,duration_ms\na,A,1000\nb,B,long\n");
    let errors = ended.errors();
    assert_eq!(ended.status(), 1, "{errors}");
    assert!(errors.contains("nothing of") && errors.contains("\"long\""), "{errors}");
    assert!(rows(&client, VIDEOS).await.is_empty());
}

/// What can never match a row of the tables would pay nobody, and nobody would see why.
#[tokio::test]
async fn a_row_that_can_match_nothing_is_refused_and_named() {
    let (database, client) = database().await;
    let licences = "licensor_id,video_id,territory,valid_from,valid_to,rate_micros_per_hour\n1,a,DE,2026-01-01,,1\n";
    let cases = [
        ("licences", format!("{licences}1,b,de,2026-01-01,,1\n"), "\"de\" is no territory"),
        ("licences", format!("{licences}1,b,DE ,2026-01-01,,1\n"), "\"DE \" is no territory"),
        ("licences", format!("{licences}1, b,DE,2026-01-01,,1\n"), "\" b\" is no video_id"),
        ("licences", format!("{licences}1,b,DE,2026-01-02,2026-01-02,1\n"), "ends before it begins"),
        ("licences", format!("{licences}1,b,DE,2026-01-02,,-1\n"), "rate is below 0"),
        ("licences", format!("{licences}1,b,DE,03/04/2026,,1\n"), "03/04/2026"),
        ("ad_lines", "line_id,advertiser_id,name\nl1,x,One\nl 2,x,Two\n".to_owned(), "\"l 2\" is no line_id"),
    ];
    for (table, text, expected) in cases {
        let ended = import(&database, table, "rows.csv", &text);
        let errors = ended.errors();
        assert_eq!(ended.status(), 1, "{text}");
        let is_named = errors.contains("row 2") || errors.contains("nothing of");
        assert!(is_named && errors.contains(expected), "{errors}");
    }
    assert!(rows(&client, LICENCES).await.is_empty());
}

#[tokio::test]
async fn a_time_without_an_offset_is_utc_whatever_the_server_is_set_to() {
    let (database, client) = database().await;
    let name = database.url().rsplit('/').next().unwrap();
    client.batch_execute(&format!("alter database {name} set timezone = 'America/New_York'")).await.unwrap();
    let text = "licensor_id,video_id,territory,valid_from,valid_to,rate_micros_per_hour,min_view\n\
                001,a,DE,2026-01-01,2026-07-01T00:00:00,120000,false\n\
                002,a,DE,2026-01-01T00:00:00+02:00,,120000,true\n";
    import(&database, "licences", "licences.csv", text).succeeded();
    let expected = [
        "001 | a | DE | 2026-01-01 00:00:00 | 2026-07-01 00:00:00 | 120000 | f",
        "002 | a | DE | 2025-12-31 22:00:00 | - | 120000 | t",
    ];
    assert_eq!(rows(&client, LICENCES).await, expected);
}

#[tokio::test]
async fn a_licence_that_says_nothing_of_min_view_has_none() {
    let (database, client) = database().await;
    let text = "licensor_id,video_id,territory,valid_from,rate_micros_per_hour\n001,a,DE,2026-01-01,1\n";
    import(&database, "licences", "without.csv", text).succeeded();
    let text = "licensor_id,video_id,territory,valid_from,rate_micros_per_hour,min_view\n\
                002,a,DE,2026-01-01,2,\n\
                003,a,DE,2026-01-01,3,true\n";
    import(&database, "licences", "some.csv", text).succeeded();
    let text = r#"[{"licensor_id": "004", "video_id": "a", "territory": "DE", "valid_from": "2026-01-01", "rate_micros_per_hour": 4, "min_view": null}]"#;
    import(&database, "licences", "null.json", text).succeeded();
    let found = rows(&client, "select licensor_id, min_view from watchbeat.licences order by licensor_id").await;
    assert_eq!(found, ["001 | f", "002 | f", "003 | t", "004 | f"]);
}
