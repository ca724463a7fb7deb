//! Judging the reports of a request: the records for the log, the dead letters, and what the sender is told. Pure:
//! nothing is sent from here.

use crate::adapters::Foreign;
use crate::body::Reports;
use crate::consent;
use crate::dead_letter::{self, KeptReport};
use crate::limits::MAX_DEAD_BODY_BYTES;
use crate::pseudonym::Peppers;
use crate::records::Records;
use bytes::Bytes;
use playback::heartbeat::Heartbeat;
use playback::record;
use playback::rejection::{Code, Rejection};
use playback::{json, message};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use topic::Outgoing;

/// The reports of one request, judged.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How many reports were accepted.
    pub(crate) accepted: usize,
    /// Accepted reports for the heartbeats topic and refused ones for the dead letters, each in the order of the body.
    pub(crate) records: Records,
    /// Events of other formats that say nothing about what was played.
    pub(crate) ignored: usize,
    /// Accepted reports of viewers who have not agreed to be recognised.
    pub(crate) unrecognised: usize,
    /// What the sender is told about the refused ones.
    pub(crate) rejected: Vec<Rejected>,
    /// Bytes of refused reports that are kept.
    kept_bytes: usize,
    /// The users of the accepted reports, by the ids that were sent, each with their number of reports; only gathered when asked
    /// for.
    pub(crate) users: BTreeMap<String, u32>,
}

/// One refused report, as the sender is told.
#[derive(Debug, Serialize)]
pub(crate) struct Rejected {
    index: usize,
    pub(crate) code: &'static str,
    detail: String,
}

/// What is the same for all reports of a request.
#[derive(Clone, Copy)]
pub(crate) struct ReportContext<'a> {
    /// The only user whose reports are taken, when the sender is bound to one.
    pub(crate) user_id: Option<&'a str>,
    pub(crate) peppers: Option<&'a Peppers>,
    pub(crate) gathers_users: bool,
    pub(crate) site: &'a str,
    /// Milliseconds since the epoch.
    pub(crate) received_at: i64,
}

/// Judges every report of a request.
pub(crate) fn judge(reports: &Reports<'_>, context: ReportContext<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    match reports {
        Reports::Plain(reports) => {
            for (index, (report, text)) in reports.iter().enumerate() {
                verdict.add(index, report.check(context.received_at), context, || (*text).into());
            }
        }
        Reports::Foreign(events) => {
            for (index, event) in events.iter().enumerate() {
                verdict.add_foreign(index, event, context);
            }
        }
        Reports::Json(texts) => {
            for (index, text) in texts.iter().enumerate() {
                let judged = json::heartbeat(text, context.received_at);
                verdict.add(index, judged, context, || (*text).into());
            }
        }
        Reports::Messages(messages) => {
            for (index, message) in messages.iter().enumerate() {
                let judged = message::heartbeat(message, context.received_at);
                verdict.add(index, judged, context, || text_of(message).into());
            }
        }
    }
    verdict
}

impl Verdict {
    fn add<'a>(
        &mut self,
        index: usize,
        judged: Result<Heartbeat<'_>, Rejection>,
        context: ReportContext<'_>,
        text: impl FnOnce() -> Cow<'a, str>,
    ) {
        match judged {
            Ok(heartbeat) if context.user_id.is_some_and(|user_id| user_id != heartbeat.user_id) => {
                self.refuse(index, Code::UserNotAllowed.into(), context, || KeptReport::of_refused(&text(), context));
            }
            Ok(mut heartbeat) => {
                self.accepted += 1;
                if context.gathers_users {
                    self.sent_by(&heartbeat.user_id);
                }
                if !heartbeat.consent {
                    self.unrecognised += 1;
                    consent::forget(&mut heartbeat, context.site, context.peppers);
                } else if let Some(peppers) = context.peppers {
                    heartbeat.user_id =
                        peppers.pseudonym(context.site, &heartbeat.user_id, heartbeat.device_time).into();
                }
                self.records.heartbeats.push(outgoing_record(&heartbeat, context));
            }
            Err(rejection) => self.refuse(index, rejection, context, || KeptReport::of_refused(&text(), context)),
        }
    }

    /// Refuses a report, and keeps it for the dead letters as long as its body has not filled its part of them.
    fn refuse(
        &mut self,
        index: usize,
        rejection: Rejection,
        context: ReportContext<'_>,
        report: impl FnOnce() -> KeptReport,
    ) {
        let left = MAX_DEAD_BODY_BYTES - self.kept_bytes;
        let report = Some(report).filter(|_| left > 0).map(|report| report()).filter(|report| report.bytes() <= left);
        let report = report.unwrap_or(KeptReport::Withheld);
        self.kept_bytes += report.bytes();
        self.records.dead_letters.push(dead_letter::outgoing(&rejection, context, report));
        let Rejection { code, detail } = rejection;
        self.rejected.push(Rejected { index, code: code.as_str(), detail });
    }

    fn add_foreign(&mut self, index: usize, event: &Foreign, context: ReportContext<'_>) {
        match event {
            Foreign::Report(text) => {
                self.add(index, json::heartbeat(text, context.received_at), context, || text.as_str().into());
            }
            Foreign::Refused { rejection, source } => {
                // Where its user is nobody knows, so with a pepper nothing of it is kept.
                let source = source.as_deref().filter(|_| context.peppers.is_none());
                let report = || source.map_or(KeptReport::Withheld, KeptReport::of_text);
                self.refuse(index, rejection.clone(), context, report);
            }
            Foreign::Ignored => self.ignored += 1,
        }
    }

    fn sent_by(&mut self, user_id: &str) {
        match self.users.get_mut(user_id) {
            Some(reports) => *reports += 1,
            None => drop(self.users.insert(user_id.to_owned(), 1)),
        }
    }
}

fn outgoing_record(heartbeat: &Heartbeat<'_>, context: ReportContext<'_>) -> Outgoing {
    let (bytes, key_bytes) = record::written(context.site, heartbeat);
    let mut value = Bytes::from(bytes);
    let key = value.split_to(key_bytes);
    // The outlet knows the partitions.
    Outgoing { partition: 0, key, value }
}

fn text_of(message: &message::Heartbeat) -> String {
    serde_json::to_string(message).expect("a message is texts and numbers")
}
