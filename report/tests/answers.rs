//! The report API over HTTP, on a real PostgreSQL with known rows.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use report::limits;
use serde_json::{Value, json};
use service::{Readiness, Stop, TaskError};
use sql::testing::{TestDatabase, conflict_once};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

const ROWS: &str = "
    insert into watchbeat.resume_positions values ('default', 'u', 'v', 9000, 12000, 77);
    insert into watchbeat.watch_sessions values
        ('default', 'u', 's1', 'v', 10, 9, 8, 7, 100, 200, true, false, 'tv', 'DE'),
        ('default', 'u', 's2', 'v', 20, 19, 18, 17, 300, 400, false, false, null, 'ZZ'),
        ('default', 'x', 's3', 'v', 20, 19, 18, 17, 300, 400, false, false, null, 'ZZ');
    insert into watchbeat.watch_segments values
        ('default', 'u', 's1', 'v', 0, 5000), ('default', 'u', 's2', 'v', 3000, 9000),
        ('default', 'u', 's2', 'v', 10000, 12000), ('default', 'x', 's3', 'v', 0, 99000);
    insert into watchbeat.title_hours values
        ('default', 'v', 'DE', '2026-01-01 10:00Z', 100, 90, 80, 3, 2, 1),
        ('default', 'v', 'FR', '2026-01-01 10:00Z', 10, 9, 8, 1, 1, 1),
        ('default', 'v', 'DE', '2026-01-01 11:00Z', 1000, 900, 800, 30, 20, 10);
    insert into watchbeat.video_minutes values
        ('default', 'v', '2026-01-01 10:59Z', 50, 2), ('default', 'v', '2026-01-01 11:00Z', 60, 3);
    insert into watchbeat.video_retention values
        ('default', 'v', '2026-01-01Z', 0, 70), ('default', 'v', '2026-01-02Z', 0, 7), ('default', 'v', '2026-01-02Z', 1, 5);
    insert into watchbeat.progress (pipeline, partition, next_offset, clock) values ('default', 0, 10, 500), ('default', 1, 20, 400), ('default', 2, 0, 0);
";

struct World {
    database: Option<TestDatabase>,
    address: SocketAddr,
    stop: Stop,
    serving: JoinHandle<Result<(), TaskError>>,
}

impl World {
    async fn new() -> World {
        World::of(&[], 2).await
    }

    /// A world whose pipeline leaves out these views, with this many connections.
    async fn of(left_out: &[&str], connections: usize) -> World {
        let left_out = left_out.iter().map(|name| (*name).to_owned()).collect();
        let database = TestDatabase::create().await;
        let mut client = sql::database::connect(database.url()).await.unwrap();
        sql::migrate::migrate(&mut client).await.unwrap();
        client.batch_execute(ROWS).await.unwrap();
        let pool = report::pool(&database.database(), connections).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Stop::new());
        let serving = tokio::spawn(report::serve(listener, pool, left_out, Readiness::new(), stop.clone()));
        World { database: Some(database), address, stop, serving }
    }

    async fn connect(&self) -> Client {
        self.database.as_ref().unwrap().database().connect().await.unwrap()
    }

    /// Status and JSON.
    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path).await
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: report\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    async fn end(self) {
        self.stop.request();
        self.serving.await.unwrap().unwrap();
    }
}

fn complete_to() -> Value {
    json!({ "default": { "clock": 400, "next_offsets": { "0": 10, "1": 20, "2": 0 }, "empty_partitions": 1 } })
}

#[tokio::test]
async fn a_user_gets_the_union_of_their_sessions_and_where_to_go_on() {
    let world = World::new().await;
    let (status, answer) = world.get("/v1/users/u/videos/v").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["resume"], json!({ "position_ms": 9000, "furthest_ms": 12000, "event_time": 77 }));
    assert_eq!(answer["segments"], json!([{ "from_ms": 0, "to_ms": 9000 }, { "from_ms": 10000, "to_ms": 12000 }]));
    assert_eq!(answer["unique_ms"], json!(11000));
    let sessions: Vec<&Value> = answer["sessions"].as_array().unwrap().iter().map(|row| &row["session_id"]).collect();
    assert_eq!(sessions, ["s2", "s1"]);
    assert_eq!(answer["sessions"][1]["device"], "tv");
    assert_eq!(answer["complete_to"], complete_to());
    world.end().await;
}

