//! Viewers who have not agreed to be recognised: what they watched counts in full, and who they are is nowhere.
#![allow(clippy::unwrap_used)]

mod support;

use playback::facts::Facts;
use playback::kernel::{Kernel, Parameters};
use playback::message::{Heartbeat, Heartbeats};
use playback::record::Record;
use prost::Message;
use serde_json::json;
use std::collections::BTreeSet;
use support::{Gateway, now_ms, report};

const PEPPERS: &str = r#"{"epochs":[
    {"epoch":1,"pepper":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","from":0},
    {"epoch":2,"pepper":"ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=","from":1000}]}"#;
const MAX_MESSAGE_BYTES: u32 = 1 << 20;

/// A report of alice in a session.
fn of_session(session_id: &str, seq: u32, more: &str) -> String {
    report(seq, more)
        .replace("\"session_id\":\"s\"", &format!("\"session_id\":\"{session_id}\""))
        .replace("\"user_id\":\"u\"", "\"user_id\":\"alice\"")
}

async fn start(keys: Option<&str>, has_pepper: bool) -> Gateway {
    start_with(keys, has_pepper.then_some(PEPPERS)).await
}

async fn start_with(keys: Option<&str>, peppers: Option<&str>) -> Gateway {
    Gateway::start_with(keys, MAX_MESSAGE_BYTES, |settings, dir| {
        settings.pepper = peppers.map(|peppers| {
            std::fs::write(dir.join("peppers.json"), peppers).unwrap();
            dir.join("peppers.json")
        });
    })
    .await
}

