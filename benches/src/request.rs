//! Requests made once and then only changed in their digits, so that a load costs little. Every report is valid and new:
//! an interval report of one of many viewers.

use crate::role::now_ms;
use std::ops::Range;

/// Viewers who take turns.
const VIEWERS: u64 = 100_000;
/// Numbers begin where they have as many digits as they will ever have: JSON knows no leading zeros.
const FIRST_SEQ: u64 = 100_000;
const LAST_SEQ: u64 = 999_999;
const FIRST_MS: u64 = 10_000_000;

/// The requests of one load.
pub(crate) struct Requests {
    bytes: Vec<u8>,
    reports: Vec<Places>,
    /// How many have been made.
    made: u64,
}

/// Where the digits of one report are.
struct Places {
    session: Range<usize>,
    user: Range<usize>,
    seq: Range<usize>,
    event_time: Range<usize>,
    from_ms: Range<usize>,
    position_ms: Range<usize>,
}

impl Requests {
    /// Requests of this many reports each.
    pub(crate) fn new(host: &str, key: Option<&str>, reports: usize) -> Requests {
        let run = now_ms() as u32; // no two loads share a session
        let report = format!(
            r#"{{"session_id":"{run:08x}-77c3-7d11-9e2f-000000000000","seq":100000,"user_id":"u00000","video_id":"t-42","event_time":1000000000000,"from_ms":10000000,"position_ms":10000000,"played_ms":5000,"territory":"DE","device":"tv"}}"#
        );
        let body = if reports == 1 { report } else { format!("[{}]", vec![report; reports].join(",")) };
        let key = key.map(|key| format!("X-Watchbeat-Key: {key}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /v1/heartbeats HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let places = body.match_indices("{\"session_id\"").map(|(at, _)| Places::find(&body, at, head.len())).collect();
        Requests { bytes: (head + &body).into_bytes(), reports: places, made: 0 }
    }

    /// The next request.
    pub(crate) fn next(&mut self, now_ms: u64) -> &[u8] {
        let (viewer, turn) = (self.made % VIEWERS, self.made / VIEWERS);
        self.made += 1;
        for (index, places) in (0..).zip(&self.reports) {
            let seq = FIRST_SEQ + (turn * self.reports.len() as u64 + index) % (LAST_SEQ - FIRST_SEQ);
            let from_ms = FIRST_MS + (seq - FIRST_SEQ) * 50;
            let bytes = &mut self.bytes;
            write(&mut bytes[places.session.clone()], viewer);
            write(&mut bytes[places.user.clone()], viewer);
            write(&mut bytes[places.seq.clone()], seq);
            write(&mut bytes[places.event_time.clone()], now_ms);
            write(&mut bytes[places.from_ms.clone()], from_ms);
            write(&mut bytes[places.position_ms.clone()], from_ms + 5_000);
        }
        &self.bytes
    }
}

impl Places {
    fn find(body: &str, report: usize, head: usize) -> Places {
        let after = |name: &str, digits: usize| {
            let at = body[report..].find(name).expect("the report has this field") + report + name.len() + head;
            at..at + digits
        };
        Places {
            session: after("-9e2f-", 12),
            user: after("\"user_id\":\"u", 5),
            seq: after("\"seq\":", 6),
            event_time: after("\"event_time\":", 13),
            from_ms: after("\"from_ms\":", 8),
            position_ms: after("\"position_ms\":", 8),
        }
    }
}

fn write(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::HashSet;

    const NOW_MS: u64 = 1_790_000_000_123;

    fn reports(request: &[u8]) -> Vec<Value> {
        let (_, body) = std::str::from_utf8(request).unwrap().split_once("\r\n\r\n").unwrap();
        match serde_json::from_str(body).unwrap() {
            Value::Array(reports) => reports,
            report => vec![report],
        }
    }

    #[test]
    fn every_report_is_new_and_plays_five_seconds() {
        for size in [1, 12] {
            let mut requests = Requests::new("localhost", Some("key"), size);
            let mut seen = HashSet::new();
            for number in 0..2 * VIEWERS + 1 {
                let request = requests.next(NOW_MS);
                if number % 50_000 > 0 {
                    continue; // reading all of them takes long
                }
                for report in reports(request) {
                    let [from, to] = ["from_ms", "position_ms"].map(|name| report[name].as_u64().unwrap());
                    assert_eq!((to - from, report["event_time"].as_u64()), (5_000, Some(NOW_MS)));
                    assert!(seen.insert((report["session_id"].to_string(), report["seq"].to_string())));
                }
            }
            assert_eq!(seen.len(), 5 * size);
        }
    }

    #[test]
    fn the_length_that_is_announced_is_the_bodys() {
        for size in [1, 12] {
            let mut requests = Requests::new("localhost", None, size);
            let request = requests.next(NOW_MS);
            assert_eq!(crate::framing::message_bytes(request), Some(request.len()));
            assert_eq!(crate::framing::message_bytes(&request[..request.len() - 1]), None);
        }
    }

    #[test]
    fn a_single_report_has_220_bytes() {
        let mut requests = Requests::new("localhost", None, 1);
        let request = String::from_utf8(requests.next(NOW_MS).to_vec()).unwrap();
        assert_eq!(request.split_once("\r\n\r\n").unwrap().1.len(), 220);
    }
}
