//! Bodies as players send them, and what becomes of each event: a table per fixture.

use super::{Foreign, Format, Given};
use crate::limits::MAX_REPORTS;
use crate::problem::Fault;
use expect_test::Expect;
use playback::facts::Facts;
use playback::heartbeat::Heartbeat;
use playback::json;
use playback::kernel::{Kernel, Parameters};
use playback::record::{self, Record};
use prost::Message;
use std::fmt::Write;

/// 2025-11-20T10:00:00Z, when every fixture begins.
const BEGIN: i64 = 1_763_632_800_000;
/// When every fixture is received.
const RECEIVED_AT: i64 = BEGIN + 2 * 3_600_000;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $name))
    };
}

mod cmcd;
mod segment;
mod snowplow;

fn translated(format: Format, body: &str, query: &str) -> Vec<Foreign> {
    format.reports(body.as_bytes(), Some(query), None).unwrap()
}

/// One line per event: the report it became, as it is judged, or what else.
fn check(format: Format, body: &str, query: &str, expected: Expect) {
    let mut table = String::new();
    for foreign in translated(format, body, query) {
        match foreign {
            Foreign::Ignored => table.push_str("ignored\n"),
            Foreign::Refused { rejection, source } => {
                let kept = source.map_or("withheld".to_owned(), |source| format!("{} bytes", source.len()));
                writeln!(table, "unreadable: {rejection} ({kept})").unwrap();
            }
            Foreign::Report(text) => match json::heartbeat(&text, RECEIVED_AT) {
                Ok(heartbeat) => writeln!(table, "{}", line(&heartbeat)).unwrap(),
                Err(rejection) => writeln!(table, "refused: {}", rejection.code).unwrap(),
            },
        }
    }
    expected.assert_eq(&table);
}

fn line(heartbeat: &Heartbeat<'_>) -> String {
    let Heartbeat { session_id, seq, user_id, video_id, event_time, position_ms, state, rate, .. } = heartbeat;
    let at = event_time - BEGIN;
    let mut line = format!("{session_id} {seq} {user_id} {video_id} at {at} pos {position_ms} {state:?}");
    assert_eq!(heartbeat.played, None, "no format tells what was played");
    if *rate != 1_000 {
        write!(line, " rate {rate}").unwrap();
    }
    if let Some(duration_ms) = heartbeat.duration_ms {
        write!(line, " of {duration_ms}").unwrap();
    }
    for label in heartbeat.territory.iter().chain(&heartbeat.device) {
        write!(line, " {label}").unwrap();
    }
    if !heartbeat.consent {
        line.push_str(" without consent");
    }
    if let Some(ad) = &heartbeat.ad {
        assert_eq!(ad.impression_id, *session_id, "each showing is a session");
        write!(line, " ad {} creative {:?} quartile {:?}", ad.line_id, ad.creative_id, ad.quartile.unwrap()).unwrap();
    }
    line
}

/// Content that the accepted reports prove, in ms, as the kernel credits it once nothing waits any more.
fn credited(reports: impl IntoIterator<Item = Foreign>) -> i64 {
    let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
    for (index, foreign) in reports.into_iter().enumerate() {
        let Foreign::Report(text) = foreign else { continue };
        let Ok(heartbeat) = json::heartbeat(&text, RECEIVED_AT) else { continue };
        let (bytes, key_bytes) = record::written("site", &heartbeat);
        kernel.fold(&Record::decode(&bytes[key_bytes..]).unwrap(), RECEIVED_AT + index as i64, &mut facts);
    }
    kernel.tick(RECEIVED_AT + 3_600_000, &mut facts);
    facts.sessions.iter().map(|session| i64::from(session.gross_ms)).sum()
}

/// Checks what a body proves, and that neither a second try nor another order changes it.
fn check_credit(format: Format, body: &str, credited_ms: i64) {
    let reports = translated(format, body, "");
    let twice = reports.iter().chain(&reports).cloned();
    let backwards = reports.iter().rev().cloned();
    assert_eq!([credited(reports.clone()), credited(twice), credited(backwards)], [credited_ms; 3]);
}

