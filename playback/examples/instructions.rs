//! The hot steps of this crate, one at a time, for a program that counts instructions: `instructions STEP`. Only what is in
//! `measured` counts; it prints of how many heartbeats. Run by `scripts/instructions`.

use playback::facts::Facts;
use playback::json::Plain;
use playback::kernel::{Kernel, Parameters, READ_AHEAD};
use playback::message::{self, Heartbeats};
use playback::model;
use playback::record::Record;
use playback::validate::is_ours;
use prost::Message;

/// Heartbeats of each step.
const HEARTBEATS: u32 = 20_000;
const VIEWERS: u32 = 1_000;
const START: i64 = 1_763_683_200_000;
/// After the last event; ms since the epoch.
const RECEIVED_AT: i64 = START + 200_000;

mod measured {
    use super::{Facts, Kernel, Message, Plain, READ_AHEAD, RECEIVED_AT, Record, is_ours, message};

    /// A report's text to a heartbeat that keeps all rules.
    #[inline(never)]
    pub(super) fn json(texts: &[String]) -> usize {
        texts.iter().filter(|text| Plain::parse(text).is_some_and(|plain| plain.check(RECEIVED_AT).is_ok())).count()
    }

    /// Bodies of 12 messages to heartbeats that keep all rules.
    #[inline(never)]
    pub(super) fn protobuf(bodies: &[Vec<u8>]) -> usize {
        let valid = |body: &Vec<u8>| {
            let messages = message::decode(body, 12).expect("they were encoded here");
            messages.iter().filter(|each| message::heartbeat(each, RECEIVED_AT).is_ok()).count()
        };
        bodies.iter().map(valid).sum()
    }

    /// A record of the log, and whether it is one of ours.
    #[inline(never)]
    pub(super) fn decode(values: &[Vec<u8>]) -> usize {
        let mut record = Record::default();
        let mut ours = |value: &&Vec<u8>| {
            record.clear();
            record.merge(value.as_slice()).expect("it was encoded here");
            is_ours(&record)
        };
        values.iter().filter(|value| ours(value)).count()
    }

    /// Records to facts.
    #[inline(never)]
    pub(super) fn kernel(kernel: &mut Kernel, records: &[Record], facts: &mut Facts) -> usize {
        for few in records.chunks(READ_AHEAD) {
            kernel.prefetch(few.iter());
            for record in few {
                kernel.fold(record, record.event_time, facts);
            }
        }
        facts.sessions.len()
    }
}

#[allow(clippy::disallowed_methods, clippy::print_stdout)] // it is a binary
fn main() {
    let step = std::env::args().nth(1).unwrap_or_default();
    let records: Vec<Record> = (0..HEARTBEATS).map(record).collect();
    let mut measured = records.len();
    let done = match step.as_str() {
        "json" => measured::json(&records.iter().map(text).collect::<Vec<_>>()),
        "protobuf" => {
            let messages: Vec<_> = records.iter().map(model::message).collect();
            let bodies =
                messages.chunks(12).map(|messages| Heartbeats { heartbeats: messages.to_vec() }.encode_to_vec());
            measured::protobuf(&bodies.collect::<Vec<_>>())
        }
        "decode" => measured::decode(&records.iter().map(Record::encode_to_vec).collect::<Vec<_>>()),
        "kernel" => {
            let (mut kernel, mut facts) = (Kernel::new(Parameters::default()), Facts::default());
            let (seen, new) = records.split_at(VIEWERS as usize);
            for record in seen {
                kernel.fold(record, record.event_time, &mut facts);
            }
            facts.clear();
            measured = new.len();
            measured::kernel(&mut kernel, new, &mut facts)
        }
        _ => panic!("usage: instructions json|protobuf|decode|kernel"),
    };
    assert_eq!(done, measured, "every heartbeat keeps the rules and changes its session");
    println!("{measured}");
}

/// Viewers beat in turn.
fn record(number: u32) -> Record {
    let (viewer, seq) = (number % VIEWERS, number / VIEWERS);
    let event_time = START + i64::from(number / VIEWERS) * 5_000;
    Record {
        site: "default".to_owned(),
        user_id: format!("user-{viewer:08}"),
        session_id: format!("session-{viewer:012x}"),
        video_id: format!("title-{:04}", viewer % 50),
        seq,
        event_time,
        received_at: event_time,
        position_ms: (seq + 1) * 5_000,
        from_ms: Some(seq * 5_000),
        played_ms: 5_000,
        device: "tv".to_owned(),
        territory: "DE".to_owned(),
        duration_ms: 5_400_000,
        state: 1,
        rate_thousandths: 1_000,
        ..Record::default()
    }
}

fn text(record: &Record) -> String {
    let Record { user_id, session_id, video_id, seq, event_time, position_ms, .. } = record;
    format!(
        r#"{{"v":1,"user_id":"{user_id}","session_id":"{session_id}","video_id":"{video_id}","seq":{seq},"event_time":{event_time},"position_ms":{position_ms},"from_ms":{},"played_ms":5000,"device":"tv","territory":"DE","duration_ms":5400000}}"#,
        position_ms - 5_000
    )
}
