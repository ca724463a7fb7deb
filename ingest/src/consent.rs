//! Viewers who have not agreed to be recognised (`"consent": false`): what they watched counts, and who they are does not
//! reach the log. Their user id becomes one of the session alone, so that no two sessions belong together, and the device is
//! left out.
//!
//! Every report of a session must get the same pseudonym, from whichever gateway and after whichever restart, or the
//! session falls apart. So it is computed from site, user and session and from nothing that changes: not from the time, and
//! with peppers from the first of them. The user is part of it because ids of sessions need not be unique.

use crate::pseudonym::Peppers;
use playback::heartbeat::Heartbeat;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// Takes out of an accepted report who sent it.
pub(crate) fn forget(heartbeat: &mut Heartbeat<'_>, site: &str, peppers: Option<&Peppers>) {
    heartbeat.user_id = Peppers::of_session(peppers, site, &heartbeat.user_id, &heartbeat.session_id).into();
    heartbeat.device = None;
}

/// Whether the text of a refused report mentions consent without giving it. In doubt the answer is yes: of a field that is there
/// twice the refusal counts, and text that cannot be read counts as a refusal if it contains the word.
pub(crate) fn is_refused(report: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(report);
    let refused = reader.deserialize_map(RefusedConsent).and_then(|refused| reader.end().map(|()| refused));
    refused.unwrap_or_else(|_| report.contains("consent"))
}

/// Whether any field `consent` of an object is neither `true` nor `null`.
struct RefusedConsent;

impl<'de> Visitor<'de> for RefusedConsent {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        let mut is_refused = false;
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            if name == "consent" {
                is_refused |= !matches!(fields.next_value()?, Value::Null | Value::Bool(true));
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(is_refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonym::tests::FILE;

    /// What is left of a report of this user and session: user id, device and territory.
    fn forgotten(
        peppers: Option<&Peppers>,
        user_id: &str,
        session_id: &str,
        event_time: i64,
    ) -> (String, Option<String>, Option<String>) {
        let report = format!(
            r#"{{"session_id":"{session_id}","seq":0,"user_id":"{user_id}","video_id":"v","event_time":{event_time},"position_ms":0,"device":"tv","territory":"DE","consent":false}}"#
        );
        let mut heartbeat = playback::json::heartbeat(&report, event_time).unwrap();
        assert!(!heartbeat.consent);
        forget(&mut heartbeat, "default", peppers);
        let Heartbeat { user_id, device, territory, .. } = heartbeat;
        (user_id.into_owned(), device.map(Cow::into_owned), territory.map(Cow::into_owned))
    }

    #[test]
    fn pseudonyms_of_sessions_equal_those_computed_with_python() {
        let peppers = Peppers::parse(FILE).unwrap();
        for (peppers, session_id, expected) in [
            (Some(&peppers), "s-1", "s.puSOi7B_ulRrrxCj8W2MUZ_rHUc"),
            (Some(&peppers), "s-2", "s.BGWoueJVtgiHMIGtOsXiGR5o0KU"),
            (None, "s-1", "s.9l26u5pokjw0_msyHoqBJikCEiM"),
            (None, "s-2", "s.9j5HqqiwyjP1fP6U1FCYz4iMMQQ"),
        ] {
            // Also across the border between two peppers.
            for event_time in [864_000_000, 864_000_999, 864_001_000] {
                let left = forgotten(peppers, "alice", session_id, event_time);
                assert_eq!(left, (expected.to_owned(), None, Some("DE".to_owned())));
            }
            assert_ne!(forgotten(peppers, "bob", session_id, 864_000_000).0, expected, "sessions stay apart");
        }
    }

    #[test]
    fn peppers_that_are_added_change_no_session() {
        let (first, _) = FILE.rsplit_once(",\n").unwrap();
        let before = Peppers::parse(&format!("{first}]}}")).unwrap();
        let after = Peppers::parse(FILE).unwrap();
        let of = |peppers| forgotten(Some(peppers), "alice", "s-1", 864_000_000).0;
        assert_eq!(of(&before), of(&after));
    }

    #[test]
    fn consent_counts_as_refused_when_in_doubt() {
        for (report, expected) in [
            (r#"{"seq":1}"#, false),
            (r#"{"consent":true}"#, false),
            (r#"{"consent":null}"#, false),
            (r#"{"consent":false}"#, true),
            (r#"{"c\u006fnsent":false}"#, true),
            (r#"{"consent":"true"}"#, true),
            (r#"{"consent":false,"consent":true}"#, true),
            (r#"{"ad":{"consent":false}}"#, false),
            (r#"[{"consent":false}]"#, true),
            (r#"{"consent":true"#, true),
            (r#"{"seq":1"#, false),
            (r#"{"consent":true} x"#, true),
        ] {
            assert_eq!(is_refused(report), expected, "{report}");
        }
    }
}
