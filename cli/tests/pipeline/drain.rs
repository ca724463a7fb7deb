//! A role that does not end in time is given up, and that is all: one line, and no panic of what was still open.

use crate::fleet::Fleet;
use crate::process::wait_until;
use sql::partial::{Kind, Ledger, Role};
use sql::spelt::{Column, Partial, Table};
use std::time::Duration;
use topic::Outgoing;

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_waits_for_the_database_is_given_up_without_a_panic() {
    let mut fleet = Fleet::new("drain").await;
    let (client, watching) = (fleet.connect().await, fleet.connect().await);
    client.batch_execute("begin; lock table watchbeat.ledger_minutes in exclusive mode").await.unwrap();
    let record = Outgoing { partition: 0, key: Default::default(), value: epoch().encode().into() };
    let partials = format!("{}partials", fleet.prefix);
    fleet.log().producer(Duration::ZERO).unwrap().append(&partials, &[record]).await.unwrap();

    let sink = fleet.sink_with(&["--drain-ms", "200"]);
    let waiting = "select exists (select from pg_locks where not granted
        and database = (select oid from pg_database where datname = current_database()))";
    let runtime = tokio::runtime::Handle::current();
    let status = tokio::task::spawn_blocking(move || {
        wait_until("the sink waits for the lock", Duration::from_secs(60), || {
            runtime.block_on(watching.query_one(waiting, &[])).unwrap().get(0)
        });
        sink.stop()
    });
    assert_eq!(status.await.unwrap().code(), Some(1));
    let said = std::fs::read_to_string(fleet.dir.path().join("sink-1.log")).unwrap();
    assert!(said.ends_with("watchbeat: gave up waiting for sink after 200 ms\n"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// One epoch of the main pipeline, with one row.
fn epoch() -> Partial {
    let columns = vec![
        Column::texts("site", Role::Key, vec!["default"]),
        Column::integers("minute", Role::Key, Kind::Timestamp, vec![0]),
        Column::texts("disposition", Role::Key, vec!["credited"]),
        Column::integers("heartbeats", Role::Sum, Kind::Integer, vec![1]),
    ];
    Partial {
        pipeline: "main".into(),
        partition: 0,
        from: 0,
        to: 1,
        clock: 1,
        fingerprint: "f".into(),
        ledger: Some(Ledger { credited: 1, ..Ledger::default() }),
        tables: vec![Table { name: "ledger_minutes".into(), rows: 1, columns }],
    }
}
