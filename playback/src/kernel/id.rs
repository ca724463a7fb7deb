//! Ids of users and sessions, in place wherever they are kept if they are UUIDs, as most are, or short.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// An id. There is one form for each text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Id {
    /// A UUID as RFC 9562 writes it: in lower case, with hyphens.
    Uuid([u8; 16]),
    /// Any other text.
    Text(CompactString),
}

impl Id {
    pub(super) fn new(text: &str) -> Id {
        let uuid = Uuid::try_parse(text).map(|uuid| Id::Uuid(uuid.into_bytes()));
        // Braces, capitals or no hyphens make another text of the same UUID.
        uuid.ok().filter(|uuid| uuid.is(text)).unwrap_or_else(|| Id::Text(text.into()))
    }

    /// Whether this is its text.
    pub(super) fn is(&self, text: &str) -> bool {
        self.with_text(|own| own == text)
    }

    /// Whether its text is greater.
    pub(super) fn is_after(&self, other: &Id) -> bool {
        self.with_text(|own| other.with_text(|other| own > other))
    }

    /// Calls `with` its text.
    pub(super) fn with_text<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        match self {
            Id::Uuid(bytes) => with(Uuid::from_bytes(*bytes).hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH])),
            Id::Text(text) => with(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn each_text_stays_what_it_is_and_only_plain_uuids_are_kept_as_such() {
        let uuid = "0190a2b4-77c3-7d11-9e2f-00000000abcd";
        let texts = [
            uuid,
            &uuid.to_uppercase(),
            &uuid.replace('-', ""),
            "s-1",
            "urn:uuid:0190a2b4-77c3-7d11-9e2f-00000000abcd",
        ];
        for text in texts {
            let id = Id::new(text);
            assert_eq!(matches!(id, Id::Uuid(_)), text == uuid, "{text}");
            assert!(texts.iter().all(|other| id.is(other) == (text == *other)), "{text}");
        }
    }

    #[test]
    fn ids_are_ordered_as_their_texts_are() {
        let texts =
            ["0190a2b4-77c3-7d11-9e2f-00000000abcd", "0190a2b4-77c3-7d11-9e2f-00000000abc0", "0", "a", "Z", "0190A"];
        for (one, other) in texts.iter().flat_map(|one| texts.iter().map(move |other| (one, other))) {
            assert_eq!(Id::new(one).is_after(&Id::new(other)), one > other, "{one} {other}");
        }
    }
}