#[test]
fn routes_are_those_the_senders_can_be_pointed_at() {
    let formats = [
        ("/v1/adapters/cmcd", Some(Format::Cmcd)),
        ("/v1/adapters/snowplow", Some(Format::Snowplow)),
        ("/com.snowplowanalytics.snowplow/tp2", Some(Format::Snowplow)),
        ("/v1/adapters/segment", Some(Format::Segment)),
        ("/v1/adapters/segment/v1/track", Some(Format::Segment)),
        ("/v1/adapters/segment/v1/batch", Some(Format::Segment)),
        ("/v1/adapters/segment/b", Some(Format::Segment)),
        ("/v1/adapters/segments", None),
        ("/v1/adapters/cmcd/x", None),
        ("/v1/adapters", None),
        ("/v1/heartbeats", None),
    ];
    for (path, format) in formats {
        assert_eq!(Format::of_path(path), format, "{path}");
    }
}

#[test]
fn a_body_is_refused_as_a_whole_only_when_that_jams_no_sender() {
    let fault = |format: Format, body: &[u8]| format.reports(body, None, None).map_err(|problem| problem.fault);
    for format in [Format::Cmcd, Format::Snowplow, Format::Segment] {
        assert_eq!(fault(format, b" \n"), Err(Fault::EmptyBody));
    }
    assert_eq!(fault(Format::Cmcd, b"sid=\"\xff\""), Err(Fault::InvalidUtf8));
    assert_eq!(fault(Format::Segment, b"{\"a\":\"\xff\"}"), Err(Fault::InvalidUtf8));
    assert!(matches!(fault(Format::Snowplow, b"{\"\xff").as_deref(), Ok([Foreign::Refused { .. }])));
    assert_eq!(fault(Format::Segment, b"[]"), Err(Fault::MalformedJson));
}

#[test]
fn what_is_wrong_with_a_body_is_told_without_quoting_it() {
    let told = [
        Format::Segment.reports(br#"{"batch":"alice"}"#, None, None).unwrap_err().detail.into_owned(),
        match &Format::Snowplow.reports(br#"{"data":"alice"}"#, None, None).unwrap()[..] {
            [Foreign::Refused { rejection, .. }] => rejection.detail.clone(),
            events => panic!("{events:?}"),
        },
    ];
    let expected = [
        "the body is no Segment call: wrong type at line 1 column 16",
        "the body is no Snowplow payload_data: wrong type at line 1 column 15",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_body_has_as_many_events_as_any_other_has_reports() {
    let calls = |count: usize| format!(r#"{{"batch":[{}]}}"#, vec![r#"{"type":"page"}"#; count].join(","));
    assert_eq!(translated(Format::Segment, &calls(MAX_REPORTS), "").len(), MAX_REPORTS);
    let problem = Format::Segment.reports(calls(MAX_REPORTS + 1).as_bytes(), None, None).unwrap_err();
    assert_eq!(problem.fault, Fault::TooManyReports);
}

#[test]
fn of_a_body_with_far_too_many_events_only_as_many_are_translated_as_say_so() {
    let given = Given::of(Some("user_id=somebody"));
    let events = |event: &str, between: &str| vec![event; 100_000].join(between);
    let (calls, data) = (events("{}", ","), events("1", ","));
    let translated = [
        super::cmcd::reports(&events("a", "\n"), &given).len(),
        super::segment::reports(&format!(r#"{{"batch":[{calls}]}}"#), &given).unwrap().len(),
        super::snowplow::reports(&format!(r#"{{"data":[{data}]}}"#), &given).unwrap().len(),
    ];
    assert_eq!(translated, [MAX_REPORTS + 1; 3]);
}

#[test]
fn every_answer_is_a_success_with_the_body_its_senders_know() {
    let answers = [Format::Cmcd, Format::Snowplow, Format::Segment].map(|format| {
        let answer = format.answer();
        (answer.status.as_u16(), answer.content_type, answer.body)
    });
    let expected =
        [(204, None, ""), (200, Some("text/plain"), "ok"), (200, Some("application/json"), r#"{"success":true}"#)];
    assert_eq!(answers, expected);
}

#[test]
fn a_category_of_consent_that_a_format_cannot_say_was_not_agreed_to() {
    for (format, body) in
        [(Format::Cmcd, fixture!("cmcd/playing.txt")), (Format::Snowplow, fixture!("snowplow/playing.json"))]
    {
        for (query, consents) in [("", true), ("consent_category=Analytics", false)] {
            let consent = |foreign: &Foreign| match foreign {
                Foreign::Report(text) => Some(json::heartbeat(text, RECEIVED_AT).ok()?.consent),
                _ => None,
            };
            let given: Vec<bool> = translated(format, body, query).iter().filter_map(consent).collect();
            assert!(given.len() > 3, "{format:?}: {given:?}");
            assert!(given.iter().all(|given| *given == consents), "{format:?} with {query:?}");
        }
    }
}