#[tokio::test]
async fn a_title_is_summed_over_the_range_asked_for() {
    let world = World::new().await;
    let (status, all) = world.get("/v1/videos/v").await;
    assert_eq!(status, 200, "{all}");
    let totals =
        json!({ "gross_ms": 1110, "qualified_ms": 999, "wall_ms": 888, "starts": 34, "views": 23, "completes": 12 });
    assert_eq!(all["totals"], totals);
    assert_eq!(all["retention"], json!([{ "bucket": 0, "gross_ms": 77 }, { "bucket": 1, "gross_ms": 5 }]));
    assert_eq!(all["complete_to"], complete_to());
    let eleven = 1_767_265_200_000_i64;
    for from in ["2026-01-01T11:00:00Z".to_owned(), "2026-01-01T12:00+01:00".to_owned(), eleven.to_string()] {
        let (_, part) = world.get(&format!("/v1/videos/v?from={from}&to=2026-01-02")).await;
        assert_eq!(part["totals"]["gross_ms"], 1000, "{from}: {part}");
        assert_eq!(part["territories"]["DE"]["starts"], 30);
        assert_eq!(part["minutes"], json!([{ "minute": eleven, "watch_ms": 60, "viewers": 3 }]));
        assert_eq!(part["retention"], json!([]));
    }
    world.end().await;
}

#[tokio::test]
async fn a_conflict_with_those_who_write_is_not_the_askers_business() {
    let world = World::new().await;
    conflict_once(&world.connect().await, "progress").await;
    // A connection that has failed once fails no more, so each route has a database of its own.
    let other = World::new().await;
    conflict_once(&other.connect().await, "progress").await;
    assert_eq!(world.get("/v1/videos/v").await.0, 200);
    assert_eq!(other.get("/v1/users/u/videos/v").await.0, 200);
    world.end().await;
    other.end().await;
}

#[tokio::test]
async fn where_a_view_is_left_out_what_it_would_say_is_no_answer() {
    let world = World::of(&["watch_segments", "ad_hours"], 2).await;
    let (status, answer) = world.get("/v1/users/u/videos/v").await;
    assert_eq!((status, &answer["error"]["code"]), (501, &json!("left_out")));
    assert!(answer["error"]["detail"].as_str().unwrap().starts_with("watch_segments is left out"), "{answer}");
    assert_eq!(world.get("/v1/videos/v").await.0, 200);
    world.end().await;
}

#[tokio::test]
async fn more_rows_than_an_answer_takes_are_refused_and_not_cut() {
    let world = World::new().await;
    let client = world.connect().await;
    let segments = format!(
        "insert into watchbeat.watch_segments
            select 'default', 'many', 's', 'v', n * 10, n * 10 + 5 from generate_series(0, {}) as n",
        limits::ROWS
    );
    let sessions = format!(
        "insert into watchbeat.watch_sessions
            select 'default', 'often', 's' || n, 'v', 1, 1, 1, 1, n, n, false, false, null, 'ZZ' from generate_series(0, {}) as n",
        limits::SESSIONS
    );
    client.batch_execute(&segments).await.unwrap();
    client.batch_execute(&sessions).await.unwrap();
    client
        .batch_execute("insert into watchbeat.resume_positions values ('default', 'many', 'v', 1, 1, 1)")
        .await
        .unwrap();
    for (user, most) in [("many", limits::ROWS), ("often", limits::SESSIONS)] {
        let (status, answer) = world.get(&format!("/v1/users/{user}/videos/v")).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad_request")), "{user}");
        assert_eq!(answer["error"]["detail"], format!("more than {most} rows: ask the tables with SQL"));
    }
    client.batch_execute("delete from watchbeat.watch_segments where user_id = 'many' and from_ms = 0").await.unwrap();
    let (status, answer) = world.get("/v1/users/many/videos/v").await;
    assert_eq!((status, answer["segments"].as_array().unwrap().len()), (200, limits::ROWS));
    world.end().await;
}

#[tokio::test]
async fn the_database_works_no_longer_than_somebody_waits() {
    let world = World::new().await;
    let mut client = world.connect().await;
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let other = world.connect().await;
    let locking = client.transaction().await.unwrap();
    locking.batch_execute("lock table watchbeat.title_hours, watchbeat.watch_sessions").await.unwrap();
    let (video, user) = tokio::join!(world.get("/v1/videos/v"), world.get("/v1/users/u/videos/v"));
    for (status, answer) in [video, user] {
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("unavailable")), "{answer}");
    }
    assert_eq!(other.query_one(waits, &[]).await.unwrap().get::<_, i64>(0), 0);
    locking.rollback().await.unwrap();
    assert_eq!(world.get("/v1/videos/v").await.0, 200);
    world.end().await;
}

