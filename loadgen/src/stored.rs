//! Reports as a gateway puts them on the log: the Protobuf message `Record` of `playback/heartbeats.proto`, written
//! field by field so that a record costs no allocation. A test holds it against the message's own decoder.

use crate::names::Names;
use crate::report::{Report, Who};
use bytes::BytesMut;

/// What the records of a run need besides the reports.
pub(crate) struct Records {
    pub(crate) site: String,
    pub(crate) names: Names,
    pub(crate) territories: Vec<String>,
    pub(crate) devices: Vec<String>,
    /// For fields whose length is not known before.
    scratch: Vec<u8>,
}

impl Records {
    pub(crate) fn new(site: String, names: Names, territories: Vec<String>, devices: Vec<String>) -> Records {
        Records { site, names, territories, devices, scratch: Vec::new() }
    }

    /// Appends the key of a user's records.
    pub(crate) fn put_key(&mut self, out: &mut BytesMut, who: Who) {
        out.extend_from_slice(self.site.as_bytes());
        out.extend_from_slice(&[0]);
        self.scratch.clear();
        self.names.put_user(&mut self.scratch, who.number);
        out.extend_from_slice(&self.scratch);
    }

    /// Appends a record.
    pub(crate) fn put(&mut self, out: &mut BytesMut, who: Who, report: &Report, received_at: i64) {
        put_bytes(out, 1, self.site.as_bytes());
        self.put_name(out, 2, |names, name| names.put_user(name, who.number));
        self.put_name(out, 3, |names, name| names.put_session(name, who, report));
        self.put_name(out, 4, |names, name| names.put_title(name, report.title));
        put_number(out, 5, report.seq.into());
        put_number(out, 6, report.at_ms.cast_unsigned());
        put_number(out, 7, received_at.cast_unsigned());
        put_number(out, 8, report.position_ms.into());
        if report.played_ms > 0 {
            put_present(out, 9, report.from_ms.into());
        }
        put_number(out, 10, report.played_ms.into());
        put_number(out, 11, report.state as u64);
        put_number(out, 12, if report.rate == 1_000 { 0 } else { report.rate.into() });
        put_number(out, 13, report.duration_ms.into());
        put_bytes(out, 14, self.territories[usize::from(who.territory)].as_bytes());
        put_bytes(out, 15, self.devices[usize::from(who.device)].as_bytes());
        self.put_ad(out, who, report);
    }

    fn put_ad(&mut self, out: &mut BytesMut, who: Who, report: &Report) {
        let Some(ad) = report.ad else { return };
        let mut message = BytesMut::with_capacity(128);
        self.put_name(&mut message, 1, |names, name| names.put_impression(name, who, ad.impression));
        self.put_name(&mut message, 2, |names, name| names.put_line(name, ad.line));
        put_number(&mut message, 4, ad.quartile.into());
        if let Some(viewable_ms) = ad.viewable_ms {
            put_present(&mut message, 5, viewable_ms.into());
        }
        put_bytes(out, 16, &message);
    }

    fn put_name(&mut self, out: &mut BytesMut, tag: u32, write: impl FnOnce(&Names, &mut Vec<u8>)) {
        self.scratch.clear();
        write(&self.names, &mut self.scratch);
        put_bytes(out, tag, &self.scratch);
    }
}

/// A field that is left out when it is empty.
fn put_bytes(out: &mut BytesMut, tag: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_varint(out, u64::from(tag << 3 | 2));
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

/// A field that is left out when it is 0.
fn put_number(out: &mut BytesMut, tag: u32, number: u64) {
    if number != 0 {
        put_present(out, tag, number);
    }
}

fn put_present(out: &mut BytesMut, tag: u32, number: u64) {
    put_varint(out, u64::from(tag << 3));
    put_varint(out, number);
}

fn put_varint(out: &mut BytesMut, mut number: u64) {
    let mut bytes = [0; 10];
    let mut length = 0;
    while number >= 0x80 {
        bytes[length] = number as u8 | 0x80;
        number >>= 7;
        length += 1;
    }
    bytes[length] = number as u8;
    out.extend_from_slice(&bytes[..=length]);
}
