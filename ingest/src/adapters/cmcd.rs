//! CMCD version 2, event mode: one report per line, a dictionary of structured fields (RFC 8941). Every line is one point.
//!
//! It counts its reports itself (`sn`), knows no user, no length of the title and no ads beyond that there are some.

use super::draft::{Draft, id};
use super::order::{self, Turn};
use super::{Foreign, Given, MAX_TRANSLATED, refused};
use playback::rejection::Code;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

pub(super) fn reports(body: &str, given: &Given) -> Vec<Foreign> {
    let lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.take(MAX_TRANSLATED).map(|line| report(line, given)).collect()
}

fn report(line: &str, given: &Given) -> Foreign {
    let keys = match Parser::new(line).parse::<Dictionary>() {
        Ok(keys) => Keys(keys),
        Err(error) => return refused(Code::MalformedJson, format!("the line is no CMCD: {error}"), line),
    };
    let event = keys.text("e");
    let state = keys.text("sta");
    let position_ms = keys.number("pt").map(|ms| ms.round() as i64);
    // `ts` of a response is when its request began, which fits no playhead.
    let is_of_request = event == Some("rr");
    let is_before_start = matches!(state, Some("s" | "d")) && position_ms.is_none();
    if is_of_request || is_before_start {
        return Foreign::Ignored;
    }
    let rate = keys.number("pr");
    let (state, turn) = match (event, state) {
        (Some("abs" | "as" | "ae"), _) => ("paused", Turn::Stop),
        (_, Some("a" | "q")) => ("paused", Turn::Stop),
        (_, Some("k")) => ("seeking", Turn::Stop),
        (_, Some("s" | "d" | "r" | "w")) => ("buffering", Turn::Stop),
        (_, Some("e")) => ("ended", Turn::Stop),
        (_, Some("f")) => ("error", Turn::Stop),
        _ if rate == Some(0.0) => ("paused", Turn::Stop),
        (Some("t"), _) => ("playing", Turn::On),
        _ => ("playing", Turn::Start),
    };
    let event_time = keys.number("ts").map(|ms| ms as i64);
    let (sid, sn) = (keys.text("sid").and_then(id), keys.number("sn").map(|sn| sn as i64));
    let (session_id, seq) = match (sid.as_deref(), sn, event_time) {
        (Some(sid), None, Some(at)) => {
            let place = order::in_week(sid, at, turn);
            (Some(place.session_id), Some(place.seq))
        }
        _ => (sid.clone(), sn),
    };
    let user_id = given.user_id.as_deref().and_then(id).or(sid);
    let video_id = keys.text("cid").and_then(id);
    Draft { session_id, seq, user_id, video_id, event_time, position_ms, state, rate, ..Draft::default() }.finish(given)
}

/// The keys of a line.
struct Keys(Dictionary);

impl Keys {
    fn value(&self, key: &str) -> Option<&BareItem> {
        match self.0.get(key)? {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        }
    }

    /// A string, or a token as the enumerated keys have.
    fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            BareItem::String(text) => Some(text.as_str()),
            BareItem::Token(token) => Some(token.as_str()),
            _ => None,
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            BareItem::Integer(number) => Some(i64::from(*number) as f64),
            BareItem::Decimal(number) => Some(f64::from(*number)),
            _ => None,
        }
    }
}