#[tokio::test]
async fn who_would_wait_behind_many_is_told_at_once() {
    let world = World::of(&[], 1).await;
    let mut client = world.connect().await;
    let locking = client.transaction().await.unwrap();
    locking.batch_execute("lock table watchbeat.title_hours").await.unwrap();
    let mut asking: FuturesUnordered<_> = (0..limits::WAITING + 2).map(|_| world.get("/v1/videos/v")).collect();
    let (status, answer) = asking.next().await.unwrap();
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("busy")), "{answer}");
    drop(asking);
    locking.rollback().await.unwrap();
    assert_eq!(world.get("/v1/videos/v").await.0, 200);
    world.end().await;
}

#[tokio::test]
async fn nobody_waits_for_a_statement_whose_asker_has_hung_up() {
    let world = World::of(&[], 1).await;
    let (mut client, other) = (world.connect().await, world.connect().await);
    let locking = client.transaction().await.unwrap();
    locking.batch_execute("lock table watchbeat.title_hours").await.unwrap();
    let mut asking = TcpStream::connect(world.address).await.unwrap();
    asking.write_all(b"GET /v1/videos/v HTTP/1.1\r\nhost: report\r\n\r\n").await.unwrap();
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let waiting = async || other.query_one(waits, &[]).await.unwrap().get::<_, i64>(0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while waiting().await == 0 {
        assert!(Instant::now() < deadline, "the report does not ask");
    }
    drop(asking);
    // The only connection is still waiting.
    assert_eq!(world.get("/v1/users/u/videos/v").await.0, 200);
    assert_eq!(waiting().await, 1);
    locking.rollback().await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn requests_are_counted_by_what_was_asked_and_not_by_whom() {
    let metrics = service::telemetry::install_metrics();
    let world = World::new().await;
    for path in ["/v1/users/u/videos/v", "/v1/users/nobody/videos/v", "/v1/nothing"] {
        world.get(path).await;
    }
    let text = metrics.render();
    for (path, status) in
        [("/v1/users/{user}/videos/{video}", 200), ("/v1/users/{user}/videos/{video}", 404), ("other", 404)]
    {
        let count = format!("watchbeat_report_requests_total{{path=\"{path}\",status=\"{status}\"}} ");
        assert!(text.contains(&count), "{count} is not in {text}");
    }
    assert!(
        text.contains("watchbeat_report_answer_seconds_bucket{path=\"other\",") && !text.contains("nobody"),
        "{text}"
    );
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_said_in_json() {
    let mut world = World::new().await;
    let cases = [
        ("/v1/videos/nobody", 404, "not_found"),
        ("/v1/users/nobody/videos/v", 404, "not_found"),
        ("/v1/videos/v?site=other", 404, "not_found"),
        ("/v1/nothing", 404, "not_found"),
        ("/v1/videos/v?from=yesterday", 400, "bad_request"),
        ("/v1/videos/v?from=2026", 400, "bad_request"),
        ("/v1/videos/v?from=2026-01-02&to=2026-01-01", 400, "bad_request"),
        ("/v1/videos/v%20w", 400, "bad_request"),
        ("/v1/users/u/videos/v?site=", 400, "bad_request"),
        ("/v1/videos/%FF", 400, "bad_request"),
        ("/v1/users/%FF/videos/v", 400, "bad_request"),
        ("/v1/videos/v?from=%FF", 400, "bad_request"),
        ("/v1/videos/v?from=0&from=0", 400, "bad_request"),
    ];
    for (path, status, code) in cases {
        let (found, answer) = world.get(path).await;
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{path}: {answer}");
    }
    for path in ["/v1/videos/v", "/v1/users/u/videos/v"] {
        let (status, answer) = world.ask("POST", path).await;
        assert_eq!((status, &answer["error"]["code"]), (405, &json!("method_not_allowed")), "{path}: {answer}");
    }
    world.database = None;
    let (status, answer) = world.get("/v1/videos/v").await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("unavailable")), "{answer}");
    world.end().await;
}
