//! Reports as a gateway puts them on the log. One record serves all: its texts keep their memory.

use crate::names::Names;
use crate::report::{Report, Who};
use bytes::BytesMut;
use playback::record::{self, Record, RecordAd};
use prost::Message;

/// Makes the records of a run.
pub(crate) struct Records {
    names: Names,
    territories: Vec<String>,
    devices: Vec<String>,
    /// The last one that was made.
    record: Record,
}

impl Records {
    pub(crate) fn new(site: String, names: Names, territories: Vec<String>, devices: Vec<String>) -> Records {
        Records { names, territories, devices, record: Record { site, ..Record::default() } }
    }

    /// Appends the key of a user's records.
    pub(crate) fn put_key(&self, out: &mut BytesMut, who: Who) {
        out.extend_from_slice(&record::key(&self.record.site, &self.names.user(who.number)));
    }

    /// Appends a record.
    pub(crate) fn put(&mut self, out: &mut BytesMut, who: Who, report: &Report, received_at: i64) {
        let (names, record) = (&self.names, &mut self.record);
        rewrite(&mut record.user_id, |name| names.put_user(name, who.number));
        rewrite(&mut record.session_id, |name| names.put_session(name, who, report));
        rewrite(&mut record.video_id, |name| names.put_title(name, report.title));
        record.seq = report.seq;
        record.event_time = report.at_ms;
        record.received_at = received_at;
        record.position_ms = report.position_ms;
        record.from_ms = (report.played_ms > 0).then_some(report.from_ms);
        record.played_ms = report.played_ms;
        record.state = report.state as i32;
        record.rate_thousandths = if report.rate == 1_000 { 0 } else { report.rate.into() };
        record.duration_ms = report.duration_ms;
        record.territory.clone_from(&self.territories[usize::from(who.territory)]);
        record.device.clone_from(&self.devices[usize::from(who.device)]);
        match report.ad {
            None => record.ad = None,
            Some(ad) => {
                let of_record = record.ad.get_or_insert_with(RecordAd::default);
                rewrite(&mut of_record.impression_id, |name| names.put_impression(name, who, ad.impression));
                rewrite(&mut of_record.line_id, |name| names.put_line(name, ad.line));
                of_record.quartile = ad.quartile.into();
                of_record.viewable_ms = ad.viewable_ms;
            }
        }
        record.encode(out).expect("the buffer grows as it must");
    }
}

/// Writes a text anew, into the memory it has.
fn rewrite(text: &mut String, write: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::mem::take(text).into_bytes();
    bytes.clear();
    write(&mut bytes);
    *text = String::from_utf8(bytes).expect("names are ASCII");
}
