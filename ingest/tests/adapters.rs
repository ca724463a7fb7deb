//! Players that know nothing of heartbeats, over HTTP: their events become records, and they get the answers they expect.
//! What each event becomes is tested beside the adapters.
#![allow(clippy::unwrap_used)]

mod support;

use support::Gateway;

const SNOWPLOW: &str = include_str!("fixtures/snowplow/playing.json");
const SEGMENT: &str = include_str!("fixtures/segment/playing.json");
const CMCD: &str = include_str!("fixtures/cmcd/playing.txt");
/// When the events of the CMCD fixture began; they say no time of sending, so they are moved to now.
const CMCD_BEGAN: &str = "17636328";

#[tokio::test]
async fn events_of_other_formats_become_records() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let cmcd = CMCD.replace(CMCD_BEGAN, &(now / 100_000 - 1).to_string());
    for (path, content_type, body, status, records) in [
        ("/com.snowplowanalytics.snowplow/tp2", "application/json; charset=UTF-8", SNOWPLOW, 200, 6),
        ("/v1/adapters/snowplow", "application/json", SNOWPLOW, 200, 6),
        ("/v1/adapters/segment/v1/batch", "text/plain", SEGMENT, 200, 4),
        ("/v1/adapters/cmcd?user_id=u-1", "application/cmcd", &cmcd, 204, 5),
    ] {
        let gateway = Gateway::start(None).await;
        let reply = gateway.post(path, &[("Content-Type", content_type)], body.as_bytes()).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        let found = gateway.records(records).await;
        assert!(found.iter().all(|record| record.site == "default"));
        assert_eq!(gateway.log.end_offsets("dead_letters").await.unwrap().iter().sum::<u64>(), 0, "{path}");
    }
}
