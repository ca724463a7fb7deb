//! Snowplow's tracker protocol: a batch of events, each a map of strings with self-describing JSON inside. Of these the
//! events of the media plugin become points and ad reports; page views and the rest are ignored.
//!
//! The sums that the session entity carries (`timePlayed`, `contentWatched`) are sums since its start: without the one
//! before they do not tell what was played since, so they are not used.

use super::draft::{Draft, id, id_of, ms_of_iso, ms_of_seconds};
use super::order::{self, Turn};
use super::{Foreign, Given, MAX_TRANSLATED, reason};
use crate::problem::{Fault, Problem};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use playback::rejection::{Code, Rejection};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// As trackers write it: the alphabet for addresses, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const MEDIA: &str = "com.snowplowanalytics.snowplow.media/";

/// The body: `payload_data`.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

pub(super) fn reports(body: &str, given: &Given) -> Result<Vec<Foreign>, Problem> {
    let payload: Payload = serde_json::from_str(body).map_err(|error| {
        Problem::new(Fault::MalformedJson, format!("the body is no Snowplow payload_data: {}", reason(&error)))
    })?;
    Ok(payload.data.iter().take(MAX_TRANSLATED).map(|event| report(event.get(), given)).collect())
}

fn report(source: &str, given: &Given) -> Foreign {
    let event = match Event::read(source) {
        Ok(Some(event)) => event,
        Ok(None) => return Foreign::Ignored,
        Err(rejection) => return Foreign::Refused { rejection, source: Some(source.to_owned()) },
    };
    // The plugin holds back changes of the volume, and then sends an old position with a new time.
    if event.name == "volume_change" {
        return Foreign::Ignored;
    }
    let draft = event.common(given);
    match ad_quartile(&event.name, &event.body) {
        Some(quartile) => event.ad(draft, quartile),
        None => event.content(draft),
    }
    .finish(given)
}

/// One event of the media plugin.
struct Event {
    /// What happened: `ping`, `seek_start` and so on.
    name: String,
    body: Value,
    /// The map of strings.
    fields: Value,
    player: Value,
    session: Value,
    ad: Value,
    ad_break: Value,
}

