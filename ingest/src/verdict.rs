//! Judging the reports of a request: the records for the log, the dead letters, and what the sender is told. Pure:
//! nothing is sent from here.

use crate::body::Reports;
use crate::limits::MAX_DEAD_REPORT_BYTES;
use bytes::Bytes;
use playback::heartbeat::Heartbeat;
use playback::record::{self, Record};
use playback::rejection::Rejection;
use playback::{json, message};
use prost::Message;
use serde::Serialize;
use serde_json::value::RawValue;
use topic::Outgoing;

/// The reports of one request, judged.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How many reports were accepted.
    pub(crate) accepted: usize,
    /// Accepted reports for the heartbeats topic, in the order of the body.
    pub(crate) records: Vec<Outgoing>,
    /// Refused ones for the dead-letter topic, in the order of the body.
    pub(crate) dead_letters: Vec<Outgoing>,
    /// What the sender is told about the refused ones.
    pub(crate) rejected: Vec<Rejected>,
}

/// One refused report, as the sender is told.
#[derive(Debug, Serialize)]
pub(crate) struct Rejected {
    index: usize,
    pub(crate) code: &'static str,
    detail: String,
}

/// Where the reports come from and where they go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route<'a> {
    pub(crate) site: &'a str,
    /// Milliseconds since the epoch.
    pub(crate) received_at: i64,
    pub(crate) heartbeat_partitions: u32,
    pub(crate) dead_letter_partitions: u32,
}

/// Judges every report of a request.
pub(crate) fn judge(reports: &Reports<'_>, route: Route<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    match reports {
        Reports::Json(texts) => {
            for (index, text) in texts.iter().enumerate() {
                let judged = json::heartbeat(text, route.received_at);
                verdict.add(index, judged, route, || Report::of_text(text));
            }
        }
        Reports::Messages(messages) => {
            for (index, message) in messages.iter().enumerate() {
                let judged = message::heartbeat(message, route.received_at);
                verdict.add(index, judged, route, || Report::of_message(message));
            }
        }
    }
    verdict
}

impl Verdict {
    fn add(
        &mut self,
        index: usize,
        judged: Result<Heartbeat, Rejection>,
        route: Route<'_>,
        report: impl FnOnce() -> Report,
    ) {
        match judged {
            Ok(heartbeat) => {
                self.accepted += 1;
                self.records.push(outgoing_record(heartbeat, route));
            }
            Err(rejection) => {
                self.dead_letters.push(outgoing_dead_letter(&rejection, route, report()));
                let Rejection { code, detail } = rejection;
                self.rejected.push(Rejected { index, code: code.as_str(), detail });
            }
        }
    }
}

fn outgoing_record(heartbeat: Heartbeat, route: Route<'_>) -> Outgoing {
    let key = record::key(route.site, &heartbeat.user_id);
    let value = Record::new(route.site, heartbeat).encode_to_vec();
    let partition = topic::partition_for(&key, route.heartbeat_partitions);
    Outgoing { partition, key: Bytes::from(key), value: Bytes::from(value) }
}

fn outgoing_dead_letter(rejection: &Rejection, route: Route<'_>, report: Report) -> Outgoing {
    let letter = DeadLetter {
        site: route.site,
        received_at: route.received_at,
        code: rejection.code.as_str(),
        detail: &rejection.detail,
        report,
    };
    let value = serde_json::to_vec(&letter).expect("texts and numbers are always JSON");
    let key = Bytes::copy_from_slice(route.site.as_bytes());
    let partition = topic::partition_for(&key, route.dead_letter_partitions);
    Outgoing { partition, key, value: Bytes::from(value) }
}

/// Value of a record on the dead-letter topic.
#[derive(Serialize)]
struct DeadLetter<'a> {
    site: &'a str,
    received_at: i64,
    code: &'static str,
    detail: &'a str,
    report: Report,
}

/// A refused report as it is kept: itself when it is readable JSON and short, otherwise (the beginning of) its text.
#[derive(Serialize)]
#[serde(untagged)]
enum Report {
    Json(Box<RawValue>),
    Text(String),
}

impl Report {
    /// Valid JSON is not always readable JSON: 1e400, half a surrogate pair or a thousand brackets stop many a reader, so
    /// what our own could not read is kept as text.
    fn of_text(text: &str) -> Report {
        if text.len() <= MAX_DEAD_REPORT_BYTES
            && serde_json::from_str::<serde_json::Value>(text).is_ok()
            && let Ok(value) = serde_json::from_str(text)
        {
            return Report::Json(value);
        }
        Report::Text(text[..text.floor_char_boundary(MAX_DEAD_REPORT_BYTES)].to_owned())
    }

    fn of_message(message: &message::Heartbeat) -> Report {
        Report::of_text(&serde_json::to_string(message).expect("a message is texts and numbers"))
    }
}
