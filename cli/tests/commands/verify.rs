//! `watchbeat verify`: its exit status says whether the ledger balances, does not, or nobody knows.

use crate::watchbeat::{database, watchbeat};
use sql::testing::TestDatabase;

const PROGRESS: &str = "update watchbeat.progress set next_offset = 5, credited = 3, ticks = 2";
const MINUTES: &str = "insert into watchbeat.ledger_minutes (site, minute, disposition, heartbeats)
    values ('default', '2026-01-01Z', 'credited', 3)";

#[tokio::test]
async fn it_is_balanced_not_balanced_or_not_known() {
    let (database, client) = database().await;
    let verify = |status: i32, last_line: &str| {
        let ended = watchbeat(&database, &["verify"]);
        assert_eq!(ended.status(), status, "{} {}", ended.answer(), ended.errors());
        assert_eq!(ended.answer().lines().last(), Some(last_line));
    };
    verify(3, "in all: no partition has progress yet");
    client.batch_execute("insert into watchbeat.progress (pipeline, partition) values ('main', 0)").await.unwrap();
    verify(3, "in all: no partition has progress yet");
    client.batch_execute(MINUTES).await.unwrap();
    verify(1, "in all: NOT BALANCED");
    client.batch_execute(PROGRESS).await.unwrap();
    verify(0, "in all: balanced");
    client.batch_execute("update watchbeat.progress set next_offset = 6").await.unwrap();
    verify(1, "in all: NOT BALANCED");
}

#[tokio::test]
async fn without_an_answer_of_the_database_it_is_not_known() {
    let without_tables = TestDatabase::create().await;
    let ended = watchbeat(&without_tables, &["verify"]);
    assert_eq!(ended.status(), 3, "{}", ended.errors());
    assert!(ended.errors().contains("cannot read the ledger: db error: ERROR: relation"), "{}", ended.errors());
    let nowhere = "postgres://u:s3cret@127.0.0.1:1/none";
    let ended = watchbeat(&without_tables, &["verify", "--database-url", nowhere]);
    assert_eq!(ended.status(), 3, "{}", ended.errors());
    assert!(
        ended.errors().contains("cannot reach the database: error connecting to server: Conn"),
        "{}",
        ended.errors()
    );
    assert!(!ended.errors().contains("s3cret"), "{}", ended.errors());
    let ended = watchbeat(&without_tables, &["verify", "--database-ca", "/no/ca.pem"]);
    assert_eq!(ended.status(), 3, "{}", ended.errors());
    assert!(ended.errors().contains("cannot read the authorities of the database in /no/ca.pem"), "{}", ended.errors());
}

#[tokio::test]
async fn what_it_fails_on_before_it_asks_does_not_mean_that_the_ledger_is_wrong() {
    let (database, _) = database().await;
    let ended = watchbeat(&database, &["--log", "a=b=c", "verify"]);
    assert_eq!(ended.status(), 3, "{}", ended.errors());
    assert!(ended.errors().contains("log filter `a=b=c` is invalid"), "{}", ended.errors());
}

#[tokio::test]
async fn a_database_that_takes_the_connection_and_says_nothing_is_not_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // the kernel takes connections for it
    let url = format!("postgres://u:s3cret@{}/none", silent.local_addr().unwrap());
    let started = std::time::Instant::now();
    let (nobody, _) = database().await;
    let ended = watchbeat(&nobody, &["verify", "--database-url", &url, "--timeout-ms", "100"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(30));
    assert_eq!((ended.status(), ended.answer()), (3, String::new()));
    assert_eq!(ended.errors(), "watchbeat: the database did not answer within 100 ms\n");
    // Nor one that is busy.
    let (locked, client) = database().await;
    client.batch_execute("begin; lock table watchbeat.ledger_minutes").await.unwrap();
    let ended = watchbeat(&locked, &["verify", "--timeout-ms", "1000"]);
    assert_eq!(
        (ended.status(), ended.errors()),
        (3, "watchbeat: the database did not answer within 1000 ms\n".to_owned())
    );
}
