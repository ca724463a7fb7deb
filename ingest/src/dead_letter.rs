//! Refused reports on the dead-letter topic: what is kept of each, and in which form.

use crate::limits::MAX_DEAD_REPORT_BYTES;
use crate::redaction::Redaction;
use crate::verdict::ReportContext;
use bytes::Bytes;
use playback::rejection::Rejection;
use serde::Serialize;
use serde_json::value::RawValue;
use topic::Outgoing;

/// A refused report on its way to the dead-letter topic.
pub(crate) fn outgoing(rejection: &Rejection, context: ReportContext<'_>, report: KeptReport) -> Outgoing {
    let letter = DeadLetter {
        site: context.site,
        received_at: context.received_at,
        code: rejection.code.as_str(),
        detail: &rejection.detail,
        report,
    };
    let value = serde_json::to_vec(&letter).expect("texts and numbers are always JSON");
    let key = Bytes::copy_from_slice(context.site.as_bytes());
    Outgoing { partition: 0, key, value: Bytes::from(value) }
}

/// Value of a record on the dead-letter topic.
#[derive(Serialize)]
struct DeadLetter<'a> {
    site: &'a str,
    received_at: i64,
    code: &'static str,
    detail: &'a str,
    report: KeptReport,
}

/// A refused report as it is kept: itself when it is readable JSON and short, otherwise (the beginning of) its text.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum KeptReport {
    Json(Box<RawValue>),
    Text(String),
    /// Nothing: it may hold a user id, or other reports of its body have used up what may be kept of one body.
    Withheld,
}

impl KeptReport {
    /// Valid JSON is not always readable JSON: 1e400, half a surrogate pair or a thousand brackets stop many a reader, so
    /// what our own could not read is kept as text.
    pub(crate) fn of_text(text: &str) -> KeptReport {
        if text.len() <= MAX_DEAD_REPORT_BYTES
            && serde_json::from_str::<serde_json::Value>(text).is_ok()
            && let Ok(value) = serde_json::from_str(text)
        {
            return KeptReport::Json(value);
        }
        KeptReport::Text(beginning(text).to_owned())
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            KeptReport::Json(raw) => raw.get().len(),
            KeptReport::Text(text) => text.len(),
            KeptReport::Withheld => 0,
        }
    }

    /// The report, with a pseudonym in place of the user id if it must have one; in that case nothing is kept of a report in
    /// which the id cannot be found.
    pub(crate) fn of_refused(text: &str, context: ReportContext<'_>) -> KeptReport {
        let report = KeptReport::of_text(text);
        let Some(redaction) = Redaction::of(text, context.peppers) else { return report };
        let redacted = match report {
            KeptReport::Json(raw) => redaction.redacted(raw.get(), context.site, context.received_at),
            KeptReport::Text(_) | KeptReport::Withheld => None,
        };
        redacted.and_then(|text| serde_json::from_str(&text).ok()).map_or(KeptReport::Withheld, KeptReport::Json)
    }
}

/// As much of a text as takes [`MAX_DEAD_REPORT_BYTES`] in JSON.
fn beginning(text: &str) -> &str {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, character)| {
        bytes += match character {
            '"' | '\\' => 2,
            '\0'..='\x1f' => "\\u0000".len(),
            _ => character.len_utf8(),
        };
        bytes > MAX_DEAD_REPORT_BYTES
    });
    end.map_or(text, |(end, _)| &text[..end])
}
