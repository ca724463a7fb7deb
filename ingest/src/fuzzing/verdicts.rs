//! What is true of every verdict, whatever was judged: nothing is lost, what is accepted reads back as it was meant, and what
//! is refused is kept as valid JSON, bounded, and without the names of those who must not be named.

use crate::adapters::Foreign;
use crate::body::Reports;
use crate::limits::{MAX_DEAD_REPORT_BYTES, MAX_REPORTS};
use crate::problem::Problem;
use crate::pseudonym::Peppers;
use crate::redaction::is_field;
use crate::verdict::{self, Rejected, ReportContext, Verdict};
use playback::heartbeat::{Heartbeat, State};
use playback::json::{self, AD_FIELDS};
use playback::message;
use playback::record::{self, Record};
use playback::rejection::Rejection;
use playback::validate::is_ours;
use prost::Message;
use serde_json::{Map, Value, json};
use topic::Outgoing;

/// When everything is received: two hours after the events of the fixtures.
pub(super) const RECEIVED_AT: i64 = 1_763_640_000_000;
const SITE: &str = "fuzzed";
const USER: &str = "user-1";
const PEPPERS: &str = r#"{"epochs":[{"epoch":1,"pepper":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","from":0}]}"#;
/// What a sender is told about one report. It is written by us, so it may be a sentence and never a body.
const MAX_DETAIL_BYTES: usize = 300;
/// A control character is 6 bytes of JSON.
const MAX_DEAD_LETTER_BYTES: usize = MAX_DEAD_REPORT_BYTES + 1_024;

/// A verdict in the form in which it can be compared: the record, or the code and the detail.
type Outcome = Result<Record, (String, String)>;

/// Judges reports on every route and gives, for each report that was not ignored, what became of it on the plain one.
pub(super) fn outcomes(reports: &Reports<'_>) -> Vec<Outcome> {
    let context =
        ReportContext { user_id: None, peppers: None, gathers_users: true, site: SITE, received_at: RECEIVED_AT };
    let verdict = verdict::judge(reports, context);
    let outcomes = checked(&verdict, reports);
    assert_eq!(verdict.users.values().map(|reports| *reports as usize).sum::<usize>(), verdict.accepted);
    if !matches!(reports, Reports::Foreign(_)) {
        letters(&verdict).for_each(|letter| names_nobody_without_consent(&letter));
    }
    let peppers = Peppers::parse(PEPPERS).unwrap();
    let verdict = verdict::judge(reports, ReportContext { peppers: Some(&peppers), gathers_users: false, ..context });
    assert!(verdict.users.is_empty());
    assert_eq!(checked(&verdict, reports).len(), outcomes.len());
    names_nobody(&verdict);
    let verdict = verdict::judge(reports, ReportContext { user_id: Some(USER), ..context });
    for record in checked(&verdict, reports).into_iter().flatten() {
        assert!(record.user_id == USER || record.user_id.starts_with("s."), "{record:?}");
    }
    outcomes
}

/// Checks a verdict in itself and puts what it says in the order of the body.
fn checked(verdict: &Verdict, reports: &Reports<'_>) -> Vec<Outcome> {
    let count = reports.len();
    assert!(count <= MAX_REPORTS);
    assert_eq!(verdict.accepted + verdict.rejected.len() + verdict.ignored, count, "a report got lost");
    assert_eq!(verdict.records.heartbeats.len(), verdict.accepted);
    assert_eq!(verdict.records.dead_letters.len(), verdict.rejected.len());
    let is_ignored = |index: usize| matches!(reports, Reports::Foreign(events) if events[index] == Foreign::Ignored);
    let mut accepted = verdict.records.heartbeats.iter();
    let mut rejected = verdict.rejected.iter().zip(letters(verdict)).map(refused).peekable();
    let mut outcomes = Vec::with_capacity(count);
    for index in (0..count).filter(|index| !is_ignored(*index)) {
        outcomes.push(match rejected.next_if(|(place, _)| *place == index) {
            Some((_, outcome)) => outcome,
            None => Ok(record_of(accepted.next().expect("each report has one verdict"))),
        });
    }
    assert!(accepted.next().is_none() && rejected.next().is_none(), "a verdict on a report that is not there");
    outcomes
}

