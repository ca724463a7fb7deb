//! Bodies: of JSON, of Protobuf, and of the formats of others.

use super::verdicts::{RECEIVED_AT, agree, both_ways, outcomes, told};
use crate::adapters::{Foreign, Format};
use crate::body::{Form, Reports};
use crate::problem::Fault;
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use playback::message::{self, Heartbeats};
use prost::Message;
use std::slice;

/// Reports of a body that are also judged alone.
const ALONE: usize = 4;

/// A body as JSON, whichever way it is laid out.
pub(super) fn json(body: &[u8]) {
    let form = form("application/json");
    let reports = match form.reports(body) {
        Ok(reports) => reports,
        Err(problem) => return told(&problem),
    };
    let texts = match &reports {
        Reports::Plain(reports) => reports.iter().map(|(_, text)| *text).collect(),
        Reports::Json(texts) => texts.clone(),
        Reports::Foreign(_) | Reports::Messages(_) => unreachable!("a body of JSON has reports of JSON"),
    };
    let outcomes = outcomes(&reports);
    assert_eq!(outcomes.len(), texts.len());
    for (outcome, text) in outcomes.iter().zip(&texts) {
        agree(outcome, both_ways(text));
    }
    // An array within an array is no report, and an array by itself is many.
    let alone = outcomes.iter().zip(&texts).filter(|(_, text)| !text.starts_with('['));
    for (outcome, text) in alone.take(ALONE) {
        match form.reports(text.as_bytes()) {
            Ok(reports) => assert_eq!(super::verdicts::outcomes(&reports), slice::from_ref(outcome), "{text}"),
            Err(problem) => {
                // A line that is no JSON may be refused for a field that is there twice before it breaks off.
                let code = outcome.as_ref().map_err(|(code, _)| code.as_str()).map(drop);
                assert!(matches!(code, Err("malformed_json" | "duplicate_field")), "{code:?}: {text}");
                assert_eq!(problem.fault, Fault::MalformedJson, "{text}");
            }
        }
    }
}

/// A body as Protobuf.
pub(super) fn protobuf(body: &[u8]) {
    let form = form("application/x-protobuf");
    let reports = match form.reports(body) {
        Ok(reports) => reports,
        Err(problem) => return told(&problem),
    };
    let outcomes = outcomes(&reports);
    let Reports::Messages(messages) = reports else { unreachable!("a body of Protobuf has messages") };
    assert_eq!(outcomes.len(), messages.len());
    for (outcome, message) in outcomes.iter().zip(&messages) {
        agree(outcome, message::heartbeat(message, RECEIVED_AT));
    }
    let again = Heartbeats { heartbeats: messages.clone() }.encode_to_vec();
    match form.reports(&again) {
        Ok(Reports::Messages(again)) => assert_eq!(again, messages),
        again => assert!(messages.is_empty(), "{again:?}"),
    }
}

/// A body in a format of others; the first byte chooses the format and what the address says.
pub(super) fn adapters(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let format = [Format::Cmcd, Format::Snowplow, Format::Segment][usize::from(choice % 3)];
    let query = match choice / 3 % 3 {
        0 => None,
        1 => Some("user_id=user-1&territory=DE&device=tv&playback_position=content"),
        _ => Some("user_id=user%201&territory=%C3%A9&device=%00"),
    };
    let events = match format.reports(body, query, None) {
        Ok(events) => events,
        Err(problem) => return told(&problem),
    };
    if format == Format::Cmcd && events.len() > 1 {
        // Each event is translated by itself.
        let text = std::str::from_utf8(body).unwrap();
        let alone = text.lines().filter_map(|line| format.reports(line.as_bytes(), query, None).ok());
        assert_eq!(alone.flatten().collect::<Vec<_>>(), events);
    }
    let told: Vec<Foreign> = events.iter().filter(|event| **event != Foreign::Ignored).cloned().collect();
    let outcomes = outcomes(&Reports::Foreign(events));
    assert_eq!(outcomes.len(), told.len());
    for event in &told {
        if let Foreign::Report(text) = event {
            let fields: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(fields.is_object());
        }
    }
    let judged = outcomes.iter().zip(&told);
    for (outcome, event) in judged {
        match event {
            Foreign::Report(text) => agree(outcome, both_ways(text)),
            Foreign::Refused { rejection, .. } => agree(outcome, Err(rejection.clone())),
            Foreign::Ignored => unreachable!("they were left out"),
        }
    }
}

fn form(media_type: &'static str) -> Form {
    Form::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))])).unwrap()
}
