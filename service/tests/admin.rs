//! What the admin port answers.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use serde_json::{Value, json};
use service::{Readiness, Stop, Tasks, serve_admin, telemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_process_is_ready_when_all_its_components_are() {
    let admin = Admin::start().await;
    let log = admin.readiness.component("log");
    let database = admin.readiness.component("database");

    log.ready();
    database.not_ready("cannot connect");
    let (status, body) = admin.get("/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({ "ready": false, "stopping": false, "components": [
            { "name": "database", "ready": false, "reason": "cannot connect" },
            { "name": "log", "ready": true, "reason": null },
        ]})
    );

    database.ready();
    assert_eq!(admin.get("/readyz").await.0, 200);
    admin.end().await;
}

#[tokio::test]
async fn a_new_component_is_starting_and_so_not_ready() {
    let admin = Admin::start().await;
    let _component = admin.readiness.component("catalogue");
    let (status, body) = admin.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("\"reason\":\"starting\""), "{body}");
    admin.end().await;
}

#[tokio::test]
async fn a_process_that_is_not_ready_is_alive_and_has_metrics() {
    let admin = Admin::start().await;
    admin.readiness.component("log").not_ready("no broker answers");
    assert_eq!(admin.get("/livez").await.0, 200);
    let (status, body) = admin.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("watchbeat_build_info{"), "{body}");
    assert_eq!(admin.get("/elsewhere").await.0, 404);
    admin.end().await;
}

#[tokio::test]
async fn a_drain_is_seen_to_its_end() {
    let mut admin = Admin::start().await;
    let drained = std::sync::Arc::new(tokio::sync::Notify::new());
    let (stop, waiting) = (admin.stop.clone(), drained.clone());
    admin.tasks.spawn("work", async move {
        stop.requested().await;
        waiting.notified().await;
        Ok(())
    });
    admin.stop.request();
    let (status, body) = admin.get("/readyz").await;
    assert_eq!((status, body.contains("\"stopping\":true")), (503, true), "{body}");
    assert_eq!(admin.get("/metrics").await.0, 200);
    drained.notify_one();
    admin.end().await;
}

/// An admin port that runs; [`Admin::end`] stops it and waits.
struct Admin {
    address: SocketAddr,
    readiness: Readiness,
    stop: Stop,
    tasks: Tasks,
}

impl Admin {
    async fn start() -> Admin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, readiness, stop) = (listener.local_addr().unwrap(), Readiness::new(), Stop::new());
        let mut tasks = Tasks::new(stop.clone());
        let admin = serve_admin(listener, readiness.clone(), telemetry::install_metrics(), stop.clone());
        tasks.spawn_companion("admin", admin);
        Admin { address, readiness, stop, tasks }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn end(self) {
        self.stop.request();
        self.tasks.join(std::time::Duration::from_secs(30)).await.unwrap();
        assert!(TcpStream::connect(self.address).await.is_err(), "the port is still open");
    }
}
