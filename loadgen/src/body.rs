//! Reports as a player sends them: JSON, written byte by byte into a buffer that is used again.

use crate::names::{Names, put_number};
use crate::report::{Report, Who};
use playback::heartbeat::State;

/// What the bodies of a run need besides the reports.
pub(crate) struct Bodies {
    pub(crate) names: Names,
    pub(crate) territories: Vec<String>,
    pub(crate) devices: Vec<String>,
}

/// The clock of a device whose player says when it sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceClock {
    /// By how much it is ahead; ms.
    pub(crate) skew_ms: i64,
    /// What it shows at sending; ms since the epoch.
    pub(crate) sent_at: i64,
}

impl Bodies {
    /// Appends a body: one report alone, or an array.
    pub(crate) fn put(&self, out: &mut Vec<u8>, who: Who, reports: &[Report], clock: Option<DeviceClock>) {
        if let [report] = reports {
            return self.put_report(out, who, report, clock);
        }
        out.push(b'[');
        for (index, report) in reports.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.put_report(out, who, report, clock);
        }
        out.push(b']');
    }

    fn put_report(&self, out: &mut Vec<u8>, who: Who, report: &Report, clock: Option<DeviceClock>) {
        out.extend_from_slice(b"{\"session_id\":\"");
        self.names.put_session(out, who, report);
        out.extend_from_slice(b"\",\"user_id\":\"");
        self.names.put_user(out, who.number);
        out.extend_from_slice(b"\",\"video_id\":\"");
        self.names.put_title(out, report.title);
        put(out, b"\",\"seq\":", report.seq.into());
        let skew_ms = clock.map_or(0, |clock| clock.skew_ms);
        put(out, b",\"event_time\":", (report.at_ms + skew_ms).unsigned_abs());
        put(out, b",\"position_ms\":", report.position_ms.into());
        if let Some(clock) = clock {
            put(out, b",\"sent_at\":", clock.sent_at.unsigned_abs());
        }
        if report.played_ms > 0 {
            put(out, b",\"from_ms\":", report.from_ms.into());
            put(out, b",\"played_ms\":", report.played_ms.into());
        }
        if report.rate != 1_000 {
            put_rate(out, report.rate);
        }
        if report.duration_ms > 0 {
            put(out, b",\"duration_ms\":", report.duration_ms.into());
        }
        put_text(out, b",\"state\":\"", state(report.state));
        put_text(out, b",\"territory\":\"", &self.territories[usize::from(who.territory)]);
        put_text(out, b",\"device\":\"", &self.devices[usize::from(who.device)]);
        self.put_ad(out, who, report);
        out.push(b'}');
    }

    fn put_ad(&self, out: &mut Vec<u8>, who: Who, report: &Report) {
        let Some(ad) = report.ad else { return };
        out.extend_from_slice(b",\"ad\":{\"impression_id\":\"");
        self.names.put_impression(out, who, ad.impression);
        out.extend_from_slice(b"\",\"line_id\":\"");
        self.names.put_line(out, ad.line);
        put(out, b"\",\"quartile\":", ad.quartile.into());
        if let Some(viewable_ms) = ad.viewable_ms {
            put(out, b",\"viewable_ms\":", viewable_ms.into());
        }
        out.push(b'}');
    }
}

fn put(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    put_number(out, number);
}

/// A field that is left out when it says nothing.
fn put_text(out: &mut Vec<u8>, name: &[u8], text: &str) {
    if !text.is_empty() {
        out.extend_from_slice(name);
        for byte in text.bytes() {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
}

fn put_rate(out: &mut Vec<u8>, thousandths: u16) {
    put(out, b",\"rate\":", (thousandths / 1_000).into());
    out.push(b'.');
    let rest = thousandths % 1_000;
    out.extend([rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8));
}

/// Its name on the wire; nothing for the usual one.
fn state(state: State) -> &'static str {
    match state {
        State::Playing => "",
        State::Paused => "paused",
        State::Buffering => "buffering",
        State::Seeking => "seeking",
        State::Ended => "ended",
        State::Error => "error",
    }
}