impl Event {
    /// The event, if it is one of the media plugin; else why it cannot be read.
    fn read(source: &str) -> Result<Option<Event>, Rejection> {
        let fields: Value =
            serde_json::from_str(source).map_err(|error| malformed(format!("the event is no JSON: {error}")))?;
        if !fields.is_object() {
            return Err(Rejection { code: Code::NotAnObject, detail: "an event is a JSON object".to_owned() });
        }
        if fields["e"] != "ue" {
            return Ok(None);
        }
        let described = embedded(&fields, "ue_pr", "ue_px")?;
        let Some(name) = media_event(schema_of(&described["data"])) else {
            return Ok(None);
        };
        let contexts = embedded(&fields, "co", "cx")?;
        let entity = |schema: &str| {
            let entities = contexts["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            let found = entities.iter().find(|entity| schema_of(entity).starts_with(schema));
            found.map_or(Value::Null, |entity| entity["data"].clone())
        };
        Ok(Some(Event {
            name: name.to_owned(),
            body: described["data"]["data"].clone(),
            player: entity("com.snowplowanalytics.snowplow/media_player/"),
            session: entity("com.snowplowanalytics.snowplow.media/session/"),
            ad: entity("com.snowplowanalytics.snowplow.media/ad/"),
            ad_break: entity("com.snowplowanalytics.snowplow.media/ad_break/"),
            fields,
        }))
    }

    fn session_id(&self) -> Option<String> {
        id_of(&self.session["mediaSessionId"])
    }

    /// What content and ad reports share.
    fn common(&self, given: &Given) -> Draft {
        // A true timestamp is one the tracker was told to trust, so it is not corrected.
        let (true_time, device_time) = (integer(&self.fields["ttm"]), integer(&self.fields["dtm"]));
        let known = id_of(&self.fields["uid"]).or_else(|| id_of(&self.fields["duid"]));
        let given = given.user_id.as_deref().and_then(id);
        Draft {
            user_id: known.or(given).or_else(|| self.session_id()),
            event_time: true_time.or(device_time),
            sent_at: if true_time.is_some() { None } else { integer(&self.fields["stm"]) },
            device: self.fields["p"].as_str().map(str::to_owned),
            ..Draft::default()
        }
    }

    fn content(&self, mut draft: Draft) -> Draft {
        let (state, turn) = self.state();
        let place = self.session_id().zip(draft.event_time).map(|(session_id, at)| {
            match ms_of_iso(&self.session["startedAt"]) {
                Some(started_at) => order::since_start(&session_id, started_at, at, turn),
                None => order::in_week(&session_id, at, turn),
            }
        });
        (draft.session_id, draft.seq) = match place {
            Some(place) => (Some(place.session_id), Some(place.seq)),
            // The time is what is missing, not the count.
            None => (self.session_id(), Some(0)),
        };
        let is_live = self.player["livestream"] == true;
        draft.state = state;
        draft.video_id = id_of(&self.player["label"]);
        draft.position_ms = ms_of_seconds(&self.player["currentTime"]);
        draft.duration_ms = ms_of_seconds(&self.player["duration"]).filter(|_| !is_live);
        draft.rate = self.player["playbackRate"].as_f64();
        draft
    }

    /// The state of the content, and what the event does to it.
    fn state(&self) -> (&'static str, Turn) {
        let is_linear = self.ad_break["breakType"].as_str().is_none_or(|kind| kind == "linear");
        let in_ads = is_linear && !(self.ad.is_null() && self.ad_break.is_null());
        let stands = match (&self.player["ended"], &self.player["paused"]) {
            (Value::Bool(true), _) => "ended",
            (_, Value::Bool(true)) => "paused",
            _ => "playing",
        };
        match self.name.as_str() {
            "pause" => ("paused", Turn::Stop),
            "end" => ("ended", Turn::Stop),
            "seek_start" => ("seeking", Turn::Stop),
            "buffer_start" => ("buffering", Turn::Stop),
            "ad_break_start" if is_linear => ("paused", Turn::Stop),
            "ad_break_end" => (stands, Turn::Start),
            // The break's entity is there while the content stands still, whatever the player says.
            _ if in_ads => ("paused", Turn::On),
            "play" | "seek_end" | "buffer_end" | "playback_rate_change" => (stands, Turn::Start),
            _ => (stands, Turn::On),
        }
    }

    fn ad(&self, draft: Draft, quartile: i64) -> Draft {
        let session_id = self.session_id().unwrap_or_default();
        let break_id = id_of(&self.ad_break["breakId"]).unwrap_or_default();
        let pod_position = id_of(&self.ad["podPosition"]).unwrap_or_default();
        let line_id = id_of(&self.ad["adId"]);
        let showing = [&*session_id, &*break_id, &*pod_position, line_id.as_deref().unwrap_or_default()];
        let mut draft = draft.of_ad(&showing, line_id.clone(), quartile);
        if session_id.is_empty() {
            draft.session_id = None; // else all such ads were one showing
        }
        if let Some(ad) = &mut draft.ad {
            ad.creative_id = id_of(&self.ad["creativeId"]);
        }
        draft
    }
}

/// For an event about an ad, the quarters of the ad that were played; `None` for an event about content.
fn ad_quartile(name: &str, body: &Value) -> Option<i64> {
    match name {
        "ad_start" => Some(0),
        "ad_complete" => Some(4),
        "ad_quartile" | "ad_skip" | "ad_click" | "ad_pause" | "ad_resume" => {
            let percent = body["percentProgress"].as_f64().unwrap_or_default();
            Some(((percent / 25.0) as i64).clamp(0, 3))
        }
        _ => None,
    }
}

/// Self-describing JSON inside an event: plain, or in base64. Absent is `null`.
fn embedded(fields: &Value, plain: &str, encoded: &str) -> Result<Value, Rejection> {
    let no_json = |field: &str| malformed(format!("the event's {field} is no JSON"));
    if let Some(text) = fields[plain].as_str() {
        return serde_json::from_str(text).map_err(|_| no_json(plain));
    }
    let Some(text) = fields[encoded].as_str() else {
        return Ok(Value::Null);
    };
    // Some trackers write the common alphabet.
    let text = text.replace('+', "-").replace('/', "_");
    let bytes = BASE64.decode(text).map_err(|_| malformed(format!("the event's {encoded} is no base64")))?;
    serde_json::from_slice(&bytes).map_err(|_| no_json(encoded))
}

fn malformed(detail: String) -> Rejection {
    Rejection { code: Code::MalformedJson, detail }
}

/// `vendor/name/format/version` of self-describing JSON; empty when it has none.
fn schema_of(described: &Value) -> &str {
    described["schema"].as_str().and_then(|schema| schema.strip_prefix("iglu:")).unwrap_or_default()
}

/// What happened, if the schema is of the media plugin, or of the one before it, whose events lack the session and are
/// refused for that.
fn media_event(schema: &str) -> Option<&str> {
    if schema.starts_with("com.snowplowanalytics.snowplow/media_player_event/") {
        return Some("media_player");
    }
    schema.strip_prefix(MEDIA)?.split('/').next()?.strip_suffix("_event")
}

/// A whole number; the protocol writes it as text.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
