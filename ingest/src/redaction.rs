//! Refused reports as they may be kept: without who sent them, when that must not reach the log as it was sent. Only the fields of the
//! contract stay, since nobody knows what others say of a viewer.

use crate::consent;
use crate::pseudonym::Peppers;
use playback::json::{AD_FIELDS, FIELDS};
use serde_json::{Map, Value};

/// What takes the place of the user id.
#[derive(Clone, Copy)]
pub(crate) enum Redaction<'a> {
    /// The user's pseudonym.
    User(&'a Peppers),
    /// An id of the session alone, and no device: the viewer has not agreed to be recognised.
    Session(Option<&'a Peppers>),
}

impl Redaction<'_> {
    /// What a refused report needs before it is kept, if anything.
    pub(crate) fn of<'a>(report: &str, peppers: Option<&'a Peppers>) -> Option<Redaction<'a>> {
        match consent::is_refused(report) {
            true => Some(Redaction::Session(peppers)),
            false => peppers.map(Redaction::User),
        }
    }

    /// What may be kept of a report that was received at `received_at` (ms since the epoch). Nothing is kept of a report that is
    /// not an object, or whose user id is not where it belongs: the id may be anywhere then.
    pub(crate) fn redacted(self, report: &str, site: &str, received_at: i64) -> Option<String> {
        let mut fields: Map<String, Value> = serde_json::from_str(report).ok()?;
        let user_id = fields.remove("user_id").filter(|user_id| !user_id.is_null())?;
        if matches!(self, Redaction::Session(_)) {
            fields.remove("device");
        }
        fields.retain(|name, value| is_field(name) && (is_flat(value) || name == "ad"));
        match fields.get_mut("ad") {
            Some(Value::Object(ad)) => ad.retain(|name, value| AD_FIELDS.contains(&name.as_str()) && is_flat(value)),
            Some(_) => drop(fields.remove("ad")),
            None => {}
        }
        let session_id = fields.get("session_id").and_then(Value::as_str);
        if let Some(pseudonym) = user_id.as_str().and_then(|id| self.pseudonym(site, id, session_id, received_at)) {
            fields.insert("user_id".to_owned(), pseudonym.into());
        }
        serde_json::to_string(&fields).ok()
    }

    fn pseudonym(self, site: &str, user_id: &str, session_id: Option<&str>, received_at: i64) -> Option<String> {
        match self {
            Redaction::User(peppers) => Some(peppers.pseudonym(site, user_id, received_at)),
            Redaction::Session(peppers) => Some(Peppers::of_session(peppers, site, user_id, session_id?)),
        }
    }
}

/// Whether a report has a field of this name, in JSON or in the text of a message.
pub(crate) fn is_field(name: &str) -> bool {
    FIELDS.contains(&name) || name == "rate_thousandths"
}

/// Whether a value has no others in it.
fn is_flat(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonym::tests::FILE;

    #[test]
    fn a_dead_letter_never_holds_the_raw_user_id() {
        let peppers = Peppers::parse(FILE).unwrap();
        for (report, expected) in [
            (r#"{"seq":1,"user_id":"alice"}"#, Some(r#"{"seq":1,"user_id":"1.pahtAZLzg9ut45OH4sLK-lb4jZw"}"#)),
            (r#"{"user_id":"bob","user_id":"alice"}"#, Some(r#"{"user_id":"1.pahtAZLzg9ut45OH4sLK-lb4jZw"}"#)),
            (r#"{"us\u0065r_id":"alice"}"#, Some(r#"{"user_id":"1.pahtAZLzg9ut45OH4sLK-lb4jZw"}"#)),
            (r#"{"user_id":4711,"seq":1}"#, Some(r#"{"seq":1}"#)),
            (r#"{"user_id":4711,"rate_thousandths":0}"#, Some(r#"{"rate_thousandths":0}"#)),
            (r#"{"user_id":["alice"],"seq":1}"#, Some(r#"{"seq":1}"#)),
            (
                r#"{"user_id":"alice","seq":-1,"user":{"id":"alice"},"name":"alice","device":["alice"],"ad":{"line_id":"l","for":"alice"}}"#,
                Some(r#"{"ad":{"line_id":"l"},"seq":-1,"user_id":"1.pahtAZLzg9ut45OH4sLK-lb4jZw"}"#),
            ),
            (r#"{"user_id":"alice","ad":"alice"}"#, Some(r#"{"user_id":"1.pahtAZLzg9ut45OH4sLK-lb4jZw"}"#)),
            (r#"{"userId":"alice","seq":1}"#, None),
            (r#"{"user_id":null,"session_id":"alice"}"#, None),
            (r#"{"user_id":"alice""#, None),
            (r#"[{"user_id":"alice"}]"#, None),
        ] {
            let redaction = Redaction::of(report, Some(&peppers)).unwrap();
            assert_eq!(redaction.redacted(report, "default", 0).as_deref(), expected, "{report}");
        }
    }

    #[test]
    fn a_dead_letter_without_consent_names_neither_user_nor_device() {
        let of = |report: &str| Redaction::Session(None).redacted(report, "default", 0);
        let known = r#"{"consent":false,"device":"tv","session_id":"s-1","user_id":"alice","mail":"alice"}"#;
        assert_eq!(
            of(known).as_deref(),
            Some(r#"{"consent":false,"session_id":"s-1","user_id":"s.9l26u5pokjw0_msyHoqBJikCEiM"}"#)
        );
        assert_eq!(of(r#"{"user_id":"alice","seq":1}"#).as_deref(), Some(r#"{"seq":1}"#));
        assert_eq!(of(r#"{"user_id":"alice","session_id":7}"#).as_deref(), Some(r#"{"session_id":7}"#));
        assert_eq!(of(r#"{"userId":"alice","session_id":"s-1"}"#), None);
        assert_eq!(of(r#"{"user_id":"alice""#), None);
    }

    #[test]
    fn a_report_is_kept_as_it_is_only_without_pepper_and_with_consent() {
        let peppers = Peppers::parse(FILE).unwrap();
        let (agreed, refused) = (r#"{"consent":true}"#, r#"{"consent":false}"#);
        assert!(Redaction::of(agreed, None).is_none());
        assert!(matches!(Redaction::of(agreed, Some(&peppers)), Some(Redaction::User(_))));
        assert!(matches!(Redaction::of(refused, None), Some(Redaction::Session(None))));
        assert!(matches!(Redaction::of(refused, Some(&peppers)), Some(Redaction::Session(Some(_)))));
    }
}
