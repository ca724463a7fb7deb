//! How the tasks of a process fail, stop and drain.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use service::{Failure, Stop, Tasks};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn tasks_that_end_by_themselves_need_no_stop() {
    let stop = Stop::new();
    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn("one", async { Ok(()) });
    tasks.spawn_thread("two", || Ok(()));
    tasks.join(LONG).await.unwrap();
    assert!(!stop.is_requested());
}

#[tokio::test]
async fn the_first_failure_stops_the_others_and_is_the_result() {
    let stop = Stop::new();
    let mut tasks = Tasks::new(stop.clone());
    let waits = stop.clone();
    tasks.spawn("patient", async move {
        waits.requested().await;
        Err("a later failure".into())
    });
    tasks.spawn("flusher", async { Err("the database is gone".into()) });
    let failure = tasks.join(LONG).await.unwrap_err();
    assert_eq!(failure.to_string(), "flusher failed: the database is gone");
    assert!(stop.is_requested());
}

#[tokio::test]
async fn a_panic_of_a_task_is_a_failure_that_names_it() {
    let mut tasks = Tasks::new(Stop::new());
    tasks.spawn("merger", async { panic!("row {} is odd", 7) });
    let failure = tasks.join(LONG).await.unwrap_err();
    assert_eq!(failure.to_string(), "merger panicked: row 7 is odd");
}

#[tokio::test]
async fn a_panic_of_a_thread_is_a_failure_that_names_it() {
    let stop = Stop::new();
    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn_thread("shard", || panic!("offset went back"));
    tasks.spawn("patient", async move {
        stop.requested().await;
        Ok(())
    });
    let failure = tasks.join(LONG).await.unwrap_err();
    assert_eq!(failure.to_string(), "shard panicked: offset went back");
}

#[tokio::test]
async fn a_thread_runs_under_its_name_and_its_error_is_the_result() {
    let mut tasks = Tasks::new(Stop::new());
    tasks.spawn_thread("poller", || Err(std::thread::current().name().unwrap_or("nameless").into()));
    assert_eq!(tasks.join(LONG).await.unwrap_err().to_string(), "poller failed: poller");
}

#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_drain_in_time_are_named() {
    let stop = Stop::new();
    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn("stuck", std::future::pending());
    tasks.spawn("hung", std::future::pending());
    tasks.spawn("quick", async { Ok(()) });
    stop.request();
    let failure = tasks.join(Duration::from_secs(12)).await.unwrap_err();
    assert!(matches!(failure, Failure::Undrained { .. }));
    assert_eq!(failure.to_string(), "gave up waiting for hung, stuck after 12000 ms");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_the_result_even_if_another_task_hangs() {
    let mut tasks = Tasks::new(Stop::new());
    tasks.spawn("stuck", std::future::pending());
    tasks.spawn("flusher", async { Err("the database is gone".into()) });
    let failure = tasks.join(Duration::from_secs(12)).await.unwrap_err();
    assert_eq!(failure.to_string(), "flusher failed: the database is gone");
}

#[tokio::test]
async fn a_stop_that_was_requested_before_is_seen_at_once() {
    let stop = Stop::new();
    stop.clone().request();
    stop.requested().await;
    assert!(stop.is_requested());
}