/// What the sender of a refused report is told, which must be what its dead letter says.
fn refused((rejected, letter): (&Rejected, Value)) -> (usize, Outcome) {
    let told = serde_json::to_value(rejected).unwrap();
    let [code, detail] = [&told["code"], &told["detail"]].map(|text| text.as_str().unwrap().to_owned());
    is_ours_to_say(&detail);
    assert_eq!((&letter["code"], &letter["detail"]), (&told["code"], &told["detail"]));
    assert_eq!((&letter["site"], &letter["received_at"]), (&json!(SITE), &json!(RECEIVED_AT)));
    (told["index"].as_u64().unwrap() as usize, Err((code, detail)))
}

/// The record that an accepted report became, as its reader sees it.
fn record_of(outgoing: &Outgoing) -> Record {
    let record = Record::decode(&*outgoing.value).unwrap();
    assert!(is_ours(&record), "the processor would not take {record:?}");
    assert_eq!(record.encode_to_vec(), outgoing.value);
    assert_eq!(record::key(SITE, &record.user_id), outgoing.key);
    assert_eq!((&*record.site, record.received_at), (SITE, RECEIVED_AT));
    record
}

/// The dead letters, which must be JSON and fit the topic.
fn letters(verdict: &Verdict) -> impl Iterator<Item = Value> {
    verdict.records.dead_letters.iter().map(|letter| {
        assert!(letter.value.len() <= MAX_DEAD_LETTER_BYTES, "a dead letter of {} bytes", letter.value.len());
        assert_eq!(letter.key, SITE.as_bytes());
        serde_json::from_slice(&letter.value).expect("a dead letter is JSON")
    })
}

/// With peppers no user id is on the log.
fn names_nobody(verdict: &Verdict) {
    for letter in letters(verdict) {
        names_nobody_without_consent(&letter);
        let report = &letter["report"];
        assert!(report.is_object() || report.is_null(), "text is kept although it may name a user: {report}");
        assert!(report["user_id"].as_str().is_none_or(is_pseudonym), "{report}");
        has_only_known_fields(report);
    }
    let mut unrecognised = 0;
    for outgoing in &verdict.records.heartbeats {
        let record = Record::decode(&*outgoing.value).unwrap();
        assert!(is_pseudonym(&record.user_id), "{record:?}");
        if record.user_id.starts_with("s.") {
            unrecognised += 1;
            assert_eq!(record.device, "");
        }
    }
    assert_eq!(unrecognised, verdict.unrecognised);
}

/// Nothing in a report that refuses consent says who sent it, peppers or not.
fn names_nobody_without_consent(letter: &Value) {
    let report = &letter["report"];
    if !matches!(report["consent"], Value::Null | Value::Bool(true)) {
        assert!(report["user_id"].is_null() || report["user_id"].as_str().is_some_and(|id| id.starts_with("s.")));
        assert!(report["device"].is_null(), "{report}");
        has_only_known_fields(report);
    }
}

/// Others may say anything of a viewer.
fn has_only_known_fields(report: &Value) {
    let of = |value: &Value| value.as_object().into_iter().flat_map(Map::keys).cloned().collect::<Vec<_>>();
    assert!(of(report).iter().all(|name| is_field(name)), "{report}");
    assert!(of(&report["ad"]).iter().all(|name| AD_FIELDS.contains(&name.as_str())), "{report}");
}

/// The first epoch's, or one of a session.
fn is_pseudonym(user_id: &str) -> bool {
    user_id.strip_prefix("1.").or(user_id.strip_prefix("s.")).is_some_and(|digest| digest.len() == 27)
}

/// Holds the outcome of a report against how the domain judges it by itself.
pub(super) fn agree(outcome: &Outcome, judged: Result<Heartbeat<'_>, Rejection>) {
    match (outcome, judged) {
        (Ok(record), Ok(heartbeat)) => {
            restated(&heartbeat);
            let consent = heartbeat.consent;
            let (bytes, key_bytes) = record::written(SITE, &heartbeat);
            let mut expected = Record::decode(&bytes[key_bytes..]).unwrap();
            if !consent {
                assert!(record.user_id.starts_with("s."));
                (expected.user_id, expected.device) = (record.user_id.clone(), String::new());
            }
            assert_eq!(*record, expected);
        }
        (Err((code, _)), Err(rejection)) => assert_eq!(code, rejection.code.as_str()),
        (outcome, judged) => panic!("{outcome:?} although it is {judged:?}"),
    }
}

