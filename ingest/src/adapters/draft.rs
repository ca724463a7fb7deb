//! A report in the making, and how foreign values become its fields: ids, seconds, rates. Required fields that are missing
//! or out of bounds are left as they are, for the check of all reports to name them; optional ones are dropped then, since
//! a report is worth more than its labels.

use super::{Foreign, Given};
use chrono::DateTime;
use playback::validate::{DURATION_MS, RATE, is_device, is_territory};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Bytes of the hash in an impression's id: 128 bits do not collide by chance.
const IMPRESSION_BYTES: usize = 16;

/// A heartbeat v1 report; `None` becomes `null`, which is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Draft {
    pub(super) session_id: Option<String>,
    pub(super) seq: Option<i64>,
    pub(super) user_id: Option<String>,
    pub(super) video_id: Option<String>,
    pub(super) event_time: Option<i64>,
    pub(super) position_ms: Option<i64>,
    pub(super) sent_at: Option<i64>,
    pub(super) state: &'static str,
    pub(super) rate: Option<f64>,
    pub(super) duration_ms: Option<i64>,
    pub(super) territory: Option<String>,
    pub(super) device: Option<String>,
    /// Whether the event agrees in all categories that the address names.
    #[serde(skip)]
    pub(super) agrees: bool,
    /// What that comes to, with what the address says.
    pub(super) consent: Option<bool>,
    pub(super) ad: Option<Ad>,
}

/// The ad part of a report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ad {
    pub(super) impression_id: String,
    pub(super) line_id: Option<String>,
    pub(super) creative_id: Option<String>,
    pub(super) quartile: i64,
}

impl Draft {
    /// The report as a text that takes the common way in, completed by what the address says where the event says nothing.
    pub(super) fn finish(mut self, given: &Given) -> Foreign {
        self.user_id = self.user_id.or_else(|| given.user_id.as_deref().and_then(id));
        let or_given = |own: Option<String>, given: &Option<String>, is_valid: fn(&str) -> bool| {
            [own, given.clone()].into_iter().flatten().find(|text| is_valid(text))
        };
        self.territory = or_given(self.territory, &given.territory, is_territory);
        self.device = or_given(self.device, &given.device, is_device);
        let in_categories = (!given.consent_categories.is_empty()).then_some(self.agrees);
        // Each may say no.
        self.consent = [in_categories, given.consent].into_iter().flatten().min();
        self.rate = self.rate.filter(|rate| RATE.contains(rate));
        self.duration_ms = self.duration_ms.filter(|duration| DURATION_MS.contains(duration));
        Foreign::Report(serde_json::to_string(&self).expect("texts and finite numbers are always JSON"))
    }

    /// Makes it the report of an ad. Each showing of an ad is a session of its own, so that it stands between no two points
    /// of the content; its `seq` is the quartile, since two reports of one quartile say the same.
    pub(super) fn of_ad(mut self, showing: &[&str], line_id: Option<String>, quartile: i64) -> Draft {
        let impression_id = impression_id(showing);
        self.session_id = Some(impression_id.clone());
        self.video_id = line_id.clone();
        self.seq = Some(quartile);
        self.position_ms = Some(0);
        self.state = "playing";
        (self.rate, self.duration_ms) = (None, None);
        self.ad = Some(Ad { impression_id, line_id, creative_id: None, quartile });
        self
    }
}

/// An id in our characters: unchanged if it has no others and nothing that looks escaped, else with `:XX` (hexadecimal) for each
/// byte that is none of `A-Z a-z 0-9 . _ -`, so that two ids never become one. An empty text is no id.
pub(crate) fn id(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() {
        return None;
    }
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    let looks_escaped = text.as_bytes().windows(3).any(|three| three[0] == b':' && three[1..].iter().all(is_digit));
    if !looks_escaped && text.bytes().all(|byte| is_plain(byte) || byte == b':') {
        return Some(text.to_owned());
    }
    let mut escaped = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, ":{byte:02X}").expect("a string takes all that is written");
        }
    }
    Some(escaped)
}

/// The id of what is a text, or a number as some write ids.
pub(super) fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => id(text),
        Value::Number(number) => id(&number.to_string()),
        _ => None,
    }
}

/// Seconds with a fraction, as whole milliseconds.
pub(super) fn ms_of_seconds(seconds: &Value) -> Option<i64> {
    seconds.as_f64().map(|seconds| (seconds * 1_000.0).round() as i64)
}

/// A time in ISO 8601 with an offset, as milliseconds since the epoch.
pub(super) fn ms_of_iso(time: &Value) -> Option<i64> {
    DateTime::parse_from_rfc3339(time.as_str()?).ok().map(|time| time.timestamp_millis())
}

/// One showing of one ad, by all that tells it from others.
fn impression_id(showing: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in showing {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hash = hash.finalize();
    hash.iter().take(IMPRESSION_BYTES).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::id;

    #[test]
    fn ids_are_kept_or_escaped_and_never_become_one() {
        let ids = [
            ("film-1", Some("film-1")),
            ("urn:film:1", Some("urn:film:1")),
            ("film 1", Some("film:201")),
            ("film/1: a", Some("film:2F1:3A:20a")),
            ("\u{e9}", Some(":C3:A9")),
            (" ", Some(":20")),
            (":20", Some(":3A20")),
            ("urn:film:AF", Some("urn:3Afilm:3AAF")),
            ("", None),
        ];
        for (text, escaped) in ids {
            assert_eq!(id(text).as_deref(), escaped, "{text:?}");
        }
    }
}
