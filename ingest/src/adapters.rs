//! What existing players send, as heartbeat v1: CMCD v2 events, Snowplow media events, Segment video events. The mapping
//! tables are in `docs/adapters.md`.
//!
//! An adapter only translates: whether what comes out is a valid report is judged where every report is, and each report
//! is translated by itself, since the next one may reach another gateway. What a format does not say is left out, so that
//! the report is refused by name and not guessed.

mod cmcd;
mod draft;
mod order;
mod segment;
mod snowplow;
#[cfg(test)]
mod tests;

pub(crate) use draft::id;

use crate::limits::MAX_REPORTS;
use crate::problem::{Fault, Problem};
use hyper::StatusCode;
use playback::rejection::{Code, Rejection};
use serde_json::error::Category;

/// Events of a body that are translated: one more than a body may have is enough to see that there are too many. An event of
/// two bytes becomes a report of hundreds, with the user that the address names in each, so a body with too many events is not
/// translated whole before it is refused.
const MAX_TRANSLATED: usize = MAX_REPORTS + 1;

/// A format of players that know nothing of heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Common Media Client Data, version 2 (CTA-5004-B), event mode.
    Cmcd,
    /// Snowplow's tracker protocol with the media plugin.
    Snowplow,
    /// Segment's video specification.
    Segment,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// A report in heartbeat v1, the text of a JSON object that is still to be checked.
    Report(String),
    /// An event that cannot be read, and its text; no text where its viewer may not have agreed to be recognised.
    Refused { rejection: Rejection, source: Option<String> },
    /// An event that says nothing about what was played.
    Ignored,
}

/// What the senders of a format expect to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: &'static str,
}

impl Format {
    /// The format that is posted to a path. Segment's libraries put names of their own behind the path they are given.
    pub(crate) fn of_path(path: &str) -> Option<Format> {
        match path {
            "/v1/adapters/cmcd" => Some(Format::Cmcd),
            "/v1/adapters/snowplow" | "/com.snowplowanalytics.snowplow/tp2" => Some(Format::Snowplow),
            _ => {
                let beneath = path.strip_prefix("/v1/adapters/segment")?;
                (beneath.is_empty() || beneath.starts_with('/')).then_some(Format::Segment)
            }
        }
    }

    /// Translates the events of a decompressed body, in its order. `query` is that of the request; `user_id` the user to whom its
    /// sender is bound, who is the user of events that name none.
    pub(crate) fn reports(
        self,
        body: &[u8],
        query: Option<&str>,
        user_id: Option<&str>,
    ) -> Result<Vec<Foreign>, Problem> {
        if body.trim_ascii().is_empty() {
            return Err(Fault::EmptyBody.into());
        }
        let mut given = Given::of(query);
        given.user_id = given.user_id.or_else(|| user_id.map(str::to_owned));
        let mut reports = match self {
            Format::Cmcd => cmcd::reports(utf8(body)?, &given),
            Format::Segment => segment::reports(utf8(body)?, &given)?,
            // When a body is refused, older trackers send it again for ever, and nothing after it: so it goes to the dead
            // letters.
            Format::Snowplow => utf8(body).and_then(|text| snowplow::reports(text, &given)).unwrap_or_else(|problem| {
                vec![refused(Code::MalformedJson, problem.detail.into_owned(), &String::from_utf8_lossy(body))]
            }),
        };
        if given.asks_for_consent() {
            reports.iter_mut().for_each(Foreign::withhold);
        }
        if reports.len() > MAX_REPORTS { Err(Fault::TooManyReports.into()) } else { Ok(reports) }
    }

    /// The answer when every event is safe. Refused events are not named in it: no sender of these formats reads that, and
    /// any other answer makes some send the same again.
    pub(crate) fn answer(self) -> Answer {
        match self {
            Format::Cmcd => Answer { status: StatusCode::NO_CONTENT, content_type: None, body: "" },
            Format::Snowplow => Answer { status: StatusCode::OK, content_type: Some("text/plain"), body: "ok" },
            Format::Segment => {
                Answer { status: StatusCode::OK, content_type: Some("application/json"), body: r#"{"success":true}"# }
            }
        }
    }
}

impl Foreign {
    /// Forgets the text of an event that cannot be read.
    fn withhold(&mut self) {
        if let Foreign::Refused { source, .. } = self {
            *source = None;
        }
    }
}

/// What the address says for events that do not say it themselves.
#[derive(Debug, Default)]
struct Given {
    user_id: Option<String>,
    territory: Option<String>,
    device: Option<String>,
    /// Whether the viewers have agreed to be recognised; anything but `true` is no.
    consent: Option<bool>,
    /// Categories of consent to which the viewer of each event must have agreed. Only Segment's events state them: with any, the
    /// events of the other formats are without consent.
    consent_categories: Vec<String>,
    /// Positions of Segment's playback events exclude ads, as those of its content events always do.
    playback_excludes_ads: bool,
}

impl Given {
    fn of(query: Option<&str>) -> Given {
        let mut given = Given::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "user_id" => given.user_id = Some(value.into_owned()),
                "territory" => given.territory = Some(value.into_owned()),
                "device" => given.device = Some(value.into_owned()),
                // One refusal outweighs the rest, as in a report that says it twice.
                "consent" => given.consent = Some(value == "true" && given.consent != Some(false)),
                "consent_category" => given.consent_categories.push(value.into_owned()),
                "playback_position" => given.playback_excludes_ads = value == "content",
                _ => {}
            }
        }
        given
    }

    /// Whether viewers may come who have not agreed to be recognised.
    fn asks_for_consent(&self) -> bool {
        self.consent == Some(false) || !self.consent_categories.is_empty()
    }
}

/// What a decoder objects to in a body, and where. The decoder's own message quotes a value of the wrong type in full, and a
/// detail goes to places where users must not be named.
fn reason(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => format!("wrong type at line {} column {}", error.line(), error.column()),
        Category::Io | Category::Syntax | Category::Eof => error.to_string(),
    }
}

fn utf8(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|_| Fault::InvalidUtf8.into())
}

fn refused(code: Code, detail: String, source: &str) -> Foreign {
    Foreign::Refused { rejection: Rejection { code, detail }, source: Some(source.to_owned()) }
}