/// Judges a JSON report both ways, which must come to the same.
pub(super) fn both_ways(text: &str) -> Result<Heartbeat<'_>, Rejection> {
    // A space before the report is enough for the strict way.
    let spaced = format!(" {text}");
    let (quickly, strictly) = (json::heartbeat(text, RECEIVED_AT), json::heartbeat(&spaced, RECEIVED_AT));
    match (&quickly, &strictly) {
        (Ok(quick), Ok(strict)) => assert_eq!(quick, strict),
        (Err(quick), Err(strict)) => assert_eq!(quick.code, strict.code),
        (quick, strict) => panic!("{quick:?} in one pass, {strict:?} field by field: {text}"),
    }
    quickly
}

/// A heartbeat said again in either form, by the gateway's clock, is the same heartbeat.
fn restated(heartbeat: &Heartbeat<'_>) {
    let (text, message) = (as_json(heartbeat).to_string(), as_message(heartbeat));
    let expected = Heartbeat { device_time: heartbeat.event_time, ..heartbeat.clone() };
    assert_eq!(json::heartbeat(&text, heartbeat.received_at).unwrap(), expected);
    assert_eq!(message::heartbeat(&message, heartbeat.received_at).unwrap(), expected);
}

fn as_json(heartbeat: &Heartbeat<'_>) -> Value {
    let state = match heartbeat.state {
        State::Playing => "playing",
        State::Paused => "paused",
        State::Buffering => "buffering",
        State::Seeking => "seeking",
        State::Ended => "ended",
        State::Error => "error",
    };
    // 62 is what 0.0625 is rounded to, and 0.062 would be out of bounds.
    let rate = if heartbeat.rate == 62 { 0.0625 } else { f64::from(heartbeat.rate) / 1_000.0 };
    let ad = heartbeat.ad.as_ref().map(|ad| {
        json!({"impression_id": ad.impression_id, "line_id": ad.line_id, "creative_id": ad.creative_id,
            "quartile": ad.quartile, "viewable_ms": ad.viewable_ms})
    });
    json!({
        "session_id": heartbeat.session_id, "seq": heartbeat.seq, "user_id": heartbeat.user_id,
        "video_id": heartbeat.video_id, "event_time": heartbeat.event_time, "position_ms": heartbeat.position_ms,
        "from_ms": heartbeat.played.map(|played| played.from_ms),
        "played_ms": heartbeat.played.map(|played| played.played_ms),
        "state": state, "rate": rate, "duration_ms": heartbeat.duration_ms, "territory": heartbeat.territory,
        "device": heartbeat.device, "consent": heartbeat.consent, "ad": ad,
    })
}

fn as_message(heartbeat: &Heartbeat<'_>) -> message::Heartbeat {
    message::Heartbeat {
        session_id: Some(heartbeat.session_id.to_string()),
        seq: Some(heartbeat.seq.into()),
        user_id: Some(heartbeat.user_id.to_string()),
        video_id: Some(heartbeat.video_id.to_string()),
        event_time: Some(heartbeat.event_time),
        position_ms: Some(heartbeat.position_ms.into()),
        sent_at: None,
        from_ms: heartbeat.played.map(|played| played.from_ms.into()),
        played_ms: heartbeat.played.map(|played| played.played_ms.into()),
        state: Some(heartbeat.state as i32),
        rate_thousandths: Some(heartbeat.rate.into()),
        duration_ms: heartbeat.duration_ms.map(i64::from),
        territory: heartbeat.territory.as_deref().map(str::to_owned),
        device: heartbeat.device.as_deref().map(str::to_owned),
        consent: Some(heartbeat.consent),
        ad: heartbeat.ad.as_ref().map(|ad| message::Ad {
            impression_id: Some(ad.impression_id.to_string()),
            line_id: Some(ad.line_id.to_string()),
            creative_id: ad.creative_id.as_deref().map(str::to_owned),
            quartile: ad.quartile.map(i64::from),
            viewable_ms: ad.viewable_ms.map(i64::from),
        }),
    }
}

/// A refused body is told in a sentence of ours.
pub(super) fn told(problem: &Problem) {
    assert!(problem.fault.status().is_client_error(), "{problem:?}");
    is_ours_to_say(&problem.detail);
}

/// A detail is a sentence of ours that quotes nothing: it also goes where users must not be named.
fn is_ours_to_say(detail: &str) {
    assert!(detail.len() <= MAX_DETAIL_BYTES, "a detail of {} bytes: {detail:.400}", detail.len());
    assert!(!detail.contains(USER), "a detail quotes what was sent: {detail}");
}