/// Else it would count twice: for two users, on two partitions.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_sent_again_while_peppers_change_keeps_its_pseudonym() {
    let changed_at = now_ms() - 5_000;
    let gateway = start_with(None, Some(&PEPPERS.replace("\"from\":1000", &format!("\"from\":{changed_at}")))).await;
    let event_time = changed_at - 1;
    for held_ms in [0, 10_000] {
        let sent_at = event_time + held_ms; // as much later as the gateway takes it for earlier
        let body = format!(
            r#"{{"session_id":"s","seq":0,"user_id":"u","video_id":"v","event_time":{event_time},"sent_at":{sent_at},"position_ms":1000}}"#
        );
        assert_eq!(gateway.post_json(&body).await.status, 202);
    }
    let records = gateway.records(2).await;
    assert!(records[0].event_time > changed_at && records[1].event_time < changed_at);
    assert!(records[0].user_id.starts_with("1.") && records[0].user_id == records[1].user_id);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_without_consent_is_another_in_each_session() {
    let mut users = BTreeSet::new();
    for has_pepper in [false, true] {
        let gateway = start(None, has_pepper).await;
        let without = r#","consent":false,"device":"tv","territory":"DE""#;
        let with = r#","consent":true,"device":"tv""#;
        let body = [of_session("s-1", 0, without), of_session("s-1", 1, without), of_session("s-2", 0, without)];
        assert_eq!(gateway.post_json(&body.join("\n")).await.status, 202);
        assert_eq!(gateway.post_json(&of_session("s-1", 2, &format!("{without},\"rate\":1.5"))).await.status, 202);
        assert_eq!(gateway.post_json(&of_session("s-3", 0, with)).await.status, 202);
        let message = Heartbeat {
            session_id: Some("s-1".to_owned()),
            seq: Some(3),
            user_id: Some("alice".to_owned()),
            video_id: Some("v".to_owned()),
            event_time: Some(now_ms()),
            position_ms: Some(1_000),
            consent: Some(false),
            ..Heartbeat::default()
        };
        let body = Heartbeats { heartbeats: vec![message] }.encode_to_vec();
        let native = gateway.post("/v1/heartbeats", &[("Content-Type", "application/x-protobuf")], &body).await;
        assert_eq!(native.status, 202);
        let records = gateway.records(6).await;
        let of = |session_id: &str| -> BTreeSet<String> {
            let records = records.iter().filter(|record| record.session_id == session_id);
            records.map(|record| record.user_id.clone()).collect()
        };
        let (first, second) = (of("s-1"), of("s-2"));
        assert_eq!((first.len(), second.len()), (1, 1), "a session has one user");
        assert!(first.is_disjoint(&second), "and another session another");
        assert!(first.iter().chain(&second).all(|user_id| user_id.starts_with("s.")));
        let unrecognised = || records.iter().filter(|record| record.session_id != "s-3");
        assert!(unrecognised().all(|record| record.device.is_empty()));
        assert_eq!(unrecognised().filter(|record| record.territory == "DE").count(), 4);
        let agreed = records.iter().find(|record| record.session_id == "s-3").unwrap();
        assert_eq!((agreed.device.as_str(), agreed.user_id == "alice"), ("tv", !has_pepper));
        users.extend(first.into_iter().chain(second));
        gateway.stop().await.unwrap();
    }
    assert_eq!(users.len(), 4, "a pepper makes other pseudonyms");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_gateways_give_a_session_the_same_pseudonym() {
    let mut users = BTreeSet::new();
    for has_pepper in [true, false, true, false] {
        let gateway = start(None, has_pepper).await;
        assert_eq!(gateway.post_json(&of_session("s-1", 0, r#","consent":false"#)).await.status, 202);
        users.extend(gateway.records(1).await.into_iter().map(|record| (has_pepper, record.user_id)));
        gateway.stop().await.unwrap();
    }
    assert_eq!(users.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_credited_does_not_depend_on_consent() {
    let mut credited = Vec::new();
    for consent in ["", r#","consent":false"#] {
        let gateway = start(None, false).await;
        let reports: Vec<String> = (0..4)
            .map(|seq| {
                let (from_ms, position_ms) = (seq * 5_000, seq * 5_000 + 4_000);
                let more = format!(r#","from_ms":{from_ms},"played_ms":4000{consent}"#);
                of_session("s-1", seq, &more).replace("\"position_ms\":1000", &format!("\"position_ms\":{position_ms}"))
            })
            .collect();
        // The second body is the first once more.
        for _ in 0..2 {
            assert_eq!(gateway.post_json(&reports.join("\n")).await.status, 202);
        }
        credited.push(gross_ms(&gateway.records(8).await));
        gateway.stop().await.unwrap();
    }
    assert_eq!(credited, [16_000, 16_000]);
}

fn gross_ms(records: &[Record]) -> i64 {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    for record in records {
        kernel.fold(record, now_ms(), &mut facts);
    }
    facts.sessions.iter().map(|session| i64::from(session.gross_ms)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_without_consent_name_nobody() {
    for has_pepper in [false, true] {
        let gateway = start(None, has_pepper).await;
        let refused = [
            of_session("s-1", 0, r#","consent":false,"device":"tv","rate":0"#),
            of_session("s-1", 0, r#","consent":"no","device":"tv""#),
            of_session("s-1", 0, r#","consent":false,"consent":true"#),
            of_session("s-1", 0, r#","consent":false,"rate":1e400"#),
            r#"[{"user_id":"alice","consent":false}]"#.to_owned(),
            r#"{"user_id":"alice","consent":false"#.to_owned(),
            r#"{"user_id":"alice","consent":false}"#.to_owned(),
        ];
        let answer = gateway.post_json(&refused.join("\n")).await;
        assert_eq!((answer.status, answer.body["accepted"].as_u64()), (202, Some(0)));
        let letters = gateway.dead_letters(refused.len()).await;
        assert!(!json!(letters).to_string().contains("alice"), "{letters:?}");
        let reports: Vec<_> = letters.iter().map(|letter| &letter["report"]).collect();
        assert!(reports[0]["user_id"].as_str().unwrap().starts_with("s."));
        assert!(reports.iter().all(|report| report["device"].is_null()));
        assert_eq!(reports[6], &json!({"consent": false}));
        gateway.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_formats_without_consent_name_nobody() {
    const SNOWPLOW: &str = include_str!("fixtures/snowplow/playing.json");
    const SEGMENT: &str = include_str!("fixtures/segment/playing.json");
    for (path, body, records, user) in [
        ("/v1/adapters/snowplow", SNOWPLOW, 6, "viewer:40example.com"),
        ("/v1/adapters/segment", SEGMENT, 4, "u-1"),
        ("/v1/adapters/segment", r#"{"batch": [["u-1"]]}"#, 0, "u-1"),
        ("/v1/adapters/snowplow", r#"{"uid": "u-1""#, 0, "u-1"),
    ] {
        for query in ["consent=true", "consent=false"] {
            let gateway = start(None, false).await;
            let reply = gateway.post(&format!("{path}?{query}"), &[], body.as_bytes()).await;
            assert_eq!(reply.status, 200, "{path}?{query}: {reply:?}");
            let users: BTreeSet<_> = gateway.records(records).await.into_iter().map(|record| record.user_id).collect();
            let letters = if records > 0 { Vec::new() } else { gateway.dead_letters(1).await };
            let is_named = users.contains(user) || json!(letters).to_string().contains(user);
            assert_eq!(is_named, query == "consent=true", "{path}?{query}: {users:?} {letters:?}");
            assert!(is_named || users.iter().all(|user| user.starts_with("s.")), "{users:?}");
            gateway.stop().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_count_the_user_and_not_the_pseudonym() {
    let keys = r#"[{"key": "k", "site": "a", "reports_per_second_per_user": 1}]"#;
    let gateway = start(Some(keys), false).await;
    let headers = [("Content-Type", "application/json"), ("X-Watchbeat-Key", "k")];
    let sessions: Vec<String> =
        (0..60).map(|number| of_session(&format!("s-{number}"), 0, r#","consent":false"#)).collect();
    assert_eq!(gateway.post("/v1/heartbeats", &headers, sessions.join("\n").as_bytes()).await.status, 202);
    let one_more = of_session("s-60", 0, r#","consent":false"#);
    let answer = gateway.post("/v1/heartbeats", &headers, one_more.as_bytes()).await;
    assert_eq!((answer.status, answer.code()), (429, "rate_exceeded"));
    gateway.stop().await.unwrap();
}
