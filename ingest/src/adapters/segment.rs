//! Segment's video specification: track calls, alone or in a batch. Content events become points, ad events ad reports;
//! playback events become points where their position is that of the content.
//!
//! It tells neither when a session began nor how many events it had, nor what was played between two of them.

use super::draft::{Draft, id_of, ms_of_iso, ms_of_seconds};
use super::order::{self, Turn};
use super::{Foreign, Given, MAX_TRANSLATED, reason, refused};
use crate::problem::{Fault, Problem};
use playback::rejection::Code;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The body: a batch of calls, or one call, of which nothing matters here.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    batch: Option<Vec<&'a RawValue>>,
    #[serde(rename = "sentAt")]
    sent_at: Option<Value>,
}

pub(super) fn reports(body: &str, given: &Given) -> Result<Vec<Foreign>, Problem> {
    let malformed =
        |detail: String| Problem::new(Fault::MalformedJson, format!("the body is no Segment call: {detail}"));
    // A derived struct would take an array too.
    if !body.trim_ascii_start().starts_with('{') {
        return Err(malformed("it is not a JSON object".to_owned()));
    }
    let Body { batch, sent_at } = serde_json::from_str(body).map_err(|error| malformed(reason(&error)))?;
    let calls = batch.map_or_else(|| vec![body], |calls| calls.into_iter().map(RawValue::get).collect());
    Ok(calls.into_iter().take(MAX_TRANSLATED).map(|call| report(call, sent_at.as_ref(), given)).collect())
}

fn report(source: &str, batch_sent_at: Option<&Value>, given: &Given) -> Foreign {
    let call: Value = match serde_json::from_str(source) {
        Ok(call) => call,
        Err(error) => return refused(Code::MalformedJson, format!("the call is no JSON: {error}"), source),
    };
    if !call.is_object() {
        return refused(Code::NotAnObject, "a call is a JSON object".to_owned(), source);
    }
    // Calls to the address of tracks have no type.
    if call["type"].as_str().is_some_and(|kind| kind != "track") {
        return Foreign::Ignored;
    }
    let name = call["event"].as_str().unwrap_or_default().trim().to_ascii_lowercase();
    let properties = &call["properties"];
    let common = || common(&call, batch_sent_at, given);
    match name.strip_prefix("video ").and_then(|name| name.split_once(' ')) {
        Some(("content", what)) => match content_state(what) {
            Some((state, turn)) => content(common(), properties, &properties["asset_id"], state, turn).finish(given),
            None => Foreign::Ignored,
        },
        Some(("playback", what)) => match playback_state(what) {
            Some((state, turn)) if is_of_content(properties, given) => {
                let mut draft = content(common(), properties, &properties["content_asset_id"], state, turn);
                // Its length is that of content and ads.
                draft.duration_ms = None;
                draft.finish(given)
            }
            _ => Foreign::Ignored,
        },
        Some(("ad", what)) => match ad_quartile(what, properties) {
            Some(quartile) => ad(common(), properties, quartile).finish(given),
            None => Foreign::Ignored,
        },
        _ => Foreign::Ignored,
    }
}

/// What all reports of a call share.
fn common(call: &Value, batch_sent_at: Option<&Value>, given: &Given) -> Draft {
    let event_time = ms_of_iso(&call["timestamp"]).or_else(|| ms_of_iso(&call["originalTimestamp"]));
    let sent_at = ms_of_iso(&call["sentAt"]).or_else(|| batch_sent_at.and_then(ms_of_iso));
    // A call that was received before, by Segment, has its time corrected already.
    let is_forwarded = call["receivedAt"].is_string();
    let context = &call["context"];
    let choices = &context["consent"]["categoryPreferences"];
    Draft {
        user_id: id_of(&call["userId"]).or_else(|| id_of(&call["anonymousId"])),
        event_time,
        sent_at: sent_at.filter(|_| !is_forwarded),
        territory: context["location"]["country"].as_str().map(str::to_owned),
        device: context["device"]["type"].as_str().map(str::to_owned),
        // As Segment's consent management writes it. A category that is not there was not agreed to.
        agrees: given.consent_categories.iter().all(|category| choices[category] == true),
        ..Draft::default()
    }
}

fn content(mut draft: Draft, properties: &Value, asset_id: &Value, state: &'static str, turn: Turn) -> Draft {
    let session_id = id_of(&properties["session_id"]);
    (draft.session_id, draft.seq) = match (session_id, draft.event_time) {
        (Some(session_id), Some(at)) => {
            let place = order::in_week(&session_id, at, turn);
            (Some(place.session_id), Some(place.seq))
        }
        // The time is what is missing, not the count.
        (session_id, _) => (session_id, Some(0)),
    };
    let is_live = properties["livestream"] == true;
    draft.video_id = id_of(asset_id);
    draft.position_ms = ms_of_seconds(&properties["position"]);
    draft.duration_ms = ms_of_seconds(&properties["total_length"]).filter(|_| !is_live);
    draft.state = state;
    draft
}

fn content_state(what: &str) -> Option<(&'static str, Turn)> {
    match what {
        "started" => Some(("playing", Turn::Start)),
        "playing" => Some(("playing", Turn::On)),
        "completed" => Some(("ended", Turn::Stop)),
        _ => None,
    }
}

fn playback_state(what: &str) -> Option<(&'static str, Turn)> {
    match what {
        "resumed" | "seek completed" | "buffer completed" => Some(("playing", Turn::Start)),
        "paused" | "interrupted" | "exited" => Some(("paused", Turn::Stop)),
        "seek started" => Some(("seeking", Turn::Stop)),
        "buffer started" => Some(("buffering", Turn::Stop)),
        "completed" => Some(("ended", Turn::Stop)),
        _ => None,
    }
}

/// The position of a playback event includes the ads seen. It is the content's when no ads can have been seen, or when the
/// address says that these players do not count them; never while an ad plays, nor between the contents.
fn is_of_content(properties: &Value, given: &Given) -> bool {
    let plays_content = properties["ad_asset_id"].is_null() && !properties["content_asset_id"].is_null();
    plays_content && (given.playback_excludes_ads || properties["ad_enabled"] == false)
}

fn ad(draft: Draft, properties: &Value, quartile: i64) -> Draft {
    let session_id = id_of(&properties["session_id"]).unwrap_or_default();
    let part = |name: &str| id_of(&properties[name]).unwrap_or_default();
    let showing = [&*session_id, &*part("pod_id"), &*part("pod_position"), &*part("asset_id")];
    let mut draft = draft.of_ad(&showing, id_of(&properties["asset_id"]), quartile);
    if session_id.is_empty() {
        draft.session_id = None; // else all such ads were one showing
    }
    draft
}

/// Quarters of the ad that were played: as told, else by the position in it.
fn ad_quartile(what: &str, properties: &Value) -> Option<i64> {
    match what {
        "started" => Some(0),
        "completed" => Some(4),
        "playing" => {
            let (position, length) = (properties["position"].as_f64(), properties["total_length"].as_f64());
            let length = length.filter(|length| *length > 0.0);
            let by_position = || position.zip(length).map(|(position, length)| (4.0 * position / length) as i64);
            Some(properties["quartile"].as_i64().or_else(by_position).unwrap_or_default().clamp(0, 3))
        }
        _ => None,
    }
}
