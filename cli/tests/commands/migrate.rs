//! `watchbeat migrate` where only the database is named, as the Job in `k8s/base` does: there the topics are the operator's.

use crate::watchbeat::watchbeat;
use sql::testing::TestDatabase;

#[tokio::test]
async fn the_schema_is_made_without_a_word_about_topics() {
    let database = TestDatabase::create().await;
    let migrated = watchbeat(&database, &["migrate"]).succeeded();
    assert!(!migrated.errors().contains("topic"), "{}", migrated.errors());
    let client = database.database().connect().await.unwrap();
    client.query("select next_offset from watchbeat.progress", &[]).await.unwrap();
}
